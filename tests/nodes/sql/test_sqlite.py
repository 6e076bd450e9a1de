"""SQLite: locks, commits, confinement, and what a cancellation leaves."""

import asyncio
import sqlite3
import threading
import time
from contextlib import closing
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest

from kaygraph import DeadlineExceededError, Graph, Outcome, Retry
from kaygraph.nodes import (
    Database,
    DatabaseError,
    DatabaseLockedError,
    DatabaseUnavailableError,
    RowRefusedError,
    RowUnreadableError,
    SQLExecute,
    SQLRead,
    SQLWrite,
)
from kaygraph.nodes.errors import StatementError
from kaygraph.nodes.sql._statement import Statement
from kaygraph.testing import cancel_everywhere
from tests.children import python
from tests.databases import query
from tests.stages import Stage

pytestmark = pytest.mark.anyio

INSERT = "INSERT INTO t VALUES (:id)"
ENDLESS = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS n FROM n"
)


@pytest.fixture
async def database(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/shop.db", lock_timeout=5)
    await query(database, "CREATE TABLE t (id INTEGER PRIMARY KEY)")
    return database


def ids(count: int, start: int = 0) -> list[dict[str, int]]:
    return [{"id": n} for n in range(start, start + count)]


def count(database: Database) -> int:
    with closing(sqlite3.connect(database.path)) as connection:
        return int(connection.execute("SELECT count(*) FROM t").fetchone()[0])


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("kaygraph")]


def writable(database: Database) -> bool:
    """Whether the lock of a writing transaction is free."""
    with closing(sqlite3.connect(database.path, timeout=0, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    return True


async def test_the_file_is_made_in_wal_mode_with_foreign_keys(tmp_path):
    """Writing makes the file; readers and the writer do not wait for each other then."""
    database = Database(f"sqlite:///{tmp_path}/new.db")
    assert await query(database, "PRAGMA foreign_keys") == [{"foreign_keys": 1}]
    assert await query(database, "PRAGMA journal_mode") == [{"journal_mode": "wal"}]


@pytest.mark.parametrize(("durable", "level"), [(True, 2), (False, 1)])
async def test_durable_says_how_a_commit_is_synced(tmp_path, durable, level):
    """What is acknowledged is on the disk (FULL), by default otherwise (NORMAL)."""
    database = Database(f"sqlite:///{tmp_path}/new.db", durable=durable)
    assert await query(database, "PRAGMA synchronous") == [{"synchronous": level}]


async def test_reading_a_file_that_is_not_there_is_reported(tmp_path):
    """A name that is mistyped makes no empty database."""
    database = Database(f"sqlite:///{tmp_path}/shpo.db")
    with pytest.raises(DatabaseUnavailableError, match=r"shpo\.db: unable to open"):
        await SQLRead(database, "SELECT 1").run_async({})
    assert not list(tmp_path.iterdir())


async def test_a_file_that_is_no_database_is_reported(tmp_path):
    """It is not something that another attempt could mend."""
    (tmp_path / "notes.txt").write_text("not a database at all, but a text" * 100)
    database = Database(f"sqlite:///{tmp_path}/notes.txt")
    with pytest.raises(DatabaseError, match="not a database") as caught:
        await query(database, "SELECT 1")
    assert not isinstance(caught.value, DatabaseUnavailableError)


async def test_rows_that_wait_together_are_one_transaction(database):
    """Hundreds of rows take a few commits, and none is reported before its commit."""
    for start, workers in ((0, 100), (1000, 1)):
        shared = {"rows": ids(500, start)}
        await SQLWrite(database, INSERT, reads="rows", max_workers=workers).run_async(shared)
    assert count(database) == 1000


async def test_a_row_is_acknowledged_when_others_can_see_it(database):
    """What a later stage gets is in the file: another connection reads it there."""
    seen = []

    class Looks(Stage):
        async def exec(self, row):
            with closing(sqlite3.connect(database.path)) as other:
                found = other.execute("SELECT id FROM t WHERE id = ?", [row["id"]]).fetchone()
            seen.append(found == (row["id"],))

    class Ids(Stage):
        def prep(self, _):
            return ids(200)

    await Graph(Ids() | SQLWrite(database, INSERT, max_workers=20) | Looks()).run_async({})
    assert seen == [True] * 200


async def test_groups_are_commits_and_few(database):
    """As many transactions as were needed, counted at the connection."""
    commits = 0
    real = sqlite3.connect

    class Counting(sqlite3.Connection):
        def execute(self, sql, *args):
            nonlocal commits
            commits += sql == "COMMIT"
            return super().execute(sql, *args)

    def connect(*args, **kwargs):
        return real(*args, factory=Counting, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", connect)
        node = SQLWrite(database, INSERT, reads="rows", max_workers=100)
        await node.run_async({"rows": ids(1000)})
    assert 10 <= commits <= 30
    assert count(database) == 1000


async def test_a_refusal_at_the_commit_is_that_rows_alone(tmp_path):
    """A foreign key that is checked at the commit fails a group as a whole; the row is found."""
    database = Database(f"sqlite:///{tmp_path}/keys.db")
    await query(
        database,
        "CREATE TABLE u (id INTEGER PRIMARY KEY)",
        "INSERT INTO u VALUES (1)",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, "
        "u INTEGER REFERENCES u DEFERRABLE INITIALLY DEFERRED)",
    )
    shared: dict[str, Any] = {"rows": [{"id": n, "u": 2 if n in (3, 30) else 1} for n in range(40)]}

    class Kept(SQLWrite):
        def post(self, shared, prep_res, exec_res):
            shared["results"] = exec_res

    node = Kept(database, "INSERT INTO t VALUES (:id, :u)", reads="rows", on_error="collect")
    await node.run_async(shared)
    failed = [r for r in shared["results"] if isinstance(r, Outcome)]
    assert [outcome.index for outcome in failed] == [3, 30]
    assert all(isinstance(outcome.error, RowRefusedError) for outcome in failed)
    assert count(database) == 38


async def test_a_trigger_that_rolls_back_takes_no_other_row_with_it(database):
    """RAISE(ROLLBACK) ends the transaction of the group; the others are written all the same."""
    await query(
        database,
        "CREATE TRIGGER no BEFORE INSERT ON t WHEN NEW.id % 10 = 3 "
        "BEGIN SELECT RAISE(ROLLBACK, 'no threes'); END",
    )
    shared = {"rows": ids(40)}
    node = SQLWrite(database, INSERT, reads="rows", writes="written", on_error="collect")
    await node.run_async(shared)
    assert shared["written"] == 36
    assert count(database) == 36


async def test_a_locked_file_is_waited_for(database):
    """Another writer's transaction is waited for, up to lock_timeout."""
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    asyncio.get_running_loop().call_later(0.1, other.execute, "COMMIT")
    await query(database, "INSERT INTO t VALUES (1)")
    other.close()
    assert count(database) == 1


async def test_a_file_that_stays_locked_is_reported(tmp_path, database):
    """After lock_timeout there is one clear error, which is worth another attempt."""
    impatient = Database(database.url, lock_timeout=0.05)
    with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(
            DatabaseLockedError, match=r"locked, for lock_timeout=0\.05 s"
        ) as caught:
            await query(impatient, "INSERT INTO t VALUES (1)")
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
        other.execute("ROLLBACK")
    assert threads() == []


async def test_a_locked_write_is_retried(database):
    """Retry(on=DatabaseUnavailableError) tries again, and each item once more only."""
    impatient = Database(database.url, lock_timeout=0.02)
    tries = []

    class Counted(SQLWrite):
        async def exec(self, item):
            tries.append(item["id"])
            if self.attempt == 3:
                other.execute("ROLLBACK") if other.in_transaction else None
            return await super().exec(item)

    with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        node = Counted(
            impatient, INSERT, reads="rows", retry=Retry(attempts=4, on=DatabaseUnavailableError)
        )
        await node.run_async({"rows": ids(3)})
    assert count(database) == 3
    attempts = [tries.count(item) for item in range(3)]
    # A worker that came later has its item in the next transaction, which is the first to succeed.
    assert attempts[0] == 3
    assert attempts[1:] in ([3, 3], [3, 2], [2, 2])


async def test_a_wait_for_a_lock_is_cancelled_at_once(database):
    """A deadline does not wait for lock_timeout."""
    with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        with pytest.raises(DeadlineExceededError):
            await SQLExecute(database, "INSERT INTO t VALUES (1)").run_async({}, deadline=0.05)
        assert time.monotonic() - began < 8
    assert threads() == []
    assert count(database) == 0


@pytest.mark.parametrize("kind", [SQLRead, SQLExecute])
async def test_a_query_without_an_end_is_interrupted(database, kind):
    """A deadline stops the query itself; no thread is left, and no transaction."""
    with pytest.raises(DeadlineExceededError):
        await kind(database, ENDLESS, writes="n").run_async({}, deadline=0.1)
    assert threads() == []
    assert writable(database)


async def test_a_statement_has_its_time(database):
    """The database's own timeout interrupts it, with an error that says so."""
    impatient = Database(database.url, timeout=0.1)
    with pytest.raises(DatabaseUnavailableError, match=r"not done within timeout=0\.1 s"):
        await query(impatient, ENDLESS)
    assert threads() == []
    assert writable(database)


async def test_rows_that_are_written_together_are_interrupted_together(tmp_path):
    """In the middle of one of them; nothing of the others stays, and the file is free."""
    database = Database(f"sqlite:///{tmp_path}/shop.db", timeout=0.5)
    await query(database, "CREATE TABLE t (id INTEGER PRIMARY KEY)")
    counting = ENDLESS.replace("FROM n)", "FROM n LIMIT :id)")
    node = SQLWrite(database, f"INSERT INTO t {counting}", reads="rows", on_error="collect",
                    writes="written")  # fmt: skip
    shared = {"rows": [{"id": 1}, {"id": 2}, {"id": 10**12}, {"id": 4}]}
    await node.run_async(shared)
    assert shared["written"] == 0
    assert writable(database)
    assert count(database) == 0


async def test_an_interruption_meets_the_job_that_is_meant(database):
    """One that is given up while it waits for its turn does not end the one that runs."""
    node = SQLExecute(database, "SELECT 1")
    endless, short = (Statement.of(text, True) for text in (ENDLESS, "SELECT 7 AS n"))
    async with node.lifespan({}) as file:
        running, queued, given_up = (
            asyncio.ensure_future(file.execute([(statement, None)], 10))
            for statement in (endless, short, endless)
        )
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.wait([running], timeout=0.2)
        assert not running.done()
        running.cancel()
        assert await queued == [{"n": 7}]
        await asyncio.wait([running, given_up])
        assert running.cancelled()
        assert given_up.cancelled()


async def test_an_interruption_meets_no_other_query(database):
    """An abandoned one does not affect others that read from the same file."""
    await SQLWrite(database, INSERT, reads="rows").run_async({"rows": ids(100)})
    endless, all_rows = (Statement.of(text, True) for text in (ENDLESS, "SELECT id FROM t"))
    async with SQLRead(database, "SELECT 1").lifespan({}) as file:
        read = [await anext(rows := file.batches(all_rows, None, 10))]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await anext(file.batches(endless, None, 10))
        read += [batch async for batch in rows]
    assert [row for batch in read for row in batch] == ids(100)


@pytest.fixture
def slow(monkeypatch):
    """Make a statement hold its thread until nobody waits for its job any more."""
    slow: dict[str, Any] = {"statement": None, "file": None, "begun": threading.Event(), "ran": []}
    real = sqlite3.connect

    class Slow(sqlite3.Connection):
        def execute(self, sql, *args):
            cursor = super().execute(sql, *args)
            slow["ran"].append(sql)
            if sql == slow["statement"]:
                slow["begun"].set()
                assert slow["file"]._job.wait(10)
            return cursor

    monkeypatch.setattr(
        sqlite3, "connect", lambda *a, **settings: real(*a, factory=Slow, **settings)
    )
    return slow


async def test_what_is_committed_in_the_last_moment_is_reported_so(database, slow):
    """A transaction whose time is over while it commits is done: it is not to be tried again."""
    impatient = Database(database.url, timeout=0.5)
    statement = Statement.of("INSERT INTO t VALUES (1)", True)
    async with SQLExecute(impatient, "SELECT 1").lifespan({}) as file:
        slow |= {"statement": "COMMIT", "file": file}
        assert await file.execute([(statement, None)], 10) == 1
    assert count(database) == 1


async def test_a_cancellation_while_it_commits_stays_one(database, slow):
    """The caller gets its cancellation, and the row is there."""
    statement = Statement.of("INSERT INTO t VALUES (1)", True)
    async with SQLExecute(database, "SELECT 1").lifespan({}) as file:
        slow |= {"statement": "COMMIT", "file": file}
        task = asyncio.ensure_future(file.execute([(statement, None)], 10))
        await asyncio.to_thread(slow["begun"].wait)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
    assert count(database) == 1


async def test_what_is_given_up_before_its_commit_is_rolled_back(database, slow):
    """A job that nobody waits for begins neither another statement nor a commit."""
    impatient = Database(database.url, timeout=0.5)
    statement = Statement.of("INSERT INTO t VALUES (1)", True)
    async with SQLExecute(impatient, "SELECT 1").lifespan({}) as file:
        slow |= {"statement": statement.text, "file": file}
        for statements in ([statement], [statement, Statement.of("DELETE FROM t", True)]):
            slow["ran"] = []
            with pytest.raises(DatabaseUnavailableError, match=r"not done within timeout=0\.5 s"):
                await file.execute([(one, None) for one in statements], 10)
            assert slow["ran"] == ["BEGIN IMMEDIATE", statement.text, "ROLLBACK"]
    assert count(database) == 0


async def test_a_disk_that_is_full_is_reported_as_unavailable(database):
    """When there is room again another attempt works."""
    with pytest.raises(DatabaseUnavailableError, match="full"):
        await query(
            database,
            "PRAGMA max_page_count = 3",
            "CREATE TABLE large (bytes)",
            "INSERT INTO large VALUES (zeroblob(100000))",
        )


def test_cancelled_anywhere_nothing_is_left(tmp_path):
    """At every step of the loop: no thread, no open transaction, no half of a transaction."""
    database = Database(f"sqlite:///{tmp_path}/shop.db")
    with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("CREATE TABLE t (id INTEGER)")
        other.execute("CREATE TABLE u (id INTEGER)")
        other.execute("INSERT INTO t VALUES (1), (2), (3), (4), (5)")

        def untouched(_: Any) -> bool:
            other.execute("BEGIN IMMEDIATE")  # fails where a transaction is open
            pairs = other.execute("SELECT count(*) FROM u").fetchone()[0]
            other.execute("DELETE FROM u WHERE id < 100")
            twos = other.execute("SELECT count(*) FROM u").fetchone()[0]
            other.execute("DELETE FROM u")
            other.execute("COMMIT")
            return pairs <= 7 and twos % 2 == 0

        graph = Graph(
            (
                SQLRead(database, "SELECT id FROM t", batch=2)
                | SQLWrite(database, "INSERT INTO u VALUES (:id)", max_workers=2)
            )
            >> SQLExecute(database, "INSERT INTO u VALUES (100)", "INSERT INTO u VALUES (101)")
        )
        points = sum(cancel_everywhere(graph, again=n, check=untouched) for n in (None, 0, 2))
        assert points > 50
        # Without an observer, the rows of a block are read and written together.
        assert cancel_everywhere(graph, again=0, check=untouched, watched=False) > 10


async def test_a_cancelled_run_with_real_threads_leaves_nothing(database):
    """Cancelled at many moments, each row is written whole or not at all, and the file is free."""
    for step in range(30):
        node = SQLWrite(database, INSERT, reads="rows", max_workers=50)
        task = asyncio.ensure_future(node.run_async({"rows": ids(400, 1000 * step)}))
        await asyncio.sleep(0.001 * step)
        task.cancel()
        await asyncio.wait([task])
        assert threads() == []
        assert writable(database)


async def test_a_run_that_drains_commits_what_is_in_flight(database):
    """Items that were taken are written; each is accounted for."""

    class Many(Stage):
        def prep(self, _):
            return ({"id": n} for n in range(10**9))

    class Drains(Stage):
        async def exec(self, row):
            if row["id"] == 100:
                run.drain()

    shared: dict[str, Any] = {}
    write = SQLWrite(database, INSERT, max_workers=20, writes="written")
    run = Graph(Many() | write | Drains()).launch(shared)
    await run
    assert 100 < shared["written"] < 1000
    assert shared["written"] == count(database)
    assert threads() == []


@pytest.mark.parametrize("inside", [True, False])
async def test_root_confines_the_file(tmp_path, inside):
    """A relative path starts at the root; a way out of it is refused, and creates nothing."""
    root = tmp_path / "data"
    root.mkdir()
    name = "shop.db" if inside else "../shop.db"
    database = Database(f"sqlite:///{name}", root=root)
    if inside:
        await query(database, "CREATE TABLE t (id)")
        assert (root / "shop.db").exists()
    else:
        with pytest.raises(DatabaseError, match="outside of root="):
            await query(database, "CREATE TABLE t (id)")
        assert not (tmp_path / "shop.db").exists()


@pytest.mark.parametrize(
    "pragma",
    [
        "journal_mode = DELETE",
        "JOURNAL_MODE(truncate)",
        "main.user_version = 7",
        "query_only = off",
        "wal_checkpoint(TRUNCATE)",
        "WAL_CHECKPOINT",
        "optimize",
        "incremental_vacuum",
        "locking_mode = exclusive",
        "auto_vacuum = 1",
    ],
)
async def test_a_reader_changes_nothing_by_a_pragma(database, pragma):
    """Neither the file nor its settings; the error says which node is for that."""
    await SQLWrite(database, INSERT, reads="rows").run_async({"rows": ids(9)})
    before = database.path.read_bytes()
    with pytest.raises(StatementError, match=r"SQLRead only reads.*SQLExecute"):
        await SQLRead(database, f"/* */ PRAGMA {pragma}").run_async({})
    assert database.path.read_bytes() == before
    assert await query(database, "PRAGMA user_version") == [{"user_version": 0}]


async def test_a_reader_can_ask_by_a_pragma(database):
    """What only asks is answered."""
    for pragma, answer in (
        ("user_version", {"user_version": 0}),
        ("journal_mode", {"journal_mode": "wal"}),
        ("integrity_check(1)", {"integrity_check": "ok"}),
        ("foreign_keys", {"foreign_keys": 1}),
    ):
        await SQLRead(database, f"PRAGMA {pragma}", writes="rows").run_async(shared := {})
        assert shared["rows"] == [answer]
    await SQLRead(database, "PRAGMA TABLE_INFO(t)", writes="rows").run_async(shared)
    assert [row["name"] for row in shared["rows"]] == ["id"]
    await SQLRead(database, "SELECT name FROM pragma_table_info('t')", writes="rows").run_async(
        shared
    )
    assert shared["rows"] == [{"name": "id"}]


class Size(Enum):
    LARGE = 3


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (Size.LARGE, r"is of the type Size, .*bind its \.value"),
        (Decimal("1.10"), r"is of the type Decimal, .*bind str\(value\)"),
        ([1], r"is of the type list, .*bind json\.dumps\(value\)"),
        (2**63, r": .*too large"),
    ],
)
async def test_a_value_that_sqlite_has_no_type_for_is_reported(database, value, says):
    """Its placeholder, and what to bind in its place."""
    with pytest.raises(RowRefusedError, match=f"the value of :id ?{says}"):
        await SQLWrite(database, INSERT, reads="rows").run_async({"rows": [{"id": value}]})


@pytest.mark.parametrize("bad", [0, 7, 10, 19])
async def test_text_that_is_not_utf8_fails_its_row_alone(tmp_path, bad):
    """The error names the column and says what to write, which then works; the other rows come."""
    database = Database(f"sqlite:///{tmp_path}/old.db")
    await query(
        database,
        "CREATE TABLE t (id INTEGER, name TEXT)",
        "WITH RECURSIVE n (i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM n WHERE i < 19) "
        "INSERT INTO t SELECT i, "
        f"CASE i WHEN {bad} THEN CAST(x'6361ff' AS TEXT) ELSE 'café' END FROM n",
    )
    reads = "SELECT id, name FROM t"
    node = SQLRead(database, reads, batch=5, writes="rows", on_error="collect")
    await node.run_async(shared := {})
    (failed,) = (row for row in shared["rows"] if isinstance(row, Outcome))
    assert failed.index == bad
    assert isinstance(failed.error, RowUnreadableError)
    assert "column 'name' contains bytes" in str(failed.error)
    assert [row["id"] for row in shared["rows"] if not isinstance(row, Outcome)] == [
        n for n in range(20) if n != bad
    ]
    assert {row["name"] for row in shared["rows"] if not isinstance(row, Outcome)} == {"café"}
    assert "SELECT CAST(name AS BLOB) AS name" in str(failed.error)
    raw = reads.replace("name FROM", "CAST(name AS BLOB) AS name FROM")
    await SQLRead(database, raw, writes="rows").run_async(shared)
    assert shared["rows"][bad]["name"] == b"ca\xff"


async def test_what_cannot_be_given_back_is_not_written(database):
    """A row whose RETURNING cannot be read fails alone; of SQLExecute nothing is left."""
    bad = "CAST(CASE :id WHEN 3 THEN x'ff' ELSE x'61' END AS TEXT) AS name"
    insert = f"INSERT INTO t VALUES (:id) RETURNING {bad}"
    node = SQLWrite(database, insert, reads="rows", writes="written", on_error="skip")
    await node.run_async(shared := {"rows": ids(9)})
    assert shared["written"] == 8
    with pytest.raises(RowUnreadableError, match="column 'name'"):
        await query(database, "DELETE FROM t", "SELECT CAST(x'ff' AS TEXT) AS name")
    assert count(database) == 8


@pytest.mark.skipif(
    sqlite3.sqlite_version_info >= (3, 51), reason="this SQLite does not lose its locks"
)
async def test_a_log_that_was_removed_is_reported(database):
    """Rows that would be lost after a crash are not acknowledged."""
    others = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT * FROM t').close()"
    written: list[int] = []

    class Rows(Stage):
        async def prep(self, _):
            yield {"id": 0}
            await first.wait()
            database.path.read_bytes()  # its end drops the locks of this process
            await asyncio.to_thread(python, "-c", others, database.path, check=True)
            yield {"id": 1}

    class Written(Stage):
        async def exec(self, row):
            written.append(row["id"])
            first.set()

    first = asyncio.Event()
    with pytest.raises(DatabaseUnavailableError, match=r"removed the log.*backup\(\)"):
        await Graph(Rows() | SQLWrite(database, INSERT) | Written()).run_async({})
    assert written == [0]


async def test_others_that_come_and_go_leave_the_log(database):
    """Other processes, and other connections of this one, that use sqlite3."""
    others = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT * FROM t').close()"

    class Rows(Stage):
        async def prep(self, _):
            for n in range(5):
                yield {"id": n}
                await asyncio.to_thread(python, "-c", others, database.path, check=True)
                await SQLRead(database, "SELECT * FROM t").run_async({})
                await SQLExecute(database, "DELETE FROM t WHERE id > 99").run_async({})

    await Graph(Rows() | SQLWrite(database, INSERT, max_workers=1)).run_async({})
    assert count(database) == 5


async def test_root_follows_symlinks(tmp_path):
    """A link within the root that leads out of it is a way out."""
    root = tmp_path / "data"
    root.mkdir()
    (root / "link.db").symlink_to(tmp_path / "outside.db")
    with pytest.raises(DatabaseError, match="outside of root="):
        await query(Database("sqlite:///link.db", root=root), "CREATE TABLE t (id)")


async def test_no_other_file_can_be_attached(database, tmp_path):
    """A path in data reaches no file: neither ATTACH nor VACUUM INTO works."""
    shared = {"path": {"path": str(tmp_path / "stolen.db")}}
    for statement in ("ATTACH :path AS other", "VACUUM INTO :path"):
        with pytest.raises(DatabaseError):
            await SQLExecute(database, statement, reads="path").run_async(shared)
    assert not (tmp_path / "stolen.db").exists()


async def test_names_with_every_character_are_files(tmp_path):
    """A path is percent-encoded once; what looks like a setting is a part of the name."""
    database = Database(f"sqlite:///{tmp_path}/a%20b%3Fmode=ro%23%25.db")
    await query(database, "CREATE TABLE t (id)")
    assert (tmp_path / "a b?mode=ro#%.db").exists()
