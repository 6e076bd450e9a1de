"""Recorded runs that are drained, and resumed."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kaygraph import BatchGraph, Graph, Journal, JournalError, Node
from kaygraph.journal.memory import MemoryStore
from kaygraph.run.task import RunTask
from kaygraph.testing._mortal import RUN, MortalJournal
from kaygraph.testing.killing import same
from kaygraph.testing.simulation import Simulation, play
from tests.journal.shapes import SHAPES, Shape, Step

pytestmark = pytest.mark.anyio

PROCESSES = 30  # drain the run before one finishes it


def lived(shape: Shape, store: MemoryStore, seconds: float | None, seed: int) -> Simulation:
    """Return what a process did before it was drained after a number of seconds."""

    async def process(shared: Any) -> Any:
        task = shape.make().launch(shared, journal=MortalJournal(store, None, run=RUN))
        if seconds is not None:
            await asyncio.sleep(seconds)
            task.drain(grace=1000)
        return await task

    return play(process, {}, seed, [])


def result_of(run: Simulation) -> dict[str, Any]:
    """Return the shared store; racing branches may have ended in another order."""
    log = run.shared.get("log", [])
    names = [entry if isinstance(entry, str) else entry[0] for entry in log]
    return {**run.shared, "log": sorted(map(str, names))}


def drained_again_and_again(shape: Shape, seed: int, step: float) -> None:
    whole = lived(shape, MemoryStore(entropy=bytes), None, seed)
    store = MemoryStore(entropy=bytes)
    times: list[float | None] = [step * number for number in range(1, PROCESSES)]
    for seconds in [*times, None]:
        run = lived(shape, store, seconds, seed)
        if store.info(RUN).status == "done":
            break
        if run.error is not None:  # no handler starts in a draining run
            assert not isinstance(run.error, JournalError), run.error
            if seconds is None:
                return
        assert not run.left
    if "check" in shape.settings:
        shape.settings["check"](run.shared)
    else:
        assert same(result_of(run), result_of(whole))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_run_comes_to_its_end_however_often_it_is_drained(shape: Shape) -> None:
    """And to the same result as one that was not drained."""
    drained_again_and_again(shape, 0, 0.7)


@pytest.mark.proofs
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_in_other_orders_and_at_other_times(shape: Shape, seed: int) -> None:
    for step in (0.3, 1.1, 1.9):
        drained_again_and_again(shape, seed, step)


class State:
    """What should happen; an object, so that it does not count as code."""

    drains, fails = "", 0
    task: RunTask
    loop: asyncio.AbstractEventLoop


state = State()
CALLS: list[Any] = []


class Adds(Node[int, int]):
    """Adds one, and drains the run on request."""

    def prep(self, shared: Any) -> int:
        return int(shared["value"])

    async def exec(self, value: int) -> int:
        if state.drains == self.name:
            state.drains = ""
            drained = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(drain(), state.loop))
            await drained
        return value + 1

    def post(self, shared: Any, _: int, value: int) -> None:
        shared["value"] = value


async def drain() -> None:
    state.task.drain()


def added() -> Any:
    shared: dict[str, Any] = {"value": 0}
    return Graph(Adds(name="one") >> Adds(name="two")), shared


class InThread(Node[Any, int]):
    def exec(self, _: Any) -> int:
        graph, shared = added()
        graph.run(shared)
        return int(shared["value"])

    def post(self, shared: Any, _: Any, value: int) -> None:
        shared["value"] = value


class OnLoop(InThread):
    async def exec(self, _: Any) -> int:  # type: ignore[override]
        graph, shared = added()
        await graph.run_async(shared)
        return int(shared["value"])


@pytest.mark.parametrize("node", [InThread, OnLoop])
async def test_what_exec_makes_of_a_graph_that_was_cut_short_is_not_recorded(
    node: type[Node[Any, int]], tmp_path: Path
) -> None:
    """The run is resumed, and the graph finished."""
    state.drains, state.loop = "one", asyncio.get_running_loop()
    shared: dict[str, Any] = {}
    for _ in range(2):
        journal = Journal(tmp_path / "runs.db", run="a")
        state.task = Graph(node()).launch(shared, journal=journal)
        await state.task
    assert shared == {"value": 2}


class Rounds(BatchGraph):
    def prep(self, shared: Any) -> Any:
        return [{"n": number} for number in shared["numbers"]]


class Work(Node[int, int]):
    def prep(self, _: Any) -> int:
        return int(self.params["n"])

    def exec(self, number: int) -> int:
        CALLS.append((self.name, number))
        if number == state.fails and self.name == "b":
            raise ValueError(number)
        return number

    def post(self, shared: Any, _: int, number: int) -> None:
        shared.setdefault("done", []).append(number)


def rounds() -> Graph:
    return Graph(Rounds(Work(name="a") >> Work(name="b")) >> Step("end", 0))


def test_rounds_may_be_added_to_a_node_that_has_ended(tmp_path: Path) -> None:
    """Even twice, and even if it fails at first."""

    class Last(Node[Any, int]):
        def exec(self, _: Any) -> int:
            if state.fails:
                raise ConnectionError("down")
            return 1

    def run(*numbers: int, fails: int) -> Any:
        state.fails = fails
        CALLS.clear()
        shared: dict[str, Any] = {"numbers": numbers}
        graph = Graph(Rounds(Work(name="a") >> Work(name="b")) >> Step("mid", 0) >> Last())
        graph.run(shared, journal=Journal(tmp_path / "runs.db", run="a"))
        return shared["done"]

    with pytest.raises(ConnectionError):
        run(1, 2, fails=-1)
    with pytest.raises(ConnectionError):
        run(1, 3, 2, fails=-1)
    assert CALLS == [("a", 3), ("b", 3)]
    with pytest.raises(ValueError, match="4"):
        run(4, 1, 3, 2, fails=4)
    assert run(4, 1, 3, 5, 2, fails=0) == [4, 4, 1, 1, 3, 3, 5, 5, 2, 2]
    assert CALLS == [("b", 4), ("a", 5), ("b", 5)]


@pytest.mark.parametrize("numbers", [[2, 3, 4], [4, 3, 2, 1], [5, 1, 2, 3, 4], [4], [3, 2]])
def test_rounds_may_be_inserted_removed_and_reordered(tmp_path: Path, numbers: list[int]) -> None:
    """Their records are used wherever they are now; only new items are called."""
    state.fails = 4
    CALLS.clear()
    with pytest.raises(ValueError, match="4"):
        rounds().run({"numbers": [1, 2, 3, 4]}, journal=Journal(tmp_path / "runs.db", run="a"))
    state.fails = 0
    before = set(CALLS) - {("b", 4)}
    CALLS.clear()
    shared: dict[str, Any] = {"numbers": numbers}
    rounds().run(shared, journal=Journal(tmp_path / "runs.db", run="a"))
    assert sorted(shared["done"]) == sorted([*numbers, *numbers])
    assert set(CALLS) == {(name, number) for number in numbers for name in "ab"} - before
