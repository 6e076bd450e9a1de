"""Executors of the user's that send work to other processes: Python's, loky's, Dask's."""

import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import pytest

from kaygraph import BatchGraph, Graph, Node, NodeDefinitionError, Outcome
from tests.executors.failing import Unloadable
from tests.executors.sent import (
    AsyncDoubles,
    Collects,
    Counts,
    Doubles,
    Marks,
    Numbers,
    Squares,
    YieldsDoubles,
    process_of,
    settings,
)

pytestmark = pytest.mark.anyio


LIBRARIES = [pytest.param(name, marks=pytest.mark.proofs) for name in ("loky", "dask")]


@pytest.fixture(params=["process", "pool", *LIBRARIES])
def place(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Two processes, wherever they come from."""
    match request.param:
        case "pool":
            spawn = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(2, mp_context=spawn) as pool:
                yield pool
        case "loky":
            loky = pytest.importorskip("loky")
            executor = loky.get_reusable_executor(2)
            yield executor
            executor.shutdown(kill_workers=True)
        case "dask":
            distributed = pytest.importorskip("distributed")
            cluster = distributed.LocalCluster(
                n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
            )
            with cluster, distributed.Client(cluster) as client:
                yield client.get_executor()
        case _:
            yield request.param


@pytest.mark.parametrize("kind", [Doubles, AsyncDoubles])
async def test_settings_of_the_engine_stay_here(place: Any, kind: type[Doubles]) -> None:
    """Functions in them, a rate, a breaker: the node works elsewhere all the same."""
    shared: dict[str, Any] = {}
    await kind([1, 2, 3], run_in=place, max_workers=2, **settings()).run_async(shared)
    doubles, pids = zip(*shared["results"], strict=True)
    assert doubles == (2, 4, 6)
    assert os.getpid() not in pids


@pytest.mark.proofs
async def test_equal_calls_are_made_as_often_as_they_are_asked_for(place: Any) -> None:
    """Rounds that have the same node, item and params: none gets the result of another."""

    class Rounds(BatchGraph):
        def prep(self, shared: Any) -> Any:
            return [{}, {}, {}]

    shared: dict[str, Any] = {"marks": []}
    await Rounds(Marks(run_in=place), max_workers=3).run_async(shared)
    assert len(set(shared["marks"])) == 3


async def test_generator_map_reduce_stage_and_function_work_there(place: Any) -> None:
    """All that has an exec of its own."""
    shared: dict[str, Any] = {}
    await YieldsDoubles([1, 2], run_in=place, **settings()).run_async(shared)
    assert [one[0] for one in shared["results"]] == [2, 4]
    await Counts(run_in=place, **settings()).run_async(shared)
    assert {word: count for word, (count, _) in shared["counts"].items()} == {
        "a": 2, "b": 2, "c": 1,
    }  # fmt: skip
    assert os.getpid() not in {pid for _, pid in shared["counts"].values()}
    got = Collects()
    await (Numbers() | Squares(run_in=place, **settings()) | got).run_async(shared)
    assert [square for square, _ in got.got] == [0, 1, 4]
    assert os.getpid() not in {pid for _, pid in got.got}
    process_of.run_in = place
    await Graph(process_of).run_async(shared)
    assert shared["pid"] != os.getpid()


async def test_item_that_does_not_travel_fails_alone(place: Any) -> None:
    """With its own error, and the executor is as good as new."""
    items = [1, threading.Lock(), Unloadable(), 2]
    shared: dict[str, Any] = {}
    node = Doubles(items, run_in=place, on_error="collect", **settings())
    await node.run_async(shared)
    first, *failed, last = shared["results"]
    assert (first[0], last[0]) == (2, 4)
    assert all(isinstance(outcome, Outcome) for outcome in failed)
    assert [type(outcome.error) for outcome in failed] == [TypeError, ValueError]
    said = ["\n".join(outcome.error.__notes__) for outcome in failed]
    assert "while the item was pickled" in said[0]
    assert "while the item was unpickled" in said[1]


class Results(Node[Any, Any]):
    """Gives back what only this process knows."""

    def exec(self, _: Any) -> Any:
        return LOCK

    def post(self, shared: Any, _: Any, result: Any) -> None:
        shared["result"] = result


LOCK = threading.Lock()


async def test_nothing_is_pickled_for_a_thread() -> None:
    """An executor of threads gets the node and the item themselves."""
    shared: dict[str, Any] = {}
    with ThreadPoolExecutor(1) as threads:
        await Results(run_in=threads).run_async(shared)
    assert shared["result"] is LOCK


async def test_what_only_looks_like_an_executor_is_refused() -> None:
    """A submit() that gives something else than a future, or a client in its place."""

    class Promise:
        cancelled = False

        def cancel(self) -> None:
            self.cancelled = True

    class Promising:
        def submit(self, *_: Any) -> Promise:
            return promise

    class Client(Promising):
        def get_executor(self) -> "Promising":
            return self

    promise = Promise()
    with pytest.raises(NodeDefinitionError, match="that of Promising returned a Promise"):
        await Results(run_in=Promising()).run_async({})  # type: ignore[arg-type]
    assert promise.cancelled
    with pytest.raises(ValueError, match=r"Dask\(client\)"):
        Results(run_in=Client())  # type: ignore[arg-type]


async def test_executor_that_is_shut_down_says_so() -> None:
    """Its own error, of the item."""
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        await Results(run_in=pool).run_async({})


async def test_future_of_a_kind_of_its_own_is_waited_for() -> None:
    """As mpi4py's, which derives from Python's."""

    class Own(Future):  # type: ignore[type-arg]
        pass

    class Executor:
        def submit(self, function: Any, *args: Any) -> Own:
            future = Own()
            future.set_result(function(*args))
            return future

    shared: dict[str, Any] = {}
    await Results(run_in=Executor()).run_async(shared)  # type: ignore[arg-type]
    assert shared["result"] is LOCK
