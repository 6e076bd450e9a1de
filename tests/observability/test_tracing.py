"""OpenTelemetry: spans of runs, nodes and items, with the right parents."""

import asyncio
import gc
import weakref
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan

from kaygraph import (
    AsyncNode,
    BatchGraph,
    BatchNode,
    Graph,
    MapReduceNode,
    Node,
    ParallelBatchNode,
    all_of,
)
from kaygraph.patterns import RaceNode
from kaygraph.testing import simulate
from kaygraph.tracing import OpenTelemetry
from tests.observability.traces import (
    Looks,
    LooksAsGenerator,
    LooksAsync,
    Traces,
    attributes_of,
    context_of,
)


@pytest.fixture
def traces() -> Traces:
    return Traces()


class Numbers(ParallelBatchNode[int, int]):
    """Two items."""

    def prep(self, shared: Any, /) -> list[int]:
        return [1, 2]

    async def exec(self, number: int, /) -> int:
        return number


def links_of(span: ReadableSpan) -> list[int]:
    return [link.context.span_id for link in span.links]


# --- which spans there are -----------------------------------------------------------------------


def test_a_run_its_nodes_and_their_items_have_spans(traces: Traces) -> None:
    """Each is a child of what it belongs to."""
    Graph(Numbers(name="First") >> Node(name="Second"), name="Both").run(
        observers=[traces.observer()]
    )
    assert traces.lines() == [
        "run Both",
        "  node First",
        "    item First",
        "    item First",
        "  node Second",
    ]
    items = [attributes_of(span)["kaygraph.item.index"] for span in traces.named("item First")]
    assert items == [0, 1]
    assert attributes_of(traces.one("node First"))["kaygraph.items"] == 2


def test_a_run_says_which_it_is(traces: Traces) -> None:
    """Its nodes say so too, and the next run has another id."""
    graph, observer = Graph(Numbers()), traces.observer()
    graph.run(observers=[observer])
    graph.run(observers=[observer])
    runs = [attributes_of(span)["kaygraph.run.id"] for span in traces.named("run Graph")]
    nodes = [attributes_of(span)["kaygraph.run.id"] for span in traces.named("node Numbers")]
    assert runs == nodes
    assert len(set(runs)) == 2


def test_a_node_alone_is_a_run(traces: Traces) -> None:
    """Its items are children of that."""
    Numbers().run(observers=[traces.observer()])
    assert traces.lines() == ["run Numbers", "  item Numbers", "  item Numbers"]


def test_graphs_within_graphs_are_nodes(traces: Traces) -> None:
    """Groups and branches as well; names are those of events."""
    inner = Graph(Numbers(), name="Inner")
    Graph(inner >> all_of(Node(name="A"), Node(name="B")), name="Outer").run(
        observers=[traces.observer()]
    )
    assert traces.lines() == [
        "run Outer",
        "  node Inner",
        "    node Inner/Numbers",
        "      item Inner/Numbers",
        "      item Inner/Numbers",
        "  node BranchGroup",
        "    node BranchGroup/A",
        "    node BranchGroup/B",
    ]


def test_stages_of_a_pipeline_have_spans(traces: Traces) -> None:
    """They overlap, and their items are theirs."""
    Graph(Numbers(name="Make") | Numbers(name="Use")).run(observers=[traces.observer()])
    assert traces.lines() == [
        "run Graph",
        "  node Pipeline",
        "    stage Pipeline/Make",
        "      item Pipeline/Make",
        "      item Pipeline/Make",
        "    stage Pipeline/Use",
        "      item Pipeline/Use",
        "      item Pipeline/Use",
    ]
    stage = attributes_of(traces.one("stage Pipeline/Use"))
    assert stage["kaygraph.workers"] == 10
    assert stage["kaygraph.starved_s"] >= 0
    assert stage["kaygraph.items"] == 2


def test_parts_of_a_map_reduce_have_spans(traces: Traces) -> None:
    """Those of its map and those of its reduce, by name."""

    class Sums(MapReduceNode):
        def prep(self, shared: Any, /) -> list[int]:
            return [1, 2]

        async def map(self, number: int, /) -> list[tuple[str, int]]:
            return [("sum", number)]

        async def reduce(self, key: str, numbers: Any, /) -> int:
            return sum(numbers)

    Graph(Sums()).run(observers=[traces.observer()])
    assert traces.lines() == [
        "run Graph",
        "  node Sums",
        "    item Sums/map",
        "    item Sums/map",
        "    item Sums/reduce",
    ]


def test_rounds_that_run_at_once_are_distinguished(traces: Traces) -> None:
    """The items of a round belong to the node of that round."""

    class Rounds(BatchGraph):
        def prep(self, shared: Any, /) -> list[dict[str, int]]:
            return [{"round": 0}, {"round": 1}]

    simulate(Rounds(Numbers(), max_workers=2), observers=[traces.observer()])
    assert traces.lines() == [
        "run Rounds",
        "  node Numbers",
        "    item Numbers",
        "    item Numbers",
        "  node Numbers",
        "    item Numbers",
        "    item Numbers",
    ]


def test_runs_at_once_with_one_observer_are_distinguished(traces: Traces) -> None:
    """Each is a trace of its own."""
    observer, both_run = traces.observer(), asyncio.Event()

    class Waits(AsyncNode[None, None]):
        async def exec(self, _: None, /) -> None:
            if len(waiting) == 2:
                both_run.set()
            await both_run.wait()

        def prep(self, shared: Any, /) -> None:
            waiting.append(shared)

    waiting: list[Any] = []

    async def run_both() -> None:
        await asyncio.gather(*[Graph(Waits()).run_async(observers=[observer]) for _ in range(2)])

    asyncio.run(run_both())
    assert traces.lines() == ["run Graph", "  node Waits", "    item Waits"] * 2
    assert len({context_of(span).trace_id for span in traces.spans}) == 2


# --- what runs within --------------------------------------------------------------------------


@pytest.mark.parametrize("run_in", ["loop", "thread", "process", None])
@pytest.mark.parametrize("kind", [Looks, LooksAsync, LooksAsGenerator])
def test_exec_runs_within_the_span_of_its_item(
    traces: Traces, run_in: Any, kind: type[Looks]
) -> None:
    """On the loop, in a thread, in a process: what it traces itself is a child of that."""
    if kind is LooksAsync and run_in == "thread":
        pytest.skip("an async def does not run in threads")
    shared = {"items": [1, 2]}
    Graph(kind(run_in=run_in)).run(shared, observers=[traces.observer()])
    assert seen_in(shared) == items_of(traces, f"item {kind.__name__}", twice=kind)


@pytest.mark.parametrize("executor", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_exec_runs_within_the_span_of_its_item_in_an_executor(
    traces: Traces, executor: type[Any]
) -> None:
    """Of the program's own, in this process or in another."""
    shared = {"items": [1, 2]}
    with executor(1) as pool:
        Graph(Looks(run_in=pool)).run(shared, observers=[traces.observer()])
    assert seen_in(shared) == items_of(traces, "item Looks")


@pytest.mark.parametrize("run_in", ["loop", "thread", "process"])
def test_another_attempt_runs_within_the_span_of_its_item(traces: Traces, run_in: Any) -> None:
    """The attempt that has failed is an event of that span."""
    shared = {"items": ["fail once", 2]}
    Graph(Looks(run_in=run_in, max_retries=2)).run(shared, observers=[traces.observer()])
    assert seen_in(shared) == items_of(traces, "item Looks")
    first, second = traces.named("item Looks")
    assert [event.name for event in first.events] == ["kaygraph.retry"]
    attributes = dict(first.events[0].attributes or {})
    assert attributes == {
        "kaygraph.attempt": 1,
        "kaygraph.wait_s": 0.0,
        "exception.type": "builtins.ValueError",
        "exception.message": "ValueError: fail once",
    }
    assert attributes_of(first)["kaygraph.attempts"] == 2
    assert first.status.status_code is trace.StatusCode.UNSET
    assert not second.events


def test_stages_run_within_the_spans_of_their_items(traces: Traces) -> None:
    """Many at once, in whichever order they end."""

    class Traced(ParallelBatchNode[int, int]):
        def prep(self, shared: Any, /) -> range:
            return range(3)

        async def exec(self, number: int, /) -> int:
            with traces.tracer.start_as_current_span(f"inside {number}"):
                await asyncio.sleep(3 - number)
            return number

    simulate(Graph(Traced(name="A") | Traced(name="B")), observers=[traces.observer()])
    for stage in "AB":
        items = traces.named(f"item Pipeline/{stage}")
        inside = [
            span
            for number in range(3)
            for span in traces.named(f"inside {number}")
            if span.parent is not None
            and span.parent.span_id in {context_of(item).span_id for item in items}
        ]
        by_index = {attributes_of(item)["kaygraph.item.index"]: item for item in items}
        assert len(inside) == 3
        for number, span in enumerate(inside):
            assert span.parent == context_of(by_index[number])


def test_a_fallback_runs_within_the_span_of_its_item(traces: Traces) -> None:
    """Also where there were several attempts before."""

    class Falls(BatchNode[int, int]):
        def prep(self, shared: Any, /) -> list[int]:
            return [1]

        async def exec(self, number: int, /) -> int:
            raise ValueError

        def exec_fallback(self, number: int, error: Exception, /) -> int:
            with traces.tracer.start_as_current_span("inside"):
                return 0

    Graph(Falls(max_retries=3)).run(observers=[traces.observer(item_spans=0)])
    assert traces.lines() == ["run Graph", "  node Falls", "    item Falls", "      inside"]


def test_prep_and_post_run_within_the_span_of_their_node(traces: Traces) -> None:
    """Not within that of an item, also after one has failed; nor does what gives the items."""

    class Steps(BatchNode[int, int]):
        def prep(self, shared: Any, /) -> Iterator[int]:
            for number in range(3):
                traces.tracer.start_span(f"give {number}").end()
                yield number

        async def exec(self, number: int, /) -> int:
            return 1 // (number - 1)

        def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> None:
            traces.tracer.start_span("post").end()

    Graph(Steps(on_error="skip")).run(observers=[traces.observer()])
    assert traces.lines() == [
        "run Graph", "  node Steps", "    give 0", "    item Steps", "    give 1", "    item Steps",
        "    give 2", "    item Steps", "    post",
    ]  # fmt: skip


@pytest.mark.parametrize("item_spans", [0, 1000])
@pytest.mark.parametrize("attempts", [1, 2])
def test_post_runs_within_the_span_of_its_node(
    traces: Traces, attempts: int, item_spans: int
) -> None:
    """Of a node that has only one item, in whose task it runs, as well."""

    class Steps(AsyncNode[None, None]):
        async def exec(self, _: None, /) -> None:
            if self.attempt < attempts:
                raise ValueError

        def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> None:
            with traces.tracer.start_as_current_span("post"):
                pass

    observer = traces.observer(item_spans=item_spans)
    Graph(Steps(max_retries=2)).run(observers=[observer])
    assert traces.one("post").parent == context_of(traces.one("node Steps"))


class Calls(BatchNode[Any, Any]):
    """Runs another graph for its item, from a thread or on the loop."""

    def __init__(self, inner: Graph, **settings: Any) -> None:
        super().__init__(**settings)
        self.inner = inner

    def prep(self, shared: Any, /) -> list[dict[str, Any]]:
        shared["seen"] = [{"items": ["fail once", 2]}]
        return list(shared["seen"])

    def exec(self, item: Any, /) -> Any:
        self.inner.run(item)


class Awaits(Calls):
    async def exec(self, item: Any, /) -> Any:
        await self.inner.run_async(item)


@pytest.mark.parametrize(("kind", "run_in"), [(Calls, "thread"), (Calls, None), (Awaits, None)])
@pytest.mark.parametrize("deep", [False, True])
def test_a_graph_that_exec_runs_is_within_its_item(
    traces: Traces, kind: type[Calls], run_in: Any, deep: bool
) -> None:
    """Its nodes and items too, and what these trace, also from a thread of a thread."""
    inner = Graph(Looks(name="Look", max_retries=2, run_in="thread"), name="Inner")
    path, depth, shared = "Call/Inner/Look", "          ", dict[str, Any]()
    if deep:
        inner = Graph(kind(inner, name="Between", run_in=run_in), name="Middle")
        path, depth = "Call/Middle/Between/Inner/Look", "                "
    graph = Graph(kind(inner, name="Call", run_in=run_in), name="Outer")
    graph.run(shared, observers=[traces.observer()])
    lines = traces.lines()
    assert lines[:4] == [
        "run Outer",
        "  node Call",
        "    item Call",
        f"      node Call/{inner.name}",
    ]
    assert lines[-3:] == [f"{depth[2:]}node {path}", *[f"{depth}item {path}"] * 2]
    (item,) = shared["seen"]
    if deep:
        (item,) = item["seen"]
    assert seen_in(item) == items_of(traces, f"item {path}")
    assert traces.metric("kaygraph.items.in_flight")[0][2] == 0
    assert (path, "ok", 2) in traces.metric("kaygraph.items.ended")


def test_a_run_is_within_what_the_program_traces(traces: Traces) -> None:
    """And what comes after the run is not within the run, however it has ended."""

    class Fails(AsyncNode[None, None]):
        async def exec(self, _: None, /) -> None:
            raise ValueError("it fails")

    with traces.tracer.start_as_current_span("program") as program:
        Graph(Node(name="Works")).run(observers=[traces.observer()])
        assert trace.get_current_span() is program
        with pytest.raises(ValueError, match="it fails"):
            Graph(Fails()).run(observers=[traces.observer()])
        assert trace.get_current_span() is program

    async def run() -> None:
        with traces.tracer.start_as_current_span("loop"):
            await Graph(Node(name="Works")).run_async(observers=[traces.observer()])
            with pytest.warns(RuntimeWarning, match="blocks"):
                Graph(Node(name="Blocks")).run(observers=[traces.observer()])

    asyncio.run(run())
    assert traces.lines() == [
        "program",
        "  run Graph",
        "    node Works",
        "  run Graph",
        "    node Fails",
        "      item Fails",
        "loop",
        "  run Graph",
        "    node Works",
        "  run Graph",
        "    node Blocks",
    ]


def seen_in(shared: dict[str, Any]) -> list[tuple[int, int]]:
    """Return in which spans the items of a Looks ran."""
    seen: list[Any] = shared["seen"]
    return [one for item in seen for one in (item if isinstance(item, list) else [item])]


def items_of(traces: Traces, name: str, twice: type[Looks] | None = None) -> list[tuple[int, int]]:
    contexts = [context_of(span) for span in traces.named(name)]
    assert contexts
    times = 2 if twice is LooksAsGenerator else 1
    return [(one.trace_id, one.span_id) for one in contexts for _ in range(times)]


def test_parts_of_a_compound_node_are_within_its_item(traces: Traces) -> None:
    """Also in another attempt."""
    failed: list[int] = []

    class Ask(AsyncNode[Any, Any]):
        async def exec(self, record: int, /) -> int:
            with traces.tracer.start_as_current_span(f"inside {record}"):
                await asyncio.sleep(record)
                if record == 2 and not failed:
                    failed.append(record)
                    raise ValueError(record)
            return record

    class Race(RaceNode[Any]):
        def prep(self, shared: Any, /) -> int:
            return 2

    race = Race(Ask(name="one", max_retries=2), name="Race")
    simulate(Graph(race), {}, observers=[traces.observer()])
    assert traces.lines() == [
        "run Graph",
        "  node Race",
        "    item Race",
        "      item Race/one",
        "        inside 2",
        "        inside 2",
    ]
    assert attributes_of(traces.one("item Race/one"))["kaygraph.attempts"] == 2


@pytest.mark.parametrize("fails", [False, True])
def test_a_run_leaves_nothing_to_the_garbage_collector(traces: Traces, fails: bool) -> None:
    """Of what it was traced with."""

    class Store(dict[str, Any]):
        """A shared store that can be watched."""

    class Ends(Numbers):
        async def exec(self, number: int, /) -> int:
            if fails:
                raise ValueError(number)
            return number

    fork = Node[Any, Any](name="Fork")
    fork >> [Ends(name="A", on_error="skip"), Numbers(name="B") | Ends(name="C")] >> Node(name="J")
    graph = Graph(fork)

    def play() -> weakref.ref[Store]:
        shared = Store()
        with suppress(Exception):
            graph.run(shared, observers=[traces.observer()])
        return weakref.ref(shared)

    play()
    while gc.collect():  # providers of other tests
        pass
    gc.disable()
    try:
        assert play()() is None
        assert gc.collect() == 0
    finally:
        gc.enable()


# --- several observers ----------------------------------------------------------------------------

ALL = [
    "run Graph",
    "  node First",
    "    item First",
    "    item First",
    "  node Pipeline",
    "    stage Pipeline/Second",
    "      item Pipeline/Second",
    "      item Pipeline/Second",
    "    stage Pipeline/Third",
    "      item Pipeline/Third",
    "      item Pipeline/Third",
]


@pytest.mark.parametrize("events", [False, True])
def test_two_observers_have_a_trace_each(traces: Traces, events: bool) -> None:
    """What exec traces is within that of the first; nothing stays current."""

    class EachItem(OpenTelemetry):
        """Receives an event for each item."""

        def __call__(self, event: Any, /) -> None:
            super().__call__(event)

    class Fails(Numbers):
        async def exec(self, number: int, /) -> int:
            with traces.tracer.start_as_current_span("inside"):
                if number == 1 or self.attempt == 1:
                    raise ValueError(number)
            return number

    other = Traces()
    kind = EachItem if events else OpenTelemetry
    observers = [
        kind(tracer_provider=one.provider, meter_provider=one.meters) for one in (traces, other)
    ]
    first = Fails(name="First", max_retries=2, on_error="skip", max_workers=1)
    graph = Graph(first >> (Numbers(name="Second") | Numbers(name="Third")))
    with traces.tracer.start_as_current_span("program") as program:
        for _ in range(2):
            graph.run(observers=observers)
            assert trace.get_current_span() is program
    inside = traces.named("inside")
    assert len(inside) == 2 * 4
    items = [context_of(span).span_id for span in traces.named("item First")]
    assert [span.parent.span_id for span in inside if span.parent] == [
        item for item in items for _ in range(2)
    ]
    assert [line for line in traces.lines() if "inside" not in line] == [
        "program",
        *[f"  {line}" for line in ALL * 2],
    ]
    assert other.lines() == ALL * 2
    assert [len(span.events) for span in other.named("item First")] == [2, 1] * 2


def test_a_run_within_a_run_may_have_an_observer_of_its_own(traces: Traces) -> None:
    """Both trace it, and neither is in the way of the other."""
    other = Traces()
    inner = Graph(Numbers(), name="Inner")

    class Runs(AsyncNode[Any, Any]):
        async def exec(self, _: Any, /) -> None:
            for _ in range(2):
                await inner.run_async(observers=[other.observer()])
            with traces.tracer.start_as_current_span("inside"):
                pass

    Graph(Runs(), name="Outer").run(observers=[traces.observer()])
    item = "          item Runs/Inner/Numbers"
    nodes = ["      node Runs/Inner", "        node Runs/Inner/Numbers", item, item]
    around = ["run Outer", "  node Runs", "    item Runs"]
    assert traces.lines() == [*around, *nodes * 2, "      inside"]
    assert [line.strip() for line in other.lines()] == [
        "run Runs/Inner", "node Runs/Inner/Numbers", *[item.strip()] * 2,
    ] * 2  # fmt: skip


def test_a_run_that_is_detached_is_a_run_of_its_own(traces: Traces) -> None:
    """In the trace of what has begun it, with an id of its own."""
    observer = traces.observer()

    class Runs(AsyncNode[Any, Any]):
        async def exec(self, _: Any, /) -> None:
            graph = Graph(Numbers(), name="Other")
            await graph.run_async(observers=[observer], detached=True)

    Graph(Runs()).run(observers=[observer])
    assert traces.lines()[:5] == [
        "run Graph",
        "  node Runs",
        "    item Runs",
        "      run Other",
        "        node Numbers",
    ]
    ids = [attributes_of(span)["kaygraph.run.id"] for span in traces.spans if "run " in span.name]
    assert len(set(ids)) == 2


# --- joins ---------------------------------------------------------------------------------------


def test_a_join_is_linked_to_those_that_have_led_to_it(traces: Traces) -> None:
    """Those that another way has passed are not among them."""
    fork, join = Node(name="Fork"), Node(name="Join")
    left, right = Node(name="Left"), Node(name="Right")
    fork >> [left, right]
    left >> join
    right >> Node(name="More") >> join
    join >> Node(name="After")
    Graph(fork).run(observers=[traces.observer()])
    ends = {context_of(traces.one(f"node {name}")).span_id for name in ("Left", "More")}
    assert set(links_of(traces.one("node Join"))) == ends
    assert all(not span.links for span in traces.spans if span.name != "node Join")
    assert traces.one("node Join").parent == context_of(traces.one("run Graph"))


def test_a_join_is_linked_to_a_node_that_has_failed(traces: Traces) -> None:
    """Where its error leads there."""

    class Fails(AsyncNode[None, None]):
        async def exec(self, _: None, /) -> None:
            raise ValueError

    fork, join, fails, works = Node(name="Fork"), Node(name="Join"), Fails(), Node(name="Works")
    fork >> [fails, works] >> join
    fails - "error" >> join
    Graph(fork).run(observers=[traces.observer()])
    assert len(links_of(traces.one("node Join"))) == 2
    assert traces.one("node Fails").status.status_code is trace.StatusCode.ERROR
    assert traces.one("run Graph").status.status_code is trace.StatusCode.UNSET


def test_a_join_in_a_loop_is_linked_to_those_of_its_round(traces: Traces) -> None:
    """And to none twice."""

    class Again(AsyncNode[None, None]):
        def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> str | None:
            shared["rounds"] = shared.get("rounds", 0) + 1
            return "again" if shared["rounds"] < 3 else None

    fork, join = Node(name="Fork"), Again(name="Join")
    fork >> [Node(name="A"), Node(name="B")] >> join
    join - "again" >> fork
    Graph(fork).run(observers=[traces.observer()])
    rounds = zip(traces.named("node A"), traces.named("node B"), strict=True)
    expected = [{context_of(a).span_id, context_of(b).span_id} for a, b in rounds]
    assert [set(links_of(span)) for span in traces.named("node Join")] == expected
    assert len(expected) == 3


def test_joins_of_rounds_at_once_are_linked_to_those_of_their_own(traces: Traces) -> None:
    """The rounds of a BatchGraph pass through the same nodes."""

    class Waits(AsyncNode[None, None]):
        async def exec(self, _: None, /) -> None:
            with traces.tracer.start_as_current_span(f"{self.name} {self.params['round']}"):
                await asyncio.sleep(1)

    class Rounds(BatchGraph):
        def prep(self, shared: Any, /) -> list[dict[str, int]]:
            return [{"round": 0}, {"round": 1}]

    fork = Node(name="Fork")
    fork >> [Waits(name="A"), Waits(name="B")] >> Waits(name="Join")
    simulate(Rounds(fork, max_workers=2), observers=[traces.observer()])
    nodes = {context_of(span).span_id: span for span in traces.spans}

    def node_of(name: str) -> ReadableSpan:
        span = traces.one(name)
        for _ in range(2):
            assert span.parent is not None
            span = nodes[span.parent.span_id]
        return span

    for number in range(2):
        ends = {context_of(node_of(f"{name} {number}")).span_id for name in "AB"}
        assert set(links_of(node_of(f"Join {number}"))) == ends
