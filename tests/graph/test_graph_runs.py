"""How graphs are run: from synchronous code, on a loop, in parallel with themselves, again."""

import asyncio
import gc
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from kaygraph import BatchGraph, Graph, Node, ParallelBatchNode, settle


class Where(Node):
    """Notes in which thread its exec runs."""

    def exec(self, prep_res: Any) -> threading.Thread:
        return threading.current_thread()

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared[self.name] = exec_res


def test_sync_exec_leaves_the_calling_thread_only_inside_of_a_fan_out() -> None:
    """Before and after the fan-out it runs in place; within it, in another thread."""
    shared: dict[str, Any] = {}
    before, after = Where(name="before"), Where(name="after")
    branches = [Where(name="b"), Graph(Where(name="c"))]
    Graph(before >> branches >> after).run(shared)
    here = threading.current_thread()
    assert shared["before"] is here
    assert shared["b"] is not here
    assert shared["c"] is not here
    assert shared["after"] is here


def test_sync_exec_leaves_the_calling_thread_in_rounds_that_run_at_once() -> None:
    """Rounds one by one stay; rounds at once do not."""

    class Twice(BatchGraph):
        def prep(self, shared: Any) -> Any:
            return [{}, {}]

    here = threading.current_thread()
    shared: dict[str, Any] = {}
    Twice(Where(name="one")).run(shared)
    Twice(Where(name="two"), max_workers=2, on_conflict="ignore").run(shared)
    Graph(settle(Where(name="branch"))).run(shared)
    assert shared["one"] is here
    assert shared["two"] is not here
    assert shared["branch"] is not here


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    """IPython runs what is typed."""
    shell = SimpleNamespace(get_ipython=object)
    monkeypatch.setitem(sys.modules, "IPython", shell)


@pytest.mark.anyio
async def test_run_that_blocks_a_running_loop_says_so_where_it_is_called() -> None:
    """A web handler names run_async; where IPython is only imported, nobody types."""
    for shell in (None, SimpleNamespace(get_ipython=lambda: None)):
        with pytest.MonkeyPatch.context() as patched:
            patched.setitem(sys.modules, "IPython", shell)
            with pytest.warns(RuntimeWarning, match=r"'await graph.run_async\(shared\)'") as caught:
                Graph(Node()).run()
        assert caught[0].filename == __file__


@pytest.mark.anyio
async def test_run_inside_of_a_running_loop_works(notebook: None) -> None:
    """As in a notebook: another thread runs a loop of its own, and the action comes back."""

    class Ends(Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
            shared["b"] = threading.current_thread()
            return "done"

    shared: dict[str, Any] = {}
    assert Graph(Where(name="a") >> Ends()).run(shared) == "done"
    assert shared["a"] is shared["b"]
    assert shared["a"] is not threading.current_thread()
    assert not shared["a"].is_alive()


@pytest.mark.anyio
async def test_failure_of_a_run_inside_of_a_running_loop_is_raised(notebook: None) -> None:
    """The error is the node's own."""

    class Fails(Node):
        def exec(self, prep_res: Any) -> None:
            raise ValueError("here")

    with pytest.raises(ValueError, match="here"):
        Graph(Fails()).run()


@pytest.mark.anyio
async def test_graph_may_run_many_times_at_once() -> None:
    """Fifty runs of one graph share nodes and nothing else."""

    class Squares(ParallelBatchNode):
        def prep(self, shared: Any) -> Any:
            return [shared["number"]] * 3

        async def exec(self, number: int) -> int:
            await asyncio.sleep(0)
            if self.attempt == 1:
                raise ValueError
            return number * number

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared.setdefault("results", []).append(exec_res)

    graph = Graph(Squares(max_retries=2) >> [Squares(max_retries=2), Squares(max_retries=2)])
    stores: list[dict[str, Any]] = [{"number": number} for number in range(50)]
    await asyncio.gather(*(graph.run_async(store) for store in stores))
    assert [store["results"] for store in stores] == [[[n * n] * 3] * 3 for n in range(50)]


def test_graph_may_be_run_again_on_another_loop() -> None:
    """Nothing that belongs to a loop outlives a run."""

    class Pauses(ParallelBatchNode):
        def prep(self, shared: Any) -> Any:
            return range(4)

        async def exec(self, item: int) -> None:
            await asyncio.sleep(0)

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
            return "paused"

    graph = Graph(Graph(Pauses(max_workers=2)), max_workers=1)
    assert [graph.run() for _ in range(3)] == ["paused"] * 3


def test_node_with_successors_that_runs_alone_warns() -> None:
    """`a.run()` runs a; what follows it needs a Graph."""
    a = Where(name="a")
    a >> Where(name="b")
    shared: dict[str, Any] = {}
    with pytest.warns(
        UserWarning, match="runs alone; to also run the nodes that follow it, put it in a"
    ):
        a.run(shared)
    assert list(shared) == ["a"]


def test_shared_store_may_be_anything_and_is_a_dict_unless_given() -> None:
    """run() without one hands every node the same new dict."""
    stores: list[Any] = []

    class Keeps(Node):
        def prep(self, shared: Any) -> None:
            stores.append(shared)

    Graph(Keeps() >> Keeps()).run()
    assert stores[0] is stores[1]
    assert stores[0] == {}
    empty: list[Any] = []
    Graph(Keeps()).run(empty)
    assert stores[2] is empty


def test_sync_exec_under_run_may_bring_a_loop_of_its_own() -> None:
    """Code that calls asyncio.run runs in the calling thread as it would in any other."""

    class Own(Node):
        def exec(self, prep_res: Any) -> int:
            return asyncio.run(asyncio.sleep(0, 5))

        def post(self, shared: Any, prep_res: Any, exec_res: int) -> None:
            shared["result"] = exec_res

    for run in (Graph(Own()).run, lambda shared: asyncio.run(Graph(Own()).run_async(shared))):
        shared: dict[str, Any] = {}
        run(shared)
        assert shared["result"] == 5


def test_task_cancelled_before_its_first_step_leaves_no_coroutine() -> None:
    """Nothing was begun, and Python has nothing to warn of."""

    async def main() -> None:
        task = asyncio.create_task(Graph(Node()).run_async({}))
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(main())
    gc.collect()


@pytest.mark.parametrize("watched", [False, True])
def test_errors_are_the_same_with_an_observer(watched: bool) -> None:
    """What a sibling raises while it is cancelled is kept, whether anybody watches or not."""

    class Fails(Node):
        async def exec(self, prep_res: Any) -> None:
            await asyncio.sleep(0)
            raise KeyError("first")

    class Wraps(Node):
        async def exec(self, prep_res: Any) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise ValueError("cleanup") from None

    with pytest.raises(ExceptionGroup) as caught:
        Graph([Fails(), Wraps()]).run(observers=[lambda event: None] if watched else [])
    assert [type(error) for error in caught.value.exceptions] == [KeyError, ValueError]


def test_lifespan_that_cannot_be_entered_is_reported_once() -> None:
    """The run raises what it raised, and nothing is reported behind its back."""

    class Broken(Node):
        @asynccontextmanager
        async def lifespan(self, shared: Any, /) -> AsyncIterator[None]:
            raise ValueError("enter")
            yield

    with pytest.raises(ValueError, match="enter"):
        Graph(Broken()).run()
    gc.collect()
