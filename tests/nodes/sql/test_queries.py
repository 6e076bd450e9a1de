"""SQLRead, SQLWrite and SQLExecute: what all databases have in common."""

import asyncio
import pickle
import re
from collections import defaultdict
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from kaygraph import AsyncNode, Graph, Outcome, Pipeline, RunReport
from kaygraph.nodes import (
    Database,
    DatabaseError,
    DatabaseUnavailableError,
    RowRefusedError,
    SQLExecute,
    SQLRead,
    SQLWrite,
)
from kaygraph.nodes.errors import MissingInputError, StatementError
from kaygraph.nodes.sql._database import in_time
from kaygraph.testing import assert_accounted
from tests.databases import placeholder, postgres, query
from tests.stages import Stage

pytestmark = pytest.mark.anyio

FILE = Database("sqlite:///shop.db")
SERVER = Database("postgresql://ada:secret@db.example:5432/shop?sslmode=require")


@pytest.fixture(params=["sqlite", "postgres"])
async def database(request, tmp_path):
    """A database with an empty table: id, a name that is not null, and a price that is not below 0
    and checked at the commit where the database can."""
    database = Database(f"sqlite:///{tmp_path}/shop.db")
    if request.param == "postgres":
        database = postgres()
    await query(
        database,
        "DROP TABLE IF EXISTS items",
        "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT NOT NULL, "
        "price INTEGER CHECK (price >= 0))",
    )
    return database


def rows(count: int) -> list[dict[str, Any]]:
    return [{"id": n, "name": f"item {n}", "price": n % 7} for n in range(count)]


def insert(database: Database) -> str:
    names = ", ".join(placeholder(database, name) for name in ("id", "name", "price"))
    return f"INSERT INTO items VALUES ({names})"


async def write(database: Database, items: Any, **settings: Any) -> dict[str, Any]:
    shared = {"items": items}
    node = SQLWrite(database, insert(database), reads="items", writes="written", **settings)
    await node.run_async(shared)
    return shared


async def test_rows_written_are_read_again(database):
    """SQLRead returns what SQLWrite got, and the number of rows is written."""
    shared = await write(database, rows(1234))
    await Graph(
        SQLRead(database, "SELECT * FROM items ORDER BY id", batch=100, writes="rows")
        >> AsyncNode()
    ).run_async(shared)
    assert shared["written"] == 1234
    assert shared["rows"] == rows(1234)


async def test_parameters_come_from_the_store(database):
    """A mapping for named placeholders, a sequence for those without a name."""
    await write(database, rows(5))
    named = f"SELECT name FROM items WHERE id = {placeholder(database, 'id')}"
    mark = f"SELECT name FROM items WHERE id = {'?' if database.is_sqlite else '%s'}"
    shared: dict[str, Any] = {"asked": {"id": 3, "unused": 1}, "marked": [4]}
    await SQLRead(database, named, reads="asked", writes="named").run_async(shared)
    await SQLRead(database, mark, reads="marked", writes="mark").run_async(shared)
    assert shared["named"] == [{"name": "item 3"}]
    assert shared["mark"] == [{"name": "item 4"}]


async def test_values_are_bound_and_never_part_of_the_statement(database):
    """A value that looks like SQL is a value."""
    text = "x'); DROP TABLE items; --"
    await write(database, [{"id": 1, "name": text, "price": 0}])
    assert await query(database, "SELECT name FROM items") == [{"name": text}]


@pytest.mark.parametrize("kind", [SQLRead, SQLWrite, SQLExecute])
@pytest.mark.parametrize("statement", [b"SELECT 1", 7, lambda: "SELECT 1", ["SELECT 1"]])
def test_a_statement_that_is_no_string_is_refused(kind, statement):
    """A statement is written down: a string, given when the node is made."""
    with pytest.raises(TypeError, match=r"must be a string with placeholders"):
        kind(FILE, statement)


async def test_a_statement_in_the_data_is_no_statement(database):
    """What is read from the store is bound to placeholders, whatever it is."""
    shared = {"statement": "DELETE FROM items"}
    node = SQLExecute(
        database,
        f"SELECT count(*) AS n FROM items WHERE name = {placeholder(database, 'name')}",
        reads="statement",
        writes="result",
    )
    with pytest.raises(StatementError, match=r"needs a mapping with 'name', got str"):
        await node.run_async(shared)


async def test_a_stream_goes_through_a_pipeline(database):
    """Rows are read, changed and written at the same time, each accounted for."""
    await write(database, rows(300))
    await query(database, "CREATE TABLE IF NOT EXISTS copies (id INTEGER, name TEXT)")
    await query(database, "DELETE FROM copies")
    names = placeholder(database, "id"), placeholder(database, "name")
    last = Stage()
    report = RunReport()
    await Graph(
        SQLRead(database, "SELECT id, name FROM items ORDER BY id", batch=10)
        | SQLWrite(database, f"INSERT INTO copies VALUES ({', '.join(names)})", writes="written")
        | last
    ).run_async(shared := {}, observers=[report])
    assert shared["written"] == 300
    assert [row["id"] for row in last.ended] == list(range(300))
    assert await query(database, "SELECT count(*) AS n FROM copies") == [{"n": 300}]


async def test_a_row_that_is_refused_fails_alone(database):
    """A broken constraint is that item's failure; all others are written, and reported so."""
    items = rows(50)
    items[7]["name"] = None
    items[20]["id"] = 19
    items[33]["price"] = -1
    shared: dict[str, Any] = {"items": items}

    class Kept(SQLWrite):
        def post(self, shared, prep_res, exec_res):
            shared["results"] = exec_res

    node = Kept(database, insert(database), reads="items", on_error="collect", name="Kept")
    await node.run_async(shared)
    failed = [(n, r) for n, r in enumerate(shared["results"]) if isinstance(r, Outcome)]
    assert [n for n, _ in failed] == [7, 20, 33]
    for number, outcome in failed:
        assert isinstance(outcome.error, RowRefusedError)
        assert outcome.error.__cause__ is not None
        assert any(f"item {number} " in note for note in outcome.error.__notes__)
    assert await query(database, "SELECT count(*) AS n FROM items") == [{"n": 47}]


async def test_what_fails_together_is_reported_for_each(database):
    """Rows of one transaction that fails as a whole have an error each, which names the item."""
    shared: dict[str, Any] = {"items": rows(5)}

    class Kept(SQLWrite):
        def post(self, shared, prep_res, exec_res):
            shared["results"] = exec_res

    statement = insert(database).replace("items", "nothing_here")
    await Kept(database, statement, reads="items", on_error="collect").run_async(shared)
    errors = [outcome.error for outcome in shared["results"]]
    assert len({id(error) for error in errors}) == 5
    for number, error in enumerate(errors):
        assert isinstance(error, StatementError)
        assert [f"item {number} " in note for note in error.__notes__] == [True]


async def test_a_value_that_cannot_be_bound_fails_alone(database):
    """The driver refuses it before the database sees it; the other rows are written."""
    items = rows(6)
    items[1]["id"] = 2**70
    items[2]["name"] = object()
    items[3]["name"] = "\ud800"
    shared = await write(database, items, on_error="skip")
    assert shared["written"] == 3


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"a": 1}, r"of the type dict, which \w+ lacks; bind (json.dumps|\S+Jsonb)\(value\)"),
        ({1}, r"of the type set, which \w+ lacks; bind (json.dumps\()?list\(value\)"),
        (object(), r"of the type object, which \w+ lacks; bind str\(value\)"),
        ("\ud800", r"'utf-8' codec can't encode"),
    ],
)
@pytest.mark.parametrize("many", [False, True])
async def test_a_value_that_cannot_be_bound_is_reported(database, value, says, many):
    """The placeholder, the type, and what to bind in its place: of a row in a group or alone."""
    named = re.escape(placeholder(database, "name"))
    items = rows(9 if many else 1)
    items[-1]["name"] = value
    with pytest.raises(RowRefusedError, match=f"the value of {named}( is|:) {says}"):
        await write(database, items)
    node = SQLExecute(database, insert(database), reads="item")
    with pytest.raises(RowRefusedError, match=f"the value of {named}"):
        await node.run_async({"item": items[-1]})
    one = "?" if database.is_sqlite else "%s"
    with pytest.raises(RowRefusedError, match="the value of placeholder 2"):
        await SQLRead(database, f"SELECT {one} AS a, {one} AS b", reads="two").run_async(
            {"two": [1, value]}
        )


async def test_values_of_a_kind_with_a_type_are_stored(database):
    """Numbers, text, bytes, dates; in PostgreSQL also those that SQLite has no type for."""
    kept: list[Any] = [1, 2.5, "é", b"\0\xff", None, True]
    if not database.is_sqlite:
        kept += [Decimal("1.10"), UUID(int=7), date(2020, 1, 2), time(1, 2), timedelta(days=3)]
        kept += [datetime(2020, 1, 2, 3, tzinfo=UTC), [1, 2], Decimal("NaN")]
    for value in kept:
        cast = "" if database.is_sqlite or value is not None else "::text"
        statement = f"SELECT {'?' if database.is_sqlite else '%s'}{cast} AS v"
        await SQLExecute(database, statement, reads="v", writes="v").run_async(s := {"v": [value]})
        (found,) = s["v"]
        assert found["v"] == value or value != value  # NaN


async def test_a_value_whose_own_code_fails_fails_alone(database):
    """What turns a value into one of the database may raise anything: it is that item's error."""

    class Broken:
        def __conform__(self, _):
            raise KeyError("broken")

    def broken(_: Any) -> str:
        raise KeyError("broken")

    items = rows(6)
    items[2]["name"] = Broken() if database.is_sqlite else Jsonb(1, dumps=broken)
    shared: dict[str, Any] = {"items": items}

    class Kept(SQLWrite):
        def post(self, shared, prep_res, exec_res):
            shared["results"] = exec_res

    await Kept(database, insert(database), reads="items", on_error="collect").run_async(shared)
    failed = [result for result in shared["results"] if isinstance(result, Outcome)]
    assert [(outcome.index, type(outcome.error)) for outcome in failed] == [(2, KeyError)]
    assert await query(database, "SELECT count(*) AS n FROM items") == [{"n": 5}]


async def test_a_row_that_cannot_be_given_back_is_not_written(database):
    """An item that fails with what RETURNING gives has left nothing behind."""
    statement = f"{insert(database)} RETURNING id, id"
    shared: dict[str, Any] = {"items": rows(9)}

    class Kept(SQLWrite):
        def post(self, shared, prep_res, exec_res):
            shared["results"] = exec_res

    await Kept(database, statement, reads="items", on_error="collect").run_async(shared)
    assert all("two columns 'id'" in str(outcome.error) for outcome in shared["results"])
    assert await query(database, "SELECT count(*) AS n FROM items") == [{"n": 0}]


async def test_an_item_that_does_not_fit_fails_alone(database):
    """The error has the placeholder, and what was there instead."""
    items: list[Any] = [*rows(3), {"id": 9, "nmae": "x", "price": 1}, (1, 2, 3)]
    with pytest.raises(StatementError, match=r"needs 'name', .*'price'\. Did you mean 'nmae'"):
        await write(database, items[:4])
    fitting = [{**row, "id": row["id"] + 10} for row in items[:3]]
    shared = await write(database, fitting + items[3:], on_error="skip")
    assert shared["written"] == 3


async def test_items_are_mappings_of_any_kind(database):
    """With more than the names, and no default in the place of a name that is not there."""
    first, *others = rows(4)
    items = [{**first, "unused": object()}, *map(MappingProxyType, others)]
    assert (await write(database, items))["written"] == 4
    item = defaultdict(int, rows(6)[5])
    del item["price"]
    with pytest.raises(StatementError, match="needs 'price', which is not among 'id', 'name'"):
        await write(database, [rows(5)[4], item])
    assert dict(item) == {"id": 5, "name": "item 5"}
    assert [row["id"] for row in await query(database, "SELECT id FROM items ORDER BY id")] == [
        0, 1, 2, 3, 4,
    ]  # fmt: skip


async def test_items_are_sequences_of_values_and_no_texts(database):
    """A text of as many characters as there are placeholders would be taken for them."""
    mark = "?" if database.is_sqlite else "%s"
    node = SQLWrite(database, f"INSERT INTO items VALUES ({mark}, {mark}, 1)", reads="items",
                    writes="written", on_error="collect")  # fmt: skip
    await node.run_async(shared := {"items": [(1, "a"), [2, "b"], "3c", (4,), (5, "d", 1)]})
    assert shared["written"] == 2
    shared["items"] = [(3, "a"), (4, "b"), (5, "c", 1), (6, "d")]
    await node.run_async(shared)
    assert shared["written"] == 3


@pytest.mark.parametrize("most", [1, 7, 2500])
async def test_a_stage_reports_each_row_in_its_place(database, most):
    """Refused ones, too, however many are written together; the others continue."""
    items = rows(2200)
    items[5]["name"] = items[1500]["name"] = None
    out = Stage()

    class Items(AsyncNode):
        def prep(self, _):
            return iter(items[:20] if most == 1 else items)

    failed = [5] if most == 1 else [5, 1500]
    put = SQLWrite(database, insert(database), max_workers=most, on_error="collect")
    shown = [one async for one in (Items() | put | out).stream()]
    assert [one.index for one in shown if isinstance(one, Outcome)] == failed
    assert out.ended == [row for row in items[: len(shown)] if row["id"] not in failed]
    (number,) = await query(database, "SELECT count(*) AS n FROM items")
    assert number["n"] == len(out.ended)


async def test_a_statement_may_begin_with_a_query(database):
    """WITH precedes INSERT, which not every driver recognises as a writing statement."""
    names = {name: placeholder(database, name) for name in ("id", "name", "price")}
    values = ", ".join(f"CAST({names[name]} AS {kind}) AS {name}" for name, kind in
                       (("id", "INTEGER"), ("name", "TEXT"), ("price", "INTEGER")))  # fmt: skip
    statement = f"WITH row AS (SELECT {values}) INSERT INTO items SELECT * FROM row"
    node = SQLWrite(database, statement, reads="items", writes="written")
    await node.run_async(shared := {"items": rows(50)})
    assert shared["written"] == 50
    assert await query(database, "SELECT * FROM items ORDER BY id") == rows(50)


async def test_returning_gives_the_row(database):
    """An item comes out as the row that RETURNING gives; nothing written is None."""
    out = Stage()
    clause = "ON CONFLICT (id) DO NOTHING RETURNING id AS key"

    class Items(AsyncNode):
        def prep(self, _):
            return [rows(1)[0], rows(1)[0], rows(2)[1]]

    await Graph(
        Items() | SQLWrite(database, f"{insert(database)} {clause}", max_workers=1) | out
    ).run_async({})
    assert out.ended == [{"key": 0}, None, {"key": 1}]


async def test_execute_is_all_or_nothing(database):
    """When the last statement fails nothing is left of the first."""
    await write(database, rows(3))
    node = SQLExecute(
        database,
        "DELETE FROM items",
        "INSERT INTO items VALUES (1, NULL, 0)",
    )
    with pytest.raises(RowRefusedError):
        await node.run_async({})
    assert await query(database, "SELECT count(*) AS n FROM items") == [{"n": 3}]


async def test_execute_gives_the_last_rows_or_the_number_changed(database):
    """The result of several statements."""
    await write(database, rows(5))
    named = placeholder(database, "id")
    shared: dict[str, Any] = {"which": {"id": 3}}
    await SQLExecute(
        database,
        f"DELETE FROM items WHERE id = {named}",
        f"UPDATE items SET price = 1 WHERE id < {named}",
        reads="which",
        writes="changed",
    ).run_async(shared)
    assert shared["changed"] == 4
    result = await query(database, "DELETE FROM items", "SELECT count(*) AS n FROM items")
    assert result == [{"n": 0}]


async def test_execute_refuses_more_rows_than_max_rows_and_undoes_all(database):
    """A result is held in memory: it has a limit, and what was done before is undone."""
    await write(database, rows(5))
    node = SQLExecute(database, "UPDATE items SET price = 5", "SELECT id FROM items", max_rows=4)
    with pytest.raises(StatementError, match="more than max_rows=4 rows"):
        await node.run_async({})
    assert await query(database, "SELECT count(*) AS n FROM items WHERE price <> 5") == [{"n": 5}]
    assert len(await query(database, "SELECT id FROM items")) == 5


async def test_execute_is_a_stage_too(database):
    """Each item is bound, in a transaction of its own."""
    out = Stage()
    await write(database, rows(3))
    named = placeholder(database, "id")

    class Ids(AsyncNode):
        def prep(self, _):
            return [{"id": 1}, {"id": 7}]

    await Graph(
        Ids() | SQLExecute(database, f"SELECT name FROM items WHERE id = {named}") | out
    ).run_async({})
    assert out.ended == [[{"name": "item 1"}], []]


async def test_reading_cannot_write(database):
    """A statement of SQLRead that writes is refused by the database."""
    node = SQLRead(database, "INSERT INTO items VALUES (1, 'x', 0) RETURNING id", writes="rows")
    with pytest.raises(DatabaseError):
        await node.run_async({})
    assert await query(database, "SELECT count(*) AS n FROM items") == [{"n": 0}]


@pytest.mark.parametrize("kind", [SQLRead, SQLExecute])
async def test_two_columns_of_one_name_are_refused(database, kind):
    """One would hide the other in a mapping."""
    await write(database, rows(1))
    with pytest.raises(StatementError, match=r"two columns 'id'.*AS other_id"):
        await kind(database, "SELECT id, id FROM items", writes="rows").run_async({})


async def test_an_unknown_table_is_a_statement_error(database):
    """The driver's error is the cause, and retrying on unavailability does not try it again."""
    for node in (
        SQLRead(database, "SELECT * FROM nothing_here"),
        SQLExecute(database, "DELETE FROM nothing_here"),
    ):
        with pytest.raises(StatementError, match="nothing_here") as caught:
            await node.run_async({})
        assert caught.value.__cause__ is not None
        assert not isinstance(caught.value, DatabaseUnavailableError)


async def test_a_stream_that_ends_early_closes_the_query(database):
    """An abandoned read leaves no query behind: the table can be dropped immediately."""
    await write(database, rows(3000))
    node = SQLRead(database, "SELECT id FROM items ORDER BY id", batch=10)
    taken = []
    async for outcome in (stream := node.stream({})):
        taken.append(outcome.value["id"])
        if len(taken) == 15:
            await stream.aclose()
            break
    assert taken == list(range(15))
    await query(database, "DROP TABLE items")


async def test_rows_are_fetched_no_faster_than_they_are_used(database):
    """The batches that were fetched are few while the first rows are worked on."""
    await write(database, rows(2000))
    fetched = 0
    seen: list[int] = []

    class Slow(AsyncNode):
        async def exec(self, row):
            seen.append(row["id"])
            if len(seen) == 30:
                held.append(fetched)
            return row

    class Counted(SQLRead):
        async def exec(self, row):
            nonlocal fetched
            fetched += 1
            return row

    held: list[int] = []
    node = Counted(database, "SELECT id FROM items ORDER BY id", batch=20)
    await Pipeline(node, Slow(), buffer=5, collect=False).run_async({})
    assert len(seen) == 2000
    assert held[0] < 60


async def test_a_node_runs_twice_at_once_and_in_two_loops(database):
    """A run changes nothing on the node; what is open belongs to the run."""
    await write(database, rows(10))
    node = SQLRead(database, "SELECT id FROM items", writes="rows")
    stores: list[dict[str, Any]] = [{}, {}]
    await asyncio.gather(*(node.run_async(store) for store in stores))

    def elsewhere() -> None:
        for _ in range(2):
            node.run(stores[0])

    await asyncio.to_thread(elsewhere)
    assert [len(store["rows"]) for store in stores] == [10, 10]


async def test_a_time_out_of_others_is_theirs():
    """Only what the database's own limit has ended is reported as unavailable."""
    with pytest.raises(TimeoutError, match="mine"):
        async with in_time(FILE):
            raise TimeoutError("mine")


async def test_missing_parameters_are_reported_before_anything_is_read(database):
    """The missing key is named."""
    named = placeholder(database, "id")
    node = SQLRead(database, f"SELECT name FROM items WHERE id = {named}", reads="asked")
    with pytest.raises(MissingInputError, match="asked"):
        await node.run_async({"ask": {"id": 1}})


async def test_every_item_of_a_failing_write_is_accounted_for(database):
    """A batch that raises at its first failure reports the result of every item that had begun."""
    items = rows(100)
    items[50]["name"] = None
    report: list[Any] = []
    with pytest.raises(RowRefusedError):
        await SQLWrite(database, insert(database), reads="items").run_async(
            {"items": items}, observers=[report.append]
        )
    assert_accounted(report)


@pytest.mark.parametrize(
    ("database", "statement", "says"),
    [
        (FILE, "SELECT * FROM t WHERE id = :id", r"':id'.*needs reads="),
        (SERVER, "SELECT * FROM t WHERE id = %(id)s", r"'%\(id\)s'.*needs reads="),
        (FILE, "SELECT 1; SELECT 2", "more than one statement"),
        (SERVER, "SELECT 1; SELECT 2", "more than one statement"),
        (FILE, "COMMIT", "a node cannot COMMIT"),
        (SERVER, " /* now */ begin", "a node cannot BEGIN"),
        (FILE, " ;-- nothing\n", "must not be empty"),
        (FILE, "SELECT :a, ?", "not both"),
        (SERVER, "SELECT %s, %(a)s", "not both"),
        (FILE, "SELECT @a", r"write the placeholder '@a' as ':name' or '\?'"),
        (FILE, "SELECT ?1", r"write the placeholder '\?1'"),
        (SERVER, "SELECT %s LIKE 'a%'", r"write a literal one as %%; got \"%'\""),
        (SERVER, "SELECT 5 % 3, %(a)s", r"literal one as %%.*got '% '"),
        (SERVER, "SELECT %s, %(a)d", r"got '%\(a\)d'"),
    ],
)
def test_a_statement_that_cannot_work_is_refused(database, statement, says):
    """When the node is made, with what to write instead."""
    with pytest.raises(StatementError, match=says):
        SQLRead(database, statement)


@pytest.mark.parametrize(
    ("database", "statement", "says"),
    [
        (FILE, "INSERT INTO t VALUES (%(a)s)", r"Instead of '%\(a\)s' write ':a'"),
        (FILE, "INSERT INTO t VALUES (%s)", r"Instead of '%s' write '\?'"),
        (SERVER, "INSERT INTO t VALUES (:a)", r"Instead of ':a' write '%\(a\)s'"),
        (SERVER, "INSERT INTO t VALUES (?)", r"Instead of '\?' write '%s'"),
        (SERVER, "INSERT INTO t VALUES (1::int)", "has no placeholder"),
    ],
)
def test_the_other_style_of_placeholders_is_reported(database, statement, says):
    """It names the placeholder and how this database writes it."""
    with pytest.raises(StatementError, match=says):
        SQLWrite(database, statement)
    with pytest.raises(StatementError, match=says):
        SQLRead(database, statement, reads="key")
    with pytest.raises(StatementError, match=says):
        SQLExecute(database, "DELETE FROM t", statement, reads="key")


@pytest.mark.parametrize(
    ("database", "statement"),
    [
        (FILE, "SELECT ':a', \"x:b\", [y?], `z;`, a$b -- ;? :c\n FROM t;  -- the end"),
        (SERVER, "SELECT 'a;b', $$;$$, $x$ ; $x$, data ? 'key', '[1:2]'::text FROM t;"),
        (SERVER, r"SELECT E'it\'s; so', e'\\', name LIKE 'a%' FROM t"),
        (SERVER, "SELECT 'a' LIKE 'a%%' AND 1 = %s"),
        (FILE, "CREATE TRIGGER x AFTER INSERT ON t BEGIN DELETE FROM u; DELETE FROM v; END"),
        (
            SERVER,
            "CREATE FUNCTION f() RETURNS void LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; END",
        ),
    ],
)
def test_what_stands_in_quotes_and_comments_does_not_count(database, statement):
    """A semicolon or a placeholder there is text."""
    SQLExecute(database, statement)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: Database("shop.db"), ValueError, "got no '://'"),
        (lambda: Database("postgresq://h/x"), ValueError, "Did you mean 'postgresql'"),
        (lambda: Database("sqlite://shop.db"), ValueError, "the path of a file"),
        (lambda: Database("sqlite:///:memory:"), ValueError, "in memory would be gone"),
        (lambda: Database("sqlite:///x.db?mode=ro"), ValueError, "the path of a file"),
        (lambda: Database("sqlite:///x%00y.db"), ValueError, "the path of a file"),
        (
            lambda: Database("sqlite:///x.db", root=7),
            TypeError,
            "root must be the path of a folder",
        ),
        (lambda: Database("postgresql://h/x", root="/srv"), ValueError, "root= confines"),
        (lambda: Database("postgresql://h/x", pool_size=0), ValueError, "pool_size"),
        (lambda: Database("sqlite:///x", lock_timeout=None), ValueError, "lock_timeout"),
        (lambda: Database("sqlite:///x", durable=1), ValueError, "durable"),
        (lambda: Database(b"sqlite:///x"), TypeError, "must be text"),
        (lambda: SQLRead(7, "SELECT 1"), ValueError, "must be a url"),
        (lambda: SQLRead(statement="SELECT 1"), TypeError, "needs database="),
        (lambda: SQLWrite(FILE), TypeError, "needs statement="),
        (lambda: SQLExecute(FILE), TypeError, "needs statements="),
        (lambda: SQLExecute(FILE, statements=()), TypeError, "one statement or more, got none"),
        (lambda: SQLExecute(FILE, statements="SELECT 1"), TypeError, "or more, got str"),
        (lambda: SQLRead(FILE, "SELECT 1", batch=0), ValueError, "batch must be at least 1"),
        (lambda: SQLRead(FILE, "SELECT 1", max_workers=2), TypeError, "unknown setting"),
        (
            lambda: SQLWrite(FILE, "DELETE FROM t WHERE id = ?", run_in="process"),
            ValueError,
            "loop",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(make, error, says):
    """When they are given, with what was expected."""
    with pytest.raises(error, match=says):
        make()


def test_settings_may_stand_on_the_class():
    """A subclass names its database and statement once."""

    class Users(SQLRead):
        database = "sqlite:///shop.db"
        statement = "SELECT * FROM users"
        writes = "users"

    assert Users().database == FILE
    with pytest.raises(StatementError):
        Users(statement="SELECT :a")


def test_a_password_is_in_no_repr():
    """Neither the Database nor a node with it shows more than who and where."""
    node = SQLRead(SERVER, "SELECT 1")
    assert repr(SERVER) == "Database('postgresql://ada@db.example:5432/shop')"
    assert "secret" not in f"{SERVER} {node!r} {SERVER!r}"
    assert pickle.loads(pickle.dumps(SERVER)) == SERVER


@given(
    st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), min_size=4).map(
        lambda text: f"pw{text}pw"
    )
)
@settings(max_examples=300)
def test_no_password_is_ever_shown(password):
    """Whatever it is made of: a url that is not clear is refused, and not shown."""
    try:
        database = Database(f"postgresql://ada:{password}@db.example/shop")
        shown = f"{database} {database!r}"
    except ValueError as error:
        shown = str(error)
    assert password not in shown
    assert "pw" not in shown
