"""The enrichment example: four sources at once, partial results with reasons, a confidence."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from aiohttp import web

from examples import enrichment, validation
from examples.enrichment import POINTS, SOURCES, WORKFLOW, Person, evidence
from examples.services import DOWN_DOMAIN, Services, social_profile
from examples.workflow import Options, Shared
from kaygraph import Graph, ItemFailed, ItemFinished, RunReport
from tests.examples.asking import answering
from tests.examples.bundled import PEOPLE
from tests.examples.enriching import ANNA, ASKED, answer, enrich
from tests.examples.paper import Paper
from tests.examples.runs import run

pytestmark = pytest.mark.anyio

BY_EMAIL = {person["email"]: person for person in PEOPLE}
# Somebody whom every source knows, but for the register that fails now and then.
SOMEBODY = next(p for p in PEOPLE if social_profile(p["handle"]) and p["company"] != DOWN_DOMAIN)
RECORD = {key: SOMEBODY[key] for key in ("name", "email", "handle", "city", "company")}


# The bundled sample


@pytest.fixture(scope="module")
def bundled() -> tuple[Shared, RunReport]:
    """One run over the sample, as the command does it."""
    return run(WORKFLOW, Options())


def test_sample_has_what_a_customer_list_would_have(bundled: tuple[Shared, RunReport]) -> None:
    """The first forty people, reduced to five fields: the rest is for the sources to tell."""
    records = bundled[0]["records"]
    assert [record["email"] for record in records] == [person["email"] for person in PEOPLE[:40]]
    assert {tuple(sorted(record)) for record in records} == {
        ("city", "company", "email", "handle", "name")
    }


def test_sample_is_enriched_with_what_the_sources_hold(bundled: tuple[Shared, RunReport]) -> None:
    """Each person, in order, has their own profile, place, figures and company."""
    rows = list(WORKFLOW.rows(bundled[0]))
    assert [row["email"] for row in rows] == [person["email"] for person in PEOPLE[:40]]
    for row, person in zip(rows, PEOPLE, strict=False):
        assert row["found"]["profile"] == person
        assert row["found"]["location"]["city"] == person["city"]
        assert row["found"].get("social") == social_profile(person["handle"])
        assert (
            row["found"].get("company", person | {"domain": person["company"]})["domain"]
            == (person["company"])
        )


def test_sample_has_a_reason_for_everything_missing(bundled: tuple[Shared, RunReport]) -> None:
    """A source has either given something or a reason, and only real reasons stand there."""
    for row in WORKFLOW.rows(bundled[0]):
        assert row["found"].keys() | row["missing"].keys() == set(SOURCES)
        assert not row["found"].keys() & row["missing"].keys()
        person = BY_EMAIL[row["email"]]
        unknown = social_profile(person["handle"]) is None
        assert row["missing"].get("social") == ("unknown there" if unknown else None)
        if person["company"] == DOWN_DOMAIN:
            assert row["missing"]["company"].startswith("companies answered 503")


def test_report_accounts_for_every_question(bundled: tuple[Shared, RunReport]) -> None:
    """Forty questions to each source; the failed ones are those with a reason."""
    shared, report = bundled
    missing = Counter(source for person in shared["people"] for source in person.missing)
    for source in SOURCES:
        figures = report.nodes[f"EachPerson/Sources/{source}"]
        assert (figures.items["failed"], figures.items["ok"]) == (
            missing[source],
            40 - missing[source],
        )
    # Four questions, the whole of them, and a score.
    assert sum(report.items.values()) == 6 * 40
    assert report.retries > 0
    assert report.mean_in_flight > 1


def test_show_names_what_is_missing_and_why(bundled: tuple[Shared, RunReport]) -> None:
    """The screen has the totals, a line per person, and each source with its failures."""
    shared, report = bundled
    WORKFLOW.show(shared, report, paper := Paper())
    partial = sum(bool(person.missing) for person in shared["people"])
    assert f"40 people: {40 - partial} complete, {partial} partial, 0 of whom" in paper.text
    assert all(
        person.record["email"].split("@")[0][:10] in paper.text for person in shared["people"]
    )
    assert "social: unknown there" in paper.text
    assert "company: companies answered 503" in paper.text


# Records that people send


NO_ADDRESS = "the record has no e-mail address: there is nobody to ask about"
NO_OBJECT = "the record is not an object: there is nobody to ask about"


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"name": "Anna"}, NO_ADDRESS),
        ({"email": None}, NO_ADDRESS),
        ({"email": "  "}, NO_ADDRESS),
        ({"email": ["a@b.example"]}, NO_ADDRESS),
        ("anna@example.com", NO_OBJECT),
        (None, NO_OBJECT),
    ],
)
async def test_record_without_an_address_has_one_clear_reason(record: Any, reason: str) -> None:
    """No source is asked, the others are enriched, and each such record keeps its place."""
    async with Services() as services:
        rows = await enrich([record, record, RECORD], services.url)
        assert services.requests["people"] == 1
    assert [row["email"] for row in rows] == [None, None, RECORD["email"]]
    for index, row in enumerate(rows):
        (where,) = row.pop("records")
        assert where == {"id": RECORD.get("id") if index == 2 else None, "index": index}
    assert rows[0] == rows[1]
    assert rows[0] == {
        "email": None,
        "found": {},
        "missing": {"email": reason},
        "confidence": 0.0,
        "why": [],
    }


async def test_records_of_one_address_are_one_person() -> None:
    """They are asked about once; what the first record lacks, the next may tell."""
    first = {"email": ANNA["email"]}
    asked: Counter[str] = Counter()

    async def note(request: web.Request) -> web.Response:
        asked[request.match_info["source"]] += 1
        return answer(request)

    async with answering(ASKED, note) as url:
        rows = await enrich([first, ANNA | {"email": "ANNA@inc.example"}], url)
    assert len(rows) == 1
    assert rows[0]["email"] == "anna@inc.example"
    assert rows[0]["confidence"] == 1.0
    assert asked == {"people": 1, "places": 1, "social": 1, "companies": 1}


async def test_strange_values_are_asked_and_shown_without_harm() -> None:
    """Half surrogates, dots, slashes and control characters reach no other address."""
    strange = [
        {"email": "../../records", "city": "..", "handle": "a/b?c#d", "company": "\ud83d"},
        {"email": "\x1b[31m@[/]", "city": "x" * 5000},
    ]
    options = Options(records=strange)
    shared = WORKFLOW.prepare(options)
    await WORKFLOW.build(options).run_async(shared)
    rows = list(WORKFLOW.rows(shared))
    assert rows[0]["missing"] == dict.fromkeys(SOURCES, "unknown there")
    assert rows[1]["missing"]["location"] == "no city is known"
    WORKFLOW.show(shared, RunReport(), paper := Paper())
    assert "\x1b" not in paper.text


async def test_no_records_give_no_people() -> None:
    """An empty list is not a mistake."""
    assert await enrich([]) == []
    WORKFLOW.show({"people": []}, RunReport(), paper := Paper())
    assert paper.text.startswith("0 people")


# The confidence


def test_points_add_up_to_one() -> None:
    """Who is known everywhere, without a contradiction, has a confidence of 1."""
    assert sum(POINTS.values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("record", "found", "expected"),
    [
        ({}, {}, set()),
        ({"name": "ANNA  sato"}, {"profile": {"name": "Anna Sato"}}, {0.3, 0.15}),
        ({"name": "Bruno"}, {"profile": {"name": "Anna Sato"}}, {0.3, -0.15}),
        ({"name": "Bruno"}, {"profile": {"handle": "anna"}}, {0.3}),
        ({"city": "Rome"}, {"profile": {"city": "Oslo"}}, {0.3, -0.15}),
        ({"country": "NO"}, {"location": {"country_code": "NO"}}, {0.15, 0.1}),
        ({"country": "SE"}, {"location": {"country_code": "NO"}}, {-0.15, 0.1}),
        ({}, {"company": {"domain": "else.example"}}, {0.1}),
        ({"name": "Zoe\u0308"}, {"profile": {"name": "Zo\u00eb"}}, {0.3, 0.15}),
    ],
)
def test_evidence_weighs_agreement_and_contradiction(
    record: dict[str, str], found: dict[str, Any], expected: set[float]
) -> None:
    """Two sources that agree give points, two that contradict each other take them."""
    person = Person({"email": "anna@inc.example", **record}, found=found)
    assert {points for _, points in evidence(person)} == expected


async def test_confidence_is_the_sum_of_its_reasons() -> None:
    """The points printed next to a person can be added up by hand."""
    rows = await enrich([ANNA, RECORD, {"email": RECORD["email"], "name": "Somebody Else"}])
    assert len(rows) == 2
    for row in rows:
        total = sum(reason["points"] for reason in row["why"])
        assert row["confidence"] == pytest.approx(max(0.0, total))
        assert all(reason["reason"] for reason in row["why"])


# With the others


async def test_validation_hands_its_valid_records_on() -> None:
    """Wired one after another over one store, with one service, only valid records are enriched."""
    options = Options(
        records=[
            {"email": RECORD["email"]},
            {"email": "no address"},
            7,
            {"email": "nobody@example.com", "name": "<script>x()</script>"},
        ]
    )
    shared = WORKFLOW.prepare(options) | validation.WORKFLOW.prepare(options)
    both = Graph(validation.build(options) >> enrichment.build(options), name="both")
    starts: list[str] = []
    await both.run_async(shared, observers=[lambda event: starts.append(event.node)])
    statuses = [row["status"] for row in validation.WORKFLOW.rows(shared)]
    assert statuses == ["valid", "invalid", "invalid", "invalid"]
    (row,) = WORKFLOW.rows(shared)
    assert row["email"] == RECORD["email"]
    assert row["found"]["profile"] == SOMEBODY
    assert "services" not in shared
    assert "validation" in starts
    assert "enrichment" in starts


async def test_graph_can_run_twice_at_once() -> None:
    """The nodes keep nothing of a run: two runs of one graph give the same rows."""
    options = Options(records=[RECORD, {"email": PEOPLE[5]["email"]}])
    graph = WORKFLOW.build(options)
    events: list[Any] = []
    stores = [WORKFLOW.prepare(options) for _ in range(2)]
    await asyncio.gather(*(graph.run_async(shared, observers=[events.append]) for shared in stores))
    first, second = ([row["email"] for row in WORKFLOW.rows(shared)] for shared in stores)
    assert first == second
    ended = [e for e in events if isinstance(e, ItemFinished | ItemFailed)]
    scores = [e for e in ended if e.node == "EachPerson/Score"]
    assert len(scores) == 4


@pytest.mark.parametrize("options", [Options(workers=0), Options(services="nowhere")])
def test_impossible_option_is_one_clear_line(options: Options) -> None:
    """prepare() refuses what cannot be followed, and says what to type."""
    with pytest.raises(ValueError, match="--") as raised:
        WORKFLOW.prepare(options)
    assert "\n" not in str(raised.value)
