"""Runs workflows and shows the results: for the command and for the prompt."""

import json
import os
import shutil
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from examples.inputs import InputError, Records, many
from examples.screen import Terminal, run_log, visible
from examples.workflow import NAMES, Options, Row, Shared, Workflow
from kaygraph import (
    Graph,
    Journal,
    JournalUnavailableError,
    Progress,
    RunInterrupted,
    RunReport,
    Watch,
)
from kaygraph.events import Observer

# The workflows that follow an option, if not all of them do.
TAKEN_BY = {
    "workers": NAMES,
    "run_in": ("batch", "mapreduce"),
    "mapper": ("mapreduce",),
    "reducer": ("mapreduce",),
    "limit": ("batch", "mapreduce", "pipeline"),
    "services": ("validation", "enrichment", "pipeline"),
}
ERRORS_SHOWN = 5
DATABASE_SUFFIXES = (".db", ".sqlite", ".sqlite3")


@dataclass(frozen=True, slots=True)
class Job:
    """Workflows wired into one graph, ready to run over one shared store.

    ``named`` rows contain the name of their workflow.
    """

    workflows: Sequence[Workflow]
    graph: Graph
    shared: Shared
    named: bool

    @property
    def name(self) -> str:
        return " >> ".join(workflow.name for workflow in self.workflows)

    def rows(self) -> Iterator[Row]:
        """Yield the rows of the results."""
        for workflow in self.workflows:
            for row in workflow.rows(self.shared):
                yield {"workflow": workflow.name, **row} if self.named else row


def check_options(options: Options, names: Sequence[str]) -> None:
    """Refuse, with an InputError, an option that none of the named workflows would follow."""
    for option, takers in TAKEN_BY.items():
        if getattr(options, option) is not None and not set(takers) & set(names):
            raise InputError(
                f"--{option.replace('_', '-')} goes with {_listed(takers)}, not with "
                f"{_listed(names)}"
            )
    output = options.output
    if output is not None and _is_database(output) and list(names) != ["pipeline"]:
        raise InputError(
            f"--output {output}: only the pipeline alone writes a database; for JSON lines name "
            f"the file {output.with_suffix('.jsonl').name!r}"
        )


def _is_database(path: Path) -> bool:
    return path.suffix.lower() in DATABASE_SUFFIXES


def make_job(workflows: Sequence[Workflow], options: Options, *, named: bool = False) -> Job:
    """Fill a shared store and wire the graphs one after another.

    Rows are ``named`` on request, and always if there are several workflows.

    Raises:
        InputError: The options cannot be followed.
    """
    names = [workflow.name for workflow in workflows]
    shared: Shared = {}
    try:
        for workflow in reversed(workflows):  # if two fill the same key, the first one decides
            shared |= workflow.prepare(options)
        graphs = [workflow.build(options) for workflow in workflows]
    except ValueError as error:
        raise InputError(str(error)) from error
    if len(graphs) == 1 and isinstance(graphs[0], Graph):
        return Job(workflows, graphs[0], shared, named)
    line: Any = graphs[0]
    for graph in graphs[1:]:
        line = line >> graph
    return Job(workflows, Graph(line, name=" >> ".join(names)), shared, len(graphs) > 1 or named)


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


# How long items in flight may take to end after an interrupt.
GRACE_S = 2.0


class Runner:
    """Runs jobs on the main thread, one after another.

    Args:
        screen: What people read.
        verbose: Log the events on standard error, and show the traceback of a failure.
        output: Where rows are written, or None.
        journal: The address of a journal where runs are recorded and resumed, or None.
        progress: Show the progress of each node, even if that goes to a file.
        page: Shows the runs in the browser, or None.
    """

    def __init__(
        self,
        screen: Terminal,
        *,
        verbose: bool = False,
        output: "Output | None" = None,
        journal: str | None = None,
        progress: bool = False,
        page: Watch | None = None,
    ) -> None:
        self.screen, self.verbose, self.output = screen, verbose, output
        self.journal, self.progress, self.page = journal, progress, page
        self.last: tuple[Job, RunReport] | None = None

    def run(self, job: Job) -> bool:
        """Run a job, show its results and its report; return whether it succeeded.

        A failure is shown, not raised.

        Raises:
            RunInterrupted: SIGINT or SIGTERM arrived; a note says how far the run had got. Items in
                flight had GRACE_S seconds to end, and nothing that was started is left.
        """
        report = RunReport()
        self.last = job, report
        self._tell_bad_lines(job)
        journal: Journal | None = None
        try:
            journal = None if self.journal is None else self._journal(self.journal, job)
            job.graph.run(
                job.shared, observers=self._observers(report), grace=GRACE_S, journal=journal,
                watch=self.page or False,
            )  # fmt: skip
        except RunInterrupted as interrupt:
            interrupt.add_note(_interrupted(job, report))
            raise
        except Exception as error:
            self._failed(job, error)
            return False
        if journal is not None and journal.replayed:
            self.screen.tell(
                f"{many(journal.replayed, 'result')} came from {self.journal}; "
                f"{many(journal.called, 'call')} were new"
            )
        try:
            self._hand_over(job, report)
        except OSError:  # standard output was closed, or the disk is full: not the job's fault
            raise
        except Exception as error:
            self._failed(job, error)
            return False
        return True

    def _journal(self, address: str, job: Job) -> Journal:
        """Return a journal for the last unfinished run of the job, or for a new one."""
        try:
            runs = [run for run in Journal(address).runs() if run.graph == job.graph.name]
        except JournalUnavailableError:  # there is none yet; otherwise the run itself fails
            runs = []
        unfinished = next((run.run for run in runs if run.status != "done"), None)
        if unfinished is not None:
            self.screen.tell(f"resuming run {unfinished!r} of {address}")
        types = [kind for workflow in job.workflows for kind in workflow.types]
        run = unfinished or f"{job.graph.name}-{len(runs) + 1}"
        return Journal(address, run=run, types=types)

    def _tell_bad_lines(self, job: Job) -> None:
        """Report the malformed lines of the input; each is one bad record."""
        records = job.shared.get("records") or job.shared.get("incoming")
        lines = [*records.bad_lines()] if isinstance(records, Records) else []
        for line in lines[:ERRORS_SHOWN]:
            self.screen.tell(f"bad record: {line}")
        if len(lines) > ERRORS_SHOWN:
            self.screen.tell(f"and {many(len(lines) - ERRORS_SHOWN, 'other bad record')}")

    def _hand_over(self, job: Job, report: RunReport) -> None:
        if self.output is not None:
            self.output.write(job.rows())
        for workflow in job.workflows:
            workflow.show(job.shared, report, self.screen)
        self.screen.report(report)
        if self.screen.json:
            print_rows(job.rows(), sys.stdout)
            print_rows([{"example": job.name, "report": report.to_dict()}], sys.stdout)
            sys.stdout.flush()

    def _observers(self, report: RunReport) -> list[Observer]:
        observers: list[Observer] = [report]
        if self.progress or (self.screen.can_draw and not self.verbose):
            observers.append(Progress(leave=False))
        if self.verbose:
            observers.append(run_log())
        return observers

    def _failed(self, job: Job, error: Exception) -> None:
        if self.verbose:
            traceback.print_exception(error)
        for line in explain(error):
            self.screen.tell(f"{job.name} failed: {line}")


def explain(error: BaseException) -> Iterator[str]:
    """Yield a line per kind of error: what happened, in which node and item, and how often."""
    counts: dict[str, int] = {}
    for line in _errors(error):
        counts[line] = counts.get(line, 0) + 1
    for line, count in list(counts.items())[:ERRORS_SHOWN]:
        yield line if count == 1 else f"{line} ({count:,} times)"
    if len(counts) > ERRORS_SHOWN:
        yield f"and {many(len(counts) - ERRORS_SHOWN, 'other error')}"


def _errors(error: BaseException) -> Iterator[str]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _errors(inner)
        return
    place = next((n for n in getattr(error, "__notes__", ()) if n.startswith("in node")), "")
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    yield visible(f"{text} ({place})" if place else text).replace("\n", " ")


def message_of(interrupt: KeyboardInterrupt) -> str:
    """Return the message about an interrupt."""
    return "; ".join(getattr(interrupt, "__notes__", ["interrupted"]))


def _interrupted(job: Job, report: RunReport) -> str:
    items = ", ".join(
        f"{count:,} {status.replace('_', ' ')}" for status, count in report.items.items() if count
    )
    return f"{job.name} interrupted after {report.wall_s:.1f} s; items: {items or 'none'}"


# --- rows -----------------------------------------------------------------------------------------


def print_rows(rows: Iterable[Row], file: IO[str]) -> None:
    """Write JSON lines, all or none. A value that JSON lacks is written as its text."""
    file.writelines(
        [json.dumps(row, ensure_ascii=False, allow_nan=False, default=str) + "\n" for row in rows]
    )


class Output:
    """A file of JSON lines that appears whole or not at all.

    Rows go to a file next to it, which replaces it at the end. Anything but a regular file (a
    pipe, a terminal) is written directly.

    Raises:
        InputError: The file cannot be written; reported before any work is done.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._target = path.expanduser().resolve()  # a symbolic link stays one
        self._direct = self._target.exists() and not self._target.is_file()
        self._beside = self._target.with_name(f".{self._target.name}.{os.getpid()}.tmp")
        if str(path) == "-":
            raise InputError("--output names a file; for JSON lines on standard output: --json")
        if self._target.is_dir():
            raise InputError(f"--output {path} is a directory: name a file in it")
        if not self._target.parent.is_dir():
            raise InputError(f"there is no directory for --output {path}: make it first")
        try:
            # A lone surrogate, which UTF-8 lacks, becomes JSON's \udxxx.
            self._file = (self._target if self._direct else self._beside).open(
                "w", encoding="utf-8", errors="backslashreplace"
            )
        except OSError as error:
            raise InputError(f"cannot write --output {path}: {error.strerror}") from error

    def write(self, rows: Iterable[Row]) -> None:
        """Add the rows of a job, all or none."""
        listed = list(rows)
        print_rows(listed, self._file)
        self.count += len(listed)

    def close(self, *, keep: bool) -> None:
        """Put the rows in their place, or leave the old file unchanged."""
        try:
            if keep:
                self._file.flush()
                if not self._direct:
                    os.fsync(self._file.fileno())
            self._file.close()
            if keep and not self._direct:
                if self._target.exists():
                    shutil.copymode(self._target, self._beside)
                self._beside.replace(self._target)
        finally:
            if not self._direct:
                self._beside.unlink(missing_ok=True)


@contextmanager
def output_to(path: Path | None, screen: Terminal) -> Iterator[Output | None]:
    """Open ``--output`` for a block; at its end, keep what the successful workflows have written.

    Raises:
        OSError: The file could not be written in full; its old content is unchanged.
    """
    if path is None or _is_database(path):  # the pipeline writes that itself
        yield None
        return
    output = Output(path)
    try:
        yield output
    finally:
        output.close(keep=output.count > 0)
        if output.count:
            screen.tell(f"{many(output.count, 'row')} written to {path}")
        else:
            screen.tell(f"nothing written to {path}")
