"""Pipeline: records stream from a service through five stages into a SQLite file.

::

    Empty ─▶ Receive ══▶ Validate (4) ══▶ Transform (3) ══▶ Enrich (2) ══▶ Store (16) ─▶ ReadBack

The stages run at the same time, each on the records that the previous one has finished.
Between two stages there is a buffer of 16 records, so that a slow stage slows those before it, back
to the socket: the source is endless, but memory does not grow.

* ``Receive`` reads ``/records`` line by line and hangs up after ``--limit`` of them (400).
* ``Validate`` leaves out records with a wrong form or a broken rule. ``Transform`` makes rows of a
  table from the rest.
* ``Enrich`` asks the service about every e-mail address, over HTTP. ``--workers`` sets how many
  of these requests are in flight at once.
* ``Store`` writes to SQLite: to the file of ``--output`` if its name ends in .db, .sqlite or
  .sqlite3 (``Empty`` recreates its table ``records``), otherwise to a temporary one. Up to
  sixteen waiting records are written in one transaction.
* ``ReadBack`` reads what is shown.

The shared store: in: ``incoming`` (records instead of the service's, with ``valid_indexes`` after
a validation), ``limit`` and ``database``; out: ``stored`` (the rows).
"""

import json
import shutil
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from itertools import chain
from pathlib import Path
from secrets import token_hex
from tempfile import gettempdir
from typing import Any
from urllib.parse import quote

from rich.table import Table

from examples.client import ServiceGraph, ServiceNode, check_options
from examples.inputs import many, places_of
from examples.record_checks import day, format, is_whole, rules
from examples.workflow import Options, Row, Screen, Shared, Workflow, workers_or
from kaygraph import Drop, ParallelBatchNode, Pipeline, RunReport
from kaygraph.nodes import HTTPError, Request, SQLExecute, SQLRead, SQLWrite
from kaygraph.types import NodeFigures

LIMIT = 400
BUFFER = 16
WIDE = 80  # characters, for all columns of the table of stages
DATABASES = frozenset({".db", ".sqlite", ".sqlite3"})
SQLITE_HEADER = b"SQLite format 3\0"
MOST = 2**53  # as a number of cents it still fits into SQLite's 64 bits
TEXTS = ("name", "email", "country", "currency")
COLUMNS = (
    "id", "name", "email", "country", "currency", "amount_cents", "ordered", "days_to_delivery",
    "deliverable", "disposable", "record_index",
)  # fmt: skip
ANEW = ("DROP TABLE IF EXISTS records", f"CREATE TABLE records ({', '.join(COLUMNS)})")
INSERT = f"INSERT INTO records VALUES ({', '.join(f':{column}' for column in COLUMNS)})"
SELECT = "SELECT * FROM records ORDER BY rowid"


class Receive(ServiceNode):
    """The source. Without an ``exec``, what ``prep`` yields is passed on unchanged."""

    total_timeout = max_bytes = None  # the source is endless

    async def prep(self, shared: Shared, /) -> AsyncIterator[tuple[int, Any]]:
        given = incoming(shared)
        if given is not None:
            indexes = shared.get("valid_indexes", range(len(given)))
            for index in indexes[: shared["limit"]]:
                yield index, given[index]
            return
        left = shared["limit"] or LIMIT
        async with (
            self.resource.open(Request(url="records")) as answer,
            aclosing(answer.lines()) as lines,
        ):
            if answer.status_code != 200:
                raise HTTPError(f"records answered {answer.status_code}")
            index = 0
            async for line in lines:
                yield index, json.loads(line)
                index += 1
                left -= 1
                if not left:
                    return  # leaving `async with` hangs up, whatever is still arriving


class Validate(ParallelBatchNode[Any, Row]):
    """Leave out records at the first fault found.

    It takes microseconds, so it is written ``async def`` and runs on the loop: a ``def``
    would run in a thread, and getting there costs more than the work.
    """

    async def exec(self, numbered: tuple[int, Any], /) -> Row:
        index, record = numbered
        fault = next(chain(format(record), rules(record)), None)
        if fault is not None:
            field, _, reason = fault
            raise Drop(f"{field} {reason}")
        return {**record, "record_index": index}


class Transform(ParallelBatchNode[Row, Row]):
    """Make a table row of a record; what it lacks is None."""

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
            "record_index": record["record_index"],
            "email": texts["email"].casefold(),
            "amount_cents": None if amount is None else round(amount * 100),
            "ordered": ordered and ordered.isoformat(),
            "days_to_delivery": (delivered - ordered).days if ordered and delivered else None,
        }


class Enrich(ServiceNode, ParallelBatchNode[Row, Row]):
    """Add what the service knows about the e-mail address.

    If that fails four times, the record has failed: it is counted, and not stored.
    """

    on_error = "collect"

    async def exec(self, record: Row, /) -> Row:
        answer = await self.ask("check", record["email"])
        return {
            **record,
            "deliverable": bool(answer.get("deliverable")),
            "disposable": bool(answer.get("disposable")),
        }


class PipelineGraph(ServiceGraph):
    """The graph, and its temporary folder if no file is named."""

    def __init__(self, start: Any, folder: Path | None, **settings: Any) -> None:
        super().__init__(start, name="pipeline", **settings)
        self.folder = folder

    @asynccontextmanager
    async def lifespan(self, shared: Shared, /) -> AsyncIterator[None]:
        if self.folder is not None:
            self.folder.mkdir(mode=0o700)
        try:
            async with super().lifespan(shared):
                yield
        finally:
            if self.folder is not None:
                shutil.rmtree(self.folder)


def tidy(text: str) -> str:
    """Return a text with single spaces, in valid UTF-8."""
    return " ".join(text.split()).encode("utf-8", "replace").decode()


def prepare(options: Options) -> Shared:
    check_options(options)
    if options.limit is not None and options.limit < 1:
        raise ValueError(f"The number of records must be at least 1, got {options.limit}.")
    database = database_of(options)
    if database is not None and str(database) != options.journal:
        check_database(database)
    return {"incoming": options.records, "limit": options.limit, "database": database}


def database_of(options: Options) -> Path | None:
    """Return the database file in the options, if there is one.

    A recorded run has its table in the journal's file: so a row and its record are
    written in one transaction.
    """
    named = options.output
    if named is None and options.journal is not None and "://" not in options.journal:
        return Path(options.journal)
    return named if named is not None and named.suffix.lower() in DATABASES else None


def check_database(path: Path) -> None:
    """Raise a one-line ValueError if the file cannot become our database."""
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
        raise ValueError(f"{str(path)!r} is not a SQLite database. Type the name of another file.")


def build(options: Options) -> ServiceGraph:
    folder = Path(gettempdir()) / f"kaygraph-{token_hex(8)}"
    named = database_of(options)
    database = f"sqlite:///{quote(str(named or folder / 'records.db'))}"
    stages = (
        Receive()
        | Validate(max_workers=4)
        | Transform(max_workers=3)
        | Enrich(max_workers=workers_or(options, 2))
        | SQLWrite(database, INSERT, name="Store", max_workers=BUFFER)
    )
    line = (
        SQLExecute(database, *ANEW, name="Empty")
        # The output of the last stage is in the database, so it is not kept here as well.
        >> Pipeline(stages, buffer=BUFFER, collect=False)
        >> SQLRead(database, SELECT, name="ReadBack", writes="stored")
    )
    return PipelineGraph(
        line, None if named else folder, seed=options.seed, services=options.services
    )


def rows(shared: Shared) -> Iterable[Row]:
    """Yield the rows of the table: ``index`` counts the records in the order of arrival, from 0.

    ``file`` and ``line`` are included if known.
    """
    places = places_of(incoming(shared) or ())
    for row in shared["stored"]:
        index = row["record_index"]
        place = places[index].row() if index < len(places) else {}
        rest = {name: value for name, value in row.items() if name not in ("id", "record_index")}
        yield {"id": row["id"], "index": index, **place, **rest}


def incoming(shared: Shared) -> Sequence[Any] | None:
    """Return the records that do not come from the service; None if they do."""
    given: Sequence[Any] | None = shared["incoming"]
    return shared["records"] if "valid_indexes" in shared else given


def show(shared: Shared, report: RunReport, screen: Screen) -> None:
    where = shared["database"] or "a temporary file"
    screen.print(f"{many(len(shared['stored']), 'record')} stored, read back from {where}")
    screen.print("", f"stages, with room for {BUFFER} records between them")
    stages = [stage for stage in report.nodes.values() if stage.stage_workers]
    counts = [counts_of(stage) for stage in stages]
    columns, space = [*counts[0]], 2
    if getattr(screen, "width", WIDE) < WIDE:  # columns without counts make room for the names
        columns, space = [c for c in columns if any(row[c] for row in counts)], 1
    table = Table("  stage", box=None, padding=(0, space, 0, 0))
    for column in (*columns, "busy", "starved", "blocked"):
        table.add_column(column, justify="right")
    for stage, row in zip(stages, counts, strict=True):
        times = (stage.busy_s, stage.starved_s, stage.blocked_s)
        whole = sum(times) or 1.0
        table.add_row(
            f"  {last_name(stage.name)}",
            *(f"{row[column]:,}" for column in columns),
            *(f"{seconds / whole:.0%}" for seconds in times),
        )
    screen.print(table)
    screen.print(
        "  of the time of its workers: busy: working; starved: waiting for records; blocked: "
        "waiting for room after it"
    )
    screen.print(f"The bottleneck is {last_name(report.bottleneck or '')}.")
    for name, workers in report.advised_workers.items():
        named = many(workers, "worker")
        screen.print(f"With {named} in {last_name(name)}, it would be another stage.")


def counts_of(stage: NodeFigures) -> dict[str, int]:
    """Return how many workers a stage has, and the outcomes of its records."""
    skipped, left_out = stage.items["skipped"], stage.items.total() - stage.items["ok"]
    return {
        "workers": stage.stage_workers,
        "items": stage.stage_items,
        "ok": stage.stage_items - left_out,
        "skipped": skipped,
        "failed": left_out - skipped,
    }


def last_name(path: str) -> str:
    """Return a stage's own name, without those of the enclosing graphs."""
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
)
