"""PostgreSQL behind PgBouncer as it comes: each transaction may be on another connection there."""

import asyncio
import select
import time
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from kaygraph import AsyncNode, DeadlineExceededError, Graph, Outcome, Retry
from kaygraph.nodes import (
    Database,
    DatabaseError,
    DatabaseLockedError,
    DatabaseUnavailableError,
    RowRefusedError,
    SQLExecute,
    SQLRead,
    SQLWrite,
)
from kaygraph.nodes.sql._statement import Statement
from tests.databases import needs_postgres, pooler, query
from tests.stages import Stage

pytestmark = [pytest.mark.anyio, needs_postgres]

MODES = ["session", "transaction", "statement"]
IN_BLOCKS = ["session", "transaction"]


@pytest.fixture(scope="module")
def url():
    with pooler() as (url, _):
        yield url


@pytest.fixture(params=MODES)
async def database(request, url):
    return await with_table(Database(url.format(request.param)))


@pytest.fixture(params=IN_BLOCKS)
async def in_blocks(request, url):
    return await with_table(Database(url.format(request.param)))


async def with_table(database: Database) -> Database:
    await query(
        database,
        "DROP TABLE IF EXISTS t",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, word TEXT)",
        "CREATE OR REPLACE FUNCTION sneak() RETURNS int LANGUAGE sql AS "
        "$$ INSERT INTO t VALUES (1); SELECT 1 $$",
    )
    return database


def rows(count: int, word: str = "x") -> list[dict[str, Any]]:
    return [{"id": n, "word": word} for n in range(count)]


async def count(database: Database) -> int:
    return int((await query(database, "SELECT count(*) AS n FROM t"))[0]["n"])


class Words(AsyncNode):
    """Say a word again and again, with time for others in between."""

    def __init__(self, word: str, begin: float) -> None:
        super().__init__(name=word)
        self.word, self.begin = word, begin

    async def prep(self, shared):
        await asyncio.sleep(self.begin)
        for _ in range(300):
            yield {"v": self.word}
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("apart", [0, 0.05])
async def test_rows_of_two_nodes_come_to_their_own_tables(database, apart):
    """Statements of several connections that the pooler mixes are never taken for one another."""
    names = ("paid", "refunded", "open")
    for name in names:
        await query(database, f"DROP TABLE IF EXISTS {name}", f"CREATE TABLE {name} (v TEXT)")
    await Graph(
        [
            Words(name, apart * n) | SQLWrite(database, f"INSERT INTO {name} VALUES (%(v)s)")
            for n, name in enumerate(names)
        ]
    ).run_async({})
    for name in names:
        found = await query(database, f"SELECT v, count(*) AS n FROM {name} GROUP BY v")
        assert found == [{"v": name, "n": 300}]


async def test_statements_of_stages_are_their_own(database):
    """One that is executed repeatedly next to another one returns its own rows."""

    def execute(word: str) -> Any:
        return SQLExecute(database, f"SELECT %(id)s::int AS id, '{word}' AS word", name=word)

    class Ids(Stage):
        def prep(self, _):
            return ({"id": n} for n in range(100))

    ends = [Stage(), Stage()]
    await Graph([Ids() | execute("a") | ends[0], Ids() | execute("b") | ends[1]]).run_async({})
    for end, word in zip(ends, "ab", strict=True):
        assert end.ended == [[{"id": n, "word": word}] for n in range(100)]


async def test_a_row_that_is_refused_fails_alone(database):
    """Also where each transaction is a single statement."""

    class Kept(SQLWrite):
        def post(self, shared, prep_res, exec_res):
            shared["results"] = exec_res

    items = rows(30)
    items[7]["id"] = 6
    node = Kept(
        database,
        "INSERT INTO t VALUES (%(id)s, %(word)s) RETURNING id AS key",
        reads="items",
        on_error="collect",
    )
    await node.run_async(shared := {"items": items})
    failed = [result for result in shared["results"] if isinstance(result, Outcome)]
    assert [(outcome.index, type(outcome.error)) for outcome in failed] == [(7, RowRefusedError)]
    assert shared["results"][8] == {"key": 8}
    assert await count(database) == 29


async def test_several_statements_are_all_or_nothing(database):
    """In every mode."""
    insert = "INSERT INTO t VALUES (%(id)s, %(word)s)"
    with pytest.raises(RowRefusedError):
        await SQLExecute(database, insert, insert, reads="row").run_async({"row": rows(1)[0]})
    assert await count(database) == 0
    done = await query(database, "INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)")
    assert done == 2
    with pytest.raises(DatabaseError, match="max_rows=1"):
        await SQLExecute(database, "DELETE FROM t RETURNING id", max_rows=1).run_async({})
    assert await query(database, "DELETE FROM t WHERE false RETURNING id") == []
    assert await count(database) == 2


async def test_rows_are_read_in_batches(in_blocks):
    """A cursor lives in one transaction, which the pooler keeps on one connection."""
    node = SQLRead(in_blocks, "SELECT generate_series(0, 2499) AS id", batch=100, writes="rows")
    await node.run_async(shared := {})
    assert [row["id"] for row in shared["rows"]] == list(range(2500))


async def test_a_pool_that_allows_no_transactions_is_reported(url):
    """SQLRead says what to do instead; SQLExecute reads there."""
    database = Database(url.format("statement"))
    with pytest.raises(DatabaseError, match=r"pool_mode = statement.*SQLExecute") as caught:
        await SQLRead(database, "SELECT 1 AS n").run_async({})
    assert not isinstance(caught.value, DatabaseUnavailableError)
    assert await query(database, "SELECT 1 AS n") == [{"n": 1}]


async def test_a_function_that_writes_is_refused_to_a_reader(in_blocks):
    """The transaction itself can only read."""
    with pytest.raises(DatabaseError, match="read-only transaction"):
        await SQLRead(in_blocks, "SELECT sneak()").run_async({})
    assert await count(in_blocks) == 0


async def test_a_lock_is_waited_for_and_then_reported(database):
    """lock_timeout holds in each transaction, and for no other client of the pooler."""
    impatient = Database(database.url, lock_timeout=0.1)
    with psycopg.connect(database.url.replace("/statement?", "/session?")) as other:
        other.execute("LOCK TABLE t")
        with pytest.raises(DatabaseLockedError, match="lock timeout"):
            await query(impatient, "INSERT INTO t VALUES (1)")
        other.rollback()
    async with await psycopg.AsyncConnection.connect(database.url, autocommit=True) as other:
        shown = await (await other.execute("SHOW lock_timeout")).fetchone()
    assert shown == ("0",)


async def test_what_another_client_has_left_makes_no_interval_another(database):
    """A style that it has set stays with the server's connection, and is not reported."""
    for _ in range(2):
        async with await psycopg.AsyncConnection.connect(database.url, autocommit=True) as other:
            await other.execute("SET IntervalStyle = 'iso_8601'")
        assert await query(database, "SELECT '1 day 02:00'::interval AS i") == [
            {"i": timedelta(days=1, hours=2)}
        ]
    async with await psycopg.AsyncConnection.connect(database.url, autocommit=True) as other:
        await other.execute("RESET IntervalStyle")


async def test_an_isolation_level_can_still_be_set(in_blocks):
    """Nothing was asked in the transaction before its first statement."""
    level = "SELECT current_setting('transaction_isolation') AS level"
    found = await query(in_blocks, "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", level)
    assert found == [{"level": "serializable"}]


async def test_a_deadline_ends_the_query_on_the_server(database):
    """The request to cancel finds its way through the pooler."""
    with pytest.raises(DeadlineExceededError):
        await SQLExecute(database, "SELECT pg_sleep(600)").run_async({}, deadline=0.3)
    for _ in range(250):
        sleeping = await query(
            database,
            "SELECT query FROM pg_stat_activity WHERE state = 'active' "
            "AND query LIKE 'SELECT pg_sleep%'",
        )
        if not sleeping:
            break
        await asyncio.sleep(0.02)
    assert sleeping == []


@pytest.mark.parametrize("clients", [1, 2, 4, 6])
async def test_connections_that_have_ended_are_replaced_at_once(in_blocks, clients):
    """When the server has ended all that are idle, the next statement does not wait."""
    one = Statement.of("SELECT 1 AS n, pg_sleep(0.05)", False)
    end_all = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
        "AND backend_type = 'client backend'"
    )
    node = SQLExecute(Database(in_blocks.url, pool_size=clients), "SELECT 1")
    async with node.lifespan({}) as pool:
        await asyncio.gather(*(pool.execute([(one, None)], 1) for _ in range(clients)))
        with psycopg.connect(in_blocks.url, autocommit=True) as other:
            other.execute(end_all)
        began = time.monotonic()
        assert (await pool.execute([(one, None)], 1))[0]["n"] == 1
        assert time.monotonic() - began < 5


async def test_a_server_that_was_restarted_is_used_again():
    """The pooler needs another connection to the server, and its client may not notice.

    One client: where the pooler was about to connect for others it refuses all for a while.
    """
    with pooler() as (url, control):
        one = Statement.of("SELECT 1 AS n", False)
        async with SQLExecute(url.format("transaction"), "SELECT 1").lifespan({}) as pool:
            await pool.execute([(one, None)], 1)
            for action in ("stop", "start"):
                await asyncio.to_thread(control, action)
            began = time.monotonic()
            assert await pool.execute([(one, None)], 1) == [{"n": 1}]
            assert time.monotonic() - began < 5


async def test_what_the_pooler_ends_is_reported_or_replaced():
    """Its limits: a client that was idle is replaced; one that waits in line for too long hears of
    it, which is worth another attempt."""
    limits = ("client_idle_timeout = 1", "query_wait_timeout = 1", "default_pool_size = 1")
    waited = asyncio.Event()

    class Retried(SQLExecute):
        async def exec(self, parameters):
            if self.attempt > 1:
                waited.set()
            return await super().exec(parameters)

    with pooler(*limits) as (url, _):
        database = Database(url.format("transaction"))
        one = Statement.of("SELECT 1 AS n", False)
        async with SQLExecute(database, "SELECT 1").lifespan({}) as pool:
            await pool.execute([(one, None)], 1)
            with psycopg.connect(database.url) as later:
                await asyncio.to_thread(select.select, [later], [], [], 30)  # until it is ended too
            assert await pool.execute([(one, None)], 1) == [{"n": 1}]
        retry = Retry(attempts=9, on=DatabaseUnavailableError)
        retried = Retried(database, "SELECT 1 AS n", writes="n", retry=retry)
        with psycopg.connect(database.url) as other:
            other.execute("SELECT 1")  # in a transaction, which holds the only connection
            with pytest.raises(DatabaseUnavailableError, match="query_wait_timeout"):
                await query(database, "SELECT 1")
            task = asyncio.ensure_future(retried.run_async(shared := {}))
            await waited.wait()
            other.rollback()
        await task
        assert shared["n"] == [{"n": 1}]


async def test_settings_at_the_start_of_a_connection_are_reported(url):
    """The pooler refuses what the url asks of the server; the error says what to leave out."""
    asks = Database(url.format("transaction") + "&options=-c%20work_mem%3D128kB")
    with pytest.raises(DatabaseUnavailableError, match=r"startup parameter.*remove options="):
        await query(asks, "SELECT 1")


async def test_nothing_is_prepared_behind_a_pooler(database):
    """No connection of the server keeps a statement of ours."""
    write = SQLWrite(database, "INSERT INTO t VALUES (%(id)s, %(word)s)", reads="rows")
    await write.run_async({"rows": rows(100)})
    assert await query(database, "SELECT name FROM pg_prepared_statements") == []
