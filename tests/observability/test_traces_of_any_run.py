"""Runs of many shapes, also cancelled at every step: spans nest, all end, and counts add up."""

from collections import Counter
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from kaygraph import ItemFailed, ItemFinished, ItemStarted
from kaygraph.testing import cancel_everywhere, simulate
from tests import shapes
from tests.observability.traces import Traces, attributes_of, context_of

SHAPES = shapes.OF_NODES
# What a span may be within.
AROUND = {
    "run": set[str](),
    "node": {"run", "node", "item"},
    "stage": {"run", "node"},
    "item": {"run", "node", "stage", "item"},
}


class Begun(SpanProcessor):
    """Notes which spans have begun."""

    def __init__(self) -> None:
        self.spans: list[Any] = []

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self.spans.append(span)


async def traced(shape: Any, taken: list[tuple[Traces, Begun, list[Any]]]) -> None:
    """Run a shape, traced and with its events kept."""
    traces, begun, events = Traces(), Begun(), list[Any]()
    traces.provider.add_span_processor(begun)
    taken.append((traces, begun, events))
    node = shape.__wrapped__(shapes.Ledger())
    with traces.tracer.start_as_current_span("program") as program:
        try:
            await node.run_async({}, observers=[events.append, traces.observer()])
        finally:
            assert trace.get_current_span() is program


def check(traces: Traces, begun: Begun, events: list[Any]) -> None:
    """See that spans nest as what they stand for, and agree with the events."""
    spans = {context_of(span).span_id: span for span in traces.spans}
    assert {context_of(span).span_id for span in begun.spans} == set(spans)
    assert len({context_of(span).trace_id for span in spans.values()}) <= 1
    for span in spans.values():
        if span.name == "program":
            continue
        assert span.parent is not None
        check_within(span, spans[span.parent.span_id])
    started = Counter((event.node, event.item) for event in events if type(event) is ItemStarted)
    traced_items = Counter(
        (span.name.removeprefix("item "), attributes_of(span)["kaygraph.item.index"])
        for span in spans.values()
        if span.name.startswith("item ") and attributes_of(span).get("kaygraph.attempts") != 0
    )
    assert traced_items == started
    ended = Counter(
        (event.node, getattr(event, "status", "ok"))
        for event in events
        if isinstance(event, ItemFinished | ItemFailed)
    )
    counted = {point[:2]: point[2] for point in traces.metric("kaygraph.items.ended")}
    assert counted == dict(ended)
    assert not any(point[2] for point in traces.metric("kaygraph.items.in_flight"))


def check_within(span: ReadableSpan, around: ReadableSpan) -> None:
    kind, outer = span.name.split()[0], around.name.split()[0]
    assert outer in AROUND[kind] or (kind == "run" and outer == "program"), (span.name, around.name)
    assert span.start_time is not None
    assert around.start_time is not None
    assert span.end_time is not None
    assert around.end_time is not None
    assert around.start_time <= span.start_time <= span.end_time <= around.end_time
    if kind == "item" and outer in ("node", "stage"):
        path = span.name.removeprefix("item ")
        assert path.startswith(around.name.partition(" ")[2])


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_spans_nest_whatever_runs(shape: Any, seed: int) -> None:
    """Each within what it belongs to, in time as well."""
    taken = list[tuple[Traces, Begun, list[Any]]]()

    async def run(_: Any) -> None:
        try:
            await traced(shape, taken)
        except Exception:
            return

    simulate(run, seed=seed, watched=False)
    for one in taken:
        check(*one)
    assert taken


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_spans_end_wherever_a_run_is_cancelled(shape: Any) -> None:
    """None stays open, and no more is counted than has begun."""
    taken = list[tuple[Traces, Begun, list[Any]]]()

    async def run(_: Any) -> None:
        await traced(shape, taken)

    def checked(_: Any) -> None:
        while taken:
            check(*taken.pop())

    cancelled = cancel_everywhere(run, {}, check=checked, allowed=Exception, watched=False)
    assert cancelled > 0


def test_the_checks_can_fail() -> None:
    """They see a span that is within another than its own."""
    traces = Traces()
    with traces.tracer.start_as_current_span("item A"):
        traces.tracer.start_span("node B").end()
    span, around = traces.one("item A"), traces.one("node B")
    check_within(around, span)
    with pytest.raises(AssertionError):
        check_within(span, around)
