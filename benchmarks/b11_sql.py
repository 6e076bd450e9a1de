"""Rows to and from a database, against the driver: executemany and fetchmany by hand."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from itertools import count as numbers
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.harness import Case
from kaygraph import BatchNode, Pipeline
from kaygraph.nodes import SQLRead, SQLWrite, WriteJSONLines

TOGETHER = 500  # rows in a transaction, as in SQLWrite
TABLE = "CREATE TABLE kaygraph_people (id INTEGER PRIMARY KEY, name TEXT, city TEXT, price FLOAT)"
INSERT = "INSERT INTO kaygraph_people VALUES (:id, :name, :city, :price)"
POSTGRES_INSERT = "INSERT INTO kaygraph_people VALUES (%(id)s, %(name)s, %(city)s, %(price)s)"
SELECT = "SELECT id, name, city, price FROM kaygraph_people"
POSTGRES = os.environ.get("KAYGRAPH_TEST_POSTGRES")

files = numbers()


def cases(size: int) -> Iterator[Case]:
    """Yield the cases; those of PostgreSQL if KAYGRAPH_TEST_POSTGRES names a server."""
    count = 100_000 // size
    yield from writing(count)
    yield from reading(count)
    if POSTGRES is not None:
        yield of_postgres(count // 5, POSTGRES)


@cache
def people(count: int) -> list[dict[str, Any]]:
    return [{"id": n, "name": f"Ann {n}", "city": "Oslo", "price": 1.5} for n in range(count)]


@cache
def folder() -> TemporaryDirectory[str]:
    return TemporaryDirectory()


def new_table() -> Path:
    path = Path(folder().name, f"{next(files)}.db")
    with closing(opened(path)) as connection:
        connection.execute(TABLE)
    return path


@cache
def full_table(count: int) -> Path:
    path = new_table()
    with closing(opened(path)) as connection:
        connection.executemany(INSERT, people(count))
        connection.commit()
    return path


def opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


class Listed(BatchNode[Any, Any]):
    """A source of existing rows."""

    def __init__(self, rows: list[Any]) -> None:
        super().__init__()
        self.rows = rows

    def prep(self, shared: Any, /) -> Any:
        return self.rows


def writing(count: int) -> Iterator[Case]:
    def check(path: Path) -> None:
        with closing(opened(path)) as connection:
            assert connection.execute("SELECT count(*) FROM kaygraph_people").fetchone() == (count,)
        path.unlink()

    def by_hand() -> None:
        path = new_table()
        with closing(opened(path)) as connection:
            rows = iter(people(count))
            while block := list(islice(rows, TOGETHER)):
                connection.executemany(INSERT, block)
                connection.commit()
        check(path)

    async def written() -> None:
        path = new_table()
        await SQLWrite(f"sqlite:///{path}", INSERT, reads="rows").run_async({"rows": people(count)})
        check(path)

    async def by_stage() -> None:
        path = new_table()
        write = SQLWrite(f"sqlite:///{path}", INSERT)
        await Pipeline(Listed(people(count)), write, collect=False).run_async({})
        check(path)

    what = f"SQLWrite, executemany of {TOGETHER} in SQLite"
    yield Case(name="B11", what=what, operations=count, floor=by_hand, ours=written, target=1.6)
    yield Case(name="B11-stage", what=f"{what}, as a stage", operations=count, floor=by_hand,
               ours=by_stage, target=1.6)  # fmt: skip


def reading(count: int) -> Iterator[Case]:
    def blocks() -> Iterator[list[dict[str, Any]]]:
        with closing(opened(full_table(count))) as connection:
            cursor = connection.execute(SELECT)
            names = [column[0] for column in cursor.description]
            while block := cursor.fetchmany(1000):
                yield [dict(zip(names, values, strict=False)) for values in block]

    def fetched() -> None:
        rows: list[Any] = []
        for block in blocks():
            rows += block
        assert len(rows) == count

    async def read() -> None:
        shared: dict[str, Any] = {}
        url = f"sqlite:///{full_table(count)}"
        await SQLRead(url, SELECT, writes="rows").run_async(shared)
        assert len(shared["rows"]) == count

    def exported() -> None:
        import msgspec

        encode = msgspec.json.Encoder().encode
        with Path(folder().name, "by-hand.jsonl").open("wb") as target:
            for block in blocks():
                for row in block:
                    target.write(encode(row) + b"\n")

    def check_export(path: Path) -> None:
        assert path.read_bytes() == Path(folder().name, "by-hand.jsonl").read_bytes()

    async def by_stages() -> None:
        source = SQLRead(f"sqlite:///{full_table(count)}", SELECT)
        target = Path(folder().name, "ours.jsonl")
        await Pipeline(source, WriteJSONLines(target), collect=False).run_async({})
        check_export(target)

    yield Case(name="B11-read", what="SQLRead, fetchmany of SQLite and a dict each",
               operations=count, floor=fetched, ours=read, target=1.5)  # fmt: skip
    yield Case(name="B11-export", what="SQLRead | WriteJSONLines, the same and msgspec",
               operations=count, floor=exported, ours=by_stages, target=1.5)  # fmt: skip


def of_postgres(count: int, url: str) -> Case:
    import psycopg

    def new_table() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP TABLE IF EXISTS kaygraph_people")
            connection.execute(TABLE)

    def check() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            found = connection.execute("SELECT count(*) FROM kaygraph_people").fetchone()
            assert found == (count,)
            connection.execute("DROP TABLE kaygraph_people")

    async def by_hand() -> None:
        new_table()
        async with await psycopg.AsyncConnection.connect(url) as connection:
            cursor = connection.cursor()
            rows = iter(people(count))
            while block := list(islice(rows, TOGETHER)):
                await cursor.executemany(POSTGRES_INSERT, block)
                await connection.commit()
        check()

    async def written() -> None:
        new_table()
        await SQLWrite(url, POSTGRES_INSERT, reads="rows").run_async({"rows": people(count)})
        check()

    return Case(name="B11-postgres", what=f"SQLWrite, executemany of {TOGETHER} in PostgreSQL",
                operations=count, floor=by_hand, ours=written, target=1.5)  # fmt: skip
