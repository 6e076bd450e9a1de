"""OpenTelemetry: what spans say of failures and cancellations, and what they never say."""

import asyncio
from typing import Any

import pytest
import structlog
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.trace import StatusCode

from kaygraph import (
    AsyncNode,
    BatchNode,
    CircuitBreaker,
    Drop,
    Graph,
    Node,
    first_of,
)
from kaygraph.testing import simulate
from kaygraph.tracing import OpenTelemetry
from tests.children import python
from tests.observability.traces import Looks, Traces, attributes_of, context_of

SURROGATE = "caf\udce9"  # as Python reads the name of a file that is no UTF-8


@pytest.fixture
def traces() -> Traces:
    return Traces()


class Does(BatchNode[Any, Any]):
    """Raises items that are errors, and returns others."""

    def prep(self, shared: Any, /) -> Any:
        return shared["items"]

    async def exec(self, item: Any, /) -> Any:
        if isinstance(item, BaseException):
            raise item
        return item


def status_of(span: ReadableSpan) -> tuple[StatusCode, str | None]:
    return span.status.status_code, span.status.description


def test_a_failed_item_has_the_status_of_its_error(traces: Traces) -> None:
    """So have its node and the run, but only the item says where it came from."""
    items = {"items": [1, KeyError("missing")]}
    with pytest.raises(KeyError):
        Graph(Does()).run(items, observers=[traces.observer()])
    works, fails = traces.named("item Does")
    assert status_of(works) == (StatusCode.UNSET, None)
    for span in (fails, traces.one("node Does"), traces.one("run Graph")):
        assert status_of(span) == (StatusCode.ERROR, "KeyError: 'missing'")
        assert attributes_of(span)["error.type"] == "KeyError"
    events = [(span.name, event.name) for span in traces.spans for event in span.events]
    assert events == [("item Does", "exception")]
    assert attributes_of(fails) == {
        "kaygraph.item.index": 1,
        "kaygraph.attempts": 1,
        "kaygraph.status": "failed",
        "error.type": "KeyError",
    }


def test_a_node_that_fails_before_its_items_tells_of_it(traces: Traces) -> None:
    """Its span is where the error came from."""

    class Unprepared(Node[Any, Any]):
        def prep(self, shared: Any, /) -> Any:
            raise LookupError("no items")

    with pytest.raises(LookupError):
        Graph(Unprepared()).run(observers=[traces.observer()])
    (event,) = traces.one("node Unprepared").events
    assert dict(event.attributes or {})["exception.message"] == "LookupError: no items"


def test_an_error_without_a_text_is_named(traces: Traces) -> None:
    """It takes nothing from the error that its text is one."""

    class UntoldError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    items = {"items": [UntoldError()]}
    with pytest.raises(UntoldError):
        Graph(Does(max_retries=2)).run(items, observers=[traces.observer()])
    assert status_of(traces.one("run Graph")) == (StatusCode.ERROR, "UntoldError")


def test_a_failure_that_is_borne_is_that_of_its_item_alone(traces: Traces) -> None:
    """The node has worked."""
    items = {"items": [ValueError("one"), 2]}
    Graph(Does(on_error="collect")).run(items, observers=[traces.observer()])
    assert status_of(traces.named("item Does")[0]) == (StatusCode.ERROR, "ValueError: one")
    node = attributes_of(traces.one("node Does"))
    numbers = {name: number for name, number in node.items() if name.startswith("kaygraph.items")}
    assert numbers == {"kaygraph.items": 2, "kaygraph.items.failed": 1}
    assert status_of(traces.one("node Does")) == (StatusCode.UNSET, None)


def test_an_item_that_its_node_drops_has_not_failed(traces: Traces) -> None:
    """It is skipped, as was asked for."""
    Graph(Does()).run({"items": [Drop()]}, observers=[traces.observer()])
    span = traces.one("item Does")
    assert status_of(span) == (StatusCode.UNSET, None)
    assert attributes_of(span)["kaygraph.status"] == "skipped"


def test_what_is_cancelled_says_so(traces: Traces) -> None:
    """Its status is not that of what has worked."""

    class Waits(AsyncNode[None, None]):
        async def exec(self, _: None, /) -> None:
            await asyncio.sleep(float("inf"))

    graph = Graph(first_of(Node(name="Wins"), Waits(name="Loses")))
    simulate(graph, observers=[traces.observer()])
    for name in ("node BranchGroup/Loses", "item BranchGroup/Loses"):
        assert status_of(traces.one(name)) == (StatusCode.ERROR, "cancelled")
    assert status_of(traces.one("run Graph")) == (StatusCode.UNSET, None)


def test_stages_that_are_cut_short_end(traces: Traces) -> None:
    """The one that has failed says with what."""
    items = {"items": [1, 2]}

    class Fails(Does):
        async def exec(self, item: Any, /) -> Any:
            raise ValueError("it fails")

    with pytest.raises(ValueError, match="it fails"):
        Graph(Does(name="A") | Fails(name="B") | Does(name="C")).run(
            items, observers=[traces.observer()]
        )
    assert status_of(traces.one("stage Pipeline/B")) == (StatusCode.ERROR, "ValueError: it fails")
    assert status_of(traces.one("stage Pipeline/C")) == (StatusCode.ERROR, "cancelled")
    assert status_of(traces.one("node Pipeline")) == (StatusCode.ERROR, "ValueError: it fails")


@pytest.mark.anyio
async def test_a_cancelled_run_ends_all_of_its_spans(traces: Traces) -> None:
    """None stays open, and nothing of it is current any more."""
    began = asyncio.Event()

    class Waits(BatchNode[int, None]):
        def prep(self, shared: Any, /) -> range:
            return range(3)

        async def exec(self, _: int, /) -> None:
            began.set()
            await asyncio.sleep(60)

    run = Graph(Waits()).launch(observers=[traces.observer()])
    await began.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert traces.lines() == ["run Graph", "  node Waits", "    item Waits"]
    assert {status_of(span) for span in traces.spans} == {(StatusCode.ERROR, "cancelled")}
    assert traces.metric("kaygraph.items.ended") == [("Waits", "cancelled", 1)]
    assert traces.metric("kaygraph.items.in_flight") == [("Waits", None, 0)]


def test_what_a_node_learns_from_its_limits_is_an_event(traces: Traces) -> None:
    """A circuit that opens, say; the item that it refuses has failed."""
    items = {"items": [OSError("down"), 1]}
    node = Does(breaker=CircuitBreaker(failures=1), on_error="collect")
    Graph(node).run(items, observers=[traces.observer()])
    (event,) = traces.one("node Does").events
    assert (event.name, dict(event.attributes or {})) == (
        "kaygraph.circuit",
        {"kaygraph.circuit.state": "open"},
    )
    down, refused = traces.named("item Does")
    assert attributes_of(refused)["error.type"] == "CircuitOpenError"
    assert attributes_of(refused)["kaygraph.attempts"] == 0
    assert attributes_of(down)["error.type"] == "OSError"


def test_an_action_is_reported(traces: Traces) -> None:
    """Where a node has gone on to."""

    class Decides(Node[Any, Any]):
        def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> str:
            return "approve"

    node = Decides()
    node - "approve" >> Node(name="Next")
    Graph(node).run(observers=[traces.observer()])
    assert attributes_of(traces.one("node Decides"))["kaygraph.action"] == "approve"


def test_no_text_can_lose_what_is_sent_with_it(traces: Traces) -> None:
    """Names, messages and actions are valid Unicode: an exporter drops a whole batch otherwise."""

    class Named(Does):
        def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> str:
            return SURROGATE

    node = Named(name=SURROGATE, max_retries=2, on_error="collect")
    node - SURROGATE >> Node(name="Next")
    Graph(node).run({"items": [ValueError(SURROGATE)]}, observers=[traces.observer()])
    for span in traces.spans:
        span.to_json().encode()
        span.to_json(indent=None).encode("ascii")
        texts = [span.name, span.status.description or "", *map(str, attributes_of(span).items())]
        texts += [str(dict(event.attributes or {})) for event in span.events]
        "".join(texts).encode()
    assert traces.one("item caf?").status.description == "ValueError: caf?"
    assert traces.metric("kaygraph.items.ended") == [("caf?", "failed", 1)]


def test_secrets_are_hidden(traces: Traces) -> None:
    """In names and messages, as in logs; items are not shown at all."""
    secret = "token=abc123"
    node = Does(name=f"Fetch https://host/?{secret}", on_error="collect", max_retries=2)
    items = {"items": [ValueError(f"refused: {secret}"), secret]}
    Graph(node).run(items, observers=[traces.observer()])
    assert "abc123" not in "".join(span.to_json() for span in traces.spans)
    assert traces.named("item Fetch https://host/?token=***")


def test_a_graph_that_shows_no_items_shows_none_in_spans(traces: Traces) -> None:
    """Not even in the errors of the engine."""

    def no_key(item: Any) -> Any:
        return [item]

    node = Does(name="ByKey", limit_by=no_key, on_error="collect")
    graph = Graph(node, show_items=False)
    graph.run({"items": ["ann@example.org"]}, observers=[traces.observer()])
    assert len(traces.named("item ByKey")) == 1
    assert "ann@example.org" not in "".join(span.to_json() for span in traces.spans)


def test_a_processor_that_fails_fails_no_item(traces: Traces) -> None:
    """The loop's exception handler is called; the run goes on."""

    class Broken(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            if span.name.startswith("item"):
                raise RuntimeError("out of order")

    traces.provider.add_span_processor(Broken())
    contexts: list[Any] = []
    shared = {"items": [1, 2]}

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, status_of: contexts.append(status_of)
        )
        await Graph(Does()).run_async(shared, observers=[traces.observer()])

    asyncio.run(run())
    assert [str(one["exception"]) for one in contexts] == ["out of order"]
    assert "OpenTelemetry" in contexts[0]["message"]
    assert traces.lines() == ["run Graph", "  node Does"]
    assert traces.metric("kaygraph.items.ended") == [("Does", "ok", 2)]


@pytest.mark.parametrize("kind", ["run", "node"])
def test_a_span_that_could_not_begin_takes_no_other_with_it(traces: Traces, kind: str) -> None:
    """Those around it end when they do."""

    class Broken(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            if span.name == f"{kind} Graph" or span.name == f"{kind} First":
                raise RuntimeError("out of order")

    traces.provider.add_span_processor(Broken())
    shared = {"items": [1]}

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, status_of: None)
        graph = Graph(Does(name="First") >> Does(name="Second"))
        await graph.run_async(shared, observers=[traces.observer()])

    asyncio.run(run())
    if kind == "node":
        assert traces.lines() == [
            "run Graph", "  item First", "  node Second", "    item Second",
        ]  # fmt: skip
    else:
        assert traces.lines() == ["node First", "  item First", "node Second", "  item Second"]
    assert trace.get_current_span() is trace.INVALID_SPAN


# --- which items have spans ----------------------------------------------------------------------


def indices(traces: Traces) -> list[int]:
    return [attributes_of(span)["kaygraph.item.index"] for span in traces.named("item Does")]


def test_of_many_items_some_have_spans(traces: Traces) -> None:
    """The first, then one in ten, then one in a hundred."""
    items = {"items": range(400)}
    Graph(Does()).run(items, observers=[traces.observer(item_spans=3)])
    assert indices(traces) == [0, 1, 2, 12, 22, 32, 132, 232, 332]
    assert traces.metric("kaygraph.items.ended") == [("Does", "ok", 400)]
    assert attributes_of(traces.one("node Does"))["kaygraph.items"] == 400


@pytest.mark.parametrize(("item_spans", "expected"), [(None, 1200), (0, 0), (1, 4), (1000, 1020)])
def test_how_many_have_is_said(traces: Traces, item_spans: int | None, expected: int) -> None:
    """None: all of them."""
    Graph(Does()).run({"items": range(1200)}, observers=[traces.observer(item_spans=item_spans)])
    assert len(indices(traces)) == expected


def test_one_that_fails_has_a_span_in_any_case(traces: Traces) -> None:
    """One that is tried again too, and both began when their first attempt did."""

    class Once(Does):
        async def exec(self, item: Any, /) -> Any:
            await asyncio.sleep(2)
            with traces.tracer.start_as_current_span(f"inside {item} {self.attempt}"):
                if item == "again" and self.attempt == 1:
                    raise ValueError(item)
            return await super().exec(item)

    items = {"items": [1, "again", LookupError(), 2]}
    node = Once(name="Does", max_retries=2, on_error="collect")
    simulate(Graph(node), items, observers=[traces.observer(item_spans=0)])
    again, fails = traces.named("item Does")
    assert indices(traces) == [1, 2]
    assert len(fails.events) == 2
    assert again.start_time is not None
    first = traces.one("inside again 1")
    assert first.start_time is not None
    assert again.start_time < first.start_time
    assert first.parent == context_of(traces.one("node Does"))  # it could not be known
    assert traces.one("inside again 2").parent == context_of(again)


@pytest.mark.parametrize("item_spans", [-1, True, 1.5, "all"])
def test_a_number_that_makes_no_sense_is_refused(item_spans: Any) -> None:
    """When the observer is made."""
    with pytest.raises(ValueError, match="item_spans must be a whole number from 0, or None"):
        Traces().observer(item_spans=item_spans)


@pytest.mark.parametrize("name", ["tracer_provider", "meter_provider"])
@pytest.mark.parametrize("wrong", [3, TracerProvider])
def test_a_provider_must_make_what_is_asked_of_it(name: str, wrong: Any) -> None:
    """The message names the method that is missing."""
    with pytest.raises(TypeError, match=rf"{name} must have get_(tracer|meter)\(\), as the global"):
        OpenTelemetry(**{name: wrong})


# --- what it needs -------------------------------------------------------------------------------


def test_opentelemetry_loads_with_the_first_observer() -> None:
    """Not with kaygraph; without it, the message says what to type."""
    program = (
        "import sys; import kaygraph.tracing\n"
        "print('opentelemetry' in sys.modules)\n"
        "sys.modules['opentelemetry.trace'] = None\n"
        "try: kaygraph.tracing.OpenTelemetry()\n"
        "except ImportError as error: print(error)"
    )
    assert python("-c", program, check=True).stdout.splitlines() == [
        "False",
        "opentelemetry.trace is not installed. Type: python -m pip install 'kaygraph[otel]'",
    ]


def test_without_providers_a_run_is_as_it_was() -> None:
    """Nothing is set up by kaygraph."""
    program = (
        "from kaygraph import Graph, Node; from kaygraph.tracing import OpenTelemetry\n"
        "Graph(Node()).run(observers=[OpenTelemetry()])\n"
        "import sys; print('opentelemetry.sdk' in sys.modules)"
    )
    assert python("-c", program, check=True).stdout == "False\n"


def test_logs_within_exec_are_in_its_span(traces: Traces) -> None:
    """A processor of structlog that asks for the current span gets that of the item."""

    class Tells(Does):
        async def exec(self, item: Any, /) -> Any:
            self.log.info("working", span=traces_here())

    def traces_here() -> int:
        return trace.get_current_span().get_span_context().span_id

    with structlog.testing.capture_logs() as lines:
        Graph(Tells()).run({"items": [1]}, observers=[traces.observer()])
    assert lines[0]["span"] == context_of(traces.one("item Tells")).span_id


# --- without items -------------------------------------------------------------------------------


@pytest.mark.parametrize("run_in", [None, "thread", "process"])
def test_without_items_their_nodes_have_spans(traces: Traces, run_in: Any) -> None:
    """What exec traces is within the node; items are counted when it has ended."""
    shared: dict[str, Any] = {"items": [1, 2, 3]}
    observer = traces.observer(items=False)
    Graph(Looks(run_in=run_in)).run(shared, observers=[observer])
    assert traces.lines() == ["run Graph", "  node Looks"]
    node = context_of(traces.one("node Looks"))
    assert shared["seen"] == [(node.trace_id, node.span_id)] * 3
    assert attributes_of(traces.one("node Looks"))["kaygraph.items"] == 3
    assert traces.metric("kaygraph.items.ended") == [("Looks", "ok", 3)]
    assert traces.metric("kaygraph.items.in_flight") == [("Looks", None, 0)]
    assert traces.metric("kaygraph.item.duration") == []


@pytest.mark.parametrize("stages", [False, True])
def test_without_items_those_that_fail_have_spans(traces: Traces, stages: bool) -> None:
    """And are counted under what they have failed with."""
    node: Any = Does(name="A", max_retries=2, on_error="collect")
    if stages:
        node = node | Does(name="B")
    items = {"items": [1, ValueError("it fails"), Drop(), 2]}
    Graph(node).run(items, observers=[traces.observer(items=False)])
    (name,) = {span.name for span in traces.spans if span.name.startswith("item")}
    dropped = [span for span in traces.named(name) if "error.type" not in attributes_of(span)]
    (fails,) = traces.named(name)
    assert not dropped
    assert attributes_of(fails)["kaygraph.item.index"] == 1
    assert attributes_of(fails)["kaygraph.attempts"] == 2
    counted = [point for point in traces.metric("kaygraph.items.ended") if point[0].endswith("A")]
    assert sorted(point[1:] for point in counted) == [("failed", 1), ("ok", 2), ("skipped", 1)]
