"""What each pattern computes, held against what is found in another way."""

import asyncio
import csv
import hashlib
import json
import random
import re
import threading
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from examples import record_checks
from examples.patterns import (
    api_aggregation,
    approval,
    chunked_batches,
    circuit_breaker,
    error_isolation,
    explicit_order,
    independence,
    load,
    map_reduce,
    multi_source,
    notifications,
    parallel_files,
    parallel_validation,
    partial_failures,
    resource_limits,
    resume,
    timeouts,
)
from examples.patterns.world import World
from examples.services import read_places, social_profile
from examples.workflow import PATTERNS
from kaygraph import (
    AttemptTimeoutError,
    CircuitOpenError,
    ItemStarted,
    MemoryLimitError,
    NodeFinished,
    NodeStarted,
    RunReport,
    WriteConflictError,
)
from kaygraph.nodes import HTTPConnectionError, HTTPStatusError, MissingInputsError

pytestmark = pytest.mark.anyio

DATA = Path(api_aggregation.__file__).parents[1] / "data"
RULES_BROKEN = {
    "delivered_before_ordered",
    "free_plan_with_amount",
    "seats_below_one",
    "under_age",
    "unknown_currency",
    "wrong_amount",
}
CHECK_OF = {
    "missing_field": "schema",
    "malformed_email": "schema",
    "wrong_type": "schema",
    "impossible_date": "schema",
    "cross_site_script": "security",
    "leaked_secret": "security",
    "path_traversal": "security",
    "sql_injection": "security",
    "disposable_email": "compliance",
    **dict.fromkeys(RULES_BROKEN, "business_rules"),
}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World() as world:
        yield world


@pytest.fixture(scope="module")
def faults() -> dict[int, str]:
    """The fault that was planted in each record that has one, by its id."""
    planted = json.loads((DATA / "faults.json").read_text("utf-8"))
    return {int(number): kind for number, kind in planted.items()}


def read(name: str) -> list[dict[str, Any]]:
    text = (DATA / name).read_text("utf-8")
    if name.endswith("l"):
        return [json.loads(line) for line in text.splitlines()]
    rows: list[dict[str, Any]] = json.loads(text)
    return rows


@pytest.mark.parametrize("name", [name for name in PATTERNS if name != "resource_limits"])
async def test_a_pattern_may_be_run_again(name: str, world: World) -> None:
    """A second run in the same world says as much, and a graph that is built again is the same."""
    pattern = load(name)
    first, second = [list(await pattern.run(world)) for _ in range(2)]
    assert len(first) == len(second)
    assert pattern.build(world).to_mermaid() == pattern.build(world).to_mermaid()


async def test_the_profile_is_what_four_apis_say(world: World) -> None:
    """Each field is there once; a name that two of them have is the person's."""
    asked = api_aggregation.ASKED
    shared: dict[str, Any] = dict(asked)
    await api_aggregation.build(world).run_async(shared, observers=[report := RunReport()])
    [person] = [one for one in read("people.json") if one["email"] == asked["email"]]
    [company] = [one for one in read("companies.json") if one["domain"] == asked["domain"]]
    place = read_places()[asked["city"].casefold()]
    profile = shared["profile"]
    assert profile.pop("utc_offset_minutes") in (120, 180)
    assert profile == {**company, **(social_profile(asked["handle"]) or {}), **place, **person}
    assert report.peak_in_flight == 4


async def test_there_is_no_profile_when_one_api_fails(world: World) -> None:
    """The error is that of the API, and nothing is written."""
    shared = {**api_aggregation.ASKED, "handle": "nobody"}
    with pytest.raises(HTTPStatusError, match="/social/nobody> answered 404"):
        await api_aggregation.build(world).run_async(shared)
    assert "profile" not in shared


async def test_chunks_are_worked_on_once_and_joined_in_order(
    world: World, faults: dict[int, str]
) -> None:
    """The records found are those with a fault of this kind; the broken chunk costs no other."""
    shared: dict[str, Any] = {"lines": chunked_batches.lines()}
    events: list[Any] = []
    await chunked_batches.build(world).run_async(shared, observers=[events.append])
    assert shared["ids"] == sorted(n for n, kind in faults.items() if kind in RULES_BROKEN)
    begun = [e.item for e in events if isinstance(e, ItemStarted) and e.node == "Check"]
    assert sorted(begun) == list(range(26))
    [failure] = shared["failures"]
    assert (failure.index, failure.item) == (25, ["id: 1001"])
    assert isinstance(failure.error, json.JSONDecodeError)


async def test_a_slow_chunk_holds_up_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first chunk ends after all the others, which the free workers have pulled."""
    rules, others, last = record_checks.rules, set[int](), threading.Event()

    def watched(record: Any) -> Any:
        if record["id"] == 1:
            assert last.wait(10)
        if record["id"] > 40:
            others.add(record["id"])
            if len(others) == 960:
                last.set()
        return rules(record)

    monkeypatch.setattr(record_checks, "rules", watched)
    shared: dict[str, Any] = {"lines": chunked_batches.lines()}
    await chunked_batches.build(world).run_async(shared)
    assert [failure.index for failure in shared["failures"]] == [25]
    assert len(shared["ids"]) == 39


async def test_every_service_reports_exactly_once(world: World) -> None:
    """The flaky one is asked until it answers, the slow one is what it was yesterday."""
    shared: dict[str, Any] = {}
    events: list[Any] = []
    await error_isolation.build(world).run_async(shared, observers=[events.append])
    reports = shared["reports"]
    assert list(reports) == ["reliable", "flaky", "slow"]
    found = {name: (report.status, report.attempts) for name, report in reports.items()}
    assert found == {"reliable": ("success", 1), "flaky": ("success", 3), "slow": ("fallback", 3)}
    assert [reports[name].value["data"] for name in reports] == [
        {"service": "reliable", "calls": 1},
        {"service": "flaky", "calls": 3},
        {"service": "slow", "calls": 0},
    ]
    assert isinstance(reports["slow"].error, AttemptTimeoutError)
    assert world.calls == {"/reliable": 1, "/flaky": 3, "/slow": 3}
    ended = Counter(e.node for e in events if isinstance(e, NodeFinished))
    assert ended == {"reliable": 1, "flaky": 1, "slow": 1, "reports": 1}


async def test_every_service_reports_when_there_is_none() -> None:
    """Nothing is listening: all three fall back, with the reason."""
    async with World() as gone:
        graph = error_isolation.build(gone)
    shared: dict[str, Any] = {}
    await graph.run_async(shared)
    reports = shared["reports"].values()
    assert [report.status for report in reports] == ["fallback"] * 3
    assert [report.attempts for report in reports] == [3] * 3
    assert all(isinstance(report.error, HTTPConnectionError) for report in reports)


async def test_words_are_counted_as_often_as_they_stand(world: World) -> None:
    """A loop over the files gives the same counts."""
    shared: dict[str, Any] = {}
    await map_reduce.build(world).run_async(shared)
    counts: Counter[str] = Counter()
    for path in Path(map_reduce.__file__).parent.glob("*.py"):
        counts.update(re.findall("[A-Za-z]{5,}", path.read_text("utf-8")))
    assert dict(shared["words"]) == counts
    assert [count for _, count in shared["words"]] == sorted(counts.values(), reverse=True)


async def test_rows_of_three_databases_are_joined(world: World) -> None:
    """Each customer once, including one without entries; unknown customers are left out."""
    await multi_source.run(world)
    shared: dict[str, Any] = {}
    await multi_source.build(world).run_async(shared)
    expected: list[dict[str, Any]] = []
    for customer, name in multi_source.ROWS["customers"]:
        row: dict[str, Any] = {"customer": customer, "name": name}
        if sums := [value for who, value in multi_source.ROWS["invoices"] if who == customer]:
            row["billed"] = sum(sums)
        if tickets := [value for who, value in multi_source.ROWS["tickets"] if who == customer]:
            row["tickets"] = len(tickets)
        expected.append(row)
    assert shared["rows"] == expected


async def test_each_planted_fault_is_found_by_its_check(
    world: World, faults: dict[int, str]
) -> None:
    """A record with a fault takes the way "invalid", and the check that finds it is named."""
    graph = parallel_validation.build(world)
    records = [r for r in read("records.jsonl") if r["id"] in faults or r["id"] <= 30]
    runs: list[dict[str, Any]] = [{"order": record} for record in records]
    eight = asyncio.Semaphore(8)  # at once, so that no check runs out of time on a busy machine

    async def run(shared: dict[str, Any]) -> None:
        async with eight:
            await graph.run_async(shared)

    await asyncio.gather(*map(run, runs))
    for shared in runs:
        summary: Any = shared["summary"]
        expected = CHECK_OF.get(faults.get(summary.record["id"], ""))
        found = {*summary.failed, *summary.errors}
        assert (expected in found) if expected else not found, summary
        assert shared["said"][0].startswith("passes ") is (not found)


async def test_a_record_that_cannot_be_checked_is_not_valid(world: World) -> None:
    """The service of one check is asked about a record without an address."""
    shared: dict[str, Any] = {"order": {"comment": "x"}}
    await parallel_validation.build(world).run_async(shared)
    assert isinstance(shared["summary"].errors["compliance"], KeyError)
    assert not shared["summary"].valid
    assert [line.partition(":")[0] for line in shared["said"]] == ["schema"] * len(shared["said"])


async def test_four_channels_deliver_the_same_message(world: World) -> None:
    """The webhook takes it twice and keeps it once; every channel has the same key."""
    shared: dict[str, Any] = {"message": notifications.MESSAGE}
    await notifications.build(world).run_async(shared)
    outcomes = {one.name: (one.status, one.attempts) for one in shared["deliveries"]}
    once = ("ok", 1)
    assert outcomes == {"webhook": ("ok", 2), "mail": once, "chat": once, "sms": once}
    [key] = {one.value.key for one in shared["deliveries"]}
    text, subject = "No backup since Monday.", "Backup"
    [hook], [chat], [sms], [mail] = (world.received[c] for c in ("hook", "chat", "sms", "mail"))
    assert hook == {"key": key, "text": text, "subject": subject, "data": {"host": "db1"}}
    assert world.calls["/hook"] == 2
    assert chat == f"{subject}\n{text}"
    assert sms == ("+4790000001", f"{subject}\n{text}")
    recipients, content = mail
    assert recipients == ["ann@example.org", "ben@example.org"]
    [reference] = {one.value.reference for one in shared["deliveries"] if one.name == "mail"}
    assert f"Message-ID: {reference}" in content


async def test_files_are_added_up_and_the_broken_row_is_named(world: World) -> None:
    """The report has a row a file, in the order of their names, and replaces the one before it."""
    for _ in range(2):
        await parallel_files.run(world)
        with (world.folder / "report.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["city"] for row in rows] == list(parallel_files.CITIES)
        for row in rows:
            amounts = random.Random(row["city"]).choices(range(1, 100), k=500)
            whole = row["city"] != "Hull"
            assert int(row["rows"]) == 500 - (not whole)
            assert int(row["sales"]) == sum(amounts if whole else amounts[:-1])
            assert ("Hull.csv, line 501: " in row["wrong"]) is not whole
    assert {path.name for path in world.folder.iterdir()} == {"report.csv", "sales"}


async def test_only_the_slow_service_runs_out_of_time(world: World) -> None:
    """Its outcome is in its place, between two answers."""
    shared: dict[str, Any] = {"services": ["reliable", "slow", "reliable"]}
    await timeouts.build(world).run_async(shared)
    first, slow, last = shared["answers"]
    assert sorted(answer["data"]["calls"] for answer in (first, last)) == [1, 2]
    assert (slow.index, slow.status, slow.item) == (1, "timed_out", "slow")
    assert isinstance(slow.error, AttemptTimeoutError)
    assert slow.seconds >= 0.2


async def test_three_of_five_sources_are_merged(world: World) -> None:
    """What is there has its value, what is not its reason."""
    shared: dict[str, Any] = {}
    await partial_failures.build(world).run_async(shared)
    found = shared["found"]
    assert list(found) == ["places", "companies", "flaky"]
    assert found["places"]["country"] == "Norway"
    assert found["companies"] in read("companies.json")
    assert found["flaky"] == {"service": "flaky", "calls": 3}
    missing = shared["missing"]
    assert list(missing) == ["broken", "slow"]
    assert "answered 500" in missing["broken"]
    assert "timed_out: AttemptTimeoutError" in missing["slow"]
    assert world.calls == {"/flaky": 3, "/broken": 3, "/slow": 3}


async def test_fewer_sources_than_required_fail_the_run(world: World) -> None:
    """Three are there, four are needed."""
    with pytest.raises(MissingInputsError, match="4 of 5 inputs are needed") as caught:
        await partial_failures.build(world, required_inputs=4).run_async({})
    assert caught.value.found == ("places", "companies", "flaky")
    assert set(caught.value.missing) == {"broken", "slow"}


@pytest.mark.proofs
async def test_what_goes_beyond_a_limit_fails_alone(world: World) -> None:
    """Too much memory and too much time are outcomes, and the digests of the others are right."""
    shared: dict[str, Any] = {"sizes": [1, 2000, 2, -1, 3]}
    await resource_limits.build(world).run_async(shared, observers=[report := RunReport()])
    one, large, two, endless, three = shared["digests"]
    for size, digest in ((1, one), (2, two), (3, three)):
        zeros = bytes(size * 1024 * 1024)
        assert digest == hashlib.sha256(zeros).hexdigest()[:12]
    assert isinstance(large, MemoryLimitError)
    assert isinstance(endless, AttemptTimeoutError)
    assert report.peak_in_flight == 2
    counts = {status: count for status, count in report.items.items() if count}
    assert counts == {"ok": 18, "failed": 1, "timed_out": 1}
    assert shared["last"] >= 0.5


async def test_limits_that_were_not_seen_to_hold_fail_the_pattern(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The expected results, in order; any other order fails."""
    monkeypatch.setattr(resource_limits.Digest, "run_in", "thread")
    monkeypatch.setattr(resource_limits.Digest, "exec", lambda self, size: "digest")
    with pytest.raises(RuntimeError, match="not seen to hold"):
        await resource_limits.run(world)


async def test_an_open_circuit_keeps_calls_from_the_service(world: World) -> None:
    """The first three reach it, the others fail at once."""
    shared: dict[str, Any] = {"calls": ["broken"] * 10}
    await circuit_breaker.build(world).run_async(shared)
    kinds = [type(answer.error) for answer in shared["answers"]]
    assert kinds == [HTTPStatusError] * 3 + [CircuitOpenError] * 7
    assert world.calls == {"/broken": 3}


async def test_nothing_is_published_before_it_is_checked(world: World) -> None:
    """The checks begin when the draft is written, and publishing when both are done."""
    shared: dict[str, Any] = {"folder": world.folder, "text": "three short words"}
    events: list[Any] = []
    await explicit_order.build(world).run_async(shared, observers=[events.append])
    order = [
        f"{'begin' if isinstance(event, NodeStarted) else 'end'} {event.node}"
        for event in events
        if isinstance(event, NodeStarted | NodeFinished)
    ]
    assert order[:2] == ["begin write", "end write"]
    assert sorted(order[2:4]) == ["begin count", "begin digest"]
    assert sorted(order[4:6]) == ["end count", "end digest"]
    assert order[6:] == ["begin publish", "end publish"]
    name = f"report-{hashlib.sha256(b'three short words').hexdigest()[:8]}.txt"
    assert [path.name for path in world.folder.iterdir()] == [name]
    assert (shared["words"], shared["published"].read_text()) == (3, "three short words")


async def test_a_race_loses_a_write_is_found_and_is_fixed(world: World) -> None:
    """Raced, one of the two sums is missing; fixed, neither is."""
    entries: dict[str, Any] = {"balance": 100, "orders": [30, 20], "refunds": [-10]}
    await independence.racing("ignore").run_async(raced := dict(entries))
    assert raced["balance"] in (100 + 50, 100 - 10)
    with pytest.raises(WriteConflictError, match=r"'Orders' and 'Refunds' .*\['balance'\]"):
        await independence.racing("raise").run_async(dict(entries))
    await independence.build(world).run_async(mended := dict(entries))
    assert mended["balance"] == 100 + 50 - 10


async def test_a_batch_that_is_killed_twice_is_called_for_few_items_again(world: World) -> None:
    """Those that were in flight, or not recorded yet."""
    recorded, calls = await resume.run(world)
    assert int(recorded.split()[2]) >= 90
    assert world.calls["/reliable"] <= 200 + 2 * 16
    assert calls == f"200 answers took {world.calls['/reliable']} calls"


async def test_a_killed_run_is_answered_and_publishes_once(world: World) -> None:
    """Nothing is drafted twice, and the two requests of the publisher have one key."""
    lines = list(await approval.run(world))
    assert lines[0].endswith("answered from outside: True")
    assert world.calls["/reliable"] == 1
    assert world.calls["/hook"] == 2
    assert world.received["hook"] == [approval.LETTER["json"]]
