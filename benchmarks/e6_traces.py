"""E6: what an item costs when traced with OpenTelemetry's SDK, and for Prometheus and a log."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from benchmarks.b08_fan_out import Items
from benchmarks.harness import Case
from kaygraph import Graph, Prometheus, StructlogObserver
from kaygraph.events import Observer
from kaygraph.tracing import OpenTelemetry

PROVIDERS = "the SDK's providers, without exporters"


@cache
def providers() -> tuple[Any, Any]:
    """Return providers for spans and metrics; exporters are left out, as they have a cost of their
    own."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider

    return TracerProvider(), MeterProvider([InMemoryMetricReader()])


def traced(**settings: Any) -> Observer:
    tracer_provider, meter_provider = providers()
    return OpenTelemetry(tracer_provider=tracer_provider, meter_provider=meter_provider, **settings)


def logged() -> Observer:
    import structlog

    return StructlogObserver(structlog.wrap_logger(structlog.ReturnLogger()))


@cache
def registry() -> Any:
    from prometheus_client import CollectorRegistry

    return CollectorRegistry()


def cases(size: int) -> Iterator[Case]:
    count = 10_000 // size
    yield more(count, "E6-otel", f"OpenTelemetry(), {PROVIDERS}", 15, traced)
    yield more(
        count, "E6-otel-spans", "OpenTelemetry(item_spans=None), without metrics", 15,
        lambda: OpenTelemetry(tracer_provider=providers()[0], item_spans=None),
    )  # fmt: skip
    yield by_hand(count)
    yield more(count, "E6-otel-nodes", "OpenTelemetry(items=False)", 1, lambda: traced(items=False))
    yield more(count, "E6-prometheus", "Prometheus()", 0.5, lambda: Prometheus(registry()))
    yield more(count, "E6-log", "StructlogObserver()", 0.5, logged)


def more(count: int, name: str, what: str, target: float, make: Callable[[], Observer]) -> Case:
    """Compare items that do nothing with those of an observed run."""
    graph = Graph(Items())

    async def run(*observers: Observer) -> None:
        shared: dict[str, Any] = {"n": count}
        await graph.run_async(shared, observers=observers)
        assert shared["results"] == list(range(count))

    return Case(
        name=name, what=f"{count:,} items that do nothing: {what}", operations=count,
        floor=run, ours=lambda: run(make()), target=target, unit="µs more",
    )  # fmt: skip


def by_hand(count: int) -> Case:
    """Compare a span for each item with one that exec starts itself."""
    provider, _ = providers()
    tracer = provider.get_tracer("by hand")

    class ByHand(Items):
        async def exec(self, prep_res: int, /) -> int:
            with tracer.start_as_current_span("item", attributes={"index": prep_res}):
                return prep_res

    plain, spans = Graph(Items()), Graph(ByHand())

    async def run(graph: Graph, *observers: Observer) -> None:
        shared: dict[str, Any] = {"n": count}
        await graph.run_async(shared, observers=observers)
        assert shared["results"] == list(range(count))

    return Case(
        name="E6-otel-all", what=f"{count:,} items, a span for each, against a span by hand",
        operations=count, floor=lambda: run(spans),
        ours=lambda: run(plain, traced(item_spans=None)), target=2.5,
    )  # fmt: skip
