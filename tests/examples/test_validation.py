"""The validation example, over the bundled records and over what a hostile person would send."""

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from aiohttp import web

from examples import validation
from examples.client import ServiceNode
from examples.runner import explain
from examples.services import Services
from examples.validation import WORKFLOW, Checks
from examples.workflow import Options, Shared
from kaygraph import RunReport
from kaygraph.patterns import check
from tests.examples.asking import answering
from tests.examples.bundled import FAULTS
from tests.examples.orders import ORDER, order
from tests.examples.paper import Paper
from tests.examples.runs import run

pytestmark = pytest.mark.anyio

ASKED = "/check/{email}"


async def validate(records: list[Any], services: str | None = None) -> Shared:
    options = Options(records=records, services=services)
    shared = WORKFLOW.prepare(options)
    await WORKFLOW.build(options).run_async(shared)
    return shared


# The bundled records


@pytest.fixture(scope="module")
def bundled() -> tuple[Shared, RunReport]:
    """One run over the thousand records, as the command does it."""
    return run(WORKFLOW, Options())


def test_bundled_faults_are_all_found(bundled: tuple[Shared, RunReport]) -> None:
    """Each record that was broken is invalid, and for the reason for which it was broken."""
    kinds = {
        str(one["record"]["id"]): {problem["kind"] for problem in one["problems"]}
        for one in bundled[0]["invalid"]
    }
    assert {number for number, kind in FAULTS.items() if kind not in kinds.get(number, ())} == set()


def test_bundled_valid_records_are_all_kept(bundled: tuple[Shared, RunReport]) -> None:
    """No record that was left whole is called invalid."""
    assert {str(one["record"]["id"]) for one in bundled[0]["invalid"]} - FAULTS.keys() == set()


def test_stored_records_keep_the_order_and_are_all_accounted_for(
    bundled: tuple[Shared, RunReport],
) -> None:
    """Valid and invalid records stand in the order of the input, each record in one of the two."""
    shared, _ = bundled
    valid = [record["id"] for record in shared["valid"]]
    invalid = [one["index"] + 1 for one in shared["invalid"]]
    assert valid == sorted(valid)
    assert invalid == sorted(invalid)
    assert sorted(valid + invalid) == list(range(1, 1001))


def test_rows_say_status_and_problems_of_each_record(bundled: tuple[Shared, RunReport]) -> None:
    """There is a row per record in the order of the input, and it is plain JSON."""
    shared, _ = bundled
    rows = json.loads(json.dumps(list(WORKFLOW.rows(shared)), allow_nan=False))
    assert [row["id"] for row in rows] == list(range(1, 1001))
    assert Counter(row["status"] for row in rows) == {"valid": 850, "invalid": 150}
    assert all((row["status"] == "invalid") == bool(row["problems"]) for row in rows)
    problems = [problem for row in rows for problem in row["problems"]]
    assert {tuple(problem) for problem in problems} == {("check", "field", "kind", "reason")}


def test_report_accounts_for_each_check_of_each_record(bundled: tuple[Shared, RunReport]) -> None:
    """Four checks and the whole of them per record, all ok, faster than one after another."""
    _, report = bundled
    nodes = {name.rpartition("/")[2]: figures for name, figures in report.nodes.items()}
    for name in ("Checks", "security", "format", "rules", "external"):
        assert nodes[name].items == {"ok": 1000}
    assert sum(report.items.values()) == report.items["ok"] == 5000
    assert report.mean_in_flight > 1


def test_report_counts_the_checks_in_flight(bundled: tuple[Shared, RunReport]) -> None:
    """Many records ask the service at once, and never more than there are rounds at once."""
    _, report = bundled
    external = next(f for name, f in report.nodes.items() if name.endswith("Checks/external"))
    assert 2 <= external.peak <= validation.WORKERS
    assert report.peak_in_flight <= 5 * validation.WORKERS


def test_show_counts_and_explains(bundled: tuple[Shared, RunReport]) -> None:
    """The screen has the totals, each kind of fault, and what is wrong with the first ten."""
    shared, report = bundled
    paper = Paper()
    WORKFLOW.show(shared, report, paper)
    assert "1,000 records: 850 valid, 150 invalid" in paper.text
    assert all(kind.replace("_", " ") in paper.text for kind in set(FAULTS.values()))
    for one in shared["invalid"][: validation.SHOWN]:
        assert all(problem["reason"] in paper.text for problem in one["problems"])


# Records that people send


async def test_several_faults_are_all_listed_in_the_order_of_the_checks() -> None:
    """A record that breaks something in each check has a problem from each, always in order."""
    record = order(name="<script>x()</script>", country="ie", seats=0, email="a@mailinator.com")
    shared = await validate([record])
    found = [(p["check"], p["field"], p["kind"]) for p in shared["invalid"][0]["problems"]]
    assert found == [
        ("security", "name", "cross_site_script"),
        ("format", "country", "malformed_country"),
        ("rules", "seats", "seats_below_one"),
        ("rules", "amount", "wrong_amount"),
        ("external", "email", "disposable_email"),
    ]


async def test_slow_check_is_listed_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Security comes first in the list of problems even where it comes last in time."""
    look = Checks.security

    @check
    async def look_later(self: Checks, record: Any) -> Any:
        await asyncio.sleep(0)  # the other checks have their turn
        return await look(self, record)

    monkeypatch.setattr(Checks, "security", look_later)
    shared = await validate([order(comment="../../x", seats=0, email=None)])
    checks = [problem["check"] for problem in shared["invalid"][0]["problems"]]
    assert checks == ["security", "format", "rules", "rules", "external"]


@pytest.mark.parametrize("value", [None, True, 3, 2.5, "anna@example.com", [ORDER], []])
async def test_record_that_is_no_object_is_invalid(value: Any) -> None:
    """Any JSON value is judged, and the reason says what it is not."""
    shared = await validate([ORDER, value])
    (row,) = shared["invalid"]
    assert shared["valid"] == [ORDER]
    assert (row["index"], row["record"]) == (1, value)
    (problem,) = (p for p in row["problems"] if p["check"] == "format")
    assert problem["kind"] == "not_an_object"
    assert problem["reason"].startswith("must be an object, not ")
    assert list(WORKFLOW.rows(shared))[1]["id"] is None


@pytest.mark.parametrize("email", [None, "", 7, ["anna@example.com"], "a" * 255, "missing"])
async def test_missing_address_is_reported_without_a_request(email: Any) -> None:
    """Without an address, the check says so and the service gets no request."""
    record = {k: v for k, v in order(email=email).items() if v != "missing"}
    async with Services() as services:
        shared = await validate([record], services.url)
        assert services.requests["check"] == 0
    problems = shared["invalid"][0]["problems"]
    assert [p["reason"] for p in problems if p["check"] == "external"] == [
        "there is no address to ask about"
    ]


async def test_contact_with_an_address_is_valid() -> None:
    """A record with nothing of an order needs no order's fields; one with some needs them all."""
    contact = {"email": "anna@example.com"}
    shared = await validate([contact, contact | {"plan": "team"}, {"name": "Anna"}, {}])
    assert shared["valid"] == [contact]
    missing = [
        [p["field"] for p in one["problems"] if p["kind"] == "missing_field"]
        for one in shared["invalid"]
    ]
    assert "seats" in missing[0]
    assert missing[1:] == [["email"], ["email"]]


async def test_no_records_give_no_results() -> None:
    """An empty list is not a mistake."""
    shared = await validate([])
    assert (shared["valid"], shared["invalid"], list(WORKFLOW.rows(shared))) == ([], [], [])
    WORKFLOW.show(shared, RunReport(), paper := Paper())
    assert paper.text.strip() == "0 records: 0 valid, 0 invalid"


async def test_strange_values_are_judged_and_shown_without_harm() -> None:
    """Half surrogates, numbers beyond all bounds and control characters end up as reasons."""
    huge = int("9" * 4300)  # the longest that JSON may hold; times nine, it cannot be written down
    strange = [
        order(email="\ud83d@example.com", id=float("nan")),
        order(seats=huge, amount=float("nan")),
        order(seats=huge, amount=huge),
        order(currency="\x1b[31mred[/]\n"),
        order(comment={"\x1b[2J": ["../../etc/passwd"]}),
        order(comment="&#" + "9" * 5000 + ";"),
    ]
    shared = await validate(strange)
    paper = Paper()
    WORKFLOW.show(shared, RunReport(), paper)
    kinds = [{p["kind"] for p in problems} for problems in shared["problems"]]
    assert kinds == [
        {"malformed_email"},
        {"wrong_type"},
        {"wrong_amount"},
        {"unknown_currency"},
        {"wrong_type", "path_traversal"},
        set(),
    ]
    assert "\x1b" not in paper.text
    json.dumps(list(WORKFLOW.rows(shared)), allow_nan=False)


# The service


async def test_busy_service_is_called_again_after_the_time_it_asks_for() -> None:
    """A 429 with Retry-After, and the record is checked at the second attempt, not before."""
    asked: list[float] = []

    async def refuse_once(request: web.Request) -> web.Response:
        asked.append(asyncio.get_running_loop().time())
        if len(asked) == 1:
            return web.json_response({}, status=429, headers={"Retry-After": "0.2"})
        return web.json_response({"domain": "", "disposable": False, "deliverable": True})

    async with answering(ASKED, refuse_once) as url:
        shared = await validate([ORDER], url)
    assert shared["valid"] == [ORDER]
    assert asked[1] - asked[0] >= 0.19


async def test_failing_service_leaves_the_record_unchecked() -> None:
    """After four attempts the record is not valid, because it is unchecked."""
    asked: list[str] = []

    async def fail(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.json_response({}, status=503)

    async with answering(ASKED, fail) as url:
        shared = await validate([ORDER], url)
    assert len(asked) == 4
    (problem,) = shared["invalid"][0]["problems"]
    assert problem == {
        "check": "external",
        "field": "email",
        "kind": "not_checked",
        "reason": "could not be checked: check answered 503",
    }


async def test_silent_service_leaves_the_record_unchecked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An answer that does not come in time is a reason too, not the end of the run."""
    monkeypatch.setattr(ServiceNode, "total_timeout", 0.05)
    over = asyncio.Event()

    async def wait(request: web.Request) -> web.Response:
        await over.wait()
        return web.json_response({})

    async with answering(ASKED, wait) as url:
        shared = await validate([ORDER], url)
        over.set()
    (problem,) = shared["invalid"][0]["problems"]
    assert problem["kind"] == "not_checked"
    assert problem["reason"] == "could not be checked: no answer within 0.05 s"


async def test_service_that_nobody_runs_ends_the_run() -> None:
    """A wrong --services is one error, not a thousand invalid records."""
    async with Services() as services:
        url = services.url
    records = [order(email=f"{number}@example.com") for number in range(40)]
    with pytest.raises((ConnectionError, ExceptionGroup)) as raised:
        await validate(records, url)
    (line,) = explain(raised.value)
    assert line.startswith(f"ConnectionError: {url} could not be reached")


async def test_own_service_is_gone_after_the_run() -> None:
    """The address is taken out of the shared store, since nothing answers there any more."""
    assert "services" not in await validate([ORDER])


# The options


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (Options(workers=0), "--workers must be at least 1, got 0"),
        (Options(workers=-3), "--workers must be at least 1, got -3"),
        (Options(services="localhost:80"), "--services must be an address such as http://"),
        (Options(services="http://"), "--services must be an address such as http://"),
        (Options(services="http://a:99999"), "--services must be an address such as http://"),
        (Options(services="http://[::1"), "--services must be an address such as http://"),
    ],
)
def test_impossible_option_is_one_clear_line(options: Options, says: str) -> None:
    """prepare() refuses what cannot be followed, and says what to type."""
    with pytest.raises(ValueError, match=says) as raised:
        WORKFLOW.prepare(options)
    assert "\n" not in str(raised.value)


async def test_one_worker_works_on_one_record_at_a_time() -> None:
    """--workers is how many records are checked at once."""
    at_once, most = 0, 0

    async def count(request: web.Request) -> web.Response:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)  # the others get their turn, if there are others
        at_once -= 1
        return web.json_response({"domain": "", "disposable": False, "deliverable": True})

    async with answering(ASKED, count) as url:
        options = Options(records=[ORDER] * 20, services=url, workers=1)
        shared = WORKFLOW.prepare(options)
        await WORKFLOW.build(options).run_async(shared)
    assert most == 1
    assert len(shared["valid"]) == 20
