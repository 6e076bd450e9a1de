"""``kaygraph runs``: what is recorded, and how to go on with it."""

import json
import sys
from typing import Any

from ..errors import JournalUnavailableError, RunUnknownError, closest
from ..journal.journal import Journal
from ..journal.log import means
from ..journal.records import RunRecord
from ..journal.retention import check_keep
from ..journal.waiting import asked
from .arguments import Command, Options, flag, several, takes
from .failing import tell_failure
from .loading import from_json, load_graph, named_values
from .tables import since, table, times
from .wrong import WrongCommandError

WAITS = 75  # the exit code of a run that waits, as of sysexits.h: try again later


def list_runs(options: Options) -> int:
    """Print the runs, the newest first."""
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
    """Print what is recorded of a run."""
    record = Journal(options.journal).show(options.run)
    if options.json:
        _print_json(_record_facts(record))
        return 0
    info = record.info
    print(f"{info.run}: {info.graph}, {info.status}, begun {times(info.created)}")
    if info.action:
        print(f"it ended with the action {info.action!r}")
    if info.error:
        print(f"it failed: {info.error}")
    for wait in record.waits:
        print(f"it waits for {wait.id}" + ("" if wait.ask is None else f": {asked(wait.ask)}"))
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
    """Run a graph on with what is recorded."""
    graph = load_graph(options.graph)
    shared = from_json(options.shared, "--shared")
    redo: Any = "failed" if options.redo == ["failed"] else options.redo
    journal = Journal(
        options.journal, run=options.run, redo=redo, accept=options.accept,
        on_wait="stay" if options.stay else "exit",
    )  # fmt: skip
    _check_names(journal, [*options.redo, *options.accept])
    try:
        journal.show()
    except (RunUnknownError, JournalUnavailableError) as error:  # a name may be mistyped
        why = str(error)
        end = "" if why.endswith((".", "?")) else "."
        print(f"note: {why}{end} Run {options.run!r} begins anew", file=sys.stderr)
    try:
        action = graph.run(shared, journal=journal)
    except Exception as error:
        tell_failure(error)
        return 1
    status = journal.show().info.status
    if status == "waits":
        print(f"run {options.run!r}: waits")
        return WAITS
    print(f"run {options.run!r}: {status}" + ("" if action is None else f", action {action!r}"))
    return 0


def _check_names(journal: Journal, names: list[str]) -> None:
    """Refuse what names no node of which anything is recorded: it would do nothing."""
    named = [name for name in names if name != "failed"]
    known = [node.name for node in journal.show().nodes] if named else []
    for name in named:
        if not any(means(name, node) for node in known):
            raise WrongCommandError(
                f"run {journal.run!r} has recorded nothing of a node {name!r}."
                f"{closest(name, known)}"
            )


def answer(options: Options) -> int:
    """Answer what a run waits for."""
    value = from_json(options.value, "an answer")
    Journal(options.journal).answer(options.run, options.name, value, early=options.early)
    print(f"answered {options.name!r} of run {options.run!r}; resume it unless it is running")
    return 0


def fork(options: Options) -> int:
    """Make a run that goes on from a point of another one."""
    new = Journal(options.journal).fork(
        options.run, at=options.at, set=named_values(options.set), new=options.new
    )
    print(new)
    return 0


def prune(options: Options) -> int:
    """Remove runs that are done, but for some."""
    keep = int(options.keep) if options.keep.isdecimal() else options.keep
    try:
        check_keep(keep)
    except ValueError:
        raise WrongCommandError(
            f"KEEP is how many runs stay, as in 20, or for how long, as in 30d; got {keep!r}"
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
    """Say on standard error what is to be known of this machine's SQLite."""
    if "://" in address and not address.startswith("sqlite"):
        return
    from ..journal.sqlite_version import sqlite_caveats  # loads where it is used

    caveats = sqlite_caveats()
    if caveats is not None:
        print(f"note: {caveats}", file=sys.stderr)


RUN = takes("run", "RUN", help="the id of a run")
JSON = flag("--json", "for machines")

COMMANDS = (
    Command("list", list_runs, "print the runs, the newest first", (JSON,)),
    Command(
        "show",
        show_run,
        "print what is recorded of a run",
        (RUN, JSON, flag("--points", "print where it can be forked as well")),
    ),
    Command(
        "resume",
        resume,
        "resume a run",
        (
            RUN,
            takes("graph", "FILE:NAME", help="the graph, or a function that returns it"),
            takes("--shared", "JSON", default="{}", help="what it begins with; {} by default"),
            several("--redo", "NODE", "run a node again; 'failed': what has failed"),
            several("--accept", "NODE", "its code has changed, and its results hold"),
            flag("--stay", "wait for answers, in place of ending with 75"),
        ),
    ),
    Command(
        "answer",
        answer,
        "answer what a run waits for",
        (
            RUN,
            takes("name", "NAME", help="the id of a wait, as of show, or its name"),
            takes("value", "JSON"),
            flag("--early", "it is for what was not asked yet, although others wait"),
        ),
    ),
    Command(
        "fork",
        fork,
        "make a run that goes on from a point of another one, and print its id",
        (
            RUN,
            takes("--at", "POINT", help="the last that is kept, as of show --points, or a node"),
            several("--set", "NAME=JSON", "change a result"),
            takes("--new", "RUN", help="the id of the new run"),
        ),
    ),
    Command(
        "prune",
        prune,
        "remove runs that are done",
        (
            takes("keep", "KEEP", help="how many stay (20), or for how long (30d)"),
            flag("--unfinished", "also those that have failed, were interrupted or wait"),
        ),
    ),
)
