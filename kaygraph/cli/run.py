"""``kaygraph run``: run a graph; results go to standard output, the rest to standard error."""

import shlex
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from .._addresses import shown
from .._validation import check_limit
from ..errors import JournalUnavailableError, RunInterrupted
from ..journal.journal import Journal
from ..journal.waiting import Waits
from ..observability.report import RunReport
from ..watching.watch import Watch
from .apart import results_apart
from .arguments import Command, Options, flag, several, takes
from .failing import report_failure
from .loading import load_graph
from .observing import Observing, observing
from .recorded import journal_of
from .results import result_text
from .runs import WAITS
from .shared import SHARED, shared_of
from .watch import CONTROL, HOST, opened, page_of, stay
from .wrong import WrongCommandError

INTERRUPTED = (130, 143)


class Asked(NamedTuple):
    """What a command asks for, after all of it has been checked."""

    graph: Any
    shared: Any
    journal: Journal | None
    observing: Observing
    watch: Watch | None
    options: Options


def run(options: Options) -> int:
    """Run a graph, print the requested results, and return the exit code."""
    with ExitStack() as pages, ExitStack() as apart:
        # What nodes print is part of the output only if the command prints no results.
        output = apart.enter_context(results_apart()) if options.output else sys.stdout
        for name in ("deadline", "grace"):
            _check_seconds(name, getattr(options, name))
        report = None if options.report is None else _file_to_write(options.report)
        asked = Asked(
            load_graph(options.graph), shared_of(options.input, options.set),
            journal_of(options.recorded), observing(options), _watch(options), options,
        )  # fmt: skip
        _check_output(options.output, asked.shared)
        if options.watch is not None:
            opened(asked.watch, pages)
        code = _run_and_report(asked, report)
        apart.close()
        if code is None:
            code = _print_result(asked, output)
        if options.watch is not None and code not in INTERRUPTED:
            stay(asked.watch)
        return code


def _run_and_report(asked: Asked, report: Path | None) -> int | None:
    try:
        return _run(asked, time.monotonic())
    finally:
        asked.observing.end()
        if report is not None and asked.observing.report is not None:
            _write_report(report, asked.observing.report)


def _print_result(asked: Asked, output: TextIO) -> int:
    if asked.options.output:
        try:
            output.write(result_text(asked.shared, asked.options.output, _note))
        except LookupError as error:
            _say(f"error: {error.args[0]}")
            return 1
        output.flush()
    return asked.observing.code


def _run(asked: Asked, begun: float) -> int | None:
    """Run; return the exit code, or None if there are results to print."""
    graph, options, journal = asked.graph, asked.options, asked.journal
    settings: dict[str, Any] = {"grace": options.grace} if options.grace is not None else {}
    if journal is not None and f"run={journal.run}" not in options.recorded:
        _say(f"{graph.name}: recorded as run {journal.run!r} in {shown(journal.address)}")
    try:
        action = graph.run(
            asked.shared,
            observers=asked.observing.observers,
            deadline=options.deadline,
            journal=journal,
            watch=asked.watch or False,
            **settings,
        )
    except RunInterrupted as interruption:
        asked.observing.code = int(interruption.code or 130)
        _say(f"{graph.name}: {interruption}{_goes_on(journal)}")
        return None if interruption.drained else asked.observing.code
    except Exception as error:
        has_begun = not isinstance(error, JournalUnavailableError)
        report_failure(error, _goes_on(journal) if has_begun else "")
        return 1
    seconds = f"{time.monotonic() - begun:.2f} s"
    if isinstance(action, Waits):
        _say(f"{graph.name}: waiting for an answer after {seconds}")
        return WAITS
    ended = "" if action is None else f" with the action {action!r}"
    _say(f"{graph.name}: ended{ended} after {seconds}")
    return None


def _watch(options: Options) -> Watch | None:
    """Return the page that shows the run, if one was requested."""
    if options.watch is None and options.save_page is None:
        if options.control:
            raise WrongCommandError("--control needs the page: type --watch --control")
        return None
    if options.watch and not options.watch.isdecimal():
        raise WrongCommandError(
            f"--watch must be a port, as in --watch=8765; got {options.watch!r}"
        )
    port = None if options.watch is None else int(options.watch or 0)
    return page_of(port, options, None, options.save_page)


def _goes_on(journal: Journal | None) -> str:
    """Return how to resume a run that has not ended."""
    if journal is None:
        return ""
    place = shlex.quote(f"{shown(journal.address)},run={journal.run}")
    return f"\nwhat is recorded is kept; to resume, repeat the command with --journal {place}"


def _check_output(keys: list[str], shared: Any) -> None:
    if keys and keys != ["."] and not isinstance(shared, dict):
        raise WrongCommandError(
            f"--output {keys[0]} needs an object, but --input is "
            f"{type(shared).__name__}: type --output ."
        )


def _check_seconds(name: str, seconds: float | None) -> None:
    try:
        check_limit(name, seconds)
    except ValueError:
        raise WrongCommandError(
            f"--{name} must be more than 0 seconds, as in --{name} 60; got {seconds:g}"
        ) from None


def _file_to_write(name: str) -> Path:
    path = Path(name)
    if path.is_dir() or not path.parent.is_dir():
        raise WrongCommandError(
            f"--report must be a file to write, as in --report report.json; got {name!r}"
        )
    return path


def _write_report(path: Path, report: RunReport) -> None:
    """Write a report as JSON, or its timeline as a picture."""
    text = report.to_svg() if path.suffix.lower() == ".svg" else report.to_json(2)
    path.write_text(f"{text}\n", encoding="utf-8")


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _note(line: str) -> None:
    _say(f"note: {line}")


EXAMPLES = """\
a VALUE that is not JSON is taken as text: --set limit=20 --set name=Ann

  kaygraph run flows.py:graph --set url=https://example.com --output pages
  kaygraph run flows.py:graph --input shared.json --progress
  echo '{"question": "why?"}' | kaygraph run chat.py:graph --input - --output answer
  kaygraph run flows.py:graph --journal runs.db,run=import-7
  kaygraph run flows.py:graph --watch --save-page run.html
  kaygraph run flows.py:graph --observe report --report report.json
  kaygraph run flows.py:graph --observe flows.py:MyObserver --deadline 60

with --output, standard output is only JSON; what nodes print goes to standard
error. The first Ctrl-C lets items in flight finish; a second one ends the process.

exit codes: 0 success, 1 failure, 2 wrong command, 75 the run waits for an
answer, 130 or 143 interrupted
"""

COMMAND = Command(
    "run",
    run,
    "run a graph",
    (
        takes("graph", "FILE:NAME", help="the graph, or a function that returns one"),
        *SHARED,
        several("--output", "KEY", "print shared[KEY] as JSON at the end; . for all of shared"),
        flag("--progress", "show the progress of each node on standard error"),
        takes("--watch", "PORT", nargs="?", help="show the run in the browser, as in --watch=8765"),
        HOST,
        CONTROL,
        takes("--save-page", "FILE", help="write the page of the finished run as one HTML file"),
        takes(
            "--journal", "FILE[,run=ID]", dest="recorded",
            help="record the run, or resume it; also ,redo=NODE ,accept=NODE ,on_wait=stay "
            ",durable=true ,keep=30d",
        ),
        several(
            "--observe", "WHAT",
            "report, structlog, log (with items), otel, prometheus=PORT, or your own MODULE:NAME",
        ),
        takes("--report", "FILE", help="write the run report as JSON, or its timeline as .svg"),
        takes("--deadline", "SECONDS", type=float, help="the maximum duration of the run"),
        takes(
            "--grace", "SECONDS", type=float,
            help="how long items in flight may take after the first Ctrl-C; by default, 10",
        ),
    ),
    EXAMPLES,
)  # fmt: skip
