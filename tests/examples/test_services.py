"""The HTTP service of the examples, asked over a real socket."""

import asyncio
import re
from urllib.parse import quote

import aiohttp
import anyio
import pytest
from yarl import URL

from examples.services import (
    DOWN_DOMAIN,
    SOCIAL_LIMIT,
    SOCIAL_WINDOW_S,
    RequestWindow,
    Services,
    fails,
    latency_s,
    parse_position,
)
from tests.examples.asking import get
from tests.examples.bundled import COMPANIES, HANDLES, PEOPLE

pytestmark = pytest.mark.anyio


# What each endpoint answers


async def test_index_lists_every_endpoint(session: aiohttp.ClientSession) -> None:
    """GET / names all seven endpoints."""
    status, body = await get(session, "/")
    assert status == 200
    assert body["endpoints"] == [
        "/",
        "/check/{email}",
        "/companies/{domain}",
        "/people/{email}",
        "/places/{city}",
        "/records",
        "/social/{handle}",
    ]


async def test_person_is_found_in_any_letter_case(session: aiohttp.ClientSession) -> None:
    """A profile comes back whole, however the address is capitalised."""
    person = PEOPLE[0]
    assert await get(session, f"/people/{person['email'].upper()}") == (200, person)


async def test_place_comes_from_the_time_zone_table(session: aiohttp.ClientSession) -> None:
    """Paris is in France, at its real position, one or two hours ahead of UTC."""
    status, body = await get(session, "/places/Paris")
    assert status == 200
    assert body.pop("utc_offset_minutes") in (60, 120)
    assert body == {
        "city": "Paris",
        "zone": "Europe/Paris",
        "country_code": "FR",
        "country": "France",
        "latitude": 48.8667,
        "longitude": 2.3333,
    }


async def test_place_with_a_space_is_found(session: aiohttp.ClientSession) -> None:
    """New York has a space here and an underscore in the table; both are understood."""
    assert (await get(session, "/places/new york"))[1]["zone"] == "America/New_York"
    assert (await get(session, "/places/New_York"))[1]["city"] == "New York"


async def test_place_west_of_greenwich_has_a_negative_offset(
    session: aiohttp.ClientSession,
) -> None:
    """Lima keeps UTC-5 the whole year."""
    assert (await get(session, "/places/Lima"))[1]["utc_offset_minutes"] == -300


async def test_social_profile_belongs_to_the_handle(session: aiohttp.ClientSession) -> None:
    """A social profile has the handle, the counts and the interests."""
    status, body = await get(session, f"/social/{HANDLES[0]}")
    assert status == 200
    assert body["handle"] == HANDLES[0]
    assert set(body) == {"handle", "followers", "following", "posts", "interests", "last_post"}


async def test_company_is_found_by_its_domain(session: aiohttp.ClientSession) -> None:
    """A company whose first attempt does not fail comes back whole."""
    company = next(c for c in COMPANIES if not fails(7, f"/companies/{c['domain']}", 1))
    assert await get(session, f"/companies/{company['domain']}") == (200, company)


@pytest.mark.parametrize(
    ("email", "domain", "disposable", "deliverable"),
    [
        ("anna+tag@example.com", "example.com", False, True),
        ("anna@blueanvil.example", "blueanvil.example", False, True),
        ("anna@python.org", "python.org", False, True),
        ("o'brien@Example.ORG", "example.org", False, True),
        ("anna@mailinator.com", "mailinator.com", True, True),
        ("anna@YOPmail.com", "yopmail.com", True, True),
        ("anna@inbox.mailinator.com", "inbox.mailinator.com", True, True),
        ("anna@notmailinator.com", "notmailinator.com", False, True),
        ("anna@nobody.invalid", "nobody.invalid", False, False),
        ("anna@office.test", "office.test", False, False),
        ("anna@unknown.example", "unknown.example", False, False),
        ("anna@example", "example", False, False),
        ("anna@example..com", "example..com", False, False),
        ("anna", "", False, False),
        ("anna@@example.com", "", False, False),
        ("@example.com", "", False, False),
        ("../etc/passwd", "", False, False),
    ],
)
async def test_check_reports_disposable_and_deliverable(
    services: Services, email: str, domain: str, disposable: bool, deliverable: bool
) -> None:
    """Any text gets an answer, and one that is not an address is not deliverable."""
    address = URL(f"{services.url}/check/{quote(email, safe='')}", encoded=True)
    async with aiohttp.ClientSession() as session, session.get(address) as response:
        assert response.status == 200
        assert await response.json() == {
            "email": email,
            "domain": domain,
            "disposable": disposable,
            "deliverable": deliverable,
        }


@pytest.mark.parametrize(
    "path",
    [
        "/people/nobody@example.com",
        "/places/Atlantis",
        "/social/nobody",
        "/companies/nothing.example",
        "/nothing/at/all",
        "/check/",
    ],
)
async def test_unknown_path_answers_404_in_json(session: aiohttp.ClientSession, path: str) -> None:
    """What is not there gets status 404 and one error message."""
    status, body = await get(session, path)
    assert status == 404
    assert list(body) == ["error"]


async def test_other_method_answers_405_in_json(session: aiohttp.ClientSession) -> None:
    """Nothing can be posted."""
    async with session.post("/records") as response:
        assert response.status == 405
        assert "Use GET" in (await response.json())["error"]


async def test_some_handles_have_no_profile(session: aiohttp.ClientSession) -> None:
    """Somebody in the data left the network, so a partial result is real."""
    absent = [p["handle"] for p in PEOPLE if p["handle"] not in HANDLES]
    assert 1 <= len(absent) <= 25
    assert (await get(session, f"/social/{absent[0]}"))[0] == 404


async def test_requests_are_counted_by_endpoint(
    services: Services, session: aiohttp.ClientSession
) -> None:
    """Each request counts for its endpoint, found or not; unknown paths count for none."""
    for path in ("/", "/places/Rome", "/places/Nowhere", "/nothing"):
        await get(session, path)
    assert services.requests == {"index": 1, "places": 2}


# Latency and failures


async def test_latency_is_waited_for(session: aiohttp.ClientSession) -> None:
    """An answer never comes before its latency has passed."""
    started = asyncio.get_running_loop().time()
    await get(session, "/places/Oslo")
    elapsed_s = asyncio.get_running_loop().time() - started
    assert elapsed_s >= latency_s(7, "places", "/places/Oslo") * 0.95 >= 0.00475


async def test_latency_depends_on_seed_and_path_alone() -> None:
    """The same seed and path give the same latency; another of either gives another."""
    assert latency_s(7, "social", "/social/a") == latency_s(7, "social", "/social/a")
    assert latency_s(7, "social", "/social/a") != latency_s(8, "social", "/social/a")
    assert latency_s(7, "social", "/social/a") != latency_s(7, "social", "/social/b")
    drawn = [latency_s(7, "check", f"/check/{number}") for number in range(200)]
    assert 0.002 <= min(drawn) < 0.003 < 0.007 < max(drawn) <= 0.008


async def company_statuses(seed: int, domains: list[str]) -> dict[str, list[int]]:
    async with Services(seed) as services, aiohttp.ClientSession(services.url) as session:

        async def ask(domain: str) -> list[int]:
            return [(await get(session, f"/companies/{domain}"))[0] for _ in range(4)]

        statuses = await asyncio.gather(*(ask(domain) for domain in domains))
    return dict(zip(domains, statuses, strict=True))


async def test_failures_depend_on_the_seed_and_not_on_the_order() -> None:
    """Asked backwards and all at once, each company fails at the same attempts."""
    domains = [company["domain"] for company in COMPANIES]
    statuses = await company_statuses(7, domains)
    assert await company_statuses(7, domains[::-1]) == statuses
    assert await company_statuses(8, domains) != statuses


async def test_company_answers_when_a_failed_request_is_repeated(
    session: aiohttp.ClientSession,
) -> None:
    """A 503 is passing: the same request succeeds at its next attempt."""
    company = next(
        c
        for c in COMPANIES
        if [fails(7, f"/companies/{c['domain']}", n) for n in (1, 2)] == [True, False]
    )
    path = f"/companies/{company['domain']}"
    status, body = await get(session, path)
    assert (status, list(body)) == (503, ["error"])
    assert await get(session, path) == (200, company)


async def test_domains_are_those_that_companies_answers_for(services: Services) -> None:
    """All companies can be listed without knowing the data."""
    assert services.domains == [company["domain"] for company in COMPANIES]
    assert DOWN_DOMAIN in services.domains


async def test_one_company_is_always_down(session: aiohttp.ClientSession) -> None:
    """No number of attempts gets an answer for the company that is down."""
    assert DOWN_DOMAIN in {company["domain"] for company in COMPANIES}
    for _ in range(6):
        assert (await get(session, f"/companies/{DOWN_DOMAIN}"))[0] == 503


# The limit of the social endpoint


async def test_burst_is_refused_with_retry_after(session: aiohttp.ClientSession) -> None:
    """Of many requests at once some get 429, each with the seconds to wait."""
    refused = 0
    burst = HANDLES[: SOCIAL_LIMIT * 6]

    async def ask(handle: str) -> None:
        nonlocal refused
        async with session.get(f"/social/{handle}") as response:
            if response.status == 429:
                refused += 1
                assert re.fullmatch(r"\d+\.\d{3}", response.headers["Retry-After"])
                assert 0 < float(response.headers["Retry-After"]) < 2
                assert "At most 10" in (await response.json())["error"]
            else:
                assert response.status == 200

    async with asyncio.TaskGroup() as group:
        for handle in burst:
            group.create_task(ask(handle))
    assert 1 <= refused <= len(burst) - SOCIAL_LIMIT


async def test_client_that_honours_retry_after_gets_every_profile(
    session: aiohttp.ClientSession,
) -> None:
    """All who wait as long as they are asked to are served in the end."""

    async def ask(handle: str) -> str:
        while True:
            async with session.get(f"/social/{handle}") as response:
                if response.status == 200:
                    return str((await response.json())["handle"])
                assert response.status == 429
                wait_s = float(response.headers["Retry-After"])
            await asyncio.sleep(wait_s)

    burst = HANDLES[: SOCIAL_LIMIT * 3]
    with anyio.fail_after(20):
        assert await asyncio.gather(*(ask(handle) for handle in burst)) == burst


def test_window_gives_each_refused_request_its_own_turn() -> None:
    """Refused requests that return on time are admitted, however many there were."""
    window = RequestWindow(limit=2, window_s=SOCIAL_WINDOW_S)
    waits = [window.admit(0.0) for _ in range(7)]
    assert waits == pytest.approx([0, 0, 0.22, 0.22, 0.44, 0.44, 0.66])
    for wait_s in waits[2:]:
        assert window.admit(wait_s + 0.001) == 0.0


def test_window_opens_again_after_its_length() -> None:
    """A request that comes one window later passes."""
    window = RequestWindow(limit=1, window_s=0.2)
    assert window.admit(5.0) == 0.0
    assert window.admit(5.19) > 0
    assert window.admit(5.2) == 0.0


# The time-zone table


@pytest.mark.parametrize(
    ("position", "latitude", "longitude"),
    [
        ("+4852+00220", 48.8667, 2.3333),
        ("-3352+15113", -33.8667, 151.2167),
        ("+404251-0740023", 40.7142, -74.0064),
        ("-0003-00005", -0.05, -0.0833),
    ],
)
def test_position_is_turned_into_degrees(position: str, latitude: float, longitude: float) -> None:
    """Minutes and seconds become decimals, and the sign counts for both."""
    assert parse_position(position) == (latitude, longitude)


def test_malformed_position_is_named() -> None:
    """An invalid position is quoted in the error."""
    with pytest.raises(ValueError, match=r"'48\.85N'"):
        parse_position("48.85N")
