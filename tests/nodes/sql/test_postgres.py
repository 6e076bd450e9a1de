"""PostgreSQL: connections that fail, fall silent, come back; and what a cancellation leaves."""

import asyncio
import hashlib
import time
from datetime import date, datetime, timedelta
from typing import Any

import psycopg
import pytest

from kaygraph import DeadlineExceededError, Graph, Outcome, Pipeline, Retry
from kaygraph.nodes import (
    Database,
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
from tests.databases import (
    connections,
    needs_postgres,
    postgres,
    proxied,
    query,
    server,
    until_no_connections,
)
from tests.stages import Stage

pytestmark = [pytest.mark.anyio, needs_postgres]

INSERT = "INSERT INTO t VALUES (%(id)s)"


@pytest.fixture
async def database():
    database = postgres()
    await query(database, "DROP TABLE IF EXISTS t", "CREATE TABLE t (id INTEGER PRIMARY KEY)")
    yield database
    assert await until_no_connections(database) == []


def ids(count: int, start: int = 0) -> list[dict[str, int]]:
    return [{"id": n} for n in range(start, start + count)]


async def count(database: Database) -> int:
    return int((await query(database, "SELECT count(*) AS n FROM t"))[0]["n"])


def now() -> float:
    return time.monotonic()


async def test_a_refused_connection_is_reported_at_once():
    """The driver's reason, and no wait for a server that is not there."""
    database = Database("postgresql://ada:secret@127.0.0.1:1/shop")
    began = now()
    with pytest.raises(DatabaseUnavailableError, match="refused") as caught:
        await query(database, "SELECT 1")
    assert now() - began < 5
    assert isinstance(caught.value.__cause__, psycopg.OperationalError)
    assert "ada@127.0.0.1:1/shop" in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_a_wrong_password_is_reported_and_not_shown(database):
    """The server's own reason."""
    login, _, place = database.url.removeprefix("postgresql://").rpartition("@")
    user = login.partition(":")[0]
    wrong = Database(f"postgresql://{user}:wr0ng-one@{place}")
    with pytest.raises(DatabaseUnavailableError, match="password authentication failed") as caught:
        await query(wrong, "SELECT 1")
    assert "wr0ng-one" not in f"{caught.value} {caught.value.__cause__}"


async def test_a_url_that_libpq_cannot_read_is_not_shown():
    """Neither the wrong part, which may be the password, nor a log of it."""
    with pytest.raises(ValueError, match=r"libpq cannot read the url of .*ada@h") as caught:
        await query(Database("postgresql://ada:se%cret@h/x"), "SELECT 1")
    assert "se%cret" not in str(caught.value)


async def test_a_server_that_does_not_answer_is_reported_in_time(database):
    """One that takes connections and says nothing, from the first moment or in the middle."""
    async with proxied(database) as proxy:
        proxy.silent = True
        began = now()
        with pytest.raises(DatabaseUnavailableError, match="timeout"):
            await query(Database(proxy.url, connect_timeout=2), "SELECT 1")
        assert now() - began < 8


async def test_a_deadline_does_not_wait_for_a_connection(database):
    """A run that ends while it connects to a silent server ends immediately."""
    before = asyncio.all_tasks()
    async with proxied(database) as proxy:
        proxy.silent = True
        began = now()
        with pytest.raises(DeadlineExceededError):
            await SQLExecute(Database(proxy.url), "SELECT 1").run_async({}, deadline=0.2)
        assert now() - began < 5
    assert asyncio.all_tasks() == before


async def test_a_reader_that_ends_early_needs_no_word_of_the_server(database):
    """Between two batches the connection is closed, and nothing is asked or waited for."""
    async with proxied(database) as proxy:
        silent = asyncio.Event()

        class Silences(Stage):
            async def exec(self, row):
                proxy.silent = True
                silent.set()
                await asyncio.Event().wait()

        reading = SQLRead(Database(proxy.url, timeout=None), "SELECT generate_series(1, 99) AS n")
        pipeline = Pipeline(reading, Silences(), buffer=1)
        task = asyncio.ensure_future(pipeline.run_async({}))
        await silent.wait()
        began = now()
        task.cancel()
        await asyncio.wait([task], timeout=10)
        assert task.cancelled()
        assert now() - began < 5


async def test_connections_are_used_again_and_replaced(database):
    """One transaction after another takes one connection; one that the server ended is replaced."""
    async with proxied(database) as proxy:
        one, last = (Statement.of(text, False) for text in ("SELECT 1 AS n", "SELECT 2 AS n"))
        async with SQLExecute(Database(proxy.url), "SELECT 1").lifespan({}) as server:
            for _ in range(5):
                await server.execute([(one, None)], 10)
                assert [rows async for rows in server.batches(one, None, 10)] == [[{"n": 1}]]
            assert proxy.accepted == 1
            proxy.cut()
            assert await server.execute([(last, None)], 10) == [{"n": 2}]
            assert proxy.accepted > 1


@pytest.mark.parametrize("ended", ["all", "some"])
@pytest.mark.parametrize("clients", [1, 2, 4, 6])
async def test_connections_that_the_server_has_ended_are_replaced_at_once(database, clients, ended):
    """However many of those that are idle have ended, the next statements do not wait for them."""
    who = Statement.of("SELECT pg_backend_pid() AS pid, pg_sleep(0.05)", False)
    async with SQLExecute(Database(database.url, pool_size=clients), "SELECT 1").lifespan(
        {}
    ) as pool:

        async def served_by() -> list[int]:
            answers = await asyncio.gather(
                *(pool.execute([(who, None)], 1) for _ in range(clients))
            )
            return [rows[0]["pid"] for rows in answers]

        dead = (await served_by())[0 if ended == "all" else clients // 2 :]
        with psycopg.connect(database.url, autocommit=True) as other:
            for pid in dead:
                assert other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid]).fetchone()
        began = now()
        alive = await served_by()
        assert now() - began < 5
        assert not set(alive) & set(dead)


async def test_statements_are_prepared_where_the_server_itself_answers(database):
    """One that is executed again and again is planned once, under a name of its own."""
    node = SQLExecute(Database(database.url, pool_size=1), "SELECT 1")
    again = Statement.of("SELECT %(n)s::int AS n", False)
    names = Statement.of("SELECT name FROM pg_prepared_statements", False)
    seen = set()
    for _ in range(2):
        async with node.lifespan({}) as pool:
            for n in range(8):
                assert await pool.execute([(again, {"n": n})], 1) == [{"n": n}]
            (found,) = await pool.execute([(names, None)], 9)
            seen.add(found["name"])
    assert len(seen) == 2


async def test_a_prepared_statement_that_the_server_has_forgotten_is_no_failure(database):
    """A pooler that passes for the server may forget what was prepared: nothing is any more."""
    node = SQLExecute(Database(database.url, pool_size=1), "SELECT 1")
    again = Statement.of("INSERT INTO t VALUES (%(id)s) RETURNING id", False)
    forget = Statement.of("DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$", False)
    names = Statement.of("SELECT name FROM pg_prepared_statements", False)
    async with node.lifespan({}) as pool:
        for n in range(20):
            assert await pool.execute([(again, {"id": n})], 1) == [{"id": n}]
            if n in (7, 15):
                await pool.execute([(forget, None)], 1)
        written = await pool.write(again, ids(9, 20))
        await pool.execute([(forget, None)], 1)
        written += await pool.write(again, ids(9, 29))
        assert written == [[row] for row in ids(18, 20)]
        assert await pool.execute([(names, None)], 9) == []
    assert await count(database) == 38


async def test_a_server_that_falls_silent_is_reported_in_time(database):
    """The database's timeout ends the wait for rows, and the run gets back its connection."""
    async with proxied(database) as proxy:
        impatient = Database(proxy.url, timeout=0.5, connect_timeout=2)

        class Silences(Stage):
            async def exec(self, row):
                proxy.silent = True
                proxy.refuse()  # the request to cancel the query, that is
                return row

        pipeline = SQLRead(impatient, "SELECT generate_series(1, 1000) AS n", batch=10) | Silences()
        with pytest.raises(DatabaseUnavailableError, match=r"not done within timeout=0\.5 s"):
            await Graph(pipeline).run_async({})


async def test_a_connection_that_is_cut_is_reported(database):
    """In the middle of a query: an error that is worth another attempt, with its cause."""
    async with proxied(database) as proxy:

        class Cuts(Stage):
            async def exec(self, row):
                proxy.cut()
                return row

        pipeline = SQLRead(Database(proxy.url), "SELECT generate_series(1, 9000) AS n") | Cuts()
        with pytest.raises(DatabaseUnavailableError) as caught:
            await Graph(pipeline).run_async({})
        assert isinstance(caught.value.__cause__, psycopg.OperationalError)


async def test_writes_go_on_when_the_server_comes_back(database):
    """Retries write the rest over new connections; each row is there once."""
    async with proxied(database) as proxy:

        class Cuts(Stage):
            async def exec(self, row):
                if row["id"] in (100, 300):
                    proxy.cut()
                return row

        class Ids(Stage):
            def prep(self, _):
                return ids(500)

        write = SQLWrite(
            Database(proxy.url, connect_timeout=2),
            f"{INSERT} ON CONFLICT DO NOTHING",
            max_workers=20,
            writes="written",
            retry=Retry(attempts=5, wait=0.05, on=DatabaseUnavailableError),
        )
        shared: dict[str, Any] = {}
        await Graph(Ids() | write | Cuts()).run_async(shared)
        assert shared["written"] == 500
        assert proxy.accepted >= 3
    assert await count(database) == 500


async def test_a_server_that_is_stopped_and_started_is_used_again():
    """A real server ends during a run: its error is clear, and retries succeed later."""
    with server() as (url, control):
        database = Database(url, connect_timeout=10)
        await query(database, "CREATE TABLE t (id INTEGER PRIMARY KEY)")
        errors: list[BaseException] = []

        class Restarts(SQLExecute):
            async def exec(self, parameters):
                if self.attempt == 1 and parameters["id"] == 3:
                    await asyncio.to_thread(control, "stop")
                if self.attempt == 3:
                    await asyncio.to_thread(control, "start")
                try:
                    return await super().exec(parameters)
                except DatabaseUnavailableError as error:
                    errors.append(error)
                    raise

        class Ids(Stage):
            def prep(self, _):
                return ids(6)

        write = Restarts(database, INSERT, retry=Retry(attempts=4, on=DatabaseUnavailableError))
        await Graph(Ids() | write).run_async({})
        assert await count(database) == 6
        assert len(errors) == 2
        assert all(isinstance(error.__cause__, psycopg.OperationalError) for error in errors)


async def test_a_killed_backend_is_reported_and_replaced(database):
    """As an administrator ends a connection."""
    attempts = []

    class Killed(SQLExecute):
        async def exec(self, parameters):
            attempts.append(self.attempt)
            return await super().exec(parameters)

    node = Killed(
        database,
        "SELECT pg_terminate_backend(pg_backend_pid())",
        retry=Retry(attempts=2, on=DatabaseUnavailableError),
    )
    with pytest.raises(DatabaseUnavailableError, match="administrator command"):
        await node.run_async({})
    assert attempts == [1, 2]


async def test_rows_whose_connection_is_lost_are_not_tried_again(database):
    """They may be written already: ``retry=`` decides whether to try again."""
    await query(database, "DROP SEQUENCE IF EXISTS tries", "CREATE SEQUENCE tries")
    statement = (
        "INSERT INTO t SELECT %(id)s WHERE nextval('tries') > 0 "
        "AND pg_terminate_backend(pg_backend_pid())"
    )
    node = SQLWrite(database, statement, reads="rows", writes="written", on_error="skip")
    await node.run_async(shared := {"rows": ids(5)})
    assert shared["written"] == 0
    assert await query(database, "SELECT last_value AS n FROM tries") == [{"n": 1}]


async def test_a_lock_is_waited_for_and_then_reported(database):
    """After lock_timeout there is one clear error."""
    impatient = Database(database.url, lock_timeout=0.1)
    with psycopg.connect(database.url) as other:
        other.execute("LOCK TABLE t")
        with pytest.raises(DatabaseLockedError, match="lock timeout"):
            await query(impatient, "INSERT INTO t VALUES (1)")
        other.rollback()


@pytest.mark.parametrize(("limit", "says"), [(0.0001, "1ms"), (float("inf"), "2147483647ms")])
async def test_a_limit_that_postgres_cannot_say_is_the_nearest_that_it_can(database, limit, says):
    """None is rounded to 0, which would be no limit."""
    limited = Database(database.url, lock_timeout=limit, connect_timeout=limit)
    shown = await query(limited, "SELECT current_setting('lock_timeout') AS limit")
    assert shown == [{"limit": says}]


async def test_a_refusal_at_the_commit_is_that_rows_alone(database):
    """A constraint that is checked at the commit fails a group as a whole; the row is found."""
    await query(database, "ALTER TABLE t ADD COLUMN u INTEGER UNIQUE DEFERRABLE INITIALLY DEFERRED")
    shared: dict[str, Any] = {"rows": [{"id": n, "u": 5 if n == 30 else n} for n in range(40)]}

    class Kept(SQLWrite):
        def post(self, shared, prep_res, exec_res):
            shared["results"] = exec_res

    node = Kept(database, "INSERT INTO t VALUES (%(id)s, %(u)s)", reads="rows", on_error="collect")
    await node.run_async(shared)
    failed = [r for r in shared["results"] if isinstance(r, Outcome)]
    assert [outcome.index for outcome in failed] == [30]
    assert isinstance(failed[0].error, RowRefusedError)
    assert "(u)=(5)" not in str(failed[0].error)  # what is in a row stays in the cause
    assert await count(database) == 39


async def test_a_row_that_is_refused_for_any_reason_fails_alone(database):
    """A trigger with a code of its own, a key that is too long for an index: one item each."""
    await query(
        database,
        "ALTER TABLE t ADD COLUMN name TEXT",
        "CREATE INDEX ON t (name)",
        "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF NEW.id = 7 THEN RAISE EXCEPTION 'no sevens' USING ERRCODE = 'KG001'; END IF; "
        "RETURN NEW; END $$",
        "CREATE TRIGGER refuses BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    long = "".join(hashlib.sha256(bytes([n])).hexdigest() for n in range(250))
    rows = [{"id": n, "name": long if n == 20 else "short"} for n in range(40)]

    class Kept(SQLWrite):
        def post(self, shared, prep_res, exec_res):
            shared["results"] = exec_res

    node = Kept(
        database, "INSERT INTO t VALUES (%(id)s, %(name)s)", reads="rows", on_error="collect"
    )
    await node.run_async(shared := {"rows": rows})
    failed = {r.index: str(r.error) for r in shared["results"] if isinstance(r, Outcome)}
    assert list(failed) == [7, 20]
    assert "no sevens" in failed[7]
    assert "index row" in failed[20]
    assert await count(database) == 38


UNREADABLE = {
    "timestamptz": ["infinity", "-infinity", "0044-03-15 12:00+00 BC", "12345-01-01 00:00+00"],
    "timestamp": ["infinity", "0001-12-31 23:59:59 BC", "294276-12-31 00:00"],
    "date": ["-infinity", "10000-01-01", "0001-01-01 BC"],
    "time": ["24:00"],
    "timetz": ["24:00+02"],
    "interval": ["10000000 years", "-178000000 years", "3000000 years", "1000000000 days"],
    "timestamptz[]": ["{2020-01-01,infinity}"],
    "date[]": ["{{infinity},{2020-01-01}}"],
    "daterange": ["[2020-01-01,infinity]"],
    "tsmultirange": ["{[2020-01-01,infinity]}"],
    "jsonb": ["9" * 5000],
    "json": ["[" * 2000 + "]" * 2000],
}


@pytest.mark.parametrize(
    ("kind", "value"), [(kind, value) for kind, values in UNREADABLE.items() for value in values]
)
async def test_a_value_that_python_has_nothing_for_fails_its_row_alone(database, kind, value):
    """The error names the column and says what to write, which then works; the other rows come."""
    here = f"(CASE n WHEN 7 THEN '{value}' WHEN 8 THEN NULL END)::{kind}"
    query_of = f"SELECT n, {here} AS at FROM generate_series(0, 19) AS n"
    node = SQLRead(database, query_of, batch=5, writes="rows", on_error="collect")
    await node.run_async(shared := {})
    (failed,) = (row for row in shared["rows"] if isinstance(row, Outcome))
    assert failed.index == 7
    assert isinstance(failed.error, RowUnreadableError)
    assert f"column 'at' contains a {kind} that" in str(failed.error)
    assert f"'{value}'" not in str(failed.error)
    assert failed.error.__cause__ is not None
    others = [row for row in shared["rows"] if not isinstance(row, Outcome)]
    assert [row["n"] for row in others] == [n for n in range(20) if n != 7]
    assert all(row["at"] is None for row in others)
    written = query_of.replace(" AS at", "::text AS at")
    assert "SELECT at::text AS at" in str(failed.error)
    await SQLRead(database, written, writes="rows").run_async(shared)
    assert shared["rows"][7]["at"] is not None


async def test_values_at_the_edge_are_read(database):
    """A value that Python can represent is not a failure, however odd it is."""
    (row,) = await query(
        database,
        "SELECT '9999-12-31'::date AS d, '0001-01-01'::timestamp AS t, 'NaN'::numeric AS n, "
        "'-infinity'::float8 AS f, '999999999 days'::interval AS i, 'null'::jsonb AS j, "
        "'-1 year 2 mons -3 days -04:05:06.7'::interval AS k",
    )
    assert row["d"] == date.max
    assert row["t"] == datetime.min
    assert row["n"].is_nan()
    assert row["f"] == float("-inf")
    assert row["i"] == timedelta(days=999999999)
    assert row["j"] is None
    assert row["k"] == timedelta(days=-10 * 30 - 3, hours=-4, minutes=-5, seconds=-6.7)


async def test_every_column_that_cannot_be_read_is_named(database):
    """All of a row, so that one look at the error is enough."""
    two = "SELECT 1 AS one, 'infinity'::date AS a, '24:00'::time AS b"
    with pytest.raises(RowUnreadableError, match=r"'a' contains a date .*'b' contains a time "):
        await SQLRead(database, two).run_async({})


async def test_what_cannot_be_given_back_is_not_written(database):
    """A row whose RETURNING cannot be read fails alone; of SQLExecute nothing is left."""
    await query(database, "ALTER TABLE t ADD COLUMN at TIMESTAMPTZ")
    insert = (
        "INSERT INTO t VALUES (%(id)s, CASE WHEN %(id)s = 3 THEN 'infinity'::timestamptz END) "
        "RETURNING at"
    )
    node = SQLWrite(database, insert, reads="rows", writes="written", on_error="skip")
    await node.run_async(shared := {"rows": ids(9)})
    assert shared["written"] == 8
    with pytest.raises(RowUnreadableError, match="column 'at'"):
        await query(database, "DELETE FROM t", "SELECT 'infinity'::timestamptz AS at")
    assert await query(database, "SELECT id FROM t WHERE id = 3") == []
    assert await count(database) == 8


async def test_a_subclass_meets_the_error_where_it_looks_at_the_row(database):
    """An exec of one's own is given a row that raises it."""

    class Days(SQLRead):
        async def exec(self, row):
            return {**row, "day": row["at"].day}

    rows = "SELECT * FROM (VALUES ('2020-01-05'::date), ('infinity')) AS v (at)"
    await Days(database, rows, writes="days", on_error="skip").run_async(shared := {})
    assert shared["days"] == [{"at": date(2020, 1, 5), "day": 5}]
    with pytest.raises(RowUnreadableError, match="column 'at'"):
        await Days(database, rows).run_async({})


async def test_rows_are_read_by_a_cursor_on_the_server(database):
    """Rows that never end are read in bounded memory: the server holds what was not asked for."""
    cursors: list[Any] = []

    class Looks(Stage):
        async def exec(self, row):
            if row["n"] == 25:
                cursors.extend(await connections(database))
            return row

    endless = "SELECT generate_series(1, 10000000) AS n"
    node = SQLRead(database, endless, batch=10)
    stream = (node | Looks()).stream({})
    async for row in stream:
        if row["n"] == 30:
            await stream.aclose()
            break
    assert [(c["state"], c["query"][:5]) for c in cursors] == [("idle in transaction", "FETCH")]


async def test_a_deadline_ends_the_query_on_the_server(database):
    """No backend works on after the run has ended."""
    for node in (
        SQLRead(database, "SELECT pg_sleep(60)"),
        SQLExecute(database, "SELECT pg_sleep(60)"),
    ):
        with pytest.raises(DeadlineExceededError):
            await node.run_async({}, deadline=0.2)
        assert await until_no_connections(database) == []


async def test_a_statement_has_its_time(database):
    """The database's timeout ends it, on the server too."""
    impatient = Database(database.url, timeout=0.2)
    with pytest.raises(DatabaseUnavailableError, match=r"not done within timeout=0\.2 s"):
        await query(impatient, "SELECT pg_sleep(60)")


async def test_a_run_cancelled_at_any_moment_leaves_nothing(database):
    """No connection, no transaction, no task; a transaction is done as a whole or not at all."""
    await query(database, "DROP TABLE IF EXISTS u", "CREATE TABLE u (id INTEGER)")
    before = asyncio.all_tasks()
    for step in range(40):
        graph = Graph(
            (
                SQLRead(database, "SELECT generate_series(1, 400) AS id", batch=50)
                | SQLWrite(database, f"INSERT INTO t VALUES (%(id)s + {1000 * step})")
            )
            >> SQLExecute(database, "INSERT INTO u VALUES (1)", "INSERT INTO u VALUES (2)")
        )

        task = asyncio.ensure_future(graph.run_async({}))
        await asyncio.sleep(0.002 * step)
        task.cancel()
        await asyncio.wait([task])
        assert asyncio.all_tasks() == before
    assert await until_no_connections(database) == []
    assert (await query(database, "SELECT count(*) % 2 AS odd FROM u")) == [{"odd": 0}]


async def test_a_pool_has_a_size(database):
    """At most pool_size connections, however many ask at once; the others wait for their turn."""
    asking = Statement.of(
        "SELECT count(*) AS n, pg_sleep(0.02) FROM pg_stat_activity "
        "WHERE datname = current_database() AND backend_type = 'client backend'",
        False,
    )
    node = SQLExecute(Database(database.url, pool_size=2), "SELECT 1")
    async with node.lifespan({}) as pool:
        results = await asyncio.gather(*(pool.execute([(asking, None)], 1) for _ in range(8)))
    assert max(rows[0]["n"] for rows in results) == 2


async def test_options_of_the_url_are_kept(database):
    """Settings in the url are combined with those of a Database, and take precedence."""
    both = Database(f"{database.url}&options=-c%20lock_timeout%3D77%20-c%20work_mem%3D128kB")
    shown = "SELECT current_setting('lock_timeout') AS l, current_setting('work_mem') AS w"
    assert await query(both, shown) == [{"l": "77ms", "w": "128kB"}]
    plain = "SELECT current_setting('lock_timeout') AS l"
    assert await query(database, plain) == [{"l": "10s"}]


async def test_a_function_that_writes_is_refused_to_a_reader(database):
    """SQLRead's transaction can only read, whatever a query calls."""
    await query(
        database,
        "CREATE OR REPLACE FUNCTION sneak() RETURNS int LANGUAGE sql AS "
        "$$ INSERT INTO t VALUES (1); SELECT 1 $$",
    )
    with pytest.raises(Exception, match="read-only transaction"):
        await SQLRead(database, "SELECT sneak()").run_async({})
    assert await count(database) == 0


async def test_a_percent_sign_without_parameters_is_one(database):
    """As psycopg has it: where nothing is bound nothing is escaped."""
    assert await query(database, "SELECT 'ab' LIKE 'a%' AS yes") == [{"yes": True}]
    with pytest.raises(StatementError, match="placeholder"):
        SQLRead(database, "SELECT 'ab' LIKE '%s'")
