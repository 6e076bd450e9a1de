"""How often exec is tried, and how long is waited in between."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise, product
from typing import Any

import pytest

from kaygraph import CircuitBreaker, Drop, Graph, ItemRetried, Node, ParallelBatchNode, Retry
from tests.clock import VIRTUAL, VirtualClockLoop

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


class Scripted(Node[Any, Any]):
    """Does in each attempt what its script says: ok, fail, cancel or drop."""

    def __init__(self, script: tuple[str, ...], **settings: Any) -> None:
        super().__init__(**settings)
        self.script = script
        self.attempts: list[int] = []
        self.times: list[float] = []

    async def exec(self, _: Any) -> str:
        self.attempts.append(self.attempt)
        self.times.append(asyncio.get_running_loop().time())
        match self.script[len(self.attempts) - 1]:
            case "fail":
                raise ValueError(f"attempt {self.attempt}")
            case "cancel":
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                await asyncio.sleep(0)
            case "drop":
                raise Drop
        return "done"

    def post(self, shared: Any, _: Any, result: str) -> None:
        shared["result"] = result


@pytest.mark.parametrize("most", [1, 2, 3, 4, 5])
async def test_every_sequence_of_attempts_ends_where_it_should(most: int) -> None:
    """For every ok / fail / cancel sequence, exactly the attempts asked for are made."""
    for script in product(("ok", "fail", "cancel"), repeat=most):
        node = Scripted(script, max_retries=most)
        shared: dict[str, Any] = {}
        decisive = next((step for step in script if step != "fail"), "fail")
        expected = script.index(decisive) + 1 if decisive != "fail" else most
        run = asyncio.create_task(node.run_async(shared))
        if decisive == "ok":
            await run
            assert shared["result"] == "done"
        else:
            kind = ValueError if decisive == "fail" else asyncio.CancelledError
            with pytest.raises(kind):
                await run
            assert shared == {}
        assert node.attempts == list(range(1, expected + 1)), script


async def test_drop_is_never_tried_again() -> None:
    """Drop leaves the item out at its first attempt, whatever attempts are left."""
    node = Scripted(("drop", "ok"), max_retries=5)
    with pytest.raises(Drop):
        await node.run_async({})
    assert node.attempts == [1]


async def test_concurrent_items_do_not_share_the_counter() -> None:
    """Of a hundred items that fail at once, each gets its own three attempts."""

    class Failing(ParallelBatchNode[int, int]):
        def prep(self, _: Any) -> range:
            return range(100)

        async def exec(self, item: int) -> int:
            seen.setdefault(item, []).append(self.attempt)
            await asyncio.sleep(0.001 * (item % 7))
            assert self.attempt == seen[item][-1]  # still ours after others have run
            raise ValueError(item)

    seen: dict[int, list[int]] = {}
    await Failing(max_workers=100, max_retries=3, on_error="skip").run_async({})
    assert seen == {item: [1, 2, 3] for item in range(100)}


async def test_the_next_item_of_a_worker_starts_at_attempt_one() -> None:
    """A worker that has retried one item counts from 1 again for the next."""

    class Flaky(ParallelBatchNode[int, int]):
        def prep(self, _: Any) -> range:
            return range(3)

        async def exec(self, item: int) -> int:
            seen.append((item, self.attempt))
            if self.attempt < 3:
                raise ValueError(item)
            return item

    seen: list[tuple[int, int]] = []
    await Flaky(max_workers=1, max_retries=3).run_async({})
    assert seen == [(item, attempt) for item in range(3) for attempt in (1, 2, 3)]


@pytest.mark.parametrize("reason", ["the breaker is open", "the deadline is over"])
async def test_an_attempt_that_was_not_made_leaves_no_number_behind(reason: str) -> None:
    """Refused, or still in the line at its deadline: the worker's next item begins with its first.

    So does what comes after the node.
    """

    class Unsteady(ParallelBatchNode[int, int]):
        async def prep(self, _: Any) -> AsyncIterator[int]:  # type: ignore[override]
            yield 0
            await asyncio.sleep(9)
            yield 1

        async def exec(self, item: int) -> int:
            seen.append((item, self.attempt))
            if item == 0:
                raise ValueError
            return item

    class Holds(Node[Any, Any]):
        async def prep(self, _: Any) -> None:
            await asyncio.sleep(0.5)  # the first item has begun then

        async def exec(self, _: Any) -> None:
            await asyncio.sleep(8)

    class After(Node[Any, Any]):
        def post(self, *_: Any) -> None:
            seen.append(("after", self.attempt))

    seen: list[tuple[Any, int]] = []
    settings: dict[str, Any] = {"deadline": 3}
    if reason == "the breaker is open":
        settings = {"breaker": CircuitBreaker(failures=1, reset_after=3)}
    node = Unsteady(max_workers=1, max_retries=2, wait=1, on_error="skip", **settings)
    await Graph([node >> After(), Holds()], max_workers=1).run_async({})
    assert seen == [(0, 1), (1, 1), ("after", 1)]


async def test_wait_passes_between_two_attempts() -> None:
    """wait= is the time from a failed attempt to the next; there is none after the last."""
    node = Scripted(("fail",) * 3, max_retries=3, wait=7)
    with pytest.raises(ValueError, match="attempt 3"):
        await node.run_async({})
    assert node.times == pytest.approx([0, 7, 14])
    assert asyncio.get_running_loop().time() == pytest.approx(14)


async def test_backoff_multiplies_the_wait_up_to_its_longest() -> None:
    """The waits grow by the factor and stop growing at max_wait."""
    retry = Retry(attempts=6, wait=1, backoff=3, max_wait=20)
    node = Scripted(("fail",) * 6, retry=retry)
    with pytest.raises(ValueError, match="attempt 6"):
        await node.run_async({})
    waits = [later - earlier for earlier, later in pairwise(node.times)]
    assert waits == pytest.approx([1, 3, 9, 20, 20])


async def test_a_wait_function_is_given_the_attempt_and_the_error() -> None:
    """wait may be a function of the attempt and the error; its result is used as it is."""

    def wait(attempt: int, error: Exception) -> float:
        asked.append((attempt, str(error)))
        return 10.0 * attempt

    asked: list[tuple[int, str]] = []
    node = Scripted(("fail", "fail", "ok"), retry=Retry(attempts=3, wait=wait, backoff=5, jitter=1))
    await node.run_async({})
    assert asked == [(1, "attempt 1"), (2, "attempt 2")]
    assert node.times == pytest.approx([0, 10, 30])


def test_a_negative_wait_of_a_function_counts_as_none() -> None:
    """A Retry-After that lies in the past means: at once."""
    assert Retry(wait=lambda _, __: -5.0).wait_after(1, ValueError()) == 0.0


def test_a_wait_function_that_returns_no_seconds_is_reported() -> None:
    """A header that was not there, say."""
    with pytest.raises(TypeError, match="wait of a Retry must return seconds, got None"):
        Retry(wait=lambda _, __: None).wait_after(1, ValueError())  # type: ignore[arg-type, return-value]


def test_jitter_takes_off_at_most_its_share() -> None:
    """With jitter j, a wait w lies between w * (1 - j) and w, and varies."""
    retry = Retry(wait=10, jitter=0.25)
    waits = {retry.wait_after(1, ValueError()) for _ in range(200)}
    assert min(waits) >= 7.5
    assert max(waits) <= 10
    assert max(waits) - min(waits) > 1


def test_a_huge_attempt_number_waits_the_longest_wait() -> None:
    """An exponent too large for a float means max_wait, not an OverflowError."""
    assert Retry(wait=1, backoff=10.0, max_wait=30).wait_after(5000, ValueError()) == 30


async def test_on_names_what_is_worth_another_attempt() -> None:
    """An error that `on` does not name is raised at once."""
    node = Scripted(("fail", "ok"), retry=Retry(attempts=2, on=(KeyError, OSError)))
    with pytest.raises(ValueError, match="attempt 1"):
        await node.run_async({})
    assert node.attempts == [1]


async def test_on_may_ask_the_error() -> None:
    """`on` may be a function: true means another attempt."""
    retry = Retry(attempts=5, on=lambda error: "attempt 1" in str(error))
    node = Scripted(("fail",) * 5, retry=retry)
    with pytest.raises(ValueError, match="attempt 2"):
        await node.run_async({})
    assert node.attempts == [1, 2]


async def asynchronous(*_: Any) -> bool:
    """A function that would have to be awaited."""
    return False


@pytest.mark.parametrize(
    "settings",
    [
        {"attempts": 0},
        {"attempts": True},
        {"attempts": 1.5},
        {"wait": -1},
        {"wait": float("nan")},
        {"backoff": 0.5},
        {"max_wait": -1},
        {"wait": asynchronous},
        {"backoff": "2"},
        {"backoff": float("nan")},
        {"backoff": True},
        {"jitter": 1.5},
        {"jitter": -0.1},
        {"jitter": None},
        {"on": [ValueError]},
        {"on": asyncio.CancelledError},
        {"on": None},
        {"on": asynchronous},
    ],
)
def test_a_retry_that_cannot_work_is_refused(settings: dict[str, Any]) -> None:
    """Out of range means a ValueError at construction that names the setting."""
    with pytest.raises(ValueError, match=f"^{next(iter(settings))} must be"):
        Retry(**settings)


def test_retry_and_max_retries_together_are_refused() -> None:
    """Two answers to the same question are a mistake."""
    with pytest.raises(TypeError, match="not both"):
        Scripted((), retry=Retry(), max_retries=3)


async def test_a_retry_is_announced_with_its_wait() -> None:
    """ItemRetried carries the failed attempt, its error and the wait that follows."""
    events: list[Any] = []
    node = Scripted(("fail", "fail", "ok"), retry=Retry(attempts=3, wait=2, backoff=2))
    await node.run_async({}, observers=[events.append])
    retried = [event for event in events if isinstance(event, ItemRetried)]
    assert [(e.attempt, str(e.error), e.wait_s) for e in retried] == [
        (1, "attempt 1", 2),
        (2, "attempt 2", 4),
    ]


async def test_a_permit_is_free_while_its_item_waits_for_another_attempt() -> None:
    """A permit is held only while exec runs: during the wait another item works."""

    class One(ParallelBatchNode[int, int]):
        def prep(self, _: Any) -> range:
            return range(2)

        async def exec(self, item: int) -> int:
            order.append((item, self.attempt))
            if item == 0 and self.attempt == 1:
                raise ValueError
            return item

    order: list[tuple[int, int]] = []
    node = One(max_workers=2, max_retries=2, wait=5)
    await Graph(node, max_workers=1).run_async({})
    assert order == [(0, 1), (1, 1), (0, 2)]


async def test_cancelling_during_the_wait_makes_no_further_attempt() -> None:
    """A cancellation between two attempts ends the item."""
    node = Scripted(("fail", "ok"), max_retries=2, wait=60)
    task = asyncio.create_task(node.run_async({}))
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualClockLoop)
    loop.call_later(1, task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert node.attempts == [1]
    assert loop.time() == pytest.approx(1)


async def test_an_attempt_that_turns_its_cancellation_into_an_error_is_the_last() -> None:
    """Client libraries do so: the item was cancelled anyway, and is not tried again."""

    class Wraps(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            begun.append(self.attempt)
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                raise OSError("connection closed") from None

    begun: list[int] = []
    task = asyncio.create_task(Wraps(max_retries=5, wait=1).run_async({}))
    asyncio.get_running_loop().call_later(1, task.cancel)
    with pytest.raises(OSError, match="connection closed"):
        await task
    assert begun == [1]
