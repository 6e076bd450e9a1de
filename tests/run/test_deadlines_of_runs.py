"""Deadlines of runs, and what they can do about code that blocks."""

import asyncio
import pickle
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from kaygraph import (
    AttemptTimeoutError,
    BatchNode,
    CircuitBreaker,
    DeadlineExceededError,
    Graph,
    MapReduceNode,
    Node,
    RunFinished,
)
from kaygraph.errors import KayGraphError
from tests.calls import Takes, now
from tests.clock import VIRTUAL

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


REAL = pytest.mark.parametrize("anyio_backend", ["asyncio"])


# --- of a run ---


@pytest.mark.parametrize("how", ["run_async", "launch"])
async def test_run_ends_at_its_deadline(how: str) -> None:
    """All that it holds is closed first, and nothing goes on."""
    closed = list[float]()

    class Holds(Takes):
        @asynccontextmanager
        async def lifespan(self, _: Any) -> AsyncIterator[None]:
            try:
                yield
            finally:
                closed.append(now())

    node, tasks = Holds(9), asyncio.all_tasks()
    with pytest.raises(DeadlineExceededError) as caught:
        await getattr(Graph(node >> Takes(1)), how)({}, deadline=4)
    assert str(caught.value) == "the run of 'Graph' ran longer than deadline=4 s"
    assert (now(), node.ended, closed) == (4, [4], [4])
    assert asyncio.all_tasks() == tasks


async def test_run_in_time_is_not_touched() -> None:
    """The last action comes as it would without."""

    class Says(Takes):
        def post(self, *_: Any) -> str:
            return "done"

    assert await Graph(Says(3)).run_async({}, deadline=4) == "done"


def test_synchronous_run_ends_at_its_deadline() -> None:
    """From code without a loop, and of a node alone."""
    started = time.monotonic()
    with pytest.raises(DeadlineExceededError, match=r"the run of 'Takes' .* deadline=0.05 s"):
        Takes(60).run({}, deadline=0.05)
    assert 0.05 <= time.monotonic() - started < 5


async def test_breaker_counts_a_timeout_and_no_deadline_around_it() -> None:
    """An attempt that was cancelled by the deadline of all says nothing of the service."""
    breaker = CircuitBreaker(failures=1)
    with pytest.raises(DeadlineExceededError):
        await Takes(9, deadline=1, timeout=2, breaker=breaker).run_async({})
    assert breaker.state == "closed"
    with pytest.raises(AttemptTimeoutError):
        await Takes(9, timeout=1, deadline=2, breaker=breaker).run_async({})
    assert breaker.state == "open"


async def test_error_is_a_timeout_of_its_own_kind() -> None:
    """Caught as TimeoutError, as AttemptTimeoutError or by its own name; it can be sent on."""
    with pytest.raises(TimeoutError) as caught:
        await Takes(9).run_async({}, deadline=1)
    error = caught.value
    assert type(error) is DeadlineExceededError
    assert isinstance(error, AttemptTimeoutError | KayGraphError)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


# --- code that blocks ---


class Blocks(Node[Any, Any]):
    """Blocks its thread for so many seconds."""

    def __init__(self, seconds: float, **settings: Any) -> None:
        super().__init__(**settings)
        self.seconds = seconds

    def exec(self, _: Any) -> None:
        threading.Event().wait(self.seconds)


@REAL
@pytest.mark.parametrize("setting", ["timeout", "deadline"])
async def test_thread_that_runs_over_is_reported(setting: str) -> None:
    """It is waited for, and the error says by how much it was late."""
    with pytest.raises(AttemptTimeoutError) as caught:
        await Graph(Blocks(0.2, **{setting: 0.05})).run_async({})
    text = rf"exec of 'Blocks' ran longer than {setting}=0\.05 s; written 'def' it cannot be"
    assert caught.match(text + r" stopped, and ended \d+\.\d\d s after it")
    assert not [t for t in threading.enumerate() if t.name.startswith("kaygraph")]


@REAL
async def test_thread_is_waited_for_where_a_graphs_deadline_ends() -> None:
    """No thread is left behind, however late that makes the error."""
    with pytest.raises(DeadlineExceededError, match=r"'Graph' ran longer than deadline=0\.05 s"):
        await Graph(Blocks(0.15) >> Blocks(0), deadline=0.05).run_async({})
    assert not [t for t in threading.enumerate() if t.name.startswith("kaygraph")]


@pytest.mark.parametrize(
    "run",
    [
        lambda line, _: Graph(line).run({}, deadline=0.05),
        lambda line, _: Graph(line, deadline=0.05).run({}),
        lambda line, _: Graph(Graph(line, deadline=0.05) >> Node()).run({}),
        lambda _, batch: batch(batch_deadline=0.05).run({}),
        lambda _, batch: batch().run({}, deadline=0.05),
    ],
)
def test_deadline_ends_what_blocks_in_the_calling_thread(run: Callable[..., Any]) -> None:
    """Hooks that never await are stopped between two of them, and the overrun is an error."""
    begun = list[Any]()

    class One(Blocks):
        def exec(self, item: Any) -> None:
            begun.append(item)
            super().exec(item)

    class Many(BatchNode[Any, Any]):
        def prep(self, _: Any) -> range:
            return range(8)

        def exec(self, item: Any) -> None:
            begun.append(item)
            threading.Event().wait(0.03)

    line: Any = One(0.03)
    for _ in range(7):
        line = line >> One(0.03)
    with pytest.raises(DeadlineExceededError, match=r"deadline=0\.05 s"):
        run(line, Many)
    assert len(begun) < 8


class Deaf(Node[Any, Any]):
    async def exec(self, _: Any) -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)


@pytest.mark.parametrize("graph", [{"deadline": 4}, {}])
async def test_nothing_begins_after_a_node_has_swallowed_a_deadline(graph: Any) -> None:
    """The node that did not listen is the one that the error names."""
    after = Takes(1)
    with pytest.raises(DeadlineExceededError) as caught:
        await Graph(Deaf() >> after, **graph).run_async({}, deadline=5)
    assert "it was in node 'Deaf'" in caught.value.__notes__
    assert (now(), after.begun) == (graph.get("deadline", 5), [])


def test_nothing_begins_after_a_node_has_blocked_for_longer_than_the_deadline() -> None:
    """Its timer had no turn, and the node behind it has not taken the time."""
    begun = list[int]()

    class After(Node[Any, Any]):
        def prep(self, _: Any) -> None:
            begun.append(1)

    with pytest.raises(DeadlineExceededError) as caught:
        Graph(Blocks(0.15) >> After(), deadline=0.05).run({})
    assert "it was in node 'Blocks'" in caught.value.__notes__
    assert begun == []


# --- what cannot be meant ---


@pytest.mark.parametrize("seconds", [0, -1, True, "3", float("nan")])
@pytest.mark.parametrize(
    ("setting", "make"),
    [
        ("deadline", lambda seconds: Takes(1, deadline=seconds)),
        ("deadline", lambda seconds: Graph(Takes(1), deadline=seconds)),
        ("batch_deadline", lambda seconds: BatchNode(batch_deadline=seconds)),
        ("batch_deadline", lambda seconds: MapReduceNode(batch_deadline=seconds)),
        ("deadline", lambda seconds: Graph(Takes(1)).run({}, deadline=seconds)),
        ("deadline", lambda seconds: Graph(Takes(1)).run_async({}, deadline=seconds)),
    ],
)
def test_deadline_that_cannot_be_meant_is_refused(
    setting: str, make: Callable[[Any], Any], seconds: Any
) -> None:
    """At once, before anything runs."""
    with pytest.raises(ValueError, match=f"{setting} must be"):
        make(seconds)


async def test_observers_learn_why_a_run_ended_at_its_deadline() -> None:
    """RunFinished carries the error that the caller gets."""
    events: list[Any] = []
    with pytest.raises(DeadlineExceededError) as caught:
        await Graph(Takes(100)).run_async({}, deadline=2, observers=[events.append])
    (finished,) = (event for event in events if isinstance(event, RunFinished))
    assert finished.error is caught.value
