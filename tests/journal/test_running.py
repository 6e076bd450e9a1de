"""A recorded run, from opening its journal to its end."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kaygraph import (
    AsyncNode,
    BatchGraph,
    Graph,
    JournalFullError,
    Node,
    ParallelBatchNode,
    RunTakenOverError,
    all_of,
)
from kaygraph.errors import NotRecordableError, RunDivergedError
from kaygraph.executors import calling_thread
from kaygraph.journal import writer
from kaygraph.journal.journal import Journal
from kaygraph.journal.log import POINT, unpacked
from kaygraph.journal.sqlite import SQLiteStore


class Unrecordable(Node):
    def exec(self, _: Any) -> object:
        return object()


class UnrecordableLater(AsyncNode):
    async def exec(self, _: Any) -> object:
        await asyncio.sleep(0)
        return object()


@pytest.mark.parametrize("node", [Unrecordable, UnrecordableLater])
def test_a_value_that_cannot_be_recorded_is_reported_as_that(tmp_path: Path, node: Any) -> None:
    """And not as the cancellation by which the journal ends the run."""
    journal = Journal(tmp_path / "runs.db", run="a")
    for run in (lambda: asyncio.run(Graph(node()).run_async({}, journal=journal)),
                lambda: Graph(node()).run({}, journal=journal)):  # fmt: skip
        with pytest.raises(NotRecordableError, match=f"exec of '{node.__name__}'"):
            run()


def test_a_run_that_the_journal_has_ended_has_failed(tmp_path: Path) -> None:
    """It is listed with the error, and not as running."""
    path = tmp_path / "runs.db"
    with pytest.raises(NotRecordableError):
        Graph(Unrecordable()).run({}, journal=Journal(path, run="a"))
    graph = Graph(Unshown() >> Unrecordable())
    for _ in range(2):
        with pytest.raises(NotRecordableError):
            graph.run({}, journal=Journal(path, run="b"))
    with pytest.raises(RunDivergedError):
        Graph(Once(), name=graph.name).run({}, journal=Journal(path, run="b"))
    b, a = Journal(path).runs()
    assert (a.status, b.status) == ("failed", "failed")
    assert a.error is not None
    assert a.error.startswith("NotRecordableError: ")
    assert b.error is not None
    assert b.error.startswith("RunDivergedError: ")


def test_a_run_that_was_overtaken_is_left_to_its_owner(tmp_path: Path) -> None:
    """It continues there."""
    path = tmp_path / "runs.db"

    def happens(count: int) -> None:
        if count == 1:
            with closing(SQLiteStore(path)) as other:
                other.claim("a", "loop")

    with pytest.raises(RunTakenOverError):
        looping(Step(3, happens)).run({"count": 0}, journal=Journal(path, run="a"))
    (info,) = Journal(path).runs()
    assert (info.status, info.error) == ("running", None)


class Doubled(ParallelBatchNode[int, int]):
    """Negative items fail."""

    def prep(self, shared: Any) -> list[int]:
        return list(shared["items"])

    async def exec(self, item: int) -> int:
        if item < 0:
            raise LookupError(item)
        return 2 * item


def test_an_item_that_was_added_to_a_batch_which_has_ended_may_fail(tmp_path: Path) -> None:
    """The run fails with its error, and continues when that is fixed."""

    class Last(Node[Any, int]):
        def exec(self, _: Any) -> int:
            raise ConnectionError("down")

    graph = Graph(Doubled(name="Doubled") >> Unshown() >> Last())
    for items, error in [
        ([1, 2], ConnectionError),
        ([1, -1, 2], LookupError),
        ([1, 2], ConnectionError),
    ]:
        with pytest.raises(error):
            graph.run({"items": items}, journal=Journal(tmp_path / "runs.db", run="a"))


class Unshown(Node[Any, int]):
    def exec(self, _: Any) -> int:
        return 1


def test_old_results_are_not_mixed_with_those_that_were_made_again(tmp_path: Path) -> None:
    """Even if a later process is not asked to make them again."""
    factor, broken = [1], [False]

    class Times(ParallelBatchNode[int, int]):
        def prep(self, _: Any) -> list[int]:
            return [1, 2, 3]

        async def exec(self, item: int) -> int:
            if broken[0] and item == 2:
                raise LookupError(item)
            return factor[0] * item

        def post(self, shared: Any, _: Any, results: list[int]) -> None:
            shared["results"] = results

    def run(**settings: Any) -> Any:
        shared: dict[str, Any] = {}
        Graph(Times()).run(shared, journal=Journal(tmp_path / "runs.db", run="a", **settings))
        return shared["results"]

    assert run() == [1, 2, 3]
    factor[0], broken[0] = 10, True
    with pytest.raises(LookupError):
        run(redo=["Times"])
    broken[0] = False
    assert run() == [10, 20, 30]


def test_a_node_that_is_run_again_and_fails_ends_its_run(tmp_path: Path) -> None:
    """Even if what was recorded of it before is no longer asked for."""
    path = tmp_path / "runs.db"
    graph = Graph(Doubled(name="Doubled"))
    graph.run({"items": [1, 2]}, journal=Journal(path, run="a"))
    with pytest.raises(LookupError):
        graph.run({"items": [-1]}, journal=Journal(path, run="a", redo=["Doubled"]))


NAMED = [{"redo": ["Dubled"]}, {"accept": ["Dubled"]}, {"key": {"Dubled": int}}]


@pytest.mark.parametrize("settings", NAMED)
def test_a_name_that_no_node_has_is_reported(tmp_path: Path, settings: Any) -> None:
    """When the run is done: until then, one may still be written."""
    journal = Journal(tmp_path / "runs.db", run="a", **settings)
    with pytest.warns(UserWarning, match=r"names 'Dubled', but no .* Did you mean 'Doubled'\?"):
        Graph(Doubled(name="Doubled")).run({"items": [1]}, journal=journal)
    settings = {"redo": ["Doubled"], "accept": ["Doubled"], "key": {"Doubled": int}}
    again = Journal(tmp_path / "runs.db", run="a", **settings)
    Graph(Doubled(name="Doubled")).run({"items": [1]}, journal=again)


# --- single steps ---------------------------------------------------------------------------------


class Step(Node[int, int]):
    """A step of a loop that never suspends; something may happen at one."""

    def __init__(self, steps: int, happens: Callable[[int], object] = bool) -> None:
        super().__init__()
        self.steps, self.happens, self.calls = steps, happens, list[int]()

    def prep(self, shared: Any) -> int:
        return int(shared["count"])

    async def exec(self, count: int) -> int:
        self.calls.append(count)
        self.happens(count)
        return count + 1

    def post(self, shared: Any, _: int, count: int) -> str | None:
        shared["count"] = count
        return "again" if count < self.steps else None


def looping(step: Step) -> Graph:
    step - "again" >> step
    return Graph(step, name="loop")


class Rows:
    """Counts rows, by the thread that wrote them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at_once = self.grouped = 0
        append, at_once = SQLiteStore.append, SQLiteStore.append_at_once

        def appended(store: SQLiteStore, *arguments: Any) -> int:
            assert threading.current_thread().name == "kaygraph-journal"
            self.grouped += 1
            return append(store, *arguments)

        def appended_at_once(store: SQLiteStore, *arguments: Any) -> int | None:
            assert threading.current_thread() is threading.main_thread()
            number = at_once(store, *arguments)
            self.at_once += number is not None
            return number

        monkeypatch.setattr(SQLiteStore, "append", appended)
        monkeypatch.setattr(SQLiteStore, "append_at_once", appended_at_once)


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> Rows:
    monkeypatch.setattr(writer, "LATE_S", 60.0)  # allow for a busy machine
    return Rows(monkeypatch)


def test_steps_that_are_all_there_is_are_written_by_the_loop(tmp_path: Path, rows: Rows) -> None:
    """And are replayed like others."""
    step = Step(400)
    looping(step).run({"count": 0}, journal=Journal(tmp_path / "runs.db", run="a"))
    assert rows.at_once > 3 * rows.grouped
    assert rows.at_once + rows.grouped >= 400
    journal = Journal(tmp_path / "runs.db")
    again = Journal(tmp_path / "runs.db", run=journal.fork("a", new="b"))
    shared = {"count": 0}
    looping(step).run(shared, journal=again)
    assert shared == {"count": 400}
    assert (again.replayed, again.called) == (400, 0)


def test_durable_steps_are_written_by_the_thread(tmp_path: Path, rows: Rows) -> None:
    """The loop does not wait for a disk."""
    journal = Journal(tmp_path / "runs.db", run="a", durable=True)
    looping(Step(20)).run({"count": 0}, journal=journal)
    assert rows.at_once == 0
    assert rows.grouped >= 20


class Pause(Node[Any, None]):
    async def exec(self, _: Any) -> None:
        await asyncio.sleep(0)


def test_simultaneous_steps_are_written_in_groups(tmp_path: Path, rows: Rows) -> None:
    """Several are one transaction."""
    group = all_of(*(Pause(name=f"pause {number}") for number in range(100)))
    Graph(group).run({}, journal=Journal(tmp_path / "runs.db", run="a"))
    assert rows.at_once <= 2
    assert rows.grouped < 20


class Rounds(BatchGraph):
    def prep(self, shared: Any) -> list[dict[str, int]]:
        return [{"number": number} for number in range(40)]


class Once(Node[Any, int]):
    async def exec(self, _: Any) -> int:
        return 1


@pytest.mark.parametrize("workers", [1, 40])
def test_rounds_are_written_at_once_where_they_come_one_by_one(
    workers: int, tmp_path: Path, rows: Rows
) -> None:
    """Those in flight at the same time are written in groups."""
    graph = Rounds(Once(), max_workers=workers)
    graph.run({}, journal=Journal(tmp_path / "runs.db", run="a"))
    if workers == 1:
        assert rows.at_once > 30
    else:
        assert rows.at_once <= 1
        assert rows.grouped < 20


def test_a_step_waits_for_a_lock_and_the_loop_does_not(tmp_path: Path, rows: Rows) -> None:
    """Another process may take a while: everything else on the loop continues."""
    path = tmp_path / "runs.db"

    async def run() -> None:
        released = asyncio.Event()
        with closing(sqlite3.connect(path, isolation_level=None)) as other:

            def happens(count: int) -> None:
                if count == 10:
                    other.execute("BEGIN IMMEDIATE")
                    asyncio.get_running_loop().call_later(0.05, release)

            def release() -> None:
                other.execute("ROLLBACK")
                released.set()

            step = Step(20, happens)
            await looping(step).run_async({"count": 0}, journal=Journal(path, run="a"))
            assert released.is_set()
            assert step.calls == [*range(20)]

    asyncio.run(run())
    assert rows.at_once > 10


def test_a_disk_that_is_full_in_a_loop_ends_the_run(
    tmp_path: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step that is not recorded runs again, and no recorded one does."""
    stores: list[SQLiteStore] = []
    make = SQLiteStore.__init__

    def made(store: SQLiteStore, *arguments: Any, **settings: Any) -> None:
        make(store, *arguments, **settings)
        stores.append(store)

    def happens(count: int) -> None:
        if count == 100 and len(stores) == 1:
            connection = stores[0]._file._connection
            assert connection is not None
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            connection.execute(f"PRAGMA max_page_count = {pages}")

    monkeypatch.setattr(SQLiteStore, "__init__", made)
    step = Step(200, happens)
    with pytest.raises(JournalFullError):
        looping(step).run({"count": 0}, journal=Journal(tmp_path / "runs.db", run="a"))
    (info,) = Journal(tmp_path / "runs.db").runs()
    assert info.status == "failed"
    assert info.error is not None
    assert info.error.startswith("JournalFullError: ")
    at_once, called = rows.at_once, len(step.calls)
    assert at_once > 50
    assert 100 < called < 200
    shared = {"count": 0}
    looping(step).run(shared, journal=Journal(tmp_path / "runs.db", run="a"))
    assert shared == {"count": 200}
    assert step.calls == [*range(called), *range(called - 1, 200)]


def test_a_loop_that_is_overtaken_writes_nothing_more(tmp_path: Path, rows: Rows) -> None:
    """The owner is compared at each step."""
    path = tmp_path / "runs.db"

    def happens(count: int) -> None:
        if count == 50:
            with closing(SQLiteStore(path)) as other:
                other.claim("a", "loop")

    step = Step(200, happens)
    with pytest.raises(RunTakenOverError):
        looping(step).run({"count": 0}, journal=Journal(path, run="a"))
    assert step.calls == [*range(51)]
    with closing(SQLiteStore(path)) as store:
        entries = [entry for row in store.rows("a") for entry in unpacked(row.blob)]
    assert sum(entry[0] == POINT for entry in entries) == 50
    assert rows.at_once > 30


def test_a_loop_that_never_suspends_gives_others_a_turn(
    tmp_path: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When its steps have taken so long that it is due."""
    monkeypatch.setattr(calling_thread, "TURN_S", 0.0)
    turns = 0

    async def run() -> None:
        nonlocal turns
        work = looping(Step(300)).run_async(
            {"count": 0}, journal=Journal(tmp_path / "runs.db", run="a")
        )
        task = asyncio.create_task(work)
        while not task.done():
            turns += 1
            await asyncio.sleep(0)
        await task

    asyncio.run(run())
    assert rows.at_once > 200
    assert turns > 250
