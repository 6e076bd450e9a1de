"""OpenTelemetry: what is counted and timed."""

import asyncio
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import HistogramDataPoint

from kaygraph import BatchNode, Graph, Node, ParallelBatchNode
from kaygraph.observability.labels import Labels
from kaygraph.testing import simulate
from tests.children import python
from tests.observability.traces import Traces


@pytest.fixture
def traces() -> Traces:
    return Traces()


class Does(BatchNode[Any, Any]):
    def prep(self, shared: Any, /) -> Any:
        return shared["items"]

    async def exec(self, item: Any, /) -> Any:
        if isinstance(item, BaseException) and self.attempt == 1:
            raise item
        return item


def test_items_are_counted_by_node_and_status(traces: Traces) -> None:
    """Attempts beyond the first as well; over all runs of a provider, whichever observer it was."""
    graph = Graph(Does(name="A", on_error="skip") >> Does(name="B", max_retries=2))
    for _ in range(2):
        graph.run({"items": [1, ValueError()]}, observers=[traces.observer()])
    assert sorted(traces.metric("kaygraph.items.ended")) == [
        ("A", "ok", 2),
        ("A", "skipped", 2),
        ("B", "ok", 4),
    ]
    assert sorted(traces.metric("kaygraph.items.retries")) == [("A", None, 0), ("B", None, 2)]
    assert sorted(traces.metric("kaygraph.items.in_flight")) == [("A", None, 0), ("B", None, 0)]


def test_times_are_in_seconds(traces: Traces) -> None:
    """Of items, nodes and runs, in buckets that fit."""

    class Sleeps(Does):
        async def exec(self, item: Any, /) -> Any:
            await asyncio.sleep(item)

    simulate(Graph(Sleeps(name="Sleep")), {"items": [2, 4]}, observers=[traces.observer()])
    data = traces.reader.get_metrics_data()
    assert data is not None
    points = {
        metric.name: (metric.unit, point)
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
        for point in metric.data.data_points
        if isinstance(point, HistogramDataPoint)
    }
    sums = {name: (unit, point.count, point.sum) for name, (unit, point) in points.items()}
    assert sums == {
        "kaygraph.item.duration": ("s", 2, 6.0),
        "kaygraph.node.duration": ("s", 1, 6.0),
        "kaygraph.run.duration": ("s", 1, 6.0),
    }
    assert max(points["kaygraph.item.duration"][1].explicit_bounds) == 300


def test_what_is_in_flight_is_reported_while_it_runs(traces: Traces) -> None:
    """Not what waits for its next attempt."""
    seen: list[Any] = []

    class Looks(ParallelBatchNode[int, None]):
        def prep(self, shared: Any, /) -> range:
            return range(3)

        async def exec(self, number: int, /) -> None:
            await asyncio.sleep(number)
            if self.attempt == 1 and number == 1:
                raise ValueError
            if number == 2:
                seen.extend(traces.metric("kaygraph.items.in_flight"))
                seen.extend(traces.metric("kaygraph.items.ended"))

    simulate(Graph(Looks(max_retries=2, wait=60)), observers=[traces.observer()])
    assert seen == [("Looks", None, 1), ("Looks", "ok", 1)]
    assert traces.metric("kaygraph.items.ended") == [("Looks", "ok", 3)]


def test_the_global_provider_may_be_set_later() -> None:
    """What was counted before is reported anyway; two observers count once each."""
    program = """
from kaygraph import Graph, Node
from kaygraph.tracing import OpenTelemetry
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

class Works(Node):
    def exec(self, _): pass

Graph(Works()).run(observers=[OpenTelemetry()])
reader = InMemoryMetricReader()
provider = MeterProvider([reader])
metrics.set_meter_provider(provider)
Graph(Works()).run(observers=[OpenTelemetry()])
Graph(Works()).run(observers=[OpenTelemetry(meter_provider=provider)])
(scope,) = reader.get_metrics_data().resource_metrics[0].scope_metrics
(ended,) = [metric for metric in scope.metrics if metric.name == "kaygraph.items.ended"]
print([point.value for point in ended.data.data_points])
"""
    assert python("-c", program, check=True).stdout == "[3]\n"


def test_there_are_not_more_series_than_can_be_kept() -> None:
    """Nodes with names of their own each, past the first thousand, share one."""
    labels = Labels(most=2)
    assert [labels.of(name) for name in ("a", "b", "c", "a", "d")] == [
        "a", "b", "(others)", "a", "(others)",
    ]  # fmt: skip
    assert len(Labels().of("n" * 10_000)) == 200


def test_a_long_name_is_cut(traces: Traces) -> None:
    """In a span as well."""
    Graph(Node(name="n" * 1000)).run(observers=[traces.observer()])
    assert len(traces.spans[1].name) == len("node ") + 200
