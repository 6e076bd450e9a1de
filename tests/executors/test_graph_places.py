"""``run_in`` of a graph: for which of the nodes within it holds, and for which it does not."""

import os
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from operator import truth
from pathlib import Path
from typing import Any

import pytest

from kaygraph import (
    BatchGraph,
    Graph,
    MapReduceNode,
    Node,
    NodeDefinitionError,
    ParallelBatchNode,
    RunReport,
    settle,
)
from kaygraph.compat import Flow
from kaygraph.compat import Node as CompatNode
from kaygraph.executors.dask import Dask
from kaygraph.nodes import Case, FileMap, SwitchNode, parallel_node
from kaygraph.patterns import ParallelValidationNode
from tests.executors.cluster import TestCluster

pytestmark = pytest.mark.anyio

HERE = "here"


def where() -> str:
    """Return what runs this: the main thread, another one, or another process."""
    if os.getpid() != int(os.environ["KAYGRAPH_TEST_PID"]):
        return "process"
    return "loop" if threading.current_thread() is threading.main_thread() else "thread"


@pytest.fixture(autouse=True)
def pid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAYGRAPH_TEST_PID", str(os.getpid()))  # processes inherit it


class Tells(Node[Any, Any]):
    """Writes under its name where it runs."""

    def exec(self, _: Any) -> str:
        return where()

    def post(self, shared: Any, _: Any, place: Any) -> None:
        shared[self.name] = place


class TellsAsync(Tells):
    async def exec(self, _: Any) -> str:  # type: ignore[override]
        return where()


class Holds(Tells):
    """Has something open for the run."""

    @asynccontextmanager
    async def lifespan(self, shared: Any, /) -> AsyncIterator[str]:
        yield HERE

    def exec(self, _: Any) -> str:
        assert self.resource == HERE
        return where()


class Many(ParallelBatchNode[Any, Any]):
    def prep(self, _: Any) -> Any:
        return range(4)

    def exec(self, _: Any) -> str:
        return where()

    def post(self, shared: Any, _: Any, places: Any) -> None:
        shared[self.name] = set(places)


class Counts(MapReduceNode):
    def prep(self, _: Any) -> Any:
        return ["one"]

    def map(self, _: str) -> Any:
        return [(where(), 1)]

    def reduce(self, _: str, __: Any) -> str:
        return where()

    def post(self, shared: Any, _: Any, found: Any) -> None:
        shared[self.name] = dict(found)


async def places_in(graph: Graph) -> dict[str, Any]:
    """Return what its nodes write."""
    shared: dict[str, Any] = {}
    await graph.run_async(shared)
    return shared


# --- for whom it holds ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "of_def", "of_async"),
    [
        (None, "thread", "loop"),
        ("loop", "loop", "loop"),
        ("thread", "thread", "loop"),
        ("process", "process", "process"),
    ],
)
async def test_each_place_is_that_of_the_nodes_within(
    place: Any, of_def: str, of_async: str
) -> None:
    """Of one alone, of the items of a batch, of the phases of a map-reduce, and of a stage."""
    nodes = Tells() >> TellsAsync() >> Many(max_workers=2) >> Counts()
    assert await places_in(Graph(nodes, run_in=place)) == {
        "Tells": of_def,
        "TellsAsync": of_async,
        "Many": {of_def},
        "Counts": {of_def: of_def},
    }


async def test_executor_of_yours_is_a_place_as_well() -> None:
    """It is used, and left open."""
    with ThreadPoolExecutor(1, thread_name_prefix="mine") as executor:
        node = parallel_node(_thread_name, reads="items", writes="names")
        shared: dict[str, Any] = {"items": [1, 2]}
        await Graph(node, run_in=executor).run_async(shared)
        assert set(shared["names"]) == {"mine_0"}
        assert executor.submit(int, "3").result() == 3


def _thread_name(_: int) -> str:
    return threading.current_thread().name


async def test_cluster_is_a_place_as_well(dask_cluster: TestCluster) -> None:
    """A batch without max_workers has as many items in flight as keep the workers busy."""
    report = RunReport()
    node = parallel_node(_pid, reads="items", writes="pids")
    shared: dict[str, Any] = {"items": range(400)}
    graph = Graph(node, run_in=Dask(dask_cluster.address))
    await graph.run_async(shared, observers=[report])
    assert len(set(shared["pids"])) == 2
    assert os.getpid() not in shared["pids"]
    assert report.nodes["_pid"].peak > 10


def _pid(_: int) -> int:
    return os.getpid()


async def test_node_and_inner_graph_have_the_last_word() -> None:
    """The nearer one."""
    inner = Graph(Tells(name="inner") >> Tells(name="chosen", run_in="process"), run_in="loop")
    graph = Graph(Tells(name="outer") >> inner >> Graph(Tells(name="nested")), run_in="process")
    assert await places_in(graph) == {
        "outer": "process",
        "inner": "loop",
        "chosen": "process",
        "nested": "process",
    }


async def test_class_of_a_graph_may_say_it_and_a_batch_graph_too() -> None:
    """As every other setting; it holds in branches, and of the checks of a settings class."""

    class Away(BatchGraph):
        run_in = "process"

        def prep(self, _: Any) -> Any:
            return [{"number": 1}, {"number": 2}]

    branches = settle(Tells(name="left"), TellsAsync(name="right"))
    assert await places_in(Away(branches)) == {"left": "process", "right": "process"}


async def test_memory_limit_of_a_graph_is_that_of_its_processes(tmp_path: Path) -> None:
    """Both may be said of a graph; one alone of a node."""
    assert await places_in(Graph(Tells(), run_in="process", memory_limit="1 GB")) == {
        "Tells": "process"
    }


def test_flow_of_the_ancestors_takes_it() -> None:
    """Where it stands above the rule that a plain exec runs in the thread of its flow."""

    class Old(CompatNode):
        def exec(self, prep_res: Any) -> str:
            return where()

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared[self.name] = exec_res

    shared: dict[str, Any] = {}
    with ThreadPoolExecutor(1) as executor:
        Flow(Old(), run_in=executor).run(shared)
    assert shared == {"Old": "thread"}


# --- who stays ------------------------------------------------------------------------------------


async def test_what_holds_something_of_the_run_stays() -> None:
    """A node with a lifespan, and ready-made nodes, whose functions need not be picklable."""
    switch = SwitchNode(Case("there", when=lambda user: truth(user)), reads="user")
    checks = ParallelValidationNode({"anything": lambda _: None}, reads="user", writes="checked")
    holds = Holds()
    switch - "there" >> checks
    checks - "valid" >> holds >> Tells()
    checks - "invalid" >> holds
    shared: dict[str, Any] = {"user": {"name": "Ada"}}
    await Graph(switch, run_in="process").run_async(shared)
    assert shared["Holds"] == "thread"
    assert shared["Tells"] == "process"


async def test_ready_made_node_that_calls_your_function_goes(tmp_path: Path) -> None:
    """For each file, say."""
    (tmp_path / "one.txt").touch()
    shared: dict[str, Any] = {}
    files = FileMap("*.txt", _place_of_file, root=tmp_path, writes="places")
    await Graph(files, run_in="process").run_async(shared)
    assert set(shared["places"].values()) == {"process"}


def _place_of_file(_: Path) -> str:
    return where()


async def test_what_cannot_be_sent_is_refused_with_a_way_to_have_it_stay() -> None:
    """Which works."""

    def node(**settings: Any) -> Tells:
        made = Tells(**settings)
        made.lock = threading.Lock()  # type: ignore[attr-defined]
        return made

    with pytest.raises(NodeDefinitionError, match="or have it stay, by run_in='thread'"):
        await places_in(Graph(node(), run_in="process"))
    assert await places_in(Graph(node(run_in="thread"), run_in="process")) == {"Tells": "thread"}


# --- what it does not change ----------------------------------------------------------------------


def test_graph_is_drawn_as_before() -> None:
    """Its picture has no settings."""
    graph, away = Graph(Tells() >> Many()), Graph(Tells() >> Many(), run_in="process")
    assert graph.to_mermaid() == away.to_mermaid()
    assert graph.to_svg() == away.to_svg()


def test_place_that_is_none_is_refused() -> None:
    """With what it could be."""
    with pytest.raises(ValueError, match="run_in must be 'loop', 'thread', 'process', an executor"):
        Graph(Tells(), run_in="procces")  # type: ignore[arg-type]
