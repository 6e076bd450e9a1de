"""Journals in PostgreSQL: competing owners, lost connections, errors."""

import asyncio
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from kaygraph import (
    AlreadyAnsweredError,
    Graph,
    Journal,
    JournalError,
    JournalFullError,
    JournalLockedError,
    JournalUnavailableError,
    Node,
    ParallelBatchNode,
    RunExistsError,
    RunTakenOverError,
    RunUnknownError,
)
from kaygraph.errors import JournalCorruptError, JournalVersionError
from kaygraph.journal import postgres, tables, within
from kaygraph.journal.opening import open_store
from kaygraph.journal.postgres import PostgresStore
from kaygraph.journal.server import Server
from kaygraph.journal.store import plain
from tests.children import child
from tests.databases import needs_postgres, pooler, schema, server
from tests.journal.wires import wired

pytestmark = needs_postgres

SCHEMA = re.compile("search_path%3D(.*)")


@pytest.fixture
def url() -> Iterator[str]:
    with schema() as url:
        yield url


@pytest.fixture
def store(url: str) -> Iterator[PostgresStore]:
    store = PostgresStore(url)
    yield store
    store.close()


def execute(url: str, *statements: Any) -> list[Any]:
    """Run statements as another client, and return the rows of the last."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


class End(Node[Any, None]):
    def exec(self, _: Any) -> None:
        pass


def blobs(store: PostgresStore, run: str) -> list[bytes]:
    return [row.blob for row in store.rows(run)]


# --- what is written -------------------------------------------------------------------------


def test_the_address_of_a_server_opens_its_store(url: str) -> None:
    """``open_store`` creates the tables, and finds them the next time."""
    for number in (1, 2):
        store = open_store(url, durable=True)
        epoch = store.claim("a", "graph").epoch
        assert store.append("a", epoch, b"one") == number
        store.close()


def test_a_journal_that_has_to_be_there_is_not_made(url: str) -> None:
    """Reading alone reports that there is none."""
    with pytest.raises(JournalUnavailableError, match="there is no journal at postgresql://"):
        open_store(url, create=False)
    open_store(url).close()
    open_store(url, create=False).close()


def test_tables_are_made_once_by_processes_that_begin_together(url: str) -> None:
    """Of eight that find no tables, none fails."""
    together = threading.Barrier(8)

    def begin(number: int) -> int:
        together.wait()
        store = PostgresStore(url)
        epoch = store.claim(f"run-{number}", "graph").epoch
        store.close()
        return epoch

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(begin, range(8))) == list(range(1, 9))
    assert execute(url, "SELECT version FROM kaygraph_journal") == [(tables.VERSION,)]


def test_a_journal_of_a_newer_version_is_refused(url: str) -> None:
    """It is left unchanged."""
    PostgresStore(url).close()
    execute(url, "UPDATE kaygraph_journal SET version = 99")
    with pytest.raises(JournalVersionError, match=r"version 99, and this one knows 1.*Update"):
        PostgresStore(url)


def test_a_role_that_may_not_make_tables_is_reported(url: str) -> None:
    """The server says why."""
    role = f"journal_{os.getpid()}"
    execute(
        url,
        f"CREATE ROLE {role} LOGIN PASSWORD 'guessed'",
        f"GRANT USAGE ON SCHEMA {SCHEMA.search(url)[1]} TO {role}",  # type: ignore[index]
    )
    try:
        with pytest.raises(JournalUnavailableError, match=r"permission denied for schema.*GRANT"):
            PostgresStore(urlsplit(url)._replace(netloc=f"{role}:guessed@").geturl())
    finally:
        execute(url, f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_owners_of_one_epoch_number_their_rows_without_a_gap(
    url: str, store: PostgresStore
) -> None:
    """Two connections that append at once take turns."""
    other = PostgresStore(url)
    epoch = store.claim("a", "graph").epoch

    def append(to: PostgresStore, word: bytes) -> list[int]:
        return [to.append("a", epoch, b"%b %d" % (word, n)) for n in range(100)]

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(append, store, b"a"), pool.submit(append, other, b"b")]
        numbers = [future.result() for future in futures]
    other.close()
    written = {row.number: row.blob for row in store.rows("a")}
    assert sorted(written) == list(range(1, 201))
    for word, own in zip((b"a", b"b"), numbers, strict=True):
        assert [written[number] for number in own] == [b"%b %d" % (word, n) for n in range(100)]


def test_an_owner_that_was_overtaken_writes_nothing(url: str, store: PostgresStore) -> None:
    """Not a row, not its end, not its input; nor does the owner of a run that is gone."""
    other = PostgresStore(url)
    old = store.claim("a", "graph").epoch
    new = other.claim("a", "graph").epoch
    assert new > old
    attempts: list[Callable[[], object]] = [
        lambda: store.append("a", old, b"row"),
        lambda: store.finish("a", old, "done", None, None),
        lambda: store.set_input("a", old, b"input"),
    ]
    for attempt in attempts:
        with pytest.raises(RunTakenOverError, match="resumed elsewhere"):
            attempt()
    assert (blobs(store, "a"), store.info("a").input) == ([], None)
    assert store.info("a").status == "running"
    other.remove(["a"])
    for attempt in attempts:
        with pytest.raises(RunTakenOverError, match="removed"):
            attempt()
    assert other.claim("a", "graph").epoch > new
    with pytest.raises(RunTakenOverError):
        store.append("a", new, b"row")
    other.close()


def test_two_transactions_of_others_that_meet_leave_no_gap(url: str, store: PostgresStore) -> None:
    """The second waits for the first, and then reads the end of the log."""
    epoch = store.claim("a", "graph").epoch

    async def meet() -> tuple[int, int]:
        connect = psycopg.AsyncConnection.connect
        async with await connect(url) as one, await connect(url) as other:
            first = await store.within.append(one, "a", epoch, b"one")
            second = asyncio.create_task(store.within.append(other, "a", epoch, b"other"))
            waits = f"SELECT 1 FROM pg_locks WHERE NOT granted AND pid = {other.info.backend_pid}"
            while not await asyncio.to_thread(execute, url, f"{waits} LIMIT 1"):
                pass
            await one.commit()
            return first, await second

    assert asyncio.run(meet()) == (1, 2)
    assert store.append("a", epoch, b"own") == 3
    assert blobs(store, "a") == [b"one", b"other", b"own"]


OWNER = """
import sys
from kaygraph.journal.postgres import PostgresStore
store = PostgresStore(sys.argv[1])
epoch = store.claim("a", "graph").epoch
try:
    for number in range(1_000_000):
        store.append("a", epoch, b"old %d" % number)
        print(number, flush=True)
except Exception as error:
    print(type(error).__name__, flush=True)
"""


def test_a_process_that_was_asleep_is_fenced(url: str, store: PostgresStore) -> None:
    """Stopped while working, overtaken, and continued: it gets an error, and its last
    row comes before the first of the new owner."""
    with child(sys.executable, "-c", OWNER, url) as owner:
        assert owner.stdout is not None
        for _ in range(20):
            owner.stdout.readline()
        os.kill(owner.pid, signal.SIGSTOP)
        epoch = store.claim("a", "graph").epoch
        store.append("a", epoch, b"new")
        os.kill(owner.pid, signal.SIGCONT)
        lines = owner.stdout.read().split()
        owner.wait()
    store.append("a", epoch, b"new")
    assert lines[-1] == "RunTakenOverError"
    acknowledged = 20 + len(lines) - 1
    written = blobs(store, "a")
    old = len(written) - 2
    assert written == [b"old %d" % n for n in range(old)] + [b"new", b"new"]
    # One may have been committed before its process was stopped, but not acknowledged.
    assert acknowledged <= old <= acknowledged + 1


def test_what_no_text_of_the_server_can_hold_comes_back(url: str, store: PostgresStore) -> None:
    """Names and messages of users contain any characters."""
    odd = "a\0b\ud800\N{SNOWMAN}"
    epoch = store.claim("a", odd).epoch
    store.answer("a", odd, b"yes")
    store.finish("a", epoch, "failed", odd, odd)
    info = store.info("a")
    assert (info.graph, info.action, info.error) == (plain(odd), odd, plain(odd))
    assert [answer.name for answer in store.answers("a")] == [odd]
    with pytest.raises(AlreadyAnsweredError):
        store.answer("a", odd, b"no")


def test_a_name_may_be_long(store: PostgresStore) -> None:
    """Longer than a key of an index can be."""
    store.claim("a", "graph")
    name = "".join(map(str, range(5000)))
    store.answer("a", name, b"yes")
    with pytest.raises(AlreadyAnsweredError):
        store.answer("a", name, b"yes")


def test_a_value_that_the_server_cannot_take_is_refused(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has a limit of one gigabyte."""
    monkeypatch.setattr(within, "LARGEST", 10)
    epoch = store.claim("a", "graph").epoch
    for write in (store.append, store.set_input):
        with pytest.raises(JournalFullError, match="11 bytes are more than PostgreSQL takes"):
            write("a", epoch, b"x" * 11)
    assert store.append("a", epoch, b"x" * 10) == 1


def test_a_long_log_is_read_in_pieces(store: PostgresStore) -> None:
    """Many small rows, and few large ones."""
    epoch = store.claim("a", "graph").epoch
    written = [b"%d" % n for n in range(200)] + [b"x" * 2**20] * 3
    for blob in written:
        store.append("a", epoch, blob)
    assert blobs(store, "a") == written
    store.copy("a", "b", 202)
    assert blobs(store, "b") == written[:202]
    store.forget("a", 150)
    assert [row.number for row in store.rows("a")] == list(range(150, 204))
    assert store.append("a", epoch, b"") == 204


def test_rows_that_are_removed_while_they_are_read_are_no_damage(
    url: str, store: PostgresStore
) -> None:
    """Readers get an error that says to read them again."""
    epoch = store.claim("a", "graph").epoch
    for _ in range(100):
        store.append("a", epoch, b"row")
    rows = store.rows("a")
    next(rows)
    other = PostgresStore(url)
    other.forget("a", 90)
    other.close()
    with pytest.raises(JournalUnavailableError, match="removed while they were read"):
        list(rows)


def test_a_removed_run_leaves_no_rows(url: str, store: PostgresStore) -> None:
    """Rows and answers go with their run."""
    epoch = store.claim("a", "graph").epoch
    store.append("a", epoch, b"row")
    store.answer("a", "ask", b"yes")
    store.remove(["a", "b"])
    for table in ("kaygraph_rows", "kaygraph_answers"):
        assert execute(url, f"SELECT count(*) FROM {table}") == [(0,)]
    with pytest.raises(RunUnknownError, match="has no run 'a'"):
        store.info("a")


def test_space_is_given_back(url: str, store: PostgresStore) -> None:
    """The table shrinks when its last rows are gone."""
    epoch = store.claim("a", "graph").epoch
    for _ in range(100):
        store.append("a", epoch, os.urandom(1500))
    size = "SELECT pg_relation_size('kaygraph_rows')"
    before = execute(url, size)
    store.remove(["a"])
    store.compact()
    assert execute(url, size) < before


# --- what is damaged, or held by others --------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("UPDATE kaygraph_rows SET blob = 'x' WHERE number = 2", "row 2 of run 'a' was changed"),
        ("UPDATE kaygraph_rows SET at = at + 1 WHERE number = 3", "row 3 of run 'a' was changed"),
        ("DELETE FROM kaygraph_rows WHERE number = 2", "row 2 of run 'a' is missing"),
    ],
)
def test_damage_is_refused(url: str, store: PostgresStore, damage: str, message: str) -> None:
    """A row that has changed, or is missing."""
    epoch = store.claim("a", "graph").epoch
    for n in range(3):
        store.append("a", epoch, b"%d" % n)
    execute(url, damage)
    with pytest.raises(JournalCorruptError, match=message):
        list(store.rows("a"))
    with pytest.raises(JournalCorruptError, match=message):
        store.copy("a", "b", 3)
    assert [info.run for info in store.runs()] == ["a"]


def test_acknowledged_rows_that_are_gone_are_noticed(url: str, store: PostgresStore) -> None:
    """As when a standby without them has taken over: nothing is written after a gap."""
    epoch = store.claim("a", "graph").epoch
    for _ in range(3):
        store.append("a", epoch, b"row")
    execute(url, "DELETE FROM kaygraph_rows WHERE number > 1")
    with pytest.raises(JournalCorruptError, match="rows 2 to 3 of run 'a' are missing"):
        store.append("a", epoch, b"row")
    assert blobs(store, "a") == [b"row"]


def test_a_lock_that_another_holds_is_reported(
    url: str, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is waited for, but not forever."""
    epoch = store.claim("a", "graph").epoch
    for name in ("APPEND", "FINISH", "CLAIM"):
        assert "'10s'" in getattr(tables, name)
        monkeypatch.setattr(tables, name, getattr(tables, name).replace("'10s'", "'50ms'"))
    with psycopg.connect(url) as other:
        other.execute("SELECT FROM kaygraph_runs FOR UPDATE")
        with pytest.raises(JournalLockedError, match=r"lock timeout.*Nothing was written"):
            store.append("a", epoch, b"row")
        with pytest.raises(JournalLockedError, match="lock timeout"):
            store.finish("a", epoch, "done", None, None)
        with pytest.raises(JournalLockedError, match="lock timeout"):
            store.claim("a", "graph")
        other.rollback()
    assert store.append("a", epoch, b"row") == 1
    assert store.info("a").epoch == epoch


def test_a_server_that_acknowledges_too_early_is_no_durable_one(url: str) -> None:
    """What ``durable=True`` requires is compared with its settings."""
    hasty = f"{url}%20-csynchronous_commit%3Doff"
    PostgresStore(hasty).close()
    with pytest.raises(JournalUnavailableError, match="synchronous_commit = off"):
        PostgresStore(hasty, durable=True)


# --- connections that are lost -----------------------------------------------------------------


@pytest.mark.parametrize("lose", ["request", "answer"])
def test_nothing_is_written_twice_where_nobody_knows_whether_it_was_done(
    url: str, lose: str
) -> None:
    """Whether the connection is lost before or after the commit, everything is written once."""
    with wired(url) as wire:
        store = PostgresStore(wire.url)

        def through(write: Callable[[], Any]) -> Any:
            wire.lost.clear()
            wire.lose = lose
            done = write()
            assert wire.lost.is_set()
            return done

        epoch = through(lambda: store.claim("a", "graph")).epoch
        for n in range(5):
            assert through(lambda n=n: store.append("a", epoch, b"same")) == n + 1  # type: ignore[misc]
        through(lambda: store.set_input("a", epoch, b"input"))
        through(lambda: store.answer("a", "ask", b"yes"))
        through(lambda: store.forget("a", 2))
        through(lambda: store.finish("a", epoch, "done", "end", None))
        assert [row.number for row in through(lambda: list(store.rows("a")))] == [2, 3, 4, 5]
        assert [answer.data for answer in store.answers("a")] == [b"yes"]
        info = store.info("a")
        assert (info.epoch, info.status, info.input) == (epoch, "done", b"input")
        with pytest.raises(AlreadyAnsweredError):
            through(lambda: store.answer("a", "ask", b"yes"))
        through(lambda: store.remove(["a"]))
        assert store.runs() == []
        store.close()


def test_a_copy_is_made_once_wherever_the_connection_is_lost(url: str) -> None:
    """It is one transaction of several statements, each of which may be the last to arrive."""
    with wired(url) as wire:
        store = PostgresStore(wire.url)
        epoch = store.claim("a", "graph").epoch
        for n in range(3):
            store.append("a", epoch, b"%d" % n)
        for lose in ("request", "answer"):
            for after in range(12):
                new = f"{lose} {after}"
                wire.lose, wire.after = lose, after
                store.copy("a", new, 2)
                wire.lose = ""
                assert blobs(store, new) == [b"0", b"1"]
                with pytest.raises(RunExistsError):
                    store.copy("a", new, 2)
        assert wire.lost.is_set()
        store.close()


def test_a_server_that_is_stopped_at_once_and_started_again_loses_nothing() -> None:
    """New rows follow those that were acknowledged, each once."""
    with server() as (url, control):
        store = PostgresStore(url)
        epoch = store.claim("a", "graph").epoch
        halfway = threading.Event()

        def write() -> list[int]:
            numbers = []
            for n in range(600):
                numbers.append(store.append("a", epoch, b"%d" % (n % 7)))
                if n % 200 == 100:
                    halfway.set()
            return numbers

        with ThreadPoolExecutor(1) as pool:
            written = pool.submit(write)
            for _ in range(2):
                assert halfway.wait(60)
                halfway.clear()
                control("stop")
                control("start")
            assert written.result(60) == list(range(1, 601))
        assert blobs(store, "a") == [b"%d" % (n % 7) for n in range(600)]
        store.close()


def test_a_run_goes_on_when_its_server_was_stopped_and_started_again() -> None:
    """It waits, and calls nothing twice; nor does the process that resumes it."""
    with server() as (url, control):
        called: list[int] = []

        class Items(ParallelBatchNode[int, int]):
            max_workers = 20

            def prep(self, shared: Any) -> range:
                return range(400)

            async def exec(self, item: int) -> int:
                if item == 200:
                    await asyncio.to_thread(control, "stop")
                    await asyncio.to_thread(control, "start")
                called.append(item)
                return item * 2

            def post(self, shared: Any, prep_res: Any, exec_res: list[int]) -> None:
                shared["doubled"] = exec_res

        for _ in range(2):
            shared: dict[str, Any] = {}
            journal = Journal(url, run="a", accept=["Items"], redo=["End"])
            asyncio.run(Graph(Items() >> End()).run_async(shared, journal=journal))
            assert shared["doubled"] == [2 * n for n in range(400)]
        assert sorted(called) == list(range(400))


def test_a_server_that_does_not_come_back_is_reported() -> None:
    """After its patience; the first time immediately, since the address may be wrong."""
    with server() as (url, control):
        store = PostgresStore(url, patience=0.2)
        epoch = store.claim("a", "graph").epoch
        control("stop")
        with pytest.raises(JournalUnavailableError) as later:
            store.append("a", epoch, b"row")
        with pytest.raises(JournalUnavailableError) as first:
            PostgresStore(url, patience=3600)
        for error in (later.value, first.value):
            assert str(error).startswith("postgresql://postgres@/postgres: ")
            assert (urlsplit(url).password or "") not in str(error)
        control("start")
        assert store.append("a", epoch, b"row") == 1
        store.close()


def test_a_connection_that_falls_silent_is_replaced(url: str) -> None:
    """An answer has a time limit."""
    with wired(url) as wire:
        silent = Server(wire.url, answer_timeout=0.2)
        assert silent.ask("SELECT 1") == [(1,)]
        wire.lose = "silence"

        def speak() -> None:
            wire.lost.wait()
            wire.lose = ""

        with ThreadPoolExecutor(1) as pool:
            spoken = pool.submit(speak)
            assert silent.ask("SELECT 1") == [(1,)]
            spoken.result()
        silent.close()


def test_an_administrator_who_ends_the_connection_ends_nothing_else(
    url: str, store: PostgresStore
) -> None:
    """It is made anew."""
    epoch = store.claim("a", "graph").epoch
    for n in range(3):
        execute(
            url,
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE query LIKE '%kaygraph_%' AND pid <> pg_backend_pid()",
        )
        assert store.append("a", epoch, b"row") == n + 1


def test_a_child_leaves_the_connection_of_its_parent_alone(store: PostgresStore) -> None:
    """After fork(), it is refused there, and continues here."""
    epoch = store.claim("a", "graph").epoch
    pid = os.fork()
    if not pid:
        try:
            store.append("a", epoch, b"row")
        except JournalError as error:
            store.close()
            os._exit("after fork()" in str(error))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    assert store.append("a", epoch, b"row") == 1


@pytest.mark.parametrize(
    "wrong",
    [
        "postgresql://user:s3cret@/postgres?host={socket}",
        "postgresql://user:s3cret@127.0.0.1:1/postgres",
        "postgresql://user:s3cret%zz@/postgres",
        "postgresql://user:s3cret@/postgres?nonsense=s3cret",
        "postgresql://user:s3@cret@/postgres",
        "postgresql://user:s3cret@/no_such_database?host={socket}",
    ],
)
def test_no_error_shows_the_password(url: str, wrong: str) -> None:
    """Neither where it is wrong, nor where the url cannot be read."""
    place = parse_qs(urlsplit(url).query)["host"][0]
    with pytest.raises((JournalError, ValueError)) as caught:
        PostgresStore(wrong.format(socket=place))
    error: BaseException | None = caught.value
    while error is not None:
        assert "s3cret" not in str(error)
        assert "cret@" not in str(error)
        error = error.__cause__ or error.__context__


@pytest.fixture(scope="module")
def pool() -> Iterator[str]:
    with pooler() as (url, _):
        yield url


@pytest.mark.parametrize("mode", ["session", "transaction", "statement"])
def test_it_works_behind_a_pooler_in_every_mode(pool: str, mode: str) -> None:
    """Each statement may use another connection of the server; nothing is prepared there."""
    url = pool.format(mode)
    store = PostgresStore(url)
    store.remove([info.run for info in store.runs()])
    other = PostgresStore(url)
    epoch = store.claim("a", "graph").epoch
    for n in range(1, 51):
        assert store.append("a", epoch, b"a") == 2 * n - 1
        assert other.append("a", epoch, b"b") == 2 * n
    store.answer("a", "ask", b"yes")
    store.finish("a", epoch, "done", None, None)
    store.forget("a", 11)
    assert blobs(other, "a") == [b"a", b"b"] * 45
    if mode == "statement":
        with pytest.raises(JournalUnavailableError, match="connect to the server itself"):
            store.copy("a", "b", 20)
    else:
        store.copy("a", "b", 20)
        assert blobs(other, "b") == [b"a", b"b"] * 5
    assert execute(url, "SELECT name FROM pg_prepared_statements") == []
    assert execute(url, "SHOW lock_timeout") == [("0",)]
    store.compact()
    store.close()
    other.close()


# --- answers that are waited for ---------------------------------------------------------------


@pytest.mark.parametrize("address", ["server", "pooler"])
def test_an_answer_is_noticed(
    request: pytest.FixtureRequest, url: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the server can notify, or the table has to be polled."""
    if address == "pooler":
        url = request.getfixturevalue("pool").format("transaction")
        monkeypatch.setattr(postgres, "POLL_S", 0.01)
    store, other = PostgresStore(url), PostgresStore(url)
    store.remove([info.run for info in store.runs()])
    for run in ("a", "b"):
        store.claim(run, "graph")
    waits = threading.Event()
    asked = store._waiting.patiently

    def patiently(job: Any) -> Any:
        done = asked(job)
        waits.set()  # it has looked, and found nothing
        return done

    store._waiting.patiently = patiently  # type: ignore[method-assign]
    with ThreadPoolExecutor(1) as pool:
        answered = pool.submit(store.wait_for_answer, "a", 0, 60.0)
        assert waits.wait(60)
        other.answer("b", "ask", b"no business of a")
        other.answer("a", "ask", b"yes")
        assert answered.result(60)
    assert store.answers("a")[0].data == b"yes"
    assert not store.wait_for_answer("a", 1, 0.05)
    assert store.wait_for_answer("a", 0, 0.0)
    store.close()
    other.close()
