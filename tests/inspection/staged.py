"""Runs that wait, each for another reason: what is behind ``explain()``, the page, the command."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from kaygraph import CircuitBreaker, Graph, Journal, Node, ParallelBatchNode, RateLimit
from kaygraph.nodes import WaitFor
from kaygraph.types import RunTask

TURNS = 40  # of the loop, in which whatever can go on does


class Held(ParallelBatchNode[Any, Any]):
    """Its items wait until the test lets them go on."""

    count = 3

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.open = asyncio.Event()

    def prep(self, shared: Any, /) -> Any:
        return range(self.count)

    async def exec(self, item: Any, /) -> Any:
        await self.open.wait()
        return item


class Late(Node[Any, Any]):
    """Gives parallel nodes time to take their permits."""

    async def exec(self, prep_res: Any, /) -> None:
        for _ in range(TURNS // 4):
            await asyncio.sleep(0)


async def settled() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


@asynccontextmanager
async def running(graph: Any, **options: Any) -> AsyncIterator[RunTask]:
    """Run a graph until nothing goes on any more, and end it behind the test."""
    task = graph.launch({}, **options)
    await settled()
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class Passes(ParallelBatchNode[Any, Any]):
    def prep(self, shared: Any, /) -> Any:
        return range(1000)

    async def exec(self, item: Any, /) -> Any:
        return item


async def endless(opened: asyncio.Event) -> AsyncIterator[int]:
    yield 1
    await opened.wait()
    yield 2


class Fails(ParallelBatchNode[Any, Any]):
    on_error = "collect"

    def prep(self, shared: Any, /) -> Any:
        return range(2)

    async def exec(self, item: Any, /) -> Any:
        raise ConnectionError("refused")


class Reads(ParallelBatchNode[Any, Any]):
    def prep(self, shared: Any, /) -> Any:
        return endless(asyncio.Event())

    async def exec(self, item: Any, /) -> Any:
        return item


class Blocks(Node[Any, Any]):
    """Holds a thread, until the test opens the gate."""

    run_in = "thread"

    def __init__(self, gate: threading.Event, **settings: Any) -> None:
        super().__init__(**settings)
        self.gate = gate

    def exec(self, prep_res: Any, /) -> Any:
        self.gate.wait()


class Sleeps(Node[Any, Any]):
    run_in = "process"

    def exec(self, prep_res: Any, /) -> Any:
        threading.Event().wait()


class Staged(NamedTuple):
    """A run that waits, and what is said of it.

    Attributes:
        make: Makes the graph, of a gate that is opened behind the test.
        kind: Of the wait.
        node: Which waits.
        text: A part of the sentence that names the cause and the holder.
    """

    make: Callable[[threading.Event], Any]
    kind: str
    node: str
    text: str
    needs_journal: bool = False

    def options(self, folder: Path) -> dict[str, Any]:
        """Return what the run is called with."""
        if not self.needs_journal:
            return {}
        return {"journal": Journal(folder / "runs.db", run="letter-7", on_wait="stay")}


def _graph_cap(_: threading.Event) -> Any:
    start, parse, late, fetch = Node[Any, Any](name="Start"), Held(name="Parse"), Late(), Held()
    fetch.name = "Fetch"
    start >> [parse, late]
    late >> fetch
    return Graph(start, name="crawl", max_workers=3)


def _node_cap(_: threading.Event) -> Any:
    node, start, late = Held(name="Fetch", max_workers=2), Node[Any, Any](name="Start"), Late()
    start >> [Graph(node, name="first"), late]
    late >> Graph(node, name="second")
    return Graph(start)


def _join(_: threading.Event) -> Any:
    start = Node[Any, Any](name="Start")
    start >> [Node[Any, Any](name="Fast"), Held(name="Slow")] >> Node[Any, Any](name="Merge")
    return Graph(start)


def _breaker(_: threading.Event) -> Any:
    breaker = CircuitBreaker(failures=1, reset_after=600, name="api")
    return Graph(Fails(name="Call", breaker=breaker) >> Held(name="Next"))


def _retry(_: threading.Event) -> Any:
    return Graph(Fails(name="Call", max_retries=3, wait=600))


STAGED = {
    "a graph's cap": Staged(
        _graph_cap, "permit", "Fetch", "of Graph 'crawl' are held by 'Parse' (3)"
    ),
    "a node's cap": Staged(
        _node_cap, "permit", "second/Fetch", "of 'Fetch' are held by 'first/Fetch' (2)"
    ),
    "a key": Staged(
        lambda _: Graph(Held(name="Fetch", limit_by=lambda item: item % 2)),
        "key", "Fetch", "of key 0 is held by item 0",
    ),
    "a rate": Staged(
        lambda _: Graph(Held(name="Fetch", rate=RateLimit(1, per=600))),
        "rate", "Fetch", "RateLimit(1, per=600) is used up; the next call may begin in 9 min",
    ),
    "a breaker": Staged(
        _breaker, "breaker", "Call", "breaker 'api' is open after a failure (ConnectionError)"
    ),
    "a pause between attempts": Staged(
        _retry, "retry", "Call", "after attempt 1 failed with ConnectionError"
    ),
    "a join": Staged(_join, "join", "Merge", "waits for 'Slow', which may still lead to it"),
    "a full buffer": Staged(
        lambda _: Graph(Passes(name="Fast") | Held(name="Slow", max_workers=1)),
        "room", "Pipeline/Fast", "is full (64 of 64 items), as 'Pipeline/Slow' is slower",
    ),
    "an empty buffer": Staged(
        lambda _: Graph(Held(name="Slow") | Passes(name="Fast")),
        "items", "Pipeline/Fast", "its buffer is empty, as 'Pipeline/Slow' has no output yet",
    ),
    "a slow source": Staged(
        lambda _: Graph(Reads(name="Read")),
        "source", "Read", "its source, which has yielded no item after 1 item, at staged.py:",
    ),
    "a thread": Staged(
        lambda gate: Graph(Blocks(gate, name="Parse")),
        "thread", "Parse", "1 call of exec in threads, at staged.py:",
    ),
    "a process": Staged(
        lambda _: Graph(Sleeps(name="Render")),
        "process", "Render", "1 call of exec in worker processes",
    ),
    "a person": Staged(
        lambda _: Graph(WaitFor("approval", schema=bool)),
        "answer", "approval",
        "an answer to 'approval'; to give one: kaygraph runs answer --journal ",
        needs_journal=True,
    ),
}  # fmt: skip
