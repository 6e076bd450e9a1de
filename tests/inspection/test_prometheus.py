"""Prometheus: what it is shown when it asks, while runs go on and when they are over."""

import asyncio
import threading
import urllib.request
from dataclasses import replace
from typing import Any

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from kaygraph import (
    BatchNode,
    CircuitBreaker,
    Drop,
    Graph,
    Inspector,
    Node,
    ParallelBatchNode,
    Prometheus,
)
from kaygraph.run.observers import Observers
from kaygraph.snapshot import RunSnapshot
from tests.children import python

pytestmark = pytest.mark.anyio

Samples = dict[tuple[str, ...], float]


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def shown(registry: CollectorRegistry, name: str) -> Samples:
    """Return the samples of a metric, by the values of its labels in the order of their names."""
    text = prometheus_client.generate_latest(registry).decode()
    return {
        tuple(sample.labels[label] for label in sorted(sample.labels)): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    }


class Does(BatchNode[Any, Any]):
    """Raises items that are errors, and returns others."""

    def prep(self, shared: Any, /) -> Any:
        return shared["items"]

    async def exec(self, item: Any, /) -> Any:
        if isinstance(item, BaseException):
            raise item
        return item


class Waits(ParallelBatchNode[Any, Any]):
    """Waits in each of its items until it may go on."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.begun, self.gate = asyncio.Semaphore(0), asyncio.Event()

    def prep(self, shared: Any, /) -> Any:
        return shared["items"]

    async def exec(self, item: Any, /) -> Any:
        self.begun.release()
        await self.gate.wait()


def test_items_are_counted_by_node_and_status(registry: CollectorRegistry) -> None:
    """And go on from run to run, whichever observer of the registry it was."""
    node = Does(name="Work", on_error="collect", max_retries=2)
    items = {"items": [1, 2, ValueError(), Drop()]}
    for _ in range(2):
        Graph(node).run(items, observers=[Prometheus(registry)])
    assert shown(registry, "kaygraph_items_total") == {
        ("Work", "ok"): 4,
        ("Work", "failed"): 2,
        ("Work", "skipped"): 2,
        ("Work", "cancelled"): 0,
    }
    assert shown(registry, "kaygraph_items_retried_total") == {("Work",): 2}
    assert shown(registry, "kaygraph_runs_total") == {("Graph", "ok"): 2}
    assert shown(registry, "kaygraph_node_runs_total") == {("Work", "ok"): 2, ("Work", "failed"): 0}
    assert shown(registry, "kaygraph_runs_running") == {}
    (seconds,) = shown(registry, "kaygraph_node_seconds_total").values()
    assert seconds > 0


def test_a_run_that_fails_is_counted(registry: CollectorRegistry) -> None:
    """So is its node."""
    with pytest.raises(ValueError, match="it fails"):
        Graph(Does()).run({"items": [ValueError("it fails")]}, observers=[Prometheus(registry)])
    assert shown(registry, "kaygraph_runs_total") == {("Graph", "failed"): 1}
    assert shown(registry, "kaygraph_node_runs_total") == {("Does", "ok"): 0, ("Does", "failed"): 1}


async def test_what_is_in_flight_and_what_waits_is_reported_while_it_runs(
    registry: CollectorRegistry,
) -> None:
    """Items, permits and who waits for them."""
    node = Waits(name="Work", max_workers=4)
    graph = Graph(node, name="Crawl", max_parallel_tasks=3)
    run = graph.launch({"items": range(10)}, observers=[Prometheus(registry)])
    for _ in range(3):
        await node.begun.acquire()
    assert shown(registry, "kaygraph_items_in_flight") == {("Work",): 3}
    assert shown(registry, "kaygraph_cap_size") == {("Graph 'Crawl'",): 3, ("Work",): 4}
    assert shown(registry, "kaygraph_cap_held")["Graph 'Crawl'",] == 3
    assert shown(registry, "kaygraph_cap_waiting")["Graph 'Crawl'",] == 1
    assert shown(registry, "kaygraph_waits") == {("permit", "Work"): 1, ("hook", "Work"): 3}
    assert shown(registry, "kaygraph_runs_running") == {("Crawl",): 1}
    assert shown(registry, "kaygraph_nodes_running") == {("Work",): 1}
    node.gate.set()
    await run
    assert shown(registry, "kaygraph_items_total")["Work", "ok"] == 10
    assert shown(registry, "kaygraph_cap_held") == {}


async def test_runs_at_once_are_shown_together(registry: CollectorRegistry) -> None:
    """Of one node, and of several loops."""
    node = Waits(name="Work")
    observer = Prometheus(registry)
    runs = [Graph(node).launch({"items": [1, 2]}, observers=[observer]) for _ in range(2)]
    for _ in range(4):
        await node.begun.acquire()
    await asyncio.to_thread(Graph(Does(name="Other")).run, {"items": [1]}, observers=[observer])
    assert shown(registry, "kaygraph_items_in_flight") == {("Work",): 4}
    assert shown(registry, "kaygraph_runs_running") == {("Graph",): 2}
    node.gate.set()
    await asyncio.gather(*runs)
    assert shown(registry, "kaygraph_items_total")["Work", "ok"] == 4
    assert shown(registry, "kaygraph_runs_total") == {("Graph", "ok"): 3}


def test_a_run_within_a_run_is_counted_once(registry: CollectorRegistry) -> None:
    """Also if it has an observer of its own."""

    class Calls(Does):
        async def exec(self, item: Any, /) -> Any:
            observers = [Prometheus(registry)]
            await Graph(Does(name="Inner")).run_async({"items": [1]}, observers=observers)

    Graph(Calls()).run({"items": [1, 2]}, observers=[Prometheus(registry)])
    assert shown(registry, "kaygraph_runs_total") == {("Graph", "ok"): 1}
    assert shown(registry, "kaygraph_items_total")["Calls/Graph/Inner", "ok"] == 2


def test_stages_buffers_and_breakers_are_reported(registry: CollectorRegistry) -> None:
    """From another thread, as Prometheus asks."""
    begun, gate = threading.Event(), threading.Event()

    class Slow(Does):
        def exec(self, item: Any, /) -> Any:
            begun.set()
            gate.wait()

    slow = Slow(name="Slow", run_in="thread", breaker=CircuitBreaker())
    graph = Graph(Does(name="Make") | slow)
    thread = threading.Thread(
        target=graph.run, args=({"items": range(5)},), kwargs={"observers": [Prometheus(registry)]}
    )
    thread.start()
    try:
        begun.wait()
        buffers = shown(registry, "kaygraph_buffer_size")
        assert buffers[("Pipeline/Slow", "Pipeline/Make")] > 0
        assert shown(registry, "kaygraph_breaker_open") == {("Pipeline/Slow",): 0}
        assert shown(registry, "kaygraph_executor_calls") == {("thread", "Pipeline/Slow"): 1}
        assert ("Pipeline/Slow", "busy") in shown(registry, "kaygraph_stage_seconds_total")
    finally:
        gate.set()
        thread.join()
    assert shown(registry, "kaygraph_items_total")["Pipeline/Slow", "ok"] == 5
    assert shown(registry, "kaygraph_buffer_size") == {}


async def test_a_counter_never_goes_back(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a look in the middle of a run has taken for done."""
    node = Waits(name="Work", max_workers=2)
    run = Graph(node).launch({"items": range(6)}, observers=[Prometheus(registry)])
    for _ in range(2):
        await node.begun.acquire()

    def looked_at(inspector: Inspector) -> RunSnapshot:
        snapshot = look(inspector)
        nodes = [replace(node, ok=node.ok + 2) for node in snapshot.nodes]
        return replace(snapshot, nodes=tuple(nodes))

    look = Inspector.snapshot
    with monkeypatch.context() as patched:
        patched.setattr(Inspector, "snapshot", looked_at)
        assert shown(registry, "kaygraph_items_total")["Work", "ok"] == 2
    assert shown(registry, "kaygraph_items_total")["Work", "ok"] == 2
    node.gate.set()
    await run
    assert shown(registry, "kaygraph_items_total")["Work", "ok"] == 6


def test_labels_are_valid_and_show_no_secrets(registry: CollectorRegistry) -> None:
    """A lone surrogate, as in the name of a file, would make all of /metrics fail."""
    node = Does(name="caf\udce9 token=abc123")
    Graph(node, name="caf\udce9").run({"items": [1]}, observers=[Prometheus(registry)])
    assert shown(registry, "kaygraph_items_total")["caf? token=***", "ok"] == 1
    assert shown(registry, "kaygraph_runs_total") == {("caf?", "ok"): 1}


async def test_a_run_that_cannot_be_looked_at_hides_nothing_else(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a collector raises would make all of /metrics fail."""
    prometheus_client.Gauge("mine", "of the program", registry=registry).set(1)
    observer = Prometheus(registry)
    await Graph(Does(name="Before")).run_async({"items": [1]}, observers=[observer])
    node = Waits(name="Work")
    run = Graph(node).launch({"items": [1]}, observers=[observer])
    await node.begun.acquire()

    def fails(_: Inspector) -> None:
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr(Inspector, "snapshot", fails)
        assert shown(registry, "mine") == {(): 1}
        assert shown(registry, "kaygraph_items_total")["Before", "ok"] == 1
    node.gate.set()
    await run
    assert shown(registry, "kaygraph_items_total")["Work", "ok"] == 1


async def test_keys_have_no_series_of_their_own(registry: CollectorRegistry) -> None:
    """There may be as many as items."""
    node = Waits(name="Work", limit_by=str, max_per_key=1)
    run = Graph(node).launch({"items": list("aabbc")}, observers=[Prometheus(registry)])
    for _ in range(3):
        await node.begun.acquire()
    assert shown(registry, "kaygraph_cap_held") == {("Work",): 3, ("Work by key",): 2}
    assert shown(registry, "kaygraph_cap_waiting") == {("Work",): 0, ("Work by key",): 2}
    node.gate.set()
    await run


def test_it_receives_no_item() -> None:
    """So that items cost nothing more."""
    assert Observers([Prometheus(CollectorRegistry())]).of_items is None


def test_it_is_served(registry: CollectorRegistry) -> None:
    """Over HTTP, in the format that Prometheus reads."""
    Graph(Does()).run({"items": [1]}, observers=[Prometheus(registry)])
    server, thread = prometheus_client.start_http_server(0, "127.0.0.1", registry)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics") as answer:
            text = answer.read().decode()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert 'kaygraph_items_total{node="Does",status="ok"} 1.0' in text


@pytest.mark.parametrize("wrong", [3, CollectorRegistry])
def test_what_is_not_a_registry_is_refused(wrong: Any) -> None:
    """With what to type."""
    with pytest.raises(TypeError, match=r"registry must be a prometheus_client\.CollectorRegistry"):
        Prometheus(wrong)


def test_another_collector_of_the_same_names_is_refused(registry: CollectorRegistry) -> None:
    """The registry knows the names before anything has run."""
    Prometheus(registry)
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        prometheus_client.Gauge("kaygraph_items_in_flight", "mine", registry=registry)


def test_without_the_library_the_message_says_what_to_type() -> None:
    """And nothing of it loads before that."""
    program = (
        "import sys; from kaygraph import Node, Prometheus\n"
        "print('prometheus_client' in sys.modules)\n"
        "sys.modules['prometheus_client'] = None\n"
        "try: Prometheus()\n"
        "except ImportError as error: print(error)"
    )
    assert python("-c", program, check=True).stdout.splitlines() == [
        "False",
        "prometheus_client is not installed. Type: python -m pip install 'kaygraph[prometheus]'",
    ]


def test_a_node_without_items_is_counted(registry: CollectorRegistry) -> None:
    """How often it has run."""
    Graph(Node(name="One")).run(observers=[Prometheus(registry)])
    assert shown(registry, "kaygraph_node_runs_total")["One", "ok"] == 1
    assert shown(registry, "kaygraph_items_total") == {}
