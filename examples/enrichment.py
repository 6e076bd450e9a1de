"""Enrichment: what four sources know about each person, asked at once; what is missing, and why.

::

    People ──▶ EachPerson: once per person
               ┌──────────────────────────┐
               │   Sources                │
               │  ┌──────────┐            │
               │  │ profile  │            │
               │  │ location │ ──▶ Score  │
               │  │ social   │            │
               │  │ company  │            │
               │  └──────────┘            │
               │   ▲        │             │
               │   └────────┘ "ask again" │
               └──────────────────────────┘

The four run at once over HTTP. One of them limits requests and says when to come back,
one fails now and then: each is called up to four times, after the wait it asks for. A
source that fails is not an error: ``Sources`` notes what was found, and why the rest is missing.

Each source needs a search key: an e-mail address, a city, a handle, a company. What the
record lacks may be in the profile. Then ``Sources`` returns "ask again", and the sources that
could not be asked before are asked now. So the loop runs twice at most.

``Score`` adds up how far the findings can be trusted, and keeps the reasons.

The shared store: in: ``records``, with ``valid_indexes`` after a validation;
out: ``people``, in the order in which they are first named. Several records with one e-mail address
are one person.
"""

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from examples.client import ServiceGraph, ServiceNode, check_options, fault
from examples.inputs import Unreadable, many, places_of
from examples.record_checks import shown
from examples.workflow import Options, Row, Screen, Shared, Workflow, where, workers_or
from kaygraph import BatchGraph, Drop, Node, Outcome, RunReport
from kaygraph.nodes import HTTPStatusError
from kaygraph.patterns import Enrichment, ParallelEnrichmentNode, source

PEOPLE = Path(__file__).parent / "data" / "people.json"
SAMPLE = 40
WORKERS = 20
SHOWN = 40
WIDE = 100  # characters, for a table of four columns
FIELDS = ("email", "name", "handle", "city", "country", "company")  # what a record may contain
MAX_TEXT = 254  # characters; no address and no place name is longer


@dataclass(slots=True)
class Person:
    """One person, from the record to the findings.

    Attributes:
        where: What identifies the records about the person: ``{"id", "index"}`` and, if
            they are known, ``file`` and ``line``.
        record: The values in the records: those of the ``FIELDS`` that they contain.
        known: The same, and what the profile added.
        asked: The sources that were asked and have answered or failed.
        found: The answers, by source.
        missing: Why there is no answer, by source.
        why: The reasons for and against the findings: ``{"reason", "points"}``.
        confidence: The sum of the points, from 0 to 1.
    """

    record: dict[str, str]
    where: list[Row] = field(default_factory=list)
    known: dict[str, str] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    found: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    why: list[Row] = field(default_factory=list)
    confidence: float = 0.0


# --- who ------------------------------------------------------------------------------------------


class People(Node[Any, Any]):
    """Makes a person of each e-mail address, and of each record without one."""

    def post(self, shared: Shared, prep_res: Any, exec_res: Any, /) -> None:
        records = shared["records"]
        indexes = shared.get("valid_indexes", range(len(records)))
        shared["people"] = people_in(records, indexes)


def people_in(records: Sequence[Any], indexes: Iterable[int]) -> list[Person]:
    """Return the people in the records with these indexes."""
    people: dict[str | int, Person] = {}
    places = places_of(records)
    for index in indexes:
        record = records[index]
        own = texts(record)
        person = people.setdefault(own.get("email", "").casefold() or index, Person(own))
        person.where.append(where(record, index, places[index]))
        person.record = {**own, **person.record}  # the first record with a value decides
        person.known = dict(person.record)
        if "email" not in own:
            fault = "has no e-mail address" if isinstance(record, dict) else "is not an object"
            fault = f"cannot be read ({record})" if isinstance(record, Unreadable) else fault
            person.missing["email"] = f"the record {fault}: there is nobody to ask about"
    return list(people.values())


def texts(source: Any) -> dict[str, str]:
    """Return those of the ``FIELDS`` that contain a text short enough to ask by."""
    values = {name: source.get(name) for name in FIELDS} if isinstance(source, Mapping) else {}
    return {
        name: value.strip()
        for name, value in values.items()
        if isinstance(value, str) and 0 < len(value.strip()) <= MAX_TEXT
    }


class EachPerson(BatchGraph):
    """Walks its graph once per person; nodes find theirs in ``self.params``."""

    def prep(self, shared: Shared, /) -> Iterable[Mapping[str, Any]]:
        return ({"person": one} for one in shared["people"] if "email" in one.record)


# --- the four sources -----------------------------------------------------------------------------

# The endpoint of each.
SOURCES = {"profile": "people", "location": "places", "social": "social", "company": "companies"}


class Sources(ServiceNode, ParallelEnrichmentNode[Person]):
    """Asks all four, and again those for which the profile had a search key."""

    def prep(self, shared: Shared, /) -> Person:
        person: Person = self.params["person"]
        return person

    @source
    async def profile(self, person: Person) -> Any:
        """What people say about themselves: name, handle, city, company."""
        return await self.answer_of("profile", person, by="email")

    @source
    async def location(self, person: Person) -> Any:
        """Country, position and time zone of a city."""
        return await self.answer_of("location", person, by="city")

    @source
    async def social(self, person: Person) -> Any:
        """What is public about a handle. Above 10 requests in 0.2 s: 429 with Retry-After."""
        return await self.answer_of("social", person, by="handle")

    @source
    async def company(self, person: Person) -> Any:
        """The owner of a domain. Fails for one request in four, and for one domain always."""
        return await self.answer_of("company", person, by="company")

    async def answer_of(self, source: str, person: Person, by: str) -> Any:
        """Ask a source. ``Drop`` is not a failure: the run report counts it as skipped."""
        if source in person.asked:
            raise Drop("was asked before")
        if by not in person.known:
            raise Drop(f"no {by} is known")
        return await self.ask(SOURCES[source], person.known[by])

    def reason(self, outcome: Outcome[Any], /) -> str:
        """Say why a source returned nothing; an error that is not a source's fault is raised."""
        tried = "1 attempt" if outcome.attempts == 1 else f"{outcome.attempts} attempts"
        match outcome.error:
            case None | Drop():
                return super().reason(outcome)
            case HTTPStatusError(status=404):
                return "unknown there"
            case error:
                return f"{fault(SOURCES[outcome.name], error)} ({tried})"

    def post(self, shared: Shared, person: Person, answers: Enrichment[Person], /) -> str | None:
        """Note what is new, and ask again if the profile has new search keys."""
        new = {by: why for by, why in answers.missing.items() if by not in person.asked}
        person.asked |= answers.found.keys() | answers.errors.keys()
        person.found |= answers.found
        person.missing = {
            by: why for by, why in (person.missing | new).items() if by not in person.found
        }
        profile = texts(person.found.get("profile"))
        news = profile.keys() - person.known.keys()
        person.known = {**profile, **person.known}
        return "ask again" if news & {"handle", "city", "company"} else None


# --- how far to trust it --------------------------------------------------------------------------

# They add up to 1. If two sources contradict each other, the points are subtracted.
POINTS = {
    "profile": 0.30,  # the address is somebody's
    "name": 0.15,  # record and profile agree on the name
    "place": 0.15,  # record and profile agree on the city; without one, the country is the city's
    "location": 0.10,  # the city exists
    "social": 0.10,  # the handle exists
    "company": 0.10,  # the company exists
    "domain": 0.10,  # the mail address belongs to the company
}


class Score(Node[Person, list[Row]]):
    """Computes the confidence. Written ``async def`` because it takes microseconds."""

    def prep(self, shared: Shared, /) -> Person:
        person: Person = self.params["person"]
        return person

    async def exec(self, person: Person, /) -> list[Row]:
        return [{"reason": reason, "points": points} for reason, points in evidence(person)]

    def post(self, shared: Shared, person: Person, why: list[Row], /) -> None:
        person.why = why
        person.confidence = max(0.0, round(sum(row["points"] for row in why), 2))


def evidence(person: Person) -> Iterator[tuple[str, float]]:
    """Yield the reasons for and against the findings, with their points."""
    record = person.record
    profile, location, social, company = (person.found.get(source) for source in SOURCES)
    if profile:
        yield "the address has a profile", POINTS["profile"]
        yield from agreement("record and profile", "name", record.get("name"), profile.get("name"))
    if profile and "city" in record:
        yield from agreement("record and profile", "place", record["city"], profile.get("city"))
    elif location and "country" in record:
        there = location.get("country_code")
        yield from agreement("record and location", "place", record["country"], there)
    if location:
        yield "the city exists", POINTS["location"]
    if social:
        yield "the handle exists", POINTS["social"]
    if company:
        yield "the company exists", POINTS["company"]
        if same(record["email"].rpartition("@")[2], company.get("domain")):
            yield "the mail address belongs to the company", POINTS["domain"]


def agreement(who: str, what: str, one: Any, other: Any) -> Iterator[tuple[str, float]]:
    """Compare the values of two sources; if one has none there is nothing to compare."""
    if one and other and same(one, other):
        yield f"{who} agree on the {what}", POINTS[what]
    elif one and other:
        yield f"{who} contradict each other on the {what}", -POINTS[what]


def same(one: Any, other: Any) -> bool:
    """Compare texts as people do: letter case, spacing and the encoding of accents do not count."""
    one, other = (
        " ".join(unicodedata.normalize("NFKC", str(text)).casefold().split())
        for text in (one, other)
    )
    return bool(one == other)


# --- the graph ------------------------------------------------------------------------------------


def build(options: Options) -> ServiceGraph:
    sources = Sources()
    sources - "ask again" >> sources
    each = EachPerson(sources >> Score(), max_workers=workers_or(options, WORKERS))
    line = People() >> each
    return ServiceGraph(line, name="enrichment", seed=options.seed, services=options.services)


# --- input and output -----------------------------------------------------------------------------


def prepare(options: Options) -> Shared:
    check_options(options)
    if options.records is not None:
        return {"records": options.records}
    people = json.loads(PEOPLE.read_text("utf-8"))[:SAMPLE]
    return {"records": [texts(person) for person in people]}


def rows(shared: Shared) -> Iterable[Row]:
    """Yield ``{"email", "records", "found", "missing", "confidence", "why"}`` per person.

    ``records`` identifies the records about the person: ``{"id", "index"}`` of each, and ``file``
    and ``line`` if known.
    ``found`` and ``missing`` are by source: the answer, or the reason why there is none. ``why``
    is a list of ``{"reason", "points"}``. A record without an e-mail address has None for
    ``email`` and one reason, under "email", in ``missing``.
    """
    for person in shared["people"]:
        yield {
            "email": person.record.get("email"),
            "records": person.where,
            "found": person.found,
            "missing": person.missing,
            "confidence": person.confidence,
            "why": person.why,
        }


def show(shared: Shared, report: RunReport, screen: Screen) -> None:
    people: list[Person] = shared["people"]
    complete = sum(not person.missing for person in people)
    partial = sum(bool(person.missing and person.found) for person in people)
    screen.print(
        f"{many(len(people), 'person', 'people')}: {complete:,} complete, {partial:,} partial, "
        f"{len(people) - complete - partial:,} of whom nothing was found"
    )
    if people:
        narrow = getattr(screen, "width", WIDE) < WIDE
        screen.print(table_of_people(people[:SHOWN], len(people), narrow))
        screen.print(table_of_sources(people))


def table_of_people(people: list[Person], total: int, narrow: bool = False) -> Table:
    """Return who was found and what is missing; on a narrow screen, one below the other."""
    some = "" if len(people) == total else f"the first {len(people)} of "
    columns = ("person",) if narrow else ("person", "found", "missing")
    table = Table(*columns, title=some + many(total, "person", "people"), show_lines=narrow)
    table.add_column("confidence", justify="right")
    for person in people:
        missing = [f"{source}: {why}" for source, why in person.missing.items()]
        email = shown(person.record["email"])[1:-1] if "email" in person.record else "(no e-mail)"
        found, confidence = summary(person.found), f"{person.confidence:.2f}"
        if narrow:
            lines = [email, found, *(f"missing {one}" for one in missing)]
            table.add_row("\n".join(filter(None, lines)), confidence)
        else:
            table.add_row(email, found, "\n".join(missing), confidence)
    return table


def summary(found: Mapping[str, Any]) -> str:
    """Return the findings in a line: name, place, number of followers, company."""
    parts = [
        found.get("profile", {}).get("name"),
        found.get("location", {}).get("country"),
        f"{found['social'].get('followers')} followers" if "social" in found else None,
        found.get("company", {}).get("name"),
    ]
    return ", ".join(str(part) for part in parts if part)


def table_of_sources(people: list[Person]) -> Table:
    """How many people each source knew, and how often it returned nothing for which reason."""
    table = Table("source", "result", title="Sources")
    table.add_column("people", justify="right")
    reasons = Counter(pair for person in people for pair in person.missing.items())
    for name in (*SOURCES, "email"):
        if name in SOURCES:
            table.add_row(name, "found", str(sum(name in person.found for person in people)))
        for (by, why), times in reasons.most_common():
            if by == name:
                table.add_row("" if name in SOURCES else "none asked", why, str(times))
        table.add_section()
    return table


WORKFLOW = Workflow(
    name="enrichment",
    summary="four sources at once on each person: profile, location, social media, company",
    words=frozenset(
        {"enrich", "enriches", "enriched", "enrichment", "augment", "complete", "lookup", "profile"}
        | {"profiles"}
    ),
    prepare=prepare,
    build=build,
    rows=rows,
    show=show,
    types=(Person,),
)
