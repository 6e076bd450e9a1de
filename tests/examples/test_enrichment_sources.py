"""How the enrichment example calls its four sources, and what happens when one fails."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from aiohttp import web

from examples.client import ServiceNode
from examples.enrichment import POINTS, SOURCES, WORKFLOW, Sources
from examples.services import Services, social_profile
from examples.workflow import Options
from kaygraph import Outcome, RunReport
from kaygraph.nodes import HTTPConnectionError
from tests.examples.asking import answering
from tests.examples.bundled import PEOPLE
from tests.examples.enriching import ANNA, ASKED, answer, enrich

pytestmark = pytest.mark.anyio


async def test_four_sources_are_asked_at_once() -> None:
    """None of them is answered before all have been asked."""
    asked: set[str] = set()
    all_asked = asyncio.Event()

    async def answer_when_all_are_here(request: web.Request) -> web.Response:
        asked.add(request.match_info["source"])
        if len(asked) == 4:
            all_asked.set()
        await all_asked.wait()
        return answer(request)

    async with answering(ASKED, answer_when_all_are_here) as url:
        (row,) = await enrich([ANNA], url)
    assert row["missing"] == {}
    assert row["confidence"] == 1.0


async def test_what_the_record_lacks_is_taken_from_the_profile() -> None:
    """With only an address, the profile is asked once, then the three others, once each."""
    asked: list[str] = []

    async def note(request: web.Request) -> web.Response:
        asked.append(request.path)
        return answer(request)

    async with answering(ASKED, note) as url:
        (row,) = await enrich([{"email": "anna@inc.example"}], url)
    assert asked[0] == "/people/anna@inc.example"
    assert sorted(asked[1:]) == ["/companies/inc.example", "/places/Oslo", "/social/anna"]
    assert row["found"].keys() == set(SOURCES)
    assert row["missing"] == {}


async def test_source_that_failed_is_not_asked_in_the_second_round() -> None:
    """The first reason stays: the second round is for those that could not be asked before."""
    asked: Counter[str] = Counter()

    async def know_no_place(request: web.Request) -> web.Response:
        source = request.match_info["source"]
        asked[source] += 1
        return web.json_response({}, status=404) if source == "places" else answer(request)

    async with answering(ASKED, know_no_place) as url:
        (row,) = await enrich([{"email": "anna@inc.example", "city": "Atlantis"}], url)
    assert asked == {"people": 1, "places": 1, "social": 1, "companies": 1}
    assert row["missing"] == {"location": "unknown there"}


async def test_profile_that_is_not_there_leaves_reasons() -> None:
    """Without a profile there is nothing to ask the others by, and each says what it lacks."""
    (row,) = await enrich([{"email": "nobody@example.com"}])
    assert row["found"] == {}
    assert row["missing"] == {
        "profile": "unknown there",
        "location": "no city is known",
        "social": "no handle is known",
        "company": "no company is known",
    }
    assert (row["confidence"], row["why"]) == (0.0, [])


async def test_retry_after_is_honoured() -> None:
    """A client asked to come back in 0.2 s does so, and not before."""
    asked: list[float] = []

    async def refuse_once(request: web.Request) -> web.Response:
        if request.match_info["source"] == "social":
            asked.append(asyncio.get_running_loop().time())
            if len(asked) == 1:
                return web.json_response({}, status=429, headers={"Retry-After": "0.2"})
        return answer(request)

    async with answering(ASKED, refuse_once) as url:
        (row,) = await enrich([ANNA], url)
    assert row["missing"] == {}
    assert len(asked) == 2
    assert asked[1] - asked[0] >= 0.19


async def test_crowd_gets_through_the_narrow_source() -> None:
    """Sixty people at once, ten requests in 0.2 s: all are refused at most as often as borne."""
    people = [p for p in PEOPLE if social_profile(p["handle"])][:60]
    records = [{"email": p["email"], "handle": p["handle"]} for p in people]
    options = Options(records=records, workers=60)
    report = RunReport()
    async with Services() as services:
        shared = WORKFLOW.prepare(options) | {"services": services.url}
        await WORKFLOW.build(options).run_async(shared, observers=[report])
        requests = sum(services.requests.values())
    asked = [report.nodes[f"EachPerson/Sources/{source}"].items for source in SOURCES]
    assert all("social" in row["found"] for row in WORKFLOW.rows(shared))
    questions = sum(items["ok"] + items["failed"] for items in asked)
    assert requests == questions + report.retries


async def test_failing_source_leaves_a_partial_result() -> None:
    """After four attempts the source is given up; what the others found is kept."""
    asked: Counter[str] = Counter()

    async def fail_at_companies(request: web.Request) -> web.Response:
        source = request.match_info["source"]
        asked[source] += 1
        return web.json_response({}, status=503) if source == "companies" else answer(request)

    async with answering(ASKED, fail_at_companies) as url:
        (row,) = await enrich([ANNA], url)
    assert asked["companies"] == 4
    assert row["found"].keys() == {"profile", "location", "social"}
    assert row["missing"] == {"company": "companies answered 503 (4 attempts)"}
    assert row["confidence"] == pytest.approx(1 - POINTS["company"] - POINTS["domain"])


async def test_silent_source_leaves_a_partial_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that never answers costs its own finding and no other."""
    monkeypatch.setattr(ServiceNode, "total_timeout", 0.2)
    over = asyncio.Event()

    async def keep_silent(request: web.Request) -> web.Response:
        if request.match_info["source"] == "social":
            await over.wait()
        return answer(request)

    async with answering(ASKED, keep_silent) as url:
        (row,) = await enrich([ANNA], url)
        over.set()
    assert row["found"].keys() == {"profile", "location", "company"}
    assert row["missing"]["social"].startswith("no answer within 0.2 s")


async def test_source_that_answers_nonsense_leaves_a_reason() -> None:
    """Text that is not JSON, and JSON that is not an object, are invalid answers."""

    async def babble(request: web.Request) -> web.Response:
        match request.match_info["source"]:
            case "places":
                return web.Response(text="<html>")
            case "social":
                return web.json_response([1])
            case "companies":
                return web.Response(text="{", content_type="application/json")
        return answer(request)

    async with answering(ASKED, babble) as url:
        (row,) = await enrich([ANNA], url)
    assert row["found"].keys() == {"profile"}
    assert {why.split(" with ")[1].split(" (")[0] for why in row["missing"].values()} == {
        "something that is not a JSON object"
    }


async def test_sources_that_nobody_runs_fail_no_run() -> None:
    """Every source has the reason that it could not be reached."""
    async with Services() as services:
        url = services.url
    (row,) = await enrich([ANNA], url)
    assert row["found"] == {}
    assert row["missing"].keys() == set(SOURCES)
    assert all(why.startswith("could not be reached") for why in row["missing"].values())


def test_mistake_in_the_program_is_no_reason() -> None:
    """An error that no source can be blamed for is raised, not written into a result."""
    mistake: Outcome[Any] = Outcome("social", 0, "failed", error=KeyError("handle"))
    with pytest.raises(KeyError, match="handle"):
        Sources().reason(mistake)
    unreachable: Outcome[Any] = Outcome("social", 0, "failed", error=HTTPConnectionError("refused"))
    assert Sources().reason(unreachable) == "could not be reached (1 attempt)"
