"""What type checkers know of the public API: mypy and pyright read this file, nothing runs it.

A line marked as ignored is a mistake that both have to find; a mark that is not needed is an error.
"""

import logging
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any, Literal, assert_type
from uuid import UUID

from opentelemetry.trace import TracerProvider
from prometheus_client import CollectorRegistry
from structlog.typing import FilteringBoundLogger

from kaygraph import (
    AsyncNode,
    BaseNode,
    BatchGraph,
    BatchNode,
    Cache,
    CircuitBreaker,
    Event,
    Graph,
    Journal,
    MapReduceNode,
    Node,
    Outcome,
    ParallelBatchNode,
    Pipeline,
    Prometheus,
    RateLimit,
    Remote,
    Retry,
    RunLog,
    StructlogObserver,
    Watch,
    first_of,
    settle,
)
from kaygraph.executors.dask import Dask
from kaygraph.nodes import WaitFor, node, parallel_node
from kaygraph.tracing import OpenTelemetry
from kaygraph.types import (
    Branch,
    BranchGroup,
    Chain,
    RunInfo,
    RunRecord,
    RunTask,
    StageReport,
    Streaming,
    Wait,
)

# --- what a program writes -------------------------------------------------------------------


class Read(Node[str, int]):
    """Steps whose types follow one another; ``def`` and ``async def`` alike."""

    def prep(self, shared: dict[str, Any]) -> str:
        return str(shared["path"])

    async def exec(self, path: str) -> int:
        return len(path)

    def exec_fallback(self, path: str, error: Exception) -> int:
        return 0

    async def post(self, shared: dict[str, Any], path: str, size: int) -> str:
        shared["size"] = size
        return "default"


class Fetch(ParallelBatchNode[str, bytes]):
    """The items that ``prep`` gives are what ``exec`` takes."""

    max_workers = 20
    timeout = 2.5
    retry = Retry(attempts=3)
    rate = RateLimit(10, per=1)
    breaker = CircuitBreaker()
    cache = Cache("cache.db", ttl="7d", key=lambda item: item)
    on_error = "collect"

    async def prep(self, shared: Any) -> AsyncIterator[str]:
        async def urls() -> AsyncIterator[str]:
            yield "a"

        return urls()

    def exec(self, url: str) -> bytes:
        return url.encode()

    def post(self, shared: Any, urls: Iterable[str] | Any, pages: list[bytes]) -> None:
        shared["pages"] = pages


class Stage(BatchNode[bytes, str]):
    """A stage gets the report of what it did."""

    def exec(self, page: bytes) -> str:
        return page.decode()


class Tokens(ParallelBatchNode[str, str]):
    """A stage may yield its results; what its fallback gives follows them."""

    async def exec(self, prompt: str) -> AsyncIterator[str]:
        yield prompt

    def exec_fallback(self, prompt: str, error: Exception) -> list[str]:
        return [prompt]


class Lines(BatchNode[str, str]):
    """The same in a thread."""

    def exec(self, path: str) -> Iterator[str]:
        yield path


class Numbers(BatchNode[str, str]):
    """What it yields is of another type."""

    async def exec(self, path: str) -> AsyncIterator[int]:  # type: ignore[override] # pyright: ignore[reportIncompatibleMethodOverride]
        yield 3


class Hooks(AsyncNode):
    """What a hook may ask; a node without type arguments is one of Any."""

    async def exec(self, prep_res: Any) -> Any:
        assert_type(self.log, FilteringBoundLogger)
        assert_type(self.attempt, int)
        assert_type(self.now(), datetime)
        assert_type(self.random, Random)
        assert_type(self.uuid(), UUID)
        assert_type(self.idempotency_key, str)
        assert_type(self.replaying, bool)
        assert_type(self.params, Mapping[str, Any])
        assert_type(self.error, BaseException | None)
        assert_type(self.outcomes, Sequence[Outcome[Any]])
        self.log.info("working", item=prep_res)
        assert_type(self.successors, Mapping[str, Sequence[BaseNode]])
        self.log.whisper("working")  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]


@node(reads="text", writes="words", timeout=3)
def words(text: str) -> list[str]:
    return text.split()


@parallel_node(reads="urls", writes="pages", max_workers=5)
async def pages(url: str) -> str:
    return url


# --- every object has the type of its class -----------------------------------------------------

read, fetch, stage = Read(max_retries=3, wait=0.5), Fetch(max_workers="auto"), Stage()
assert_type(read, Read)
assert_type(fetch, Fetch)
assert_type(read.timeout, float | None)
assert_type(ParallelBatchNode().max_workers, int | Literal["auto"])
assert_type(BatchNode().on_error, str | float)

graph = Graph(read, max_workers=4, on_conflict="raise")
assert_type(graph, Graph)
assert_type(graph.max_workers, int | None)
assert_type(graph.to_mermaid(), str)
assert_type(graph.to_svg(direction="TB", standalone=False), str)
assert_type(BatchGraph(read, max_workers=4), BatchGraph)
assert_type(MapReduceNode(map_workers=2), MapReduceNode)
assert_type(first_of(read, fetch), BranchGroup)
assert_type(settle(read), BranchGroup)

# --- wiring -----------------------------------------------------------------------------------

assert_type(read >> fetch, Chain)
assert_type(read >> [fetch, stage] >> graph, Chain)
assert_type(read - "retry", Branch)
assert_type(fetch | stage, Streaming[Any])
assert_type(fetch | stage | stage, Streaming[Any])
assert_type((fetch | stage) >> read, Chain)
assert_type(read.name, str)


async def run() -> None:
    """What runs give back."""
    assert_type(graph.launch({}), RunTask)
    assert_type(graph.run({}, watch=True), str | None)
    assert_type(await graph.run_async({}, watch=8765), str | None)
    assert_type(await graph.launch({}, watch=Watch(control=True)), str | None)
    graph.run({}, watch="8765")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    with Watch(save="run.html") as page:
        assert_type(page, Watch)
        assert_type(page.address, str | None)
    assert_type(await (fetch | stage).run_async({}), str | None)
    async for outcome in fetch.stream({}, observers=[print], deadline=60):
        assert_type(outcome, Outcome[bytes])
        assert_type(outcome.value, bytes | None)
    async for result in Pipeline(fetch, stage).stream():
        print(result)
    async for result in (fetch | stage).stream(deadline=60):
        print(result)


def of_stage(report: StageReport) -> None:
    assert_type(report.busy_s, float)
    assert_type(report.results, list[Any] | None)


# --- mistakes that are found --------------------------------------------------------------------

Read(timout=3)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
Read(timeout="3")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
Read(max_workers=3)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
Read(run_in=Dask("tcp://127.0.0.1:8786"))
Graph(Read(), run_in=Dask(workers=2))
BatchGraph(Read(), run_in="process")
Graph(Read(), run_in="procces")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
Read(run_in="proces")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
Fetch(max_worker=3)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
Fetch(max_workers="all")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
Fetch(rate=5)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
Stage(max_workers=3)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
Graph(read, timeout=3)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
Graph(read, on_conflict="warm")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
BatchGraph(read, map_workers=3)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
MapReduceNode(max_workers=3)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
Pipeline(fetch, stage, size=3)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
graph.timeout = 3  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]
stage.max_workers = 3  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]
graph.to_mermade()  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]
read.timout = 3  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]
Graph(read - 3)  # type: ignore[operator] # pyright: ignore[reportOperatorIssue]
graph.run(observer=[])  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]


class Wrong(Node[str, int]):
    """Steps that do not follow one another, and a setting of another type."""

    timeout = "3"  # type: ignore[assignment] # pyright: ignore[reportAssignmentType]

    def prep(self, shared: Any) -> int:  # type: ignore[override] # pyright: ignore[reportIncompatibleMethodOverride]
        return 3

    def post(self, shared: Any, number: str) -> None:  # type: ignore[override] # pyright: ignore[reportIncompatibleMethodOverride]
        pass


class Covered(Node):
    """An attribute of one's own is one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.log = logging.getLogger("covered")
        self.error = "none so far"
        self.now = 3.0
        self.random = "of mine"


WaitFor("approval", ask={"send": True}, schema=bool, timeout=3, default=None, writes="answer")
WaitFor("approval", timeout="3")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
WaitFor("approval", defualt=3)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]


async def recorded(folder: Path) -> None:
    journal = Journal(folder / "runs.db", run="r", types=[Outcome], redo="failed", keep="30d")
    assert_type(graph.run({}, journal=journal), str | None)
    assert_type(await graph.run_async({}, journal=journal), str | None)
    assert_type(await graph.launch({}, journal=journal), str | None)
    assert_type(journal.runs(), list[RunInfo])
    assert_type(journal.show("r"), RunRecord)
    assert_type(journal.waits("r"), list[Wait])
    assert_type(journal.fork("r", set={"Read": 3}), str)
    assert_type(journal.prune(20), list[str])
    graph.run({}, journal="runs.db")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    Journal("runs.db", on_wait="stop")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    Journal("runs.db", types=Outcome)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def watched(registry: CollectorRegistry, tracers: TracerProvider) -> None:
    """Who looks on says what it wants to know."""
    graph.run({}, observers=[OpenTelemetry(tracer_provider=tracers, item_spans=None)])
    graph.run({}, observers=[Prometheus(registry), StructlogObserver(items=True), RunLog()])
    OpenTelemetry(item_spans="all")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    Prometheus(port=9000)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    graph.run({}, observers=OpenTelemetry())  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


async def reading(node: Node[str, int]) -> None:
    async with graph.events({}, items=True, size=10, deadline=3, observers=[]) as events:
        async for event in events:
            assert_type(event, Event)
    assert_type(events.action, str | None)
    assert_type(events.dropped, int)
    assert_type(events.run, RunTask)
    async with graph.results({}, node) as results, graph.results(None, "Read") as others:
        async for outcome in results:
            assert_type(outcome, Outcome[Any])
        assert_type(await anext(others), Outcome[Any])
    node.say("done")
    graph.events({}, itmes=True)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    graph.results({}, 3)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


async def staying(remote: Remote[bytes]) -> None:
    """A value that stays on a worker is typed there and here."""
    assert_type(Remote([1]), Remote[list[int]])
    assert_type(remote.value, bytes)
    assert_type(await remote.fetch(), bytes)
    Remote()  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
