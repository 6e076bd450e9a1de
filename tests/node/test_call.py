"""One exec for one item: attempts, time limits, the fallback, and the place where it runs."""

import asyncio
from typing import Any

import pytest

from kaygraph import (
    AttemptTimeoutError,
    AwaitedCancelledError,
    Drop,
    Graph,
    ItemFailed,
    ItemFinished,
    Node,
    ParallelBatchNode,
)
from kaygraph.limits.slots import Slot
from kaygraph.node.call import call
from kaygraph.run.frame import Frame
from kaygraph.run.run import Run
from tests.calls import Keeps, now
from tests.clock import VirtualClockLoop, run_virtually

pytestmark = pytest.mark.anyio


# --- timeout and deadline, on a clock that jumps ---


class Slow(Keeps):
    """Takes so many seconds in each attempt."""

    def __init__(self, *seconds: float, **settings: Any) -> None:
        super().__init__(**settings)
        self.seconds = seconds
        self.begun: list[float] = []
        self.ended: list[float] = []

    async def exec(self, _: Any) -> int:
        self.begun.append(now())
        try:
            await asyncio.sleep(self.seconds[self.attempt - 1])
        finally:
            self.ended.append(now())
        return self.attempt


def test_a_coroutine_is_cancelled_at_its_timeout() -> None:
    """An attempt that takes longer is cancelled at the limit, to the second."""
    node = Slow(100, timeout=3)
    with pytest.raises(AttemptTimeoutError, match=r"'Slow' ran longer than timeout=3 s") as caught:
        run_virtually(node.run_async({}))
    assert isinstance(caught.value, TimeoutError)
    assert node.ended == pytest.approx([3])


def test_a_coroutine_that_ends_in_time_is_not_touched() -> None:
    """Just under the limit is in time."""
    shared: dict[str, Any] = {}
    run_virtually(Slow(2.999, timeout=3).run_async(shared))
    assert shared["result"] == 1


def test_the_timeout_counts_per_attempt() -> None:
    """Each attempt has the whole limit to itself, and an overrun is worth another attempt."""
    node, shared = Slow(100, 100, 2, timeout=3, max_retries=3), dict[str, Any]()
    run_virtually(node.run_async(shared))
    assert shared["result"] == 3
    assert node.begun == pytest.approx([0, 3, 6])


def test_the_timeout_counts_per_item() -> None:
    """Time that other items take, or that an item waits for its permit, is not an item's."""

    class Batch(ParallelBatchNode[Any, Any]):
        def prep(self, _: Any) -> range:
            return range(10)

        async def exec(self, item: int) -> int:
            await asyncio.sleep(2)
            return item

    run_virtually(Graph(Batch(timeout=3, max_workers=5), max_workers=2).run_async({}))


def test_the_deadline_covers_all_attempts_and_the_waits_between() -> None:
    """Attempts and waits together end at the deadline."""
    node = Slow(*[100] * 9, timeout=3, deadline=10, max_retries=9, wait=1)
    with pytest.raises(AttemptTimeoutError, match=r"deadline=10 s"):
        run_virtually(node.run_async({}))
    assert node.begun == pytest.approx([0, 4, 8])
    assert node.ended == pytest.approx([3, 7, 10])


def test_a_deadline_ends_a_wait() -> None:
    """A wait that would last past the deadline is cut short."""

    class Failing(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            raise ValueError

    async def timed() -> float:
        with pytest.raises(AttemptTimeoutError, match="deadline=2 s"):
            await Failing(max_retries=2, wait=60, deadline=2).run_async({})
        return now()

    assert run_virtually(timed()) == pytest.approx(2)


def test_no_attempt_begins_after_the_deadline() -> None:
    """An attempt that blocks past the deadline and fails is the last one."""

    class Blocking(Node[Any, Any]):
        def exec(self, _: Any) -> None:
            begun.append(self.attempt)
            loop.advance(3)
            raise ValueError

    async def play() -> None:
        nonlocal loop
        running = asyncio.get_running_loop()
        assert isinstance(running, VirtualClockLoop)
        loop = running
        await Blocking(max_retries=5, deadline=2, run_in="loop").run_async({})

    loop: Any = None
    begun: list[int] = []
    with pytest.raises(AttemptTimeoutError, match="deadline"):
        run_virtually(play())
    assert begun == [1]


def test_a_result_that_comes_after_the_deadline_is_not_used() -> None:
    """A call that blocked the loop could not be ended at the deadline."""

    class Blocking(Keeps):
        def exec(self, seconds: float) -> str:
            asyncio.get_running_loop().advance(seconds)  # type: ignore[attr-defined]
            return "done"

    class InTime(Blocking):
        def prep(self, _: Any) -> float:
            return 1

    class Late(Blocking):
        def prep(self, _: Any) -> float:
            return 3

    shared: dict[str, Any] = {}
    run_virtually(InTime(deadline=2, run_in="loop").run_async(shared))
    assert shared == {"result": "done"}
    with pytest.raises(AttemptTimeoutError, match="deadline=2 s"):
        run_virtually(Late(deadline=2, run_in="loop").run_async(shared := {}))
    assert shared == {}


def test_a_timeout_of_the_users_own_is_not_counted_as_timed_out() -> None:
    """A TimeoutError that exec raises is a failure like any other."""

    class Own(ParallelBatchNode[Any, Any]):
        def prep(self, _: Any) -> range:
            return range(2)

        async def exec(self, item: int) -> None:
            if item:
                raise TimeoutError("my own")
            async with asyncio.timeout(1):
                await asyncio.sleep(5)

    events: list[Any] = []
    node = Own(timeout=10, deadline=100, on_error="skip", max_retries=2)
    node.on_error = "collect"
    run_virtually(node.run_async({}, observers=[events.append]))
    failed = [event for event in events if isinstance(event, ItemFailed)]
    assert [event.status for event in failed] == ["failed", "failed"]
    assert not any(isinstance(event.error, AttemptTimeoutError) for event in failed)


def test_an_overrun_is_counted_as_timed_out() -> None:
    """An item that ran past its limit is counted under timed_out."""
    events: list[Any] = []
    with pytest.raises(AttemptTimeoutError):
        run_virtually(Slow(9, timeout=2).run_async({}, observers=[events.append]))
    (failed,) = (event for event in events if isinstance(event, ItemFailed))
    assert (failed.status, failed.attempts) == ("timed_out", 1)
    assert failed.seconds == pytest.approx(2)


def test_a_cancellation_from_outside_is_not_a_timeout() -> None:
    """Cancelled while limits run, the node ends as cancelled and is not tried again."""

    async def play() -> None:
        task = asyncio.create_task(node.run_async({}))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    node = Slow(50, 50, 50, timeout=10, deadline=20, max_retries=3)
    run_virtually(play())
    assert node.begun == [0]


def test_a_timed_out_coroutine_may_take_its_time_to_clean_up() -> None:
    """What exec does in its finally after the limit is waited for."""

    class Tidy(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            try:
                await asyncio.sleep(50)
            finally:
                await asyncio.sleep(5)
                tidied.append(now())

    tidied: list[float] = []
    with pytest.raises(AttemptTimeoutError):
        run_virtually(Tidy(timeout=2).run_async({}))
    assert tidied == pytest.approx([7])


def test_seconds_are_those_spent_in_exec() -> None:
    """An item's seconds are summed over its attempts, without the waits."""
    events: list[Any] = []
    node = Slow(100, 100, 2, timeout=3, max_retries=3, wait=50)
    run_virtually(node.run_async({}, observers=[events.append]))
    (finished,) = (event for event in events if isinstance(event, ItemFinished))
    assert finished.attempts == 3
    assert finished.seconds == pytest.approx(3 + 3 + 2)


@pytest.mark.parametrize("limit", ["timeout", "deadline"])
@pytest.mark.parametrize("value", [0, -1, True, "1", float("nan")])
def test_a_limit_that_cannot_work_is_refused(limit: str, value: Any) -> None:
    """Zero, negative, a bool, a string, not a number: a ValueError at construction."""
    with pytest.raises(ValueError, match=limit):
        Node(**{limit: value})


# --- the fallback ---


async def test_the_fallback_is_called_once_when_all_attempts_are_spent() -> None:
    """It gets what exec got and the last error, and its value is the result."""

    class Saved(Keeps):
        def prep(self, _: Any) -> str:
            return "item"

        async def exec(self, _: Any) -> str:
            raise ValueError(self.attempt)

        def exec_fallback(self, item: Any, error: Exception) -> Any:
            called.append((item, str(error)))
            return "saved"

    called: list[Any] = []
    shared: dict[str, Any] = {}
    await Saved(max_retries=3).run_async(shared)
    assert called == [("item", "3")]
    assert shared["result"] == "saved"


async def test_the_fallback_may_be_async() -> None:
    """An `async def` fallback is awaited."""

    class Saved(Keeps):
        async def exec(self, _: Any) -> str:
            raise ValueError

        async def exec_fallback(self, _: Any, error: Exception) -> Any:
            await asyncio.sleep(0)
            return "saved"

    shared: dict[str, Any] = {}
    await Saved().run_async(shared)
    assert shared["result"] == "saved"


async def test_a_fallback_that_raises_ends_the_node_with_its_error() -> None:
    """Its error is raised, with exec's as its context."""

    class Worse(Node[Any, Any]):
        async def exec(self, _: Any) -> str:
            raise ValueError("first")

        def exec_fallback(self, _: Any, error: Exception) -> Any:
            raise KeyError("second")

    with pytest.raises(KeyError, match="second") as caught:
        await Worse().run_async({})
    assert str(caught.value.__context__) == "first"


async def test_a_fallback_may_leave_it_at_the_error() -> None:
    """That of the class raises what it is called with."""

    class Picky(Keeps):
        async def exec(self, _: Any) -> str:
            raise failure

        def exec_fallback(self, item: Any, error: Exception) -> Any:
            if isinstance(error, KeyError):
                return "saved"
            return super().exec_fallback(item, error)

    shared: dict[str, Any] = {}
    failure: Exception = KeyError()
    await Picky().run_async(shared)
    assert shared["result"] == "saved"
    failure = ValueError("not mine")
    with pytest.raises(ValueError, match="not mine") as caught:
        await Picky().run_async({})
    assert caught.value is failure


async def test_a_fallback_that_awaits_what_was_cancelled_fails() -> None:
    """The node was not cancelled: its error says so, and where, to observers as well."""

    class Awaits(Node[Any, Any]):
        async def exec(self, _: Any) -> str:
            raise ValueError

        async def exec_fallback(self, _: Any, error: Exception) -> Any:
            other = asyncio.ensure_future(asyncio.Event().wait())
            other.cancel()
            await other

    seen: list[Any] = []
    with pytest.raises(AwaitedCancelledError) as caught:
        await Awaits().run_async({}, observers=[seen.append])
    assert [e.error for e in seen if isinstance(e, ItemFailed)] == [caught.value]
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    assert caught.value.__notes__ == ["in node 'Awaits'"]


async def test_the_fallback_is_called_after_a_timeout() -> None:
    """Running out of time is a failure that the fallback may save."""

    class Saved(Slow):
        def exec_fallback(self, _: Any, error: Exception) -> Any:
            return type(error).__name__

    for limit, error in (("timeout", "AttemptTimeoutError"), ("deadline", "DeadlineExceededError")):
        shared: dict[str, Any] = {}
        await Saved(60, **{limit: 0.01}).run_async(shared)
        assert shared["result"] == error


async def test_the_fallback_is_not_called_for_a_cancellation_or_a_drop() -> None:
    """Neither is a failure."""

    class Ends(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            if drops:
                raise Drop
            await asyncio.Event().wait()

        def exec_fallback(self, _: Any, exc: Exception) -> Any:
            raise AssertionError("called")

    for drops in (False, True):
        task = asyncio.create_task(Ends(max_retries=3).run_async({}))
        asyncio.get_running_loop().call_later(0.01, task.cancel)
        with pytest.raises(Drop if drops else asyncio.CancelledError):
            await task


async def test_what_fails_before_an_attempt_begins_is_not_tried_again() -> None:
    """It counts as none, so that no attempt would ever be the last."""

    class Refusing(Slot):
        async def take(self) -> None:
            raise RecursionError("too deep")

    node = Slow(max_retries=3)
    async with asyncio.timeout(5):
        with pytest.raises(RecursionError, match="too deep"):
            await call(node, None, None, Frame(Run()), Refusing(()))
    assert node.begun == []
