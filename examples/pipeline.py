"""Pipeline: records stream from a service through five stages into a SQLite file.

::

    Receive ══▶ Validate (4) ══▶ Transform (3) ══▶ Enrich (2) ══▶ Store (1)

All stages work at the same time, each on the records that the one before has finished with.
Between two stages stands a buffer of 16 records, so that a slow stage slows those before it, back
to the socket: the source has no end, and memory does not grow.

* ``Receive`` reads ``/records`` line by line and hangs up after ``--limit`` of them (400).
* ``Validate`` leaves out what has the wrong form or breaks a rule. ``Transform`` makes rows of a
  table from the rest.
* ``Enrich`` asks the service about every e-mail address, over HTTP. ``--workers`` says how many
  of these requests are under way at once.
* ``Store`` writes to SQLite, fifty records a transaction: into the file of ``--output`` when its
  name ends in .db, .sqlite or .sqlite3 (its table ``records`` is made anew), else into a
  temporary one. What is shown was read back from there.

The shared store: ``incoming`` (records in place of the service's; those that another workflow
found ``valid`` come before them), ``limit`` and ``database`` in; ``stages`` (a StageReport each)
and ``stored`` (the rows) out.
"""

import json
import sqlite3
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
from rich.table import Table

from examples.client import PATIENT, ServiceGraph, Session, SourceError, check_options
from examples.record_checks import day, format, is_whole, rules
from examples.workflow import Options, Row, Screen, Shared, Workflow, workers_or
from kaygraph import Drop, Node, ParallelBatchNode, Pipeline, RunReport

LIMIT = 400
BUFFER = 16
RECORDS_A_TRANSACTION = 50
SILENCE_S = 30.0  # how long the service may send nothing before it counts as gone
DATABASES = frozenset({".db", ".sqlite", ".sqlite3"})
SQLITE_HEADER = b"SQLite format 3\0"
MOST = 2**53  # as a number of cents it still fits into the 64 bits of SQLite
TEXTS = ("name", "email", "country", "currency")
COLUMNS = (
    "id", "name", "email", "country", "currency", "amount_cents", "ordered", "days_to_delivery",
    "deliverable", "disposable",
)  # fmt: skip


class Receive(Node[Any, Any]):
    """The source. Without an ``exec``, what ``prep`` yields goes on as it is."""

    @asynccontextmanager
    async def lifespan(self, shared: Shared, /) -> AsyncIterator[aiohttp.ClientSession]:
        timeout = aiohttp.ClientTimeout(total=None, sock_read=SILENCE_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            yield session

    async def prep(self, shared: Shared, /) -> AsyncIterator[Any]:
        given = shared.get("valid", shared["incoming"])
        if given is not None:
            for record in given[: shared["limit"]]:
                yield record
            return
        left = shared["limit"] or LIMIT
        async with self.resource.get(f"{shared['services'].rstrip('/')}/records") as response:
            if response.status != 200:
                raise SourceError("records", response.status)
            async for line in response.content:
                yield json.loads(line)
                left -= 1
                if not left:
                    return  # leaving `async with` hangs up, whatever is still on its way

    def post(self, shared: Shared, source: Any, report: Any, /) -> None:
        shared["stages"].append(report)


class Stage(ParallelBatchNode[Row, Row]):
    """A stage with several workers: ``exec`` takes one record and returns one.

    When the stream has ended, ``post`` gets the stage's figures.
    """

    def post(self, shared: Shared, source: Any, report: Any, /) -> None:
        shared["stages"].append(report)


class Validate(Stage):
    """Leave out records at the first fault that is found.

    It takes some microseconds, so it is written ``async def`` and runs on the loop: a ``def``
    would run in a thread, and the way there costs more than the work.
    """

    async def exec(self, record: Any, /) -> Row:
        fault = next(chain(format(record), rules(record)), None)
        if fault is not None:
            field, _, reason = fault
            raise Drop(f"{field} {reason}")
        return dict(record)


class Transform(Stage):
    """Make a record into a row of the table; what it lacks is None."""

    async def exec(self, record: Row, /) -> Row:
        ordered, delivered = day(record.get("ordered")), day(record.get("delivered"))
        amount, number = record.get("amount"), record.get("id")
        if amount is not None and abs(amount) > MOST:
            raise Drop("amount is too large for the table")
        fits = number is None or (is_whole(number) and abs(number) < MOST)
        texts = {field: tidy(record[field]) for field in TEXTS if field in record}
        return {
            **dict.fromkeys(COLUMNS),
            **texts,
            "id": number if fits else tidy(str(number)),
            "email": texts["email"].casefold(),
            "amount_cents": None if amount is None else round(amount * 100),
            "ordered": ordered and ordered.isoformat(),
            "days_to_delivery": (delivered - ordered).days if ordered and delivered else None,
        }


class Enrich(Stage):
    """Add what the service says of the e-mail address.

    What cannot be had after four attempts is a failed record: it is counted, and not stored.
    """

    retry = PATIENT
    on_error = "collect"

    @asynccontextmanager
    async def lifespan(self, shared: Shared, /) -> AsyncIterator[Session]:
        async with aiohttp.ClientSession() as session:
            yield Session(session, shared["services"])

    async def exec(self, record: Row, /) -> Row:
        answer = await self.resource.ask("check", record["email"])
        return {
            **record,
            "deliverable": bool(answer.get("deliverable")),
            "disposable": bool(answer.get("disposable")),
        }


class Store(Node[Row, None]):
    """Write the records to the database, in order; a ``def``, because a disk can be slow."""

    @asynccontextmanager
    async def lifespan(self, shared: Shared, /) -> AsyncIterator["Database"]:
        # Closed, and removed where it is temporary, when the run ends: however it ends.
        with database_file(shared["database"]) as path, opened(path) as database:
            yield database

    def exec(self, record: Row, /) -> None:
        self.resource.add(record)

    def post(self, shared: Shared, source: Any, report: Any, /) -> None:
        self.resource.commit()
        shared["stored"] = self.resource.rows()
        shared["stages"].append(report)


class Database:
    """The table ``records``, written some rows at a time: a transaction each would be slow."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.waiting: list[Row] = []
        with connection:
            connection.execute("DROP TABLE IF EXISTS records")
            connection.execute(f"CREATE TABLE records ({', '.join(COLUMNS)})")

    def add(self, record: Row) -> None:
        self.waiting.append(record)
        if len(self.waiting) == RECORDS_A_TRANSACTION:
            self.commit()

    def commit(self) -> None:
        values = ", ".join(f":{column}" for column in COLUMNS)
        with self.connection:  # all of them or none
            self.connection.executemany(f"INSERT INTO records VALUES ({values})", self.waiting)
        self.waiting.clear()

    def rows(self) -> list[Row]:
        """Read all rows back, in the order in which they were written."""
        cursor = self.connection.execute("SELECT * FROM records ORDER BY rowid")
        return [dict(zip(COLUMNS, row, strict=True)) for row in cursor]


@contextmanager
def opened(path: Path) -> Iterator[Database]:
    # Store has one worker, so that one thread at a time uses the connection.
    with closing(sqlite3.connect(path, check_same_thread=False)) as connection:
        yield Database(connection)


@contextmanager
def database_file(path: Path | None) -> Iterator[Path]:
    """Give the path of the database; a temporary one is removed in the end."""
    if path is not None:
        yield path
        return
    with TemporaryDirectory(prefix="kaygraph-") as folder:
        yield Path(folder) / "records.db"


def tidy(text: str) -> str:
    """Return a text with single spaces, as UTF-8 can hold it."""
    return " ".join(text.split()).encode("utf-8", "replace").decode()


def prepare(options: Options) -> Shared:
    check_options(options)
    if options.limit is not None and options.limit < 1:
        raise ValueError(f"The number of records must be at least 1, got {options.limit}.")
    database = options.output
    if database is None or database.suffix.lower() not in DATABASES:
        database = None
    else:
        check_database(database)
    return {
        "incoming": options.records,
        "limit": options.limit,
        "database": database,
        "stages": [],
    }


def check_database(path: Path) -> None:
    """Raise a ValueError, in one line, when the file cannot become our database."""
    if not path.parent.is_dir():
        raise ValueError(f"There is no directory {str(path.parent)!r} for {path.name!r}.")
    try:
        with path.open("rb") as file:
            header = file.read(len(SQLITE_HEADER))
    except FileNotFoundError:
        return
    except OSError as error:
        raise ValueError(f"Cannot open {str(path)!r}: {error.strerror or error}.") from error
    if header not in (b"", SQLITE_HEADER):
        raise ValueError(f"{str(path)!r} is no SQLite database. Type the name of another file.")


def build(options: Options) -> ServiceGraph:
    stages = (
        Receive()
        | Validate(max_workers=4)
        | Transform(max_workers=3)
        | Enrich(max_workers=workers_or(options, 2))
        | Store()
    )
    # What leaves the last stage is in the database, and not kept here as well.
    pipeline = Pipeline(stages, buffer=BUFFER, collect=False)
    return ServiceGraph(pipeline, name="pipeline", seed=options.seed, services=options.services)


def rows(shared: Shared) -> Iterable[Row]:
    stored: list[Row] = shared["stored"]
    return stored


def progress(shared: Shared) -> tuple[str, int | None]:
    limit: int | None = shared["limit"]
    if shared["incoming"] is not None:
        return "Validate", len(shared["incoming"][:limit])
    return "Validate", limit or LIMIT


def show(shared: Shared, report: RunReport, screen: Screen) -> None:
    where = shared["database"] or "a temporary file"
    screen.print(f"{len(shared['stored']):,} records stored, read back from {where}")
    columns = ("workers", "items", "ok", "skipped", "failed", "busy s", "starved s", "blocked s")
    table = Table("stage", title=f"Stages, with room for {BUFFER} records between two")
    for column in columns:
        table.add_column(column, justify="right")
    for stage in shared["stages"]:
        counts = (stage.workers, stage.items, stage.ok, stage.skipped, stage.failed)
        times = (stage.busy_s, stage.starved_s, stage.blocked_s)
        table.add_row(
            last_name(stage.name),
            *(f"{count:,}" for count in counts),
            *(f"{seconds:.2f}" for seconds in times),
        )
    screen.print(table)
    screen.print("busy: at work; starved: waiting for records; blocked: waiting for room behind it")
    screen.print(f"The bottleneck is {last_name(report.bottleneck or '')}.")
    for name, workers in report.advised_workers.items():
        screen.print(f"With {workers} workers in {last_name(name)}, another stage would be it.")


def last_name(path: str) -> str:
    """Return a stage's own name; those of the graphs around stand before it."""
    return path.rpartition("/")[2]


WORKFLOW = Workflow(
    name="pipeline",
    summary="records streamed over HTTP through five stages at once into a SQLite file",
    words=frozenset(
        {"pipeline", "pipelines", "pipe", "stream", "streams", "streaming", "etl", "ingest"}
    ),
    prepare=prepare,
    build=build,
    rows=rows,
    show=show,
    progress=progress,
)
