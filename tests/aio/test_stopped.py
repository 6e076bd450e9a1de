"""A limit that runs out tells what it has cut short, and what had failed before."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from kaygraph import (
    AsyncNode,
    AttemptTimeoutError,
    BatchGraph,
    CircuitBreaker,
    CircuitOpenError,
    DeadlineExceededError,
    Graph,
    Node,
    ParallelBatchNode,
    Pipeline,
    Retry,
    settle,
)
from kaygraph.patterns import RaceNode
from tests.clock import VIRTUAL

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


RETRY = Retry(attempts=99, wait=1)


class Refused(Node[Any, Any]):
    """Has failed four times by 3.5 s."""

    async def exec(self, _: Any) -> None:
        raise ConnectionError("refused by db-3")


class Stuck(Node[Any, Any]):
    async def exec(self, _: Any) -> None:
        await asyncio.Event().wait()


class Many(ParallelBatchNode[Any, Any]):
    """Every other item is refused, and the others are stuck."""

    def prep(self, shared: Any) -> range:
        return range(4)

    async def exec(self, item: int) -> None:
        if item % 2:
            raise ConnectionError(f"refused by db-{item}")
        await asyncio.Event().wait()

    def post(self, shared: Any, _: Any, results: Any) -> None:
        shared["results"] = results


class Source(Node[Any, Any]):
    def prep(self, shared: Any) -> list[int]:
        return [0]


class Rounds(BatchGraph):
    def prep(self, shared: Any) -> Any:
        return [{}]


async def error_of(node: Any, **options: Any) -> BaseException:
    with pytest.raises(DeadlineExceededError) as caught:
        await node.run_async({}, **options)
    return caught.value


async def test_an_items_deadline_has_the_last_failure_as_its_cause() -> None:
    """And says which attempt that was."""
    error = await error_of(Refused(retry=RETRY, deadline=3.5))
    assert repr(error.__cause__) == "ConnectionError('refused by db-3')"
    assert error.__notes__ == ["in node 'Refused', attempt 4 of 99"]


async def test_so_has_the_deadline_of_an_item_that_is_collected() -> None:
    """It stands in its outcome."""

    class Refuses(Many):
        async def exec(self, item: int) -> None:
            raise ConnectionError(f"refused by db-{item}")

    shared: dict[str, Any] = {}
    await Refuses(retry=RETRY, deadline=3.5, on_error="collect").run_async(shared)
    for number, outcome in enumerate(shared["results"]):
        assert outcome.status == "timed_out"
        assert str(outcome.error.__cause__) == f"refused by db-{number}"


@pytest.mark.parametrize("attempt", ["in flight", "to come"])
async def test_it_does_not_matter_when_the_deadline_comes(attempt: str) -> None:
    """While it waits for the next attempt, or in the middle of that."""

    class Then(Refused):
        async def exec(self, _: Any) -> None:
            if self.attempt == 3 and attempt == "in flight":
                await asyncio.Event().wait()
            raise ConnectionError(f"attempt {self.attempt}")

    error = await error_of(Then(retry=RETRY, deadline=2.5))
    assert str(error.__cause__) == ("attempt 2" if attempt == "in flight" else "attempt 3")


WHOLES: dict[str, Any] = {
    "graph": lambda: Graph(Refused(retry=RETRY), deadline=3.5),
    "graph within": lambda: Graph(Graph(Refused(retry=RETRY), name="Inner"), deadline=3.5),
    "fork": lambda: Graph([Refused(retry=RETRY), AsyncNode()], deadline=3.5),
    "group": lambda: Graph(settle(Refused(retry=RETRY), AsyncNode()), deadline=3.5),
    "rounds": lambda: Rounds(Refused(retry=RETRY), deadline=3.5),
    "stage": lambda: Graph(Source() | Refused(retry=RETRY), deadline=3.5),
    "pattern": lambda: RaceNode(Refused(retry=RETRY), deadline=3.5, name="Race"),
}


@pytest.mark.parametrize("whole", WHOLES)
async def test_a_deadline_around_names_node_and_attempt_and_has_the_last_failure(
    whole: str,
) -> None:
    """Whatever stands between the deadline and the node."""
    error = await error_of(WHOLES[whole]())
    assert repr(error.__cause__) == "ConnectionError('refused by db-3')"
    place = "Refused', item 0, attempt" if whole == "stage" else "Refused', attempt"
    assert f"{place} 4 of 99" in error.__notes__[0]


async def test_a_runs_deadline_does_so_as_well() -> None:
    """The note of where the error itself comes from follows."""
    error = await error_of(Graph(Refused(retry=RETRY)), deadline=3.5)
    assert repr(error.__cause__) == "ConnectionError('refused by db-3')"
    assert error.__notes__ == ["it was in node 'Refused', attempt 4 of 99", "in node 'Graph'"]


async def test_a_graphs_deadline_names_all_nodes_that_were_running() -> None:
    """Those that had nothing to do with it as well."""
    graph = Graph([Stuck(name="a"), Stuck(name="b") >> AsyncNode(name="c")], deadline=1)
    error = await error_of(graph)
    assert error.__notes__ == ["it was in node 'a'", "it was in node 'b'", "in node 'Graph'"]


async def test_a_batchs_deadline_names_items_and_has_all_last_failures() -> None:
    """Several are a group."""
    error = await error_of(Many(retry=RETRY, batch_deadline=3.5))
    cause = error.__cause__
    assert isinstance(cause, ExceptionGroup)
    assert [str(one) for one in cause.exceptions] == ["refused by db-1", "refused by db-3"]
    assert error.__notes__[1] == "it was in node 'Many', item 1, attempt 4 of 99"


async def test_what_waits_for_its_turn_gets_an_error_that_says_so() -> None:
    """No attempt of it was made."""
    both = [Stuck(name="a", max_retries=2), Stuck(name="b", max_retries=2)]
    error = await error_of(Graph(both, max_workers=1, deadline=1))
    assert error.__notes__[:2] == [
        "it was in node 'a', attempt 1 of 2",
        "it was in node 'b', waiting to begin",
    ]


async def test_of_many_places_the_first_are_named() -> None:
    """The rest is counted."""

    class Wide(Many):
        max_workers = 1000

        def prep(self, shared: Any) -> range:
            return range(1000)

        async def exec(self, item: int) -> None:
            await asyncio.Event().wait()

    error = await error_of(Wide(batch_deadline=1))
    assert len(error.__notes__) == 7
    assert error.__notes__[5] == "and in 995 other places"


async def test_what_fails_as_it_is_cancelled_stands_before_earlier_failures() -> None:
    """A clean-up that goes wrong is news."""

    class Breaks(Stuck):
        async def exec(self, _: Any) -> None:
            if self.attempt == 1:
                raise ConnectionError("first")
            try:
                await asyncio.Event().wait()
            finally:
                raise OSError("clean-up failed")

    for node in (Breaks(retry=RETRY, deadline=3), Graph(Breaks(retry=RETRY), deadline=3)):
        error = await error_of(node)
        assert "clean-up failed" in str(error.__cause__)


async def test_the_grace_of_a_drain_tells_what_it_has_cut_short() -> None:
    """As any limit does."""
    run = Graph([Refused(retry=RETRY), Stuck()]).launch({})
    await asyncio.sleep(1.5)
    run.drain(grace=1)
    with pytest.raises(DeadlineExceededError) as caught:
        await run
    assert repr(caught.value.__cause__) == "ConnectionError('refused by db-3')"
    assert caught.value.__notes__[0] == "it was in node 'Refused', attempt 3 of 99"


async def test_a_breaker_that_opens_between_attempts_has_the_failure_as_its_cause() -> None:
    """That which has opened it, mostly."""
    breaker = CircuitBreaker(failures=2, reset_after=60)
    with pytest.raises(CircuitOpenError) as caught:
        await Refused(retry=RETRY, breaker=breaker).run_async({})
    assert repr(caught.value.__cause__) == "ConnectionError('refused by db-3')"
    assert caught.value.__notes__ == ["in node 'Refused', attempt 2 of 99"]


async def test_a_timeout_has_where_it_was_as_its_cause() -> None:
    """The cancellation shows the line that took so long."""
    with pytest.raises(AttemptTimeoutError) as caught:
        await Stuck(timeout=1).run_async({})
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    assert caught.value.__notes__ == ["in node 'Stuck'"]


class Swallows(Many):
    """Every item waits, and swallows its cancellation."""

    async def exec(self, item: int) -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Swallows(max_workers=2), "Swallows"),
        (lambda: Pipeline(Swallows(max_workers=2)), "Pipeline/Swallows"),
        (lambda: Swallows(max_workers=2, timeout=99), "Swallows"),
        (lambda: Pipeline(Swallows(max_workers=2, timeout=99)), "Pipeline/Swallows"),
    ],
    ids=["batch", "stage", "batch-with-settings", "stage-with-settings"],
)
async def test_items_that_swallow_their_cancellation_are_named(make: Any, name: str) -> None:
    """What ends is the batch behind them, which knows where it was."""
    with pytest.raises(DeadlineExceededError) as caught:
        await Graph(make(), deadline=1).run_async({})
    places = [f"it was in node {name!r}, item {index}" for index in range(2)]
    assert [note.partition(" (")[0] for note in caught.value.__notes__[:2]] == places


async def test_the_only_worker_of_a_batch_or_stage_names_its_item() -> None:
    """It works in the task of the node, or on several items in one go."""
    for node in (Swallows(max_workers=1), Pipeline(Swallows(max_workers=1))):
        with pytest.raises(DeadlineExceededError) as caught:
            await Graph(node, deadline=1).run_async({})
        assert "Swallows', item 0" in caught.value.__notes__[0]
