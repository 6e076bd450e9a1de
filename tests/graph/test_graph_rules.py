"""What a graph says of all that runs within it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from kaygraph import (
    AttemptTimeoutError,
    BatchGraph,
    BatchNode,
    Graph,
    MapReduceNode,
    MemoryLimitError,
    Node,
    ParallelBatchNode,
    StageStarted,
    all_of,
)
from kaygraph.testing import simulate
from tests.calls import Gauge, now
from tests.clock import VIRTUAL, run_virtually

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


class Many(ParallelBatchNode[Any, Any]):
    """Items that take a second each."""

    items = 12

    def __init__(self, *gauges: Gauge, **settings: Any) -> None:
        super().__init__(**settings)
        self.gauges = gauges

    def prep(self, _: Any) -> range:
        return range(self.items)

    async def exec(self, item: int) -> int:
        await asyncio.gather(*(gauge(1) for gauge in self.gauges))
        return item


class Two(Many):
    max_workers = 2


class Rounds(BatchGraph):
    def prep(self, _: Any) -> Any:
        return [{}] * 3


class Takes(Node[Any, Any]):
    async def exec(self, _: Any) -> None:
        await asyncio.sleep(self.params.get("seconds", 9))


# --- max_parallel_tasks ---


@pytest.mark.parametrize(
    ("make", "tasks", "most"),
    [
        (Many, 3, 3),
        (Many, 12, 12),  # more than the default of 10
        (lambda gauge: Many(gauge, max_workers=2), 5, 2),
        (lambda gauge: Many(gauge, max_workers=12), 5, 5),
        (lambda gauge: Many(gauge, max_workers=10), 12, 10),
        (Two, 5, 2),
        (lambda gauge: [Many(gauge), Many(gauge, max_workers=9)], 4, 4),
        (lambda gauge: Graph(Many(gauge)), 3, 3),
        (lambda gauge: Graph(Many(gauge), max_parallel_tasks=2), 5, 2),
        (lambda gauge: Graph(Many(gauge), max_parallel_tasks=9), 5, 5),
        (lambda gauge: Graph(Many(gauge), max_workers=4), 9, 4),
        (lambda gauge: Rounds(Many(gauge), max_workers=3), 5, 5),
        (lambda gauge: all_of(Many(gauge), Many(gauge)), 5, 5),
    ],
)
def test_so_many_tasks_run_in_parallel(make: Callable[[Gauge], Any], tasks: int, most: int) -> None:
    """The cap of everything that runs, and the default workers of a batch."""
    gauge = Gauge()
    result = simulate(Graph(make(gauge), max_parallel_tasks=tasks), max_steps=50_000)
    assert gauge.most == most
    assert result.left == []


def test_smaller_of_two_caps_of_a_graph_holds() -> None:
    """max_workers is the cap alone, max_parallel_tasks the default too."""
    gauge = Gauge()
    run_virtually(Graph(Many(gauge), max_workers=2, max_parallel_tasks=5).run_async({}))
    assert gauge.most == 2


def test_rounds_share_the_tasks_of_their_graph() -> None:
    """A BatchGraph's max_workers counts rounds, its max_parallel_tasks calls over all rounds."""
    gauge = Gauge()
    run_virtually(Rounds(Many(gauge), max_workers=3, max_parallel_tasks=4).run_async({}))
    assert gauge.most == 4


async def test_stage_of_a_pipeline_takes_as_many_workers() -> None:
    """One without its own; another keeps its own."""
    events = list[Any]()
    stages = Many(name="source") | Many(name="default") | Two(name="limited") | Node(name="one")
    await Graph(stages, max_parallel_tasks=3).run_async({}, observers=[events.append])
    started = {event.node: event.workers for event in events if isinstance(event, StageStarted)}
    assert {name.split("/")[-1]: workers for name, workers in started.items()} == {
        "source": 3, "default": 3, "limited": 2, "one": 1,
    }  # fmt: skip


# --- task_timeout ---


class Counts(MapReduceNode):
    def prep(self, _: Any) -> list[int]:
        return [1]

    async def map(self, item: int) -> Any:
        await asyncio.sleep(9)
        return [(item, item)]


@pytest.mark.parametrize(
    ("node", "seconds"),
    [
        (lambda: Takes(), 3),
        (lambda: Takes(timeout=5), 5),
        (lambda: Takes(timeout=1), 1),
        (lambda: Takes(max_retries=3, wait=1), 11),
        (lambda: Graph(Takes()), 3),
        (lambda: Graph(Takes(), task_timeout=5), 5),
        (lambda: Graph(Takes(timeout=4), task_timeout=5), 4),
        (lambda: Graph(Graph(Takes()), task_timeout=2), 2),
        (lambda: all_of(Takes(), Takes(timeout=1)), 1),
        (lambda: Rounds(Takes()), 3),
        (lambda: Counts(), 3),
        (lambda: Counts(timeout=2), 2),
        (lambda: Many(name="source") | Takes(), 3),
    ],
)
async def test_attempt_of_a_node_without_its_own_setting_times_out(
    node: Any, seconds: float
) -> None:
    """The graph's task_timeout, an inner graph's above it, a node's own above both."""
    graph = Graph(node(), task_timeout=3)
    with pytest.raises(AttemptTimeoutError, match=r"ran longer than timeout="):
        await graph.run_async({})
    assert now() == seconds


async def test_task_timeout_holds_in_its_graph_alone() -> None:
    """Beside it a node takes its time; it may be said on the class, and is an item's in a batch."""

    class Hurried(Graph):
        task_timeout = 2

    shared: dict[str, Any] = {}

    class Keeps(Many):
        items = 3

        async def exec(self, item: int) -> int:
            await asyncio.sleep(item * 1.5)
            return item

        def post(self, shared: Any, _: Any, results: Any) -> None:
            shared["results"] = results

    await Graph([Hurried(Keeps(on_error="collect")), Takes()]).run_async(shared)
    assert shared["results"][:2] == [0, 1]
    assert shared["results"][2].status == "timed_out"
    assert now() == 9


# --- memory_limit ---


class Fills(Node[Any, Any]):
    """Holds 200 MB in a process."""

    run_in = "process"

    def exec(self, _: Any) -> int:
        return len(b"x" * 200_000_000)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_memory_limit_is_that_of_nodes_in_processes() -> None:
    """One without its own is killed at the graph's limit; one with its own keeps it."""
    limited, default = Fills(memory_limit="400 MB"), Fills(name="default")
    graph = Graph(limited >> default, memory_limit="150 MB")
    with pytest.raises(MemoryLimitError, match="memory_limit=150 MB") as caught:
        await graph.run_async({})
    assert caught.value.__notes__ == ["in node 'default'"]


def test_memory_limit_may_be_said_on_a_graphs_class() -> None:
    """As every other setting of a graph may."""

    class Small(Graph):
        memory_limit = "150 MB"

    assert Small(Takes()).memory_limit == 150_000_000


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: Many(max_workers="AUTO"), ValueError, "a whole number or 'auto', got 'AUTO'"),
        (lambda: Many(max_workers=0), ValueError, "max_workers must be at least 1, got 0"),
        (lambda: Many(max_workers=True), ValueError, "whole number of at least 1, got True"),
        (lambda: Many(max_workers=2.5), ValueError, "whole number of at least 1, got 2.5"),
        (lambda: BatchNode(max_workers="auto"), TypeError, "unknown setting 'max_workers'"),
        (lambda: Graph(max_workers="auto"), ValueError, "whole number of at least 1, got 'auto'"),
        (lambda: MapReduceNode(map_workers="auto"), ValueError, "map_workers must be a whole"),
        (lambda: Graph(max_parallel_tasks=0), ValueError, "max_parallel_tasks must be at least 1"),
        (
            lambda: Graph(max_parallel_tasks="auto"),
            ValueError,
            "max_parallel_tasks must be a whole",
        ),
        (lambda: Graph(task_timeout=0), ValueError, "task_timeout must be more than 0 seconds"),
        (lambda: Graph(memory_limit="much"), ValueError, "memory_limit must be a size such as"),
        (lambda: Graph(timeout=3), TypeError, "unknown setting 'timeout'.*mean 'task_timeout'"),
        (lambda: Many(memory_limit="1 GB"), ValueError, "memory_limit needs run_in='process'"),
        (lambda: Counts(memory_limit="1 GB"), ValueError, "memory_limit needs run_in='process'"),
        (lambda: Many(breaker=3), ValueError, r"breaker must be a CircuitBreaker\(failures"),
    ],
)
def test_setting_that_cannot_be_meant_is_refused(make: Any, error: Any, says: str) -> None:
    """At once, with what is wrong and what can be typed."""
    with pytest.raises(error, match=says):
        make()
