"""The pipeline example, over a real service on a real socket and real SQLite files."""

import asyncio
import json
import logging
import os
import re
import sqlite3
import tempfile
import threading
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import web
from anyio.lowlevel import checkpoint
from rich.console import Console

from examples.client import ServiceNode
from examples.pipeline import BUFFER, COLUMNS, LIMIT, WORKFLOW
from examples.record_checks import format, rules
from examples.services import Services
from examples.workflow import Options
from kaygraph import Event, ItemFinished, RunReport
from kaygraph.nodes import HTTPError
from kaygraph.types import NodeFigures
from tests.examples.bundled import RECORDS

pytestmark = pytest.mark.anyio

STAGES = ["Receive", "Validate", "Transform", "Enrich", "Store"]
ORDER = {
    "id": 7, "name": "  Ada  King ", "email": "Ada@Example.COM", "birth_date": "1985-12-10",
    "country": "GB", "plan": "team", "seats": 2, "amount": 18.0, "currency": "EUR",
    "ordered": "2026-01-30", "delivered": "2026-02-02", "comment": "",
}  # fmt: skip


class Paper:
    """A screen that keeps what is printed on it."""

    def __init__(self) -> None:
        self.console = Console(width=120)

    def print(self, *things: Any) -> None:
        self.console.print(*things, markup=False, highlight=False, soft_wrap=True)


def shown(shared: dict[str, Any], report: RunReport) -> str:
    paper = Paper()
    with paper.console.capture() as capture:
        WORKFLOW.show(shared, report, paper)
    return capture.get()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which temporary folders are made during a test."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


async def run(options: Options, *observers: Any) -> tuple[dict[str, Any], RunReport]:
    shared, report = WORKFLOW.prepare(options), RunReport()
    await WORKFLOW.build(options).run_async(shared, observers=[report, *observers])
    return shared, report


def stages_of(report: RunReport) -> list[NodeFigures]:
    return [report.nodes[f"Pipeline/{name}"] for name in STAGES]


def valid_ids(count: int) -> list[int]:
    """Return the ids of the records that are well-formed and keep the rules, in order."""
    return [r["id"] for r in RECORDS[:count] if not [*format(r), *rules(r)]]


# The stream


async def test_limit_ends_the_endless_source(services: Services, temporary: Path) -> None:
    """So many records are taken, the valid ones stored in order, and the service let go."""
    shared, _ = await run(Options(services=services.url, limit=60))
    assert [row["id"] for row in WORKFLOW.rows(shared)] == valid_ids(60)
    assert 0 < len(valid_ids(60)) < 60
    assert services.requests["records"] == 1
    assert services.requests["check"] == len(valid_ids(60))
    with anyio.fail_after(5):
        while services.open_streams:
            await checkpoint()
    assert os.listdir(temporary) == []


async def test_a_stream_may_be_longer_than_an_answer(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Limits on an answer's time and size do not apply to the endless stream."""
    monkeypatch.setattr(ServiceNode, "total_timeout", 0.25)
    monkeypatch.setattr(ServiceNode, "max_bytes", 4096)
    shared, report = await run(Options(services=services.url, limit=200))
    assert len(shared["stored"]) == len(valid_ids(200))
    assert report.wall_s > 0.25


async def test_hanging_up_early_leaves_no_word_in_the_log(
    services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    """The service takes it quietly, although it was waiting for the client to read on."""
    with caplog.at_level(logging.WARNING):  # asyncio tells below that which selector it uses
        await run(Options(services=services.url, limit=LIMIT))
        with anyio.fail_after(5):
            while services.open_streams:
                await checkpoint()
            # The handler's last words come after its last count.
            await anyio.wait_all_tasks_blocked()
    assert caplog.messages == []


async def test_service_is_started_for_the_run_where_none_is_named(temporary: Path) -> None:
    """Without an address the bundled service does it, and both it and the file are gone after."""
    before = threading.active_count()
    shared, report = await run(Options(limit=20))
    assert len(shared["stored"]) == len(valid_ids(20))
    assert "services" not in shared
    assert os.listdir(temporary) == []
    assert threading.active_count() == before
    assert report.items["cancelled"] == report.items["failed"] == 0


async def test_every_record_is_counted_once_at_every_stage(services: Services) -> None:
    """What a stage hands on is what the next gets; what is left out is counted as skipped."""
    shared, report = await run(Options(services=services.url, limit=60))
    stages = stages_of(report)
    kept = len(valid_ids(60))
    assert [stage.stage_workers for stage in stages] == [1, 4, 3, 2, 16]
    assert [stage.stage_items for stage in stages] == [60, 60, kept, kept, kept]
    assert [stage.items["ok"] for stage in stages] == [0, kept, kept, kept, kept]
    assert [stage.items["skipped"] for stage in stages] == [0, 60 - kept, 0, 0, 0]
    assert report.items["failed"] == 0
    table = [re.findall(r"[\w.]+", line) for line in shown(shared, report).splitlines()]
    rows = {words[0]: words[1:6] for words in table if words[:1] and words[0] in STAGES}
    assert list(rows) == STAGES
    assert rows["Receive"] == ["1", "60", "60", "0", "0"]
    assert rows["Validate"] == ["4", "60", f"{kept}", f"{60 - kept}", "0"]
    assert rows["Store"] == ["16", f"{kept}", f"{kept}", "0", "0"]
    assert sum(report.nodes["Pipeline/Validate"].items.values()) == 60
    for stage in stages:
        times = stage.busy_s + stage.starved_s + stage.blocked_s
        assert 0 < times <= stage.stage_workers * report.wall_s


async def test_buffers_bound_what_is_in_flight(services: Services) -> None:
    """However long the source, no more records are between two stages than there is room for."""
    ended: Counter[str] = Counter()
    most = 0

    def watch(event: Event, /) -> None:
        nonlocal most
        if isinstance(event, ItemFinished):
            ended[event.node] += 1
            most = max(most, ended["Pipeline/Validate"] - ended["Pipeline/Store"])

    await run(Options(services=services.url, limit=300), watch)
    # Three buffers lie between the two, and each of three stages holds back no more for the order.
    assert BUFFER < most <= 6 * BUFFER + 1


async def test_slow_stage_is_the_bottleneck_and_holds_up_those_before_it(
    services: Services,
) -> None:
    """Requests take longest: the stages before wait for room, and the one after for records."""
    shared, report = await run(Options(services=services.url, limit=150))
    receive, validate, transform, enrich, store = stages_of(report)
    assert report.bottleneck == "Pipeline/Enrich"
    for stage in (receive, validate, transform):
        assert stage.blocked_s > stage.busy_s + stage.starved_s
    assert store.starved_s > store.busy_s
    assert enrich.busy_s > enrich.starved_s + enrich.blocked_s
    text = shown(shared, report)
    assert f"{len(shared['stored'])} records stored, read back from a temporary file" in text
    assert "The bottleneck is Enrich." in text
    advised = report.advised_workers["Pipeline/Enrich"]
    assert f"With {advised} workers in Enrich" in text
    line = next(line for line in text.splitlines() if "Enrich" in line)
    whole = enrich.busy_s + enrich.starved_s + enrich.blocked_s
    assert f"{enrich.busy_s / whole:.0%}" in line


async def test_workers_set_how_many_requests_are_in_flight(services: Services) -> None:
    """More workers for Enrich mean more requests at once, and no other stage has more."""
    _, report = await run(Options(services=services.url, limit=60, workers=6))
    assert [stage.stage_workers for stage in stages_of(report)] == [1, 4, 3, 6, 16]
    assert report.nodes["Pipeline/Enrich"].peak == 6


# Where records come from


async def test_given_records_take_the_place_of_the_service(services: Services) -> None:
    """Records of one's own are checked, brought into form and enriched; the stream is not read."""
    incoming = [ORDER, {"email": "x@mailinator.com"}, {"email": "nobody"}, "text", {"id": 3}]
    options = Options(services=services.url, records=incoming)
    shared, _ = await run(options)
    assert services.requests["records"] == 0
    first, second = WORKFLOW.rows(shared)
    assert first == {
        "id": 7, "index": 0, "email": "ada@example.com", "name": "Ada King", "country": "GB",
        "currency": "EUR", "amount_cents": 1800, "ordered": "2026-01-30", "days_to_delivery": 3,
        "deliverable": 1, "disposable": 0,
    }  # fmt: skip
    assert set(second) == {*COLUMNS, "index"} - {"record_index"}
    assert second["index"] == 1
    assert (second["id"], second["email"], second["disposable"]) == (None, "x@mailinator.com", 1)


async def test_limit_holds_for_given_records_too(services: Services) -> None:
    """Of a list, the first so many are taken."""
    options = Options(services=services.url, records=RECORDS, limit=10)
    shared, _ = await run(options)
    assert [row["id"] for row in shared["stored"]] == valid_ids(10)


async def test_valid_records_of_an_earlier_workflow_are_taken_up(services: Services) -> None:
    """What a validation before this one left under ``valid`` is streamed."""
    options = Options(services=services.url)
    shared = WORKFLOW.prepare(options) | {"records": [None, ORDER], "valid_indexes": [1]}
    await WORKFLOW.build(options).run_async(shared)
    assert [row["id"] for row in shared["stored"]] == [7]


@pytest.mark.parametrize(
    ("record", "kept"),
    [
        ({"email": "ada@example"}, False),
        (ORDER | {"ordered": "2026-02-30"}, False),
        (ORDER | {"delivered": "2026-01-29"}, False),
        (ORDER | {"seats": 10**400, "amount": 9 * 10**400}, False),
        ([ORDER], False),
        (None, False),
        (ORDER | {"delivered": None}, True),
        (ORDER | {"id": [1, {}]}, True),
        (ORDER | {"id": 2**70}, True),
        (ORDER | {"name": "Ada \ud83d"}, True),
        ({"email": "a@example.com", "name": "\0", "id": True, "extra": {"deep": []}}, True),
    ],
)
async def test_record_with_a_fault_is_left_out_and_any_other_can_be_stored(
    services: Services, record: Any, kept: bool
) -> None:
    """One fault is enough to be left out; whatever passes fits into the table."""
    shared, report = await run(Options(services=services.url, records=[record]))
    assert len(shared["stored"]) == kept
    assert report.items["skipped"] == (not kept)
    assert report.items["failed"] == 0


# A service in trouble


@pytest.fixture
async def failing() -> AsyncIterator[str]:
    """A service that has records and fails to answer for one of their addresses."""

    async def records(request: web.Request) -> web.Response:
        people = ("good@example.com", "bad@example.com", "fine@example.com")
        return web.Response(text="".join(json.dumps({"email": p}) + "\n" for p in people))

    async def check(request: web.Request) -> web.Response:
        if request.match_info["email"].startswith("bad"):
            return web.json_response({}, status=500)
        return web.json_response({"deliverable": True, "disposable": False})

    application = web.Application()
    application.router.add_get("/records", records)
    application.router.add_get("/check/{email}", check)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}/"
    await runner.cleanup()


async def test_record_that_cannot_be_enriched_is_counted_and_not_stored(failing: str) -> None:
    """After four attempts the record has failed; the others continue. A finite source ends."""
    shared, report = await run(Options(services=failing))
    assert [row["email"] for row in shared["stored"]] == ["good@example.com", "fine@example.com"]
    *_, enrich, store = stages_of(report)
    assert enrich.items == {"ok": 2, "failed": 1}
    assert store.stage_items == 2
    assert re.search(r"Enrich\W+2\W+3\W+2\W+0\W+1\W", shown(shared, report))
    assert report.retries == 3


async def test_service_without_records_fails_the_run(failing: str, temporary: Path) -> None:
    """Without a stream, the error has the service's answer; nothing is left."""
    with pytest.raises(HTTPError, match="records answered 404"):
        await run(Options(services=f"{failing}nothing"))
    assert os.listdir(temporary) == []


# The file


async def test_output_becomes_a_database_and_a_second_run_replaces_it(
    services: Services, tmp_path: Path
) -> None:
    """A name that ends in .db is where the rows stand afterwards, those of the last run only."""
    path = tmp_path / "orders? #1 %41.db"
    for limit in (60, 55):
        shared, report = await run(Options(services=services.url, limit=limit, output=path))
        connection = sqlite3.connect(path)
        stored = connection.execute("SELECT id, email FROM records ORDER BY rowid").fetchall()
        connection.close()
        assert stored == [(row["id"], row["email"]) for row in shared["stored"]]
        assert [number for number, _ in stored] == valid_ids(limit)
    assert str(path) in shown(shared, report)


async def test_output_of_another_kind_is_left_to_others(
    services: Services, temporary: Path, tmp_path: Path
) -> None:
    """A name with another ending is not written here."""
    path = tmp_path / "rows.json"
    await run(Options(services=services.url, records=[ORDER], output=path))
    assert not path.exists()
    assert os.listdir(temporary) == []


def test_options_that_cannot_be_followed_are_refused_in_one_line(tmp_path: Path) -> None:
    """The error comes before anything runs, and a file of another kind is not touched."""
    other = tmp_path / "letter.db"
    other.write_text("Dear reader, this is no database.")
    for options, message in (
        (Options(output=other), "is not a SQLite database"),
        (Options(output=tmp_path / "no" / "a.db"), "no directory"),
        (Options(limit=0), "at least 1, got 0"),
        (Options(workers=0), "at least 1, got 0"),
        (Options(services="localhost"), "--services"),
    ):
        with pytest.raises(ValueError, match=message) as refused:
            WORKFLOW.prepare(options)
        assert "\n" not in str(refused.value)
    assert other.read_text() == "Dear reader, this is no database."


# Cancellation


@pytest.mark.parametrize("stage", ["Validate", "Enrich", "Store"])
async def test_cancelling_in_the_middle_leaves_nothing(temporary: Path, stage: str) -> None:
    """Cancelled at a stage's fifth record: the file, the threads and the tasks are gone."""
    threads, tasks = threading.active_count(), asyncio.all_tasks()
    reached = asyncio.Event()

    def watch(event: Event, /) -> None:
        if isinstance(event, ItemFinished) and event.node == f"Pipeline/{stage}" and event.item > 4:
            reached.set()

    task = asyncio.create_task(run(Options(limit=400), watch))
    await reached.wait()
    assert len(os.listdir(temporary)) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert os.listdir(temporary) == []
    assert threading.active_count() == threads
    for _ in range(100):  # aiohttp's server leaves its tasks a few last turns
        if asyncio.all_tasks() - {task} == tasks:
            break
        await asyncio.sleep(0)
    assert asyncio.all_tasks() - {task} == tasks
