"""Where exec runs: on the loop, in a thread, in an executor; and what it knows there."""

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from contextvars import ContextVar
from typing import Any

import pytest

from kaygraph import (
    AttemptTimeoutError,
    BatchGraph,
    BatchNode,
    Graph,
    Node,
    NodeDefinitionError,
    ParallelBatchNode,
    all_of,
)
from tests.calls import Keeps

pytestmark = pytest.mark.anyio


# --- threads ---


class Query(BatchNode[str, list[Any]]):
    """Asks a database through a connection that belongs to the thread of the other hooks."""

    @asynccontextmanager
    async def lifespan(self, shared: Any, /) -> AsyncIterator[sqlite3.Connection]:
        with closing(sqlite3.connect(":memory:")) as connection:
            yield connection

    def prep(self, shared: Any, /) -> list[str]:
        return ["select 1"]

    def exec(self, statement: str, /) -> list[Any]:
        return list(self.resource.execute(statement))


class YieldingQuery(Query):
    def exec(self, statement: str, /) -> Iterator[Any]:  # type: ignore[override]
        yield from self.resource.execute(statement)


def graphs_of(kind: type[Query], run_in: Any) -> list[Graph]:
    def query() -> Query:
        return kind(run_in=run_in)

    class Within(Node[Any, Any]):
        async def exec(self, prep_res: Any, /) -> None:
            await Graph(query()).run_async({})

    others = [Graph([query(), query()]), Graph(query() | Node()), Graph(all_of(query(), query()))]
    return [Graph(query()), *others, Graph(Within())]


@pytest.mark.parametrize("kind", [Query, YieldingQuery])
def test_exec_on_the_loop_is_in_one_thread_whatever_else_the_graph_does(kind: type[Query]) -> None:
    """That of prep, post and lifespan: alone, in a fork, a pipeline, a group, a graph within."""
    for graph in graphs_of(kind, "loop"):
        graph.run({})


@pytest.mark.parametrize("kind", [Query, YieldingQuery])
def test_an_error_about_threads_says_how_exec_stays_in_one(kind: type[Query]) -> None:
    """If something else runs at the same time, and not if its place was chosen."""
    alone, *others = graphs_of(kind, None)
    alone.run({})
    for graph in others:
        with pytest.raises((sqlite3.ProgrammingError, ExceptionGroup)) as caught:
            graph.run({})
        error: Any = caught.value
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        assert any("run_in='loop'" in note for note in error.__notes__)
    with pytest.raises(sqlite3.ProgrammingError) as caught:
        graphs_of(kind, "thread")[0].run({})
    assert not any("run_in" in note for note in caught.value.__notes__)


class Where(Keeps):
    """Says in which thread it ran."""

    def exec(self, _: Any) -> str:
        return threading.current_thread().name


class AsyncWhere(Keeps):
    async def exec(self, _: Any) -> str:
        return threading.current_thread().name


async def where(node: Keeps) -> str:
    shared: dict[str, Any] = {}
    await node.run_async(shared)
    name: str = shared["result"]
    return name


async def test_a_def_exec_runs_in_a_worker_thread() -> None:
    """Written `def` it never stalls the loop; written `async def` it runs on the loop."""
    main = threading.current_thread().name
    assert (await where(Where())).startswith("kaygraph")
    assert await where(AsyncWhere()) == main


async def test_run_in_overrides_where_exec_runs() -> None:
    """On the class or on the instance; an `async def` in a thread gets a loop of its own."""

    class OnLoop(Where):
        run_in = "loop"

    main = threading.current_thread().name
    assert await where(OnLoop()) == main
    assert await where(Where(run_in="loop")) == main
    assert (await where(OnLoop(run_in="thread"))).startswith("kaygraph")
    assert (await where(AsyncWhere(run_in="thread"))).startswith("kaygraph")


def test_under_run_a_def_exec_that_runs_alone_runs_in_the_calling_thread() -> None:
    """A plain sequential graph costs no thread hop."""
    main = threading.current_thread().name
    shared: dict[str, Any] = {}
    Graph(Node() >> Where()).run(shared)
    assert shared["result"] == main
    Graph(Where(run_in="thread")).run(shared)
    assert shared["result"].startswith("kaygraph")


def test_under_run_a_sequential_batch_runs_in_the_calling_thread() -> None:
    """Not with one item after another; with several at once."""

    class Batch(BatchNode[Any, Any]):
        def prep(self, _: Any) -> range:
            return range(3)

        def exec(self, _: Any) -> str:
            return threading.current_thread().name

        def post(self, shared: Any, _: Any, results: Any) -> None:
            shared["threads"] = set(results)

    class Parallel(Batch, ParallelBatchNode[Any, Any]):
        pass

    main = threading.current_thread().name
    shared: dict[str, Any] = {}
    Batch().run(shared)
    assert shared["threads"] == {main}
    Parallel(max_workers=2).run(shared)
    assert main not in shared["threads"]


def test_under_run_branches_run_in_threads() -> None:
    """If something else runs at the same time, a `def` goes to a thread."""

    class Named(Where):
        def post(self, shared: Any, _: Any, result: Any) -> None:
            shared[self.name] = result

    shared: dict[str, Any] = {}
    one, *two, join = (Named(name=name) for name in "abcd")
    Graph(one >> two >> join).run(shared)
    main = threading.current_thread().name
    assert shared["a"] == main
    assert shared["b"].startswith("kaygraph")
    assert shared["c"].startswith("kaygraph")
    assert shared["d"] == main


async def test_context_variables_reach_the_thread() -> None:
    """What was set around the run, or in prep, is seen in the thread."""

    class Reads(Keeps):
        def exec(self, _: Any) -> str:
            return VARIABLE.get()

    VARIABLE.set("seen")
    shared: dict[str, Any] = {}
    await Reads().run_async(shared)
    assert shared["result"] == "seen"


VARIABLE: ContextVar[str] = ContextVar("VARIABLE")


async def test_more_threads_than_forty_run_at_once() -> None:
    """The limit of threads is the node's max_workers, not a library's default."""

    class Meets(ParallelBatchNode[Any, Any]):
        def prep(self, _: Any) -> range:
            return range(60)

        def exec(self, _: Any) -> None:
            barrier.wait(timeout=30)

    barrier = threading.Barrier(60)
    await Meets(max_workers=60).run_async({})


async def test_a_thread_that_runs_over_is_waited_for_and_reported() -> None:
    """A thread cannot be stopped: the error says by how much it ran over."""

    class Blocks(Node[Any, Any]):
        def exec(self, _: Any) -> None:
            time.sleep(0.1)
            ended.append(True)

    ended: list[bool] = []
    with pytest.raises(AttemptTimeoutError, match=r"cannot be stopped, and ended \d+\.\d+ s after"):
        await Blocks(timeout=0.01).run_async({})
    assert ended == [True]


def test_an_exec_in_the_calling_thread_that_runs_over_is_reported() -> None:
    """Nothing can interrupt it there; the overrun is still an error, and its result is dropped."""

    class Blocks(Node[Any, Any]):
        def exec(self, _: Any) -> None:
            time.sleep(0.02)

    with pytest.raises(AttemptTimeoutError):
        Blocks(timeout=0.005).run({})


async def test_a_cancelled_run_waits_for_its_thread() -> None:
    """When the run ends as cancelled, the thread has ended too."""

    class Blocks(Node[Any, Any]):
        def exec(self, _: Any) -> None:
            loop.call_soon_threadsafe(started.set)
            may_end.wait(30)
            ended.append(True)

    loop, started, may_end = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    ended: list[bool] = []
    task = asyncio.create_task(Blocks().run_async({}))
    await started.wait()
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    may_end.set()
    await asyncio.wait([task])
    assert task.cancelled()
    assert ended == [True]
    assert not [t for t in threading.enumerate() if t.name.startswith("kaygraph")]


async def test_a_call_that_waits_for_its_thread_is_cancelled_at_once() -> None:
    """What an executor has not begun is taken back: the run ends as cancelled."""
    may_end = threading.Event()
    with ThreadPoolExecutor(1) as executor:
        executor.submit(may_end.wait, 30)
        try:
            task = asyncio.create_task(Where(run_in=executor).run_async({}))
            for _ in range(5):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        finally:
            may_end.set()
    assert task.cancelled(), task


async def test_an_error_of_a_thread_is_raised_as_itself() -> None:
    """The error object itself, with its traceback."""

    class Fails(Node[Any, Any]):
        def exec(self, _: Any) -> None:
            raise error

    error = ValueError("from the thread")
    with pytest.raises(ValueError, match="from the thread") as caught:
        await Fails().run_async({})
    assert caught.value is error


@pytest.mark.parametrize("run_in", ["thread", "loop"])
def test_a_stop_iteration_in_exec_does_not_hang_the_run(run_in: Any) -> None:
    """next() of an empty iterator is an error like any other, in a thread too."""

    class Empty(Node[Any, Any]):
        def exec(self, _: Any) -> Any:
            return next(iter(()))

    def run() -> None:
        try:
            asyncio.run(Empty(run_in=run_in).run_async({}))
        except Exception as error:
            raised.append(error)

    raised: list[Exception] = []
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(2)
    assert not thread.is_alive()
    assert len(raised) == 1


async def test_a_def_exec_that_returns_a_coroutine_is_refused() -> None:
    """A forgotten `async` is named, not silently passed on."""

    class Forgot(Node[Any, Any]):
        def exec(self, _: Any) -> Any:
            return asyncio.sleep(0)

    with pytest.raises(NodeDefinitionError, match="async def"):
        await Forgot().run_async({})


async def test_what_an_exec_yields_comes_back_as_a_list() -> None:
    """A generator, sync or async, gives the list of what it yields."""

    class Yields(Keeps):
        def exec(self, _: Any) -> Iterator[int]:
            yield from range(3)

    class AsyncYields(Keeps):
        async def exec(self, _: Any) -> AsyncIterator[int]:
            for number in range(3):
                yield number

    for node in (Yields(), Yields(run_in="loop"), AsyncYields(), AsyncYields(run_in="thread")):
        shared: dict[str, Any] = {}
        await node.run_async(shared)
        assert shared["result"] == [0, 1, 2], node


# --- params and attempt, wherever exec runs ---


class Facts(Node[Any, Any]):
    """Fails once, then returns what it may ask about its run."""

    def exec(self, _: Any) -> Any:
        if self.attempt < 2:
            raise ValueError
        return dict(self.params), self.attempt, os.getpid()

    def post(self, shared: Any, _: Any, result: Any) -> None:
        shared.append(result)


class Rounds(BatchGraph):
    def prep(self, _: Any) -> Any:
        return [{"city": "Oslo"}, {"city": "Rome"}]


@pytest.mark.parametrize("run_in", ["loop", "thread", "process", "executor"])
async def test_params_and_attempt_are_known_wherever_exec_runs(run_in: str) -> None:
    """self.params and self.attempt are those of the round and the attempt."""
    with ThreadPoolExecutor(1) as executor:
        place: Any = executor if run_in == "executor" else run_in
        shared: list[Any] = []
        async with asyncio.timeout(60):
            await Rounds(Facts(run_in=place, max_retries=2)).run_async(shared)
    assert [facts[:2] for facts in shared] == [({"city": "Oslo"}, 2), ({"city": "Rome"}, 2)]
    assert all((facts[2] == os.getpid()) == (run_in != "process") for facts in shared)


async def test_an_executor_of_the_users_is_used_and_left_open() -> None:
    """exec runs where the executor puts it; shutting it down is its owner's to do."""
    with ThreadPoolExecutor(1, thread_name_prefix="mine") as executor:
        assert (await where(Where(run_in=executor))).startswith("mine")
        assert executor.submit(int, "7").result() == 7


def test_a_place_that_is_none_is_refused() -> None:
    """A string that names no place gets the nearest one; other objects need submit()."""
    with pytest.raises(ValueError, match="Did you mean 'process'"):
        Node(run_in="proces")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="submit"):
        Node(run_in=7)  # type: ignore[arg-type]


def test_time_to_start_is_refused_where_nothing_is_started() -> None:
    """Only a worker process has to be."""
    with pytest.raises(ValueError, match="start_timeout needs run_in='process'"):
        Node(start_timeout=3)
    assert Node(start_timeout=3, run_in="process").start_timeout == 3
