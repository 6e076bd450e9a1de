"""Rows in the journal's own database: whatever kills a run, each is there once."""

import asyncio
import os
import random
import signal
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kaygraph import AsyncNode, Graph, Node, Retry, RunTakenOverError
from kaygraph.errors import NotRecordableError
from kaygraph.journal import once, running
from kaygraph.journal.journal import Journal
from kaygraph.journal.log import WRITTEN, unpacked
from kaygraph.journal.opening import open_store
from kaygraph.nodes import (
    Database,
    DatabaseUnavailableError,
    RowRefusedError,
    SQLExecute,
    SQLWrite,
)
from kaygraph.nodes.sql import _once
from kaygraph.nodes.sql._postgres import Postgres
from kaygraph.nodes.sql._sqlite import SQLite
from kaygraph.run.frame import FRAME
from tests.databases import needs_postgres, placeholder, pooler, schema, server
from tests.journal.wires import wired
from tests.stages import Stage

ROWS = 30
LAPS = 6
RUN = "a"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=needs_postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database for rows and for the journal, with a table."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/runs.db"
        execute(url, "CREATE TABLE t (id INTEGER, word TEXT, CHECK (id >= 0))")
        yield url
    else:
        with schema() as url:
            execute(url, "CREATE TABLE t (id INTEGER, word TEXT, CHECK (id >= 0))")
            yield url


def execute(url: str, statement: Any) -> list[Any]:
    """Run a statement as another client."""
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        try:
            return connection.execute(statement).fetchall()
        finally:
            connection.close()
    with psycopg.connect(url, autocommit=True) as server:
        cursor = server.execute(statement)
        return cursor.fetchall() if cursor.description else []


def written(url: str) -> list[int]:
    return [number for (number,) in execute(url, "SELECT id FROM t ORDER BY id")]


def insert(url: str) -> str:
    database = Database(url)
    return f"INSERT INTO t VALUES ({placeholder(database, 'id')}, 'x')"


def rows(count: int = ROWS) -> list[dict[str, Any]]:
    return [{"id": n} for n in range(count)]


def run(url: str, graph: Any, shared: dict[str, Any] | None = None, **settings: Any) -> Any:
    shared = {"rows": rows()} if shared is None else shared
    journal = Journal(url, run=RUN, **settings)
    return asyncio.run(graph.run_async(shared, journal=journal))


# --- graphs ------------------------------------------------------------------------------------


def batch(url: str) -> Graph:
    """A batch whose rows are written together."""
    return Graph(SQLWrite(url, insert(url), reads="rows", max_workers=7, name="Write"))


class Source(Stage):
    def prep(self, shared: Any) -> Any:
        return iter(rows())


def stages(url: str) -> Graph:
    """Stages, one of which passes on what the database returned."""
    write = SQLWrite(url, f"{insert(url)} RETURNING id", max_workers=7, name="Write")
    return Graph(Source() | write | Stage())


class Next(Node):
    def prep(self, shared: Any) -> int:
        return int(shared["n"])

    def exec(self, n: int) -> int:
        return n + 1

    def post(self, shared: Any, n: int, following: int) -> str:
        shared["n"], shared["row"] = following, {"id": n}
        return "on"


class End(Node):
    pass


class Inserted(SQLExecute):
    """Two statements, and another call of its own."""

    async def exec(self, parameters: Any) -> Any:
        first = await super().exec(parameters)
        second = await super().exec(parameters)
        return [first, second]

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
        assert exec_res == [1, 1]
        return "again" if shared["n"] < LAPS else "end"


def loop(url: str) -> Graph:
    """A loop with a node that writes twice in each round."""
    following = Next()
    write = Inserted(url, insert(url), reads="row", name="Write")
    following - "on" >> write
    write - "again" >> following
    write - "end" >> End()
    return Graph(following)


GRAPHS: dict[str, tuple[Callable[[str], Graph], Callable[[], dict[str, Any]], list[int]]] = {
    "batch": (batch, lambda: {"rows": rows()}, list(range(ROWS))),
    "stages": (stages, dict, list(range(ROWS))),
    "loop": (loop, lambda: {"n": 0}, sorted([*range(LAPS)] * 2)),
}


# --- kills -------------------------------------------------------------------------------------


def forked(work: Callable[[], object]) -> int:
    """Do something in a child of this process; return its exit code, negative for a signal."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def killed_at(number: int) -> Iterator[None]:
    """Kill this process at a point where it writes or has written; the first is 0."""
    left = number

    def point() -> None:
        nonlocal left
        if not left:
            die()
        left -= 1

    def around(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            point()
            done = original(*args)
            point()
            return done

        return call

    def around_async(original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any) -> Any:
            point()
            done = await original(*args)
            point()
            return done

        return call

    patched: list[tuple[Any, str, Callable[..., Any]]] = [
        (once.Together, "in_sqlite", around(once.Together.in_sqlite)),
        (once.Together, "in_postgres", around_async(once.Together.in_postgres)),
        *(
            (kind, name, around_async(getattr(kind, name)))
            for kind in (SQLite, Postgres)
            for name in ("write", "execute")
        ),
        (running.Owned, "commit", around(running.Owned.commit)),
        (running.Owned, "end", around(running.Owned.end)),
        (_once.Commits, "__call__", around_async(_once.Commits.__call__)),
    ]
    with pytest.MonkeyPatch.context() as patch:
        for where, name, wrapped in patched:
            patch.setattr(where, name, wrapped)
        yield


@pytest.mark.parametrize("shape", GRAPHS)
@pytest.mark.parametrize("step", [11, pytest.param(3, marks=pytest.mark.proofs)])
@pytest.mark.timeout(600)
def test_a_run_that_is_killed_where_it_writes_has_written_each_row_once(
    url: str, shape: str, step: int
) -> None:
    """At each point in turn; and killed again when it is resumed, and resumed again."""
    make, shared, expected = GRAPHS[shape]
    point, killed = 0, True
    while killed:
        execute(url, "DELETE FROM t")
        store = open_store(url)
        store.remove([RUN])
        store.close()

        def dies(point: int = point) -> None:
            with killed_at(point):
                run(url, make(url), shared())

        killed = forked(dies) == -signal.SIGKILL
        if killed:
            assert forked(partial(dies, point // 2)) in (-signal.SIGKILL, 0)
        assert forked(lambda: run(url, make(url), shared())) == 0
        assert written(url) == expected, f"killed at point {point}"
        point += step
    assert point > 11, point


@pytest.mark.parametrize("shape", GRAPHS)
@pytest.mark.parametrize("kills", [4, pytest.param(50, marks=pytest.mark.proofs)])
@pytest.mark.timeout(600)
def test_a_run_that_is_killed_at_any_moment_has_written_each_row_once(
    url: str, shape: str, kills: int
) -> None:
    """By a clock, wherever it is then."""
    make, shared, expected = GRAPHS[shape]
    moments = random.Random(f"{shape} {kills}")
    open_store(url).close()
    died = 0
    while died < kills:

        def dies(moment: float) -> None:
            threading.Timer(moment, die).start()
            run(url, make(url), shared())

        code, longest = -signal.SIGKILL, moments.choice([0.05, 0.1, 0.2])
        while code == -signal.SIGKILL:
            code = forked(partial(dies, moments.uniform(0, longest)))
            died += code == -signal.SIGKILL
            longest *= 1.3  # so that it ends eventually
        assert code == 0
        assert written(url) == expected
        execute(url, "DELETE FROM t")
        store = open_store(url)
        store.remove([RUN])
        store.close()


# --- what is written once, and what is not -----------------------------------------------------


def test_an_attempt_after_a_commit_writes_nothing_again(url: str) -> None:
    """A later step of ``exec`` failed and is retried."""

    class Fails(SQLWrite):
        async def exec(self, item: Any) -> Any:
            done = await super().exec(item)
            if self.attempt == 1:
                raise ConnectionError("not noticed")
            return done

    write = Fails(url, f"{insert(url)} RETURNING id", reads="rows", writes="n", max_retries=2)
    shared: dict[str, Any] = {"rows": rows()}
    run(url, Graph(write), shared)
    assert shared["n"] == ROWS
    assert written(url) == list(range(ROWS))


def test_equal_rows_are_all_written(url: str) -> None:
    """Each of them is its own item."""
    run(url, batch(url), {"rows": [{"id": 1}] * 5})
    assert written(url) == [1] * 5


def test_a_row_that_is_refused_fails_alone(url: str) -> None:
    """The rest of its transaction is written and recorded."""
    items = [*rows(5), {"id": -1}, {"id": 5}]
    graph = Graph(SQLWrite(url, insert(url), reads="rows", on_error="skip", name="Write"))
    run(url, graph, {"rows": items})
    assert written(url) == list(range(6))
    with pytest.raises(RowRefusedError):
        run(url, batch(url), {"rows": [{"id": -1}]}, redo=["Write"])


def test_a_node_that_is_to_run_again_writes_again(url: str) -> None:
    """``redo`` names it."""
    run(url, batch(url))
    run(url, batch(url))
    assert written(url) == list(range(ROWS))
    run(url, batch(url), redo=["Write"])
    assert written(url) == sorted([*range(ROWS)] * 2)


def test_what_has_changed_is_written(url: str) -> None:
    """A different row was not written before."""

    class Fails(Node):
        def exec(self, _: Any) -> None:
            raise ConnectionError

    def graph(word: str, last: Node) -> Graph:
        text = f"INSERT INTO t VALUES ({placeholder(Database(url), 'id')}, '{word}')"
        return Graph(SQLExecute(url, text, reads="row", name="Write") >> last)

    with pytest.raises(ConnectionError):
        run(url, graph("old", Fails(name="Last")), {"row": {"id": 1}})
    run(url, graph("new", End(name="Last")), {"row": {"id": 1}}, redo=["Write"])
    assert execute(url, "SELECT word FROM t ORDER BY word") == [("new",), ("old",)]


def test_who_was_overtaken_leaves_no_rows(url: str) -> None:
    """The epoch is compared in the transaction of the rows."""
    store = open_store(url)

    class Overtaken(SQLWrite):
        async def exec(self, item: Any) -> Any:
            if item["id"] == 3:
                store.claim(RUN, "Graph")
            return await super().exec(item)

    node = Overtaken(url, insert(url), reads="rows", max_workers=1, on_error="skip")
    with pytest.raises(RunTakenOverError):
        run(url, Graph(node, name="Graph"))
    store.close()
    assert written(url) == [0, 1, 2]


def test_what_cannot_be_recorded_is_not_written(url: str) -> None:
    """It could not be returned when the run is resumed."""
    if url.startswith("sqlite"):
        pytest.skip("SQLite gives back nothing that cannot be recorded")
    node = SQLExecute(url, "INSERT INTO t VALUES (1) RETURNING int4range(1, 2) AS r", name="Write")
    with pytest.raises(NotRecordableError, match="database returned to 'Write'"):
        run(url, Graph(node), {})
    assert written(url) == []


def test_rows_of_another_database_are_written_as_ever(url: str, tmp_path: Path) -> None:
    """Nothing is recorded there."""
    other = f"sqlite:///{tmp_path}/other.db"
    execute(other, "CREATE TABLE t (id INTEGER, word TEXT)")
    graph = Graph(SQLWrite(other, insert(other), reads="rows", name="Write"))
    run(url, graph)
    assert written(other) == list(range(ROWS))
    assert written(url) == []
    tables = {name for (name,) in execute(other, "SELECT name FROM sqlite_schema")}
    assert tables == {"t"}


def test_each_database_is_asked_whether_it_is_the_journals(url: str, tmp_path: Path) -> None:
    """Nodes that share a name may have several, if graphs are made during a run."""
    other = f"sqlite:///{tmp_path}/other.db"
    execute(other, "CREATE TABLE t (id INTEGER, word TEXT)")

    class Asks(AsyncNode[None, list[bool]]):
        async def exec(self, _: None) -> list[bool]:
            frame = FRAME.get()
            asked = frame.run.journal.once(self, frame)
            own, another = SQLExecute(url, "SELECT 1"), SQLExecute(other, "SELECT 1")
            async with own.lifespan({}) as here, another.lifespan({}) as there:
                return [await asked.is_here(database) for database in (there, here, there)]

        def post(self, shared: Any, prep_res: None, exec_res: list[bool]) -> None:
            shared["here"] = exec_res

    run(url, Graph(Asks()), shared := {})
    assert shared["here"] == [False, True, False]


def test_a_copy_of_the_database_is_another_one(url: str, tmp_path: Path) -> None:
    """Like a restored backup, which contains the same run."""
    if not url.startswith("sqlite"):
        pytest.skip("a copy in PostgreSQL is recognised by its epoch")
    run(url, Graph(End()), {})
    source = sqlite3.connect(url.removeprefix("sqlite:///"))
    copy = sqlite3.connect(tmp_path / "copy.db")
    source.backup(copy)
    source.close()
    copy.close()
    other = f"sqlite:///{tmp_path}/copy.db"
    journal = Journal(url, run="b")
    graph = Graph(SQLWrite(other, insert(other), reads="rows"))
    asyncio.run(graph.run_async({"rows": rows()}, journal=journal))
    assert written(other) == list(range(ROWS))


# --- PostgreSQL that is lost -------------------------------------------------------------------


@needs_postgres
@pytest.mark.parametrize("lose", ["request", "answer"])
@pytest.mark.parametrize("node", ["write", "execute"])
def test_nobody_has_to_know_what_became_of_a_commit(lose: str, node: str) -> None:
    """Wherever the connection is lost, another attempt finds out, and writes once."""
    with schema() as url, wired(url) as wire:
        execute(url, "CREATE TABLE t (id INTEGER, word TEXT)")
        retry = Retry(attempts=3, on=DatabaseUnavailableError)
        lost = 0
        for after in range(40):
            wire.lost.clear()

            class Loses(SQLWrite if node == "write" else SQLExecute):  # type: ignore[misc]
                async def exec(self, item: Any, after: int = after) -> Any:
                    if self.attempt == 1:
                        wire.lose, wire.after = lose, after
                    return await super().exec(item)

            reads = "rows" if node == "write" else "row"
            graph = Graph(Loses(wire.url, insert(url), reads=reads, retry=retry, name="Write"))
            shared = {"rows": [{"id": after}], "row": {"id": after}}
            journal = Journal(url, run=f"run-{after}")
            asyncio.run(graph.run_async(shared, journal=journal))
            wire.lose = ""
            assert written(url) == list(range(after + 1)), f"lost after {after}"
            lost += wire.lost.is_set()
        assert lost > 8


@needs_postgres
def test_a_server_that_is_stopped_in_the_middle_has_each_row_once() -> None:
    """Immediately, and started again."""
    with server() as (url, control):
        execute(url, "CREATE TABLE t (id INTEGER, word TEXT)")

        one_at_a_time = asyncio.Lock()

        class Restarts(SQLWrite):
            async def exec(self, item: Any) -> Any:
                if self.attempt == 1 and item["id"] % 500 == 250:
                    async with one_at_a_time:
                        await asyncio.to_thread(control, "stop")
                        await asyncio.to_thread(control, "start")
                return await super().exec(item)

        retry = Retry(attempts=1000, wait=0.05, on=DatabaseUnavailableError)
        node = Restarts(url, insert(url), reads="rows", max_workers=20, retry=retry)
        run(url, Graph(node), {"rows": rows(1500)})
        assert written(url) == list(range(1500))


@needs_postgres
@pytest.mark.parametrize("mode", ["session", "transaction", "statement"])
def test_it_works_behind_a_pooler_in_every_mode(mode: str) -> None:
    """Also if a transaction is a pipeline."""
    with pooler() as (pool, _):
        url = pool.format(mode)
        execute(url, "CREATE TABLE t (id INTEGER, word TEXT)")
        run(url, batch(url))
        assert written(url) == list(range(ROWS))
        store = open_store(url)
        kinds = [entry[0] for row in store.rows(RUN) for entry in unpacked(row.blob)]
        store.close()
        assert kinds.count(WRITTEN) == ROWS
