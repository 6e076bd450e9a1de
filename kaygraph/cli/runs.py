"""``kaygraph runs``: inspect recorded runs, and resume them."""

import json
import sys
from typing import Any

from ..errors import JournalUnavailableError, RunUnknownError
from ..journal.journal import Journal
from ..journal.records import RunRecord
from ..journal.retention import check_keep
from ..journal.waiting import asked
from .arguments import Command, Options, flag, several, takes
from .failing import report_failure
from .loading import from_json, load_graph, named_values
from .recorded import check_recorded
from .shared import SHARED, shared_of
from .tables import since, table, times
from .wrong import WrongCommandError

WAITS = 75  # exit code of a waiting run: EX_TEMPFAIL of sysexits.h, try again later


def list_runs(options: Options) -> int:
    """Print the runs, newest first."""
    runs = Journal(options.journal).runs()
    if options.json:
        _print_json([_facts(run) for run in runs])
        return 0
    if not runs:
        print("no runs")
        return 0
    rows = [
        (
            run.run,
            run.graph,
            run.status,
            since(run.created),
            since(run.updated),
            run.error or run.action or "",
        )
        for run in runs
    ]
    print(table(("run", "graph", "status", "begun", "last", ""), rows))
    _print_caveats(options.journal)
    return 0


def show_run(options: Options) -> int:
    """Print what is recorded about a run."""
    record = Journal(options.journal).show(options.run)
    if options.json:
        _print_json(_record_facts(record))
        return 0
    info = record.info
    print(f"{info.run}: {info.graph}, {info.status}, begun {times(info.created)}")
    if info.action:
        print(f"ended with the action {info.action!r}")
    if info.error:
        print(f"failed: {info.error}")
    for wait in record.waits:
        print(f"waits for {wait.id}" + ("" if wait.ask is None else f": {asked(wait.ask)}"))
    rows = [
        (node.name, node.results, node.failed, node.dropped, node.attempts, f"{node.seconds:.3f}")
        for node in record.nodes
    ]
    if rows:
        print()
        print(table(("node", "results", "failed", "dropped", "attempts", "seconds"), rows))
    for node in record.nodes:
        for error in node.errors:
            print(f"{node.name}: {error}")
    if options.points:
        print()
        print(table(("point", "recorded"), [(p.path, times(p.at)) for p in record.points]))
    return 0


def resume(options: Options) -> int:
    """Resume a recorded run, or begin one with ``--new``."""
    graph = load_graph(options.graph)
    shared = shared_of(options.input, options.set)
    redo: Any = "failed" if options.redo == ["failed"] else options.redo
    journal = Journal(
        options.journal, run=options.run, redo=redo, accept=options.accept,
        on_wait="stay" if options.stay else "exit",
    )  # fmt: skip
    named = [*options.redo, *options.accept]
    if options.new:
        _check_new(journal, named)
    else:
        check_recorded(journal, named, " To begin a run with this id, add --new")
    try:
        action = graph.run(shared, journal=journal)
    except Exception as error:
        report_failure(error)
        return 1
    status = journal.show().info.status
    if status == "waits":
        print(f"run {options.run!r}: waits")
        return WAITS
    print(f"run {options.run!r}: {status}" + ("" if action is None else f", action {action!r}"))
    return 0


def _check_new(journal: Journal, named: list[str]) -> None:
    if named:
        raise WrongCommandError("--redo and --accept need a recorded run: leave out --new")
    try:
        journal.show()
    except (RunUnknownError, JournalUnavailableError):
        return
    raise WrongCommandError(
        f"run {journal.run!r} is recorded already: leave out --new to resume it"
    )


def answer(options: Options) -> int:
    """Answer what a run is waiting for."""
    value = from_json(options.value, "an answer")
    Journal(options.journal).answer(options.run, options.name, value, early=options.early)
    print(f"answered {options.name!r} of run {options.run!r}; if it is not running, resume it")
    return 0


def fork(options: Options) -> int:
    """Make a run that continues from a point of another one."""
    new = Journal(options.journal).fork(
        options.run, at=options.at, set=named_values(options.set), new=options.new
    )
    print(new)
    return 0


def prune(options: Options) -> int:
    """Remove finished runs, except those to keep."""
    keep = int(options.keep) if options.keep.isdecimal() else options.keep
    try:
        check_keep(keep)
    except ValueError:
        raise WrongCommandError(
            f"KEEP must be a number of runs, as in 20, or an age, as in 30d; got {keep!r}"
        ) from None
    gone = Journal(options.journal).prune(keep, unfinished=options.unfinished)
    print(f"removed {len(gone)} runs" if len(gone) != 1 else "removed 1 run")
    return 0


def _print_json(value: Any) -> None:
    json.dump(value, sys.stdout, indent=2, default=str)
    print()


def _facts(info: Any) -> dict[str, Any]:
    left_out = ("input", "seed")
    return {name: getattr(info, name) for name in info.__slots__ if name not in left_out}


def _record_facts(record: RunRecord) -> dict[str, Any]:
    def facts(thing: Any) -> dict[str, Any]:
        return {name: getattr(thing, name) for name in thing.__slots__}

    return {
        **_facts(record.info),
        "nodes": [facts(node) for node in record.nodes],
        "points": [facts(point) for point in record.points],
        "waits": [facts(wait) for wait in record.waits],
    }


def _print_caveats(address: str) -> None:
    """Print known problems of this machine's SQLite on standard error."""
    if "://" in address and not address.startswith("sqlite"):
        return
    from ..journal.sqlite_version import sqlite_caveats  # loaded only where it is used

    caveats = sqlite_caveats()
    if caveats is not None:
        print(f"note: {caveats}", file=sys.stderr)


RUN = takes("run", "RUN", help="the id of a run")
JSON = flag("--json", "print JSON")

COMMANDS = (
    Command("list", list_runs, "print the runs, newest first", (JSON,)),
    Command(
        "show",
        show_run,
        "print what is recorded about a run",
        (RUN, JSON, flag("--points", "also print the points where it can be forked")),
    ),
    Command(
        "resume",
        resume,
        "resume a recorded run",
        (
            RUN,
            takes("graph", "FILE:NAME", help="the graph, or a function that returns one"),
            *SHARED,
            several("--redo", "NODE", "run a node again; 'failed' for everything that failed"),
            several("--accept", "NODE", "keep the results of a node although its code has changed"),
            flag("--stay", "wait for answers instead of exiting with 75"),
            flag("--new", "begin a new run with this id"),
        ),
        "shared is not recorded: give the same --set and --input as when the run began",
    ),
    Command(
        "answer",
        answer,
        "answer what a run is waiting for",
        (
            RUN,
            takes("name", "NAME", help="the id of a wait, as in runs show, or its name"),
            takes("value", "JSON"),
            flag("--early", "answer in advance what has not been asked yet, although others wait"),
        ),
    ),
    Command(
        "fork",
        fork,
        "make a run that continues from a point of another one, and print its id",
        (
            RUN,
            takes(
                "--at", "POINT", help="the last point to keep, as in runs show --points, or a node"
            ),
            several("--set", "NAME=JSON", "change the result of a node"),
            takes("--new", "RUN", help="the id of the new run"),
        ),
    ),
    Command(
        "prune",
        prune,
        "remove finished runs",
        (
            takes("keep", "KEEP", help="how many runs to keep (20), or up to which age (30d)"),
            flag("--unfinished", "also remove failed, interrupted and waiting runs"),
        ),
    ),
)
