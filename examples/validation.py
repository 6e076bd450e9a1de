"""Validation: a thousand records, four checks at once on each, sixteen records at once.

::

    EachRecord: once per record
    ┌────────────────────────────────────┐
    │  Checks                            │
    │ ┌──────────┐                       │
    │ │ security │                       │
    │ │ format   │  ┌─ "valid" ──▶ Keep  │
    │ │ rules    ├──┤                    │
    │ │ external │  └─ "invalid" ▶ Reject│
    │ └──────────┘                       │
    └────────────────────────────────────┘

Four checks start at once on the same record. When all four have ended,
the node adds up their findings, and the action that it returns chooses the next node. A
``BatchGraph`` walks this small graph once per record. ``external`` sends a real HTTP request for
each record, and while one record waits for its answer, others are processed.

The shared store: in: ``records`` (any JSON values); out: ``valid`` (the records unchanged),
``valid_indexes`` (their indexes among the records), ``invalid`` (``{"index", "line", "record",
"problems"}``) and ``problems`` (a list for each record), in the order of the input. A record
that breaks several things has several problems.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from examples import record_checks
from examples.client import ServiceGraph, ServiceNode, check_options, fault
from examples.inputs import Unreadable, many, places_of, read_records
from examples.record_checks import Fault, shown
from examples.workflow import Options, Row, Screen, Shared, Workflow, identity, where, workers_or
from kaygraph import BatchGraph, Node, RunReport
from kaygraph.nodes import HTTPConnectionError, HTTPTimeoutError
from kaygraph.patterns import ParallelValidationNode, ValidationSummary, check

RECORDS = Path(__file__).parent / "data" / "records.jsonl"
WORKERS = 16  # more would wait for one another: the checks share one processor
CHECKS = ("security", "format", "rules", "external")
SHOWN = 10


class Checks(ServiceNode, ParallelValidationNode[Any]):
    """The four: each checks the record of its round, and returns the faults it finds.

    Three of them take microseconds and never wait. They are written ``async def`` nevertheless:
    a ``def`` runs in a thread, and getting there and back costs more than the check.
    """

    def prep(self, shared: Shared, /) -> Any:
        return self.params["record"]

    @check
    async def security(self, record: Any) -> Iterable[Fault]:
        """SQL injection, cross-site scripts, path traversal, leaked secrets, in any text."""
        return record_checks.security(record)

    @check
    async def format(self, record: Any) -> Iterable[Fault]:
        """Each field by itself: does it exist, with the right type and form?"""
        return record_checks.format(record)

    @check
    async def rules(self, record: Any) -> Iterable[Fault]:
        """Fields together: amounts, ages, dates in order."""
        return record_checks.rules(record)

    @check
    async def external(self, record: Any) -> list[Fault]:
        """Asks a service over HTTP whether mail can reach the address; retries if it is busy."""
        if isinstance(record, Unreadable):
            return []
        email = record.get("email") if isinstance(record, dict) else None
        if not isinstance(email, str) or not 0 < len(email) <= record_checks.MAX_EMAIL:
            return [("email", "not_checked", "there is no address to ask about")]
        answer = await self.ask("check", email)
        faults = []
        if answer["disposable"]:
            reason = f"{shown(answer['domain'])} gives out disposable addresses"
            faults.append(("email", "disposable_email", reason))
        if not answer["deliverable"]:
            reason = f"no mail can reach the domain {shown(answer['domain'])}"
            faults.append(("email", "undeliverable_email", reason))
        return faults

    def post(self, shared: Shared, record: Any, summary: ValidationSummary[Any], /) -> str:
        """Note the problems and choose the next node.

        A record that the service failed to check is unchecked, which is a problem of its
        own. A service that cannot be reached at all ends the run.
        """
        found = summary.problems
        for by, error in summary.errors.items():
            if isinstance(error, HTTPConnectionError) and not isinstance(error, HTTPTimeoutError):
                # The same text for all records, so that it is reported once.
                raise ConnectionError(f"{shared['services']} could not be reached") from error
            reason = f"could not be checked: {fault('check', error)}"
            found.append((by, ("email", "not_checked", reason)))
        shared["problems"][self.params["index"]] = [
            {"check": by, "field": field, "kind": kind, "reason": reason}
            for by, (field, kind, reason) in found
        ]
        return "invalid" if found else "valid"


class Keep(Node[Any, Any]):
    """Stores a valid record."""

    def post(self, shared: Shared, prep_res: Any, exec_res: Any, /) -> None:
        shared["valid"][self.params["index"]] = self.params["record"]


class Reject(Node[Any, Any]):
    """Stores an invalid record with all of its problems."""

    def post(self, shared: Shared, prep_res: Any, exec_res: Any, /) -> None:
        index = self.params["index"]
        problems = shared["problems"][index]
        line = places_of(shared["records"])[index].line
        row = {"index": index, "line": line, "record": self.params["record"], "problems": problems}
        shared["invalid"][index] = row


class EachRecord(BatchGraph):
    """Walks its graph once per record; nodes find theirs in ``self.params``."""

    def prep(self, shared: Shared, /) -> Iterable[Mapping[str, Any]]:
        records = shared["records"]
        shared["problems"] = [None] * len(records)
        shared["valid"], shared["invalid"] = {}, {}
        return ({"record": record, "index": index} for index, record in enumerate(records))

    def post(self, shared: Shared, prep_res: Any, exec_res: Any, /) -> None:
        shared["valid_indexes"] = sorted(shared["valid"])
        for verdict in ("valid", "invalid"):  # rounds end in any order: restore that of the input
            stored = shared[verdict]
            shared[verdict] = [stored[index] for index in sorted(stored)]


def build(options: Options) -> ServiceGraph:
    checks = Checks()
    checks - "valid" >> Keep()
    checks - "invalid" >> Reject()
    each = EachRecord(checks, max_workers=workers_or(options, WORKERS))
    return ServiceGraph(each, name="validation", seed=options.seed, services=options.services)


# --- input and output -----------------------------------------------------------------------------


def prepare(options: Options) -> Shared:
    check_options(options)
    if options.records is not None:
        return {"records": options.records}
    return {"records": read_records(str(RECORDS))}


def rows(shared: Shared) -> Iterable[Row]:
    """Yield ``{"id", "index", "status", "problems": [{"check", "field", "kind", "reason"}]}``.

    There is one per record, in order. ``id`` is the record's own if that is a text or a whole
    number, otherwise None; ``index`` counts the records from 0. ``file`` and ``line`` are included
    if known.
    """
    records, found, places = shared["records"], shared["problems"], places_of(shared["records"])
    for index, (record, problems) in enumerate(zip(records, found, strict=True)):
        status = "invalid" if problems else "valid"
        yield {**where(record, index, places[index]), "status": status, "problems": problems}


def show(shared: Shared, report: RunReport, screen: Screen) -> None:
    valid, invalid = shared["valid"], shared["invalid"]
    records = many(len(shared["records"]), "record")
    screen.print(f"{records}: {len(valid):,} valid, {len(invalid):,} invalid")
    if invalid:
        screen.print(table_of_kinds(invalid), table_of_records(invalid[:SHOWN]))


def table_of_kinds(invalid: list[Row]) -> Table:
    """How often each kind of problem was found, by check."""
    table = Table("check", "kind of problem", title="What failed")
    table.add_column("times", justify="right")
    found = Counter((p["check"], p["kind"]) for one in invalid for p in one["problems"])
    for name in CHECKS:
        kinds = [(kind, times) for (by, kind), times in found.most_common() if by == name]
        table.add_row(name, "all of them", str(sum(times for _, times in kinds)))
        for kind, times in kinds:
            table.add_row("", kind.replace("_", " "), str(times))
        table.add_section()
    return table


def table_of_records(invalid: list[Row]) -> Table:
    """What is wrong with each of these records, and why."""
    table = Table("record", "check", "field", "why", title=f"The first {len(invalid)} invalid")
    for one in invalid:
        number = identity(one["record"])
        line = one["line"]
        name = f"number {one['index'] + 1}" if line is None else f"line {line}"
        name = name if number is None else shown(number)
        for problem in one["problems"]:
            table.add_row(name, problem["check"], problem["field"], problem["reason"])
            name = ""
        table.add_section()
    return table


WORKFLOW = Workflow(
    name="validation",
    summary="four checks at once on each of many records: security, format, rules, external",
    words=frozenset(
        {"validate", "validates", "validation", "valid", "invalid", "check", "checks", "checked"}
        | {"verify", "verifies", "verification"}
    ),
    prepare=prepare,
    build=build,
    rows=rows,
    show=show,
)
