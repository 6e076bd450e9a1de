"""What the tests of traces share: OpenTelemetry's SDK in memory, and spans as text.

Nodes that run in processes stand here, which import this module.
"""

from collections.abc import Callable, Iterator
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from kaygraph import BatchNode, ParallelBatchNode
from kaygraph.tracing import OpenTelemetry

EXPORTER = InMemorySpanExporter()  # of the process that imports this: the program's own provider
PROVIDER = TracerProvider(shutdown_on_exit=False)
PROVIDER.add_span_processor(SimpleSpanProcessor(EXPORTER))

Point = tuple[str, Any, Any]  # a node's name, a status, and a number


class Traces:
    """The providers of a program that keeps its spans and metrics in memory."""

    def __init__(self) -> None:
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.tracer = self.provider.get_tracer("program")

    def observer(self, **settings: Any) -> OpenTelemetry:
        """Return an observer that sends all to these providers."""
        return OpenTelemetry(tracer_provider=self.provider, meter_provider=self.meters, **settings)

    @property
    def spans(self) -> list[ReadableSpan]:
        """What has ended, in the order in which it began."""
        return sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span

    def lines(self, shown: Callable[[ReadableSpan], str] = lambda span: span.name) -> list[str]:
        """Return a line for each span, indented below its parent, siblings in order."""
        spans = self.spans
        known = {context_of(span).span_id for span in spans}

        def below(parent: int | None, depth: int) -> Iterator[str]:
            for span in spans:
                above = None if span.parent is None else span.parent.span_id
                if (above if above in known else None) == parent:
                    yield "  " * depth + shown(span)
                    yield from below(context_of(span).span_id, depth + 1)

        return list(below(None, 0))

    def metric(self, name: str) -> list[Point]:
        """Return the points of a metric: the node, the status, and the value or the count."""
        data = self.reader.get_metrics_data()
        assert data is not None
        return [
            (
                str((point.attributes or {})["kaygraph.node.name"]),
                (point.attributes or {}).get("kaygraph.status"),
                getattr(point, "value", getattr(point, "count", None)),
            )
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


def context_of(span: ReadableSpan) -> trace.SpanContext:
    context = span.get_span_context()
    assert context is not None
    return context


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


Seen = tuple[int, int]  # the trace and the span in which something was called


def here() -> Seen:
    """Return in which trace and span this is called, as a program would see it."""
    with PROVIDER.get_tracer("program").start_as_current_span("inside") as span:
        assert isinstance(span, ReadableSpan)
        parent = span.parent
        return (0, 0) if parent is None else (parent.trace_id, parent.span_id)


class Looks(BatchNode[Any, Seen]):
    """Says in which span each of its items ran, wherever it runs."""

    def prep(self, shared: Any, /) -> Any:
        return shared["items"]

    def exec(self, item: Any, /) -> Any:
        if item == "fail once" and self.attempt == 1:
            raise ValueError(item)
        return here()

    def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> None:
        shared["seen"] = exec_res


class LooksAtMany(Looks, ParallelBatchNode[Any, Seen]):
    """Several at once."""


class LooksAsync(Looks):
    async def exec(self, item: Any, /) -> Any:
        return Looks.exec(self, item)


class LooksAsGenerator(Looks):
    def exec(self, item: Any, /) -> Any:
        yield here()
        yield here()
