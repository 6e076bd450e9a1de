"""A run as spans and metrics of OpenTelemetry, made from its events."""

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .._extras import extra
from .._validation import check_flag
from ..events import (
    AttemptStarted,
    BatchFinished,
    CircuitChanged,
    Event,
    ItemFailed,
    ItemFinished,
    ItemRetried,
    ItemStarted,
    LimitChanged,
    NodeFinished,
    NodeStarted,
    RunFinished,
    RunStarted,
    StageFinished,
    StageStarted,
)
from ..run.frame import FRAME
from ..run.observers import CountsItems, ItemCounter
from ..run.place import PLACE
from ..run.spans import TRACED, Attribute, Carries
from .labels import clean
from .meters import NODE, tally_of
from .traced import Api, Around

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import SpanContext, TracerProvider


def _check_provider(name: str, value: Any, method: str) -> None:
    if value is not None and (isinstance(value, type) or not hasattr(value, method)):
        raise TypeError(f"{name} must have {method}(), as the global provider; got {value!r}")


class OpenTelemetry(CountsItems, Carries):
    """An observer that traces runs with OpenTelemetry, and counts and times their items.

    ``graph.run(shared, observers=[OpenTelemetry()])``

    There is a span for the run, for each node, for each stage of a pipeline and for each item:
    ``run Crawl``, ``node Fetch``, ``item Fetch``. Spans that ``exec`` creates are children of its
    item's span: on the loop, in threads, in processes, and in each attempt. A failed attempt is an
    event of the span. The span of a join has links to those that led to it. A ChatNode has a
    span for each request, with the ``gen_ai.*`` attributes.

    Metrics: ``kaygraph.items.ended`` by status, ``kaygraph.items.retries`` and
    ``kaygraph.items.in_flight``; ``kaygraph.item.duration``, ``kaygraph.node.duration`` and
    ``kaygraph.run.duration`` are histograms in seconds. For requests to language models there are
    ``gen_ai.client.operation.duration`` and ``gen_ai.client.token.usage``.

    The program decides where all this goes: it sets up providers and exporters. Needs the extra
    ``otel``.

    Args:
        tracer_provider: Creates the spans; the global one by default.
        meter_provider: Receives the metrics; the global one by default.
        item_spans: How many items of a node have a span each. Of those that follow, one in ten has
            one, until ten times as many have come, then one in a hundred, and so on; an item that
            fails or is retried always has one. None: each has one.
        items: Whether it receives each item. If not, items that succeed cost nothing and have no
            spans; they are counted when their batch or stage ends, and not timed.
    """

    def __init__(
        self,
        *,
        tracer_provider: "TracerProvider | None" = None,
        meter_provider: "MeterProvider | None" = None,
        item_spans: int | None = 1000,
        items: bool = True,
    ) -> None:
        self._trace = extra("opentelemetry.trace", "otel")
        _check_provider("tracer_provider", tracer_provider, "get_tracer")
        _check_provider("meter_provider", meter_provider, "get_meter")
        self._tracer_provider, self._meter_provider = tracer_provider, meter_provider
        if item_spans is not None and (type(item_spans) is not int or item_spans < 0):
            raise ValueError(
                f"item_spans must be a whole number from 0, or None; got {item_spans!r}"
            )
        self.item_spans, self.items = item_spans, check_flag("items", items)
        self.api = Api()
        self._has_failed = False

    def __call__(self, event: Event, /) -> None:
        around = self._around()
        match event:
            case RunStarted(name):
                self._begin(name, None, "run")
            case NodeStarted(name):
                self._begin(name, around, "node")
            case RunFinished(name, _, seconds, action, error) if around is not None:
                if around.name == name:  # otherwise its start was missed
                    around.tally.runs.record(seconds, {NODE: around.label})
                    around.end(error, _action(action))
            case NodeFinished() if around is not None:
                self._node_finished(around.of(event.node), event)
            case _ if around is not None:
                self._within(around.of(event.node), event)

    def _within(self, around: Around, event: Event) -> None:
        """Record an event of a run, a node or a stage."""
        match event:
            case ItemStarted(name, at, item, _, whole):
                around.items_of(name, whole).began(item, at)
            case ItemFinished(name, at, item, worker, attempts, seconds, usage, waiting):
                ended = item, worker, attempts, seconds, usage, waiting, at
                around.items_of(name).ended(*ended)
            case ItemFailed(name, _, item, _, attempts, seconds, status, error, _, waiting):
                failed = item, attempts, seconds, status, error, waiting
                around.items_of(name).failed(*failed)
            case ItemRetried(name, _, item, _, attempt, error, wait_s):
                around.items_of(name).retried(item, attempt, error, wait_s)
            case AttemptStarted(name, _, item):
                around.items_of(name).goes_on(item)
            case StageStarted(name, _, workers):
                self._begin(name, around, "stage", {"kaygraph.workers": workers})
            case StageFinished():
                self._stage_finished(around, event)
            case BatchFinished(name, _, items, ok, failed, skipped, cancelled):
                around.items_of(name).worked(ok)
                if name == around.name:
                    numbers = {"failed": failed, "skipped": skipped, "cancelled": cancelled}
                    counts = {f"kaygraph.items.{name}": n for name, n in numbers.items() if n}
                    around.span.set_attributes({"kaygraph.items": items, **counts})
            case LimitChanged(_, _, limit):
                around.span.add_event("kaygraph.limit", {"kaygraph.max_workers": limit})
            case CircuitChanged(_, _, state):
                around.span.add_event("kaygraph.circuit", {"kaygraph.circuit.state": state})

    def _around(self) -> Around | None:
        """Return what is traced here, by this observer."""
        around: Any = TRACED.get()
        while around is not None and around.owner is not self:
            around = around.before_it
        return around  # type: ignore[no-any-return]

    def _begin(
        self,
        name: str,
        outer: Around | None,
        kind: str,
        attributes: Mapping[str, Attribute] = {},
    ) -> None:
        parent: Context | None = None
        links: list[SpanContext] = []
        if outer is None:
            tracer = self._trace.get_tracer("kaygraph", tracer_provider=self._tracer_provider)
            tally, run = tally_of(self._meter_provider), FRAME.get().run.id
            attaches = TRACED.get() is None  # otherwise another observer's spans are current
        else:
            outer = outer.of(name.rpartition("/")[0])
            tracer, tally, run, attaches = outer.tracer, outer.tally, outer.run, outer.attaches
            parent = None if attaches else outer.context
            if (place := _step_of(name)) is not None:
                links = outer.arrived(*place)
        around = Around(self, tracer, tally, outer, name, run, self.item_spans, attaches)
        around.begin(kind, self.api.current() if parent is None else parent, links, attributes)
        if outer is not None:
            outer.inside[name] = around
        if kind != "stage":  # whose items have their own tasks
            around.enter()

    def _node_finished(self, around: Around, event: NodeFinished) -> None:
        outer = around.outer
        if around.name != event.node:  # its start was missed
            return
        if outer is not None and (place := _step_of(event.node)) is not None:
            walk, step = place
            action = "error" if event.error is not None else event.action
            if isinstance(action, str | None):
                outer.arrives(walk, step.after.get(action), around.span.get_span_context())
        around.tally.nodes.record(event.seconds, {NODE: around.label})
        around.end(event.error, _action(event.action))

    def _stage_finished(self, around: Around, event: StageFinished) -> None:
        items = around.items_of(event.node)
        items.worked(event.items - sum(items.counts.ended.values()))
        around.end(
            None,
            {
                "kaygraph.items": event.items,
                "kaygraph.busy_s": event.busy_s,
                "kaygraph.starved_s": event.starved_s,
                "kaygraph.blocked_s": event.blocked_s,
            },
        )

    # --- items, without an event for each ---------------------------------------------------------

    @property
    def counts_items(self) -> bool:
        """Whether it need not be called for each item; a subclass may override that."""
        return type(self).__call__ is OpenTelemetry.__call__

    def counter_of(self, node: str, whole: bool) -> ItemCounter:
        """Return the tracer of a node's items, for the engine."""
        around = self._around()
        assert around is not None
        return around.of(node).items_of(node, whole)

    def failed(self, error: Exception) -> None:
        """Report to the loop's exception handler that the tracing of an item failed; once."""
        if not self._has_failed:
            self._has_failed = True
            context = {"message": f"observer {self!r} failed at an item", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)

    # --- processes --------------------------------------------------------------------------------

    def carrier(self) -> Callable[[], object]:
        """Return the current span's context, for a process."""
        from opentelemetry.baggage.propagation import W3CBaggagePropagator
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        headers: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(headers)
        W3CBaggagePropagator().inject(headers)
        return TraceContext(headers)


class TraceContext:
    """The parent of a call in another process, as W3C trace headers."""

    def __init__(self, headers: dict[str, str]) -> None:
        self.headers = headers

    def __call__(self) -> None:
        """Make it the current one, if there is OpenTelemetry."""
        try:
            from opentelemetry import context
            from opentelemetry.baggage.propagation import W3CBaggagePropagator
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError:  # not traced there
            return
        here = TraceContextTextMapPropagator().extract(self.headers)
        context.attach(W3CBaggagePropagator().extract(self.headers, here))


def _action(action: str | None) -> dict[str, Attribute]:
    return {} if action is None else {"kaygraph.action": clean(str(action))}


def _step_of(name: str) -> tuple[Any, Any] | None:
    """Return the current walk at a node, and the node's place in its plan."""
    frame = FRAME.get(None)
    walk: Any = None if frame is None else frame.walk
    if frame is None or walk is None:
        return None
    step: Any = PLACE.get()
    if not hasattr(step, "after"):
        step = walk.plan.steps.get(walk.node)
    if step is None or frame.name_of(step.node) != name:
        return None
    return walk, step
