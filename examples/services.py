"""The HTTP service that the examples use: a real server on a real socket.

The people and companies are made up (see ``examples/data/make_data.py``). The places
are real: they come from the IANA time-zone table in the ``tzdata`` package.

==============  ==========  ==========================================================
Endpoint        Latency ms  How it misbehaves
==============  ==========  ==========================================================
/people         10 to 40    never
/places         5 to 30     never
/social         15 to 60    429 with Retry-After beyond 10 requests in any 0.2 s
/companies      10 to 50    503 for one attempt in four; one company is always down
/check          2 to 8      never
/records        5 to 10     never; then as fast as the client reads
/               0           never
==============  ==========  ==========================================================

This is the one place in the project where a program waits on purpose: the latency
stands in for distance. Clients send real requests and wait for real answers. Latencies
and 503s are drawn from the seed, the path and (for a 503) the number of the attempt at
that path, so they do not depend on the order in which requests arrive. A 429 comes
from load alone, and at once.

Run it by itself with ``python -m examples.services --port 0 --seed 7``.
"""

import argparse
import asyncio
import itertools
import json
import math
import random
import re
import sys
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from datetime import date, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any, Self
from zoneinfo import ZoneInfo

from aiohttp import web

__all__ = ["DOWN_DOMAIN", "Services", "fails", "latency_s"]

Record = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

DATA = Path(__file__).parent / "data"

LATENCY_MS: dict[str, tuple[float, float]] = {
    "people": (10, 40),
    "places": (5, 30),
    "social": (15, 60),
    "companies": (10, 50),
    "check": (2, 8),
    "records": (5, 10),
    "index": (0, 0),
}
FAILURE_SHARE = 0.25
DOWN_DOMAIN = "sleepyharbour.example"
SOCIAL_LIMIT = 10
SOCIAL_WINDOW_S = 0.2
# Clients return a little late, which delays every later place in the window.
SOCIAL_MARGIN_S = 0.02
SOCIAL_ABSENT_SHARE = 0.06
# RFC 2606 and RFC 6761 reserve these, and RFC 6762 reserves .local.
RESERVED_TLDS = frozenset({"example", "invalid", "local", "localhost", "test"})
# RFC 2606 reserves these for documentation. Here they are mail providers.
DOCUMENTATION_DOMAINS = frozenset({"example.com", "example.net", "example.org"})
SHUTDOWN_S = 0.1
RECORDS_PER_TURN = 50


def latency_s(seed: int, endpoint: str, path: str) -> float:
    """Return how many seconds a request for ``path`` takes; the same for the same arguments."""
    low, high = LATENCY_MS[endpoint]
    return random.Random(f"{seed}:latency:{path}").uniform(low, high) / 1000


def fails(seed: int, path: str, attempt: int) -> bool:
    """Return whether the given attempt at ``path`` (the first is 1) is answered with 503."""
    return random.Random(f"{seed}:failure:{path}:{attempt}").random() < FAILURE_SHARE


class RequestWindow:
    """At most ``limit`` requests in any ``window_s`` seconds; the others learn when to return."""

    def __init__(self, limit: int, window_s: float) -> None:
        self._limit = limit
        self._window_s = window_s
        self._admitted: deque[float] = deque()
        self._turns: deque[float] = deque()

    def admit(self, now: float) -> float:
        """Return 0.0 if a request at ``now`` may pass, otherwise the seconds until its turn.

        Requests that were refused together get different turns, or they would come
        back together and most of them would be refused again.
        """
        while self._admitted and self._admitted[0] <= now - self._window_s:
            self._admitted.popleft()
        while self._turns and self._turns[0] <= now:
            self._turns.popleft()
        if len(self._admitted) < self._limit:
            self._admitted.append(now)
            return 0.0
        ahead = [*self._admitted, *self._turns]
        self._turns.append(ahead[-self._limit] + self._window_s + SOCIAL_MARGIN_S)
        return self._turns[-1] - now


def read_places() -> dict[str, Record]:
    """Read every city that names a zone in the IANA table, by its name in lower case.

    Raises:
        RuntimeError: If the ``tzdata`` package is not installed.
    """
    try:
        folder = resources.files("tzdata") / "zoneinfo"
    except ModuleNotFoundError as error:
        raise RuntimeError(
            "The places come from the package 'tzdata', which is not installed. "
            "Type: python -m pip install tzdata"
        ) from error
    countries = _rows((folder / "iso3166.tab").read_text("utf-8"))
    country_names = {code: name for code, name, *_ in countries}
    places = {}
    for code, position, zone, *_ in _rows((folder / "zone.tab").read_text("utf-8")):
        city = zone.rpartition("/")[2].replace("_", " ")
        latitude, longitude = parse_position(position)
        places[city.casefold()] = {
            "city": city,
            "zone": zone,
            "country_code": code,
            "country": country_names[code],
            "latitude": latitude,
            "longitude": longitude,
        }
    return places


def _rows(table: str) -> list[list[str]]:
    return [line.split("\t") for line in table.splitlines() if line and line[0] != "#"]


def parse_position(position: str) -> tuple[float, float]:
    """Turn ISO 6709 such as ``+4852+00220`` or ``+404251-0740023`` into degrees."""
    match = re.fullmatch(r"([+-])(\d\d)(\d\d)(\d\d)?([+-])(\d{3})(\d\d)(\d\d)?", position)
    if match is None:
        raise ValueError(f"Position {position!r} is not ±DDMM[SS]±DDDMM[SS] (ISO 6709).")
    parts = match.groups()
    latitude, longitude = (
        (-1 if sign == "-" else 1) * (int(degrees) + int(minutes) / 60 + int(seconds or 0) / 3600)
        for sign, degrees, minutes, seconds in (parts[:4], parts[4:])
    )
    return round(latitude, 4), round(longitude, 4)


def social_profile(handle: str) -> Record | None:
    """Make up public data about ``handle``: the same each time, None for some handles."""
    draw = random.Random(f"social:{handle}")
    if draw.random() < SOCIAL_ABSENT_SHARE:
        return None
    interests = ["chess", "cooking", "cycling", "films", "gardening", "jazz", "maps", "sailing"]
    return {
        "handle": handle,
        "followers": draw.randint(0, 5000),
        "following": draw.randint(0, 800),
        "posts": draw.randint(1, 3000),
        "interests": sorted(draw.sample(interests, draw.randint(1, 3))),
        "last_post": (date(2026, 1, 1) + timedelta(days=draw.randint(0, 180))).isoformat(),
    }


class Services:
    """An HTTP server for the length of an ``async with`` block.

    Entering starts it on a free port; leaving closes every connection and ends every
    request in flight within about 0.1 s. It may be entered again, and then starts
    afresh: the counters and the attempts at each path return to zero.

    Attributes:
        requests: How many requests each endpoint received ("people", "places", "social",
            "companies", "check", "records", "index"), including refused ones.
        open_streams: How many clients are reading ``/records`` now.
        records_sent: How many records ``/records`` has written, to all clients.
        domains: The domains that ``/companies`` knows, including DOWN_DOMAIN.

    Raises:
        OSError: On entering, if the port is taken.
    """

    def __init__(self, seed: int = 7, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.seed = seed
        self.requests: Counter[str] = Counter()
        self.open_streams = 0
        self.records_sent = 0
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None
        self._attempts: Counter[str] = Counter()
        self._window = RequestWindow(SOCIAL_LIMIT, SOCIAL_WINDOW_S)
        people = json.loads((DATA / "people.json").read_text("utf-8"))
        companies = json.loads((DATA / "companies.json").read_text("utf-8"))
        domains = (DATA / "disposable_domains.txt").read_text("utf-8").splitlines()
        records = (DATA / "records.jsonl").read_text("utf-8").splitlines()
        self._people: dict[str, Record] = {p["email"].casefold(): p for p in people}
        self._handles = {person["handle"] for person in people}
        self._companies: dict[str, Record] = {c["domain"]: c for c in companies}
        self.domains = list(self._companies)
        self._disposable = frozenset(d for d in domains if d and not d.startswith("#"))
        self._records: list[Record] = [json.loads(line) for line in records]
        self._places = read_places()

    @property
    def url(self) -> str:
        """The address such as ``http://127.0.0.1:40123``; RuntimeError if nothing runs there."""
        if self._runner is None:
            raise RuntimeError(
                "Services has no address before it is started. "
                "Write: async with Services() as services: ... services.url"
            )
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    async def __aenter__(self) -> Self:
        if self._runner is not None:
            raise RuntimeError("This Services is running already. Make another one for a second.")
        self.requests.clear()
        self.open_streams = self.records_sent = 0
        self._attempts.clear()
        self._window = RequestWindow(SOCIAL_LIMIT, SOCIAL_WINDOW_S)
        runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=SHUTDOWN_S)
        try:
            await runner.setup()
            await web.TCPSite(runner, self._host, self._port).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[self._answer_from_afar])
        for name, path, handler in (
            ("people", "/people/{email}", self._get_person),
            ("places", "/places/{city}", self._get_place),
            ("social", "/social/{handle}", self._get_social),
            ("companies", "/companies/{domain}", self._get_company),
            ("check", "/check/{email}", self._check_address),
            ("records", "/records", self._stream_records),
            ("index", "/", self._get_index),
        ):
            application.router.add_get(path, handler, name=name)
        return application

    @web.middleware
    async def _answer_from_afar(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count the request, delay it by its latency, and answer errors in JSON."""
        endpoint = request.match_info.route.name
        if endpoint is not None:
            self.requests[endpoint] += 1
            if endpoint == "social":
                wait_s = self._window.admit(asyncio.get_running_loop().time())
                if wait_s > 0:
                    return _refusal(wait_s)
            latency = latency_s(self.seed, endpoint, request.path)
            await asyncio.sleep(latency)
        try:
            return await handler(request)
        except web.HTTPMethodNotAllowed:
            return _error(405, f"Method {request.method} is not supported here. Use GET.")
        except web.HTTPNotFound:
            return _error(404, f"Nothing at {request.path!r}. GET / lists the endpoints.")

    async def _get_index(self, request: web.Request) -> web.Response:
        registered = (route.resource for route in request.app.router.routes())
        paths = sorted({resource.canonical for resource in registered if resource is not None})
        return web.json_response({"endpoints": paths})

    async def _get_person(self, request: web.Request) -> web.Response:
        email = request.match_info["email"]
        person = self._people.get(email.casefold())
        if person is None:
            return _error(404, f"Nobody here has the e-mail address {email!r}.")
        return web.json_response(person)

    async def _get_place(self, request: web.Request) -> web.Response:
        city = request.match_info["city"]
        place = self._places.get(city.replace("_", " ").casefold())
        if place is None:
            return _error(404, f"No time zone is named after {city!r}.")
        offset = datetime.now(ZoneInfo(place["zone"])).utcoffset() or timedelta()
        return web.json_response(place | {"utc_offset_minutes": offset // timedelta(minutes=1)})

    async def _get_social(self, request: web.Request) -> web.Response:
        handle = request.match_info["handle"]
        profile = social_profile(handle) if handle in self._handles else None
        if profile is None:
            return _error(404, f"Nobody here goes by {handle!r}.")
        return web.json_response(profile)

    async def _get_company(self, request: web.Request) -> web.Response:
        domain = request.match_info["domain"].casefold()
        company = self._companies.get(domain)
        if company is None:
            return _error(404, f"No company here owns the domain {domain!r}.")
        self._attempts[request.path] += 1
        attempt = self._attempts[request.path]
        if domain == DOWN_DOMAIN or fails(self.seed, request.path, attempt):
            return _error(503, f"The register failed at attempt {attempt} for {domain!r}.")
        return web.json_response(company)

    async def _check_address(self, request: web.Request) -> web.Response:
        """Judge the domain of an address; a text that is not an address has none."""
        email = request.match_info["email"]
        address = re.fullmatch(r"[^@\s]+@([^@\s]+)", email)
        domain = address[1].casefold() if address else ""
        labels = domain.split(".")
        # Disposable providers also accept mail for any subdomain of their own.
        parents = {".".join(labels[start:]) for start in range(len(labels))}
        known = domain in self._companies or domain in DOCUMENTATION_DOMAINS
        may_exist = len(labels) > 1 and all(labels) and labels[-1] not in RESERVED_TLDS
        return web.json_response(
            {
                "email": email,
                "domain": domain,
                "disposable": not parents.isdisjoint(self._disposable),
                "deliverable": known or may_exist,
            }
        )

    async def _stream_records(self, request: web.Request) -> web.StreamResponse:
        """Write records until the limit or until the client goes away."""
        limit = request.query.get("limit")
        if limit is not None and not re.fullmatch(r"[0-9]{1,12}", limit):
            return _error(400, f"limit must be a whole number of at least 0, got {limit!r}.")
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        records = itertools.cycle(self._records)
        sequences = itertools.count(1) if limit is None else range(1, int(limit) + 1)
        self.open_streams += 1
        try:
            await response.prepare(request)
            for sequence, record in zip(sequences, records, strict=False):
                line = json.dumps({**record, "sequence": sequence}, ensure_ascii=False)
                await response.write(line.encode() + b"\n")
                self.records_sent += 1
                if sequence % RECORDS_PER_TURN == 0:
                    # write() returns without a pause until the client falls behind, and
                    # other requests must have their turn.
                    await asyncio.sleep(0)
            await response.write_eof()
        except ConnectionError:
            pass  # the client has what it wanted
        finally:
            self.open_streams -= 1
        return response


def _refusal(wait_s: float) -> web.Response:
    # RFC 9110 requires whole seconds. Servers with short windows send decimals nevertheless,
    # and a client that rounds up is merely slow.
    message = f"At most {SOCIAL_LIMIT} requests in {SOCIAL_WINDOW_S} s."
    return _error(429, message, {"Retry-After": f"{math.ceil(wait_s * 1000) / 1000:.3f}"})


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"error": message}, status=status, headers=headers)


async def serve(port: int, seed: int) -> None:
    """Run the service and print its address; ends only by cancellation."""
    async with Services(seed, port=port) as services:
        print(services.url, flush=True)
        await asyncio.Event().wait()


def main() -> int:
    """Run the service in the foreground until Ctrl-C; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m examples.services", description=serve.__doc__)
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--seed", type=int, default=7, help="of latencies and failures (7)")
    options = parser.parse_args()
    try:
        asyncio.run(serve(options.port, options.seed))
    except KeyboardInterrupt:
        return 0
    except (OSError, OverflowError) as error:
        print(f"Cannot listen on port {options.port} ({error}). Try --port 0.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
