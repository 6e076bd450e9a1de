"""What a person sees of a run: text, tables, the run report, a log.

Results go to standard output, or with ``--json`` to standard error. Text from data
is shown with its control characters escaped, and is never read as markup.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO, cast

import structlog
from rich.console import Console
from rich.table import Table
from rich.text import Text
from structlog.typing import EventDict

from kaygraph import (
    RunLog,
    RunReport,
)

WIDTH_OF_A_FILE = 120  # if standard output is not a terminal and no width is known


def visible(text: str) -> str:
    """Return the text with control characters (all but newline and tab) escaped."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text
    )


class _Console(Console):
    """A console on which a string is only its text, never markup."""

    def on_broken_pipe(self) -> None:
        """Let the command end quietly; rich would end the process here."""
        raise BrokenPipeError

    def render_str(self, text: str, **settings: Any) -> Text:
        return super().render_str(visible(text), **settings)


def _console(*, stderr: bool) -> Console:
    is_terminal = (sys.stderr if stderr else sys.stdout).isatty()
    width = None if is_terminal or "COLUMNS" in os.environ else WIDTH_OF_A_FILE
    return _Console(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)


class Terminal:
    """The Screen of the command line.

    Args:
        json: Standard output belongs to JSON lines: people read standard error.
    """

    def __init__(self, *, json: bool = False) -> None:
        self.json = json
        self._console = _console(stderr=json)
        self._errors = _console(stderr=True)

    @property
    def width(self) -> int:
        """The width in characters."""
        return self._console.width

    def print(self, *things: Any) -> None:
        """Print text or anything that rich can draw."""
        for thing in things:
            # A terminal wraps at words; in a file a line stays whole.
            whole = isinstance(thing, str) and not self._console.is_terminal
            self._console.print(thing, soft_wrap=whole)

    def tell(self, line: str) -> None:
        """Print a line about the run itself on standard error."""
        self._errors.print(line, soft_wrap=not self._errors.is_terminal)

    @property
    def can_draw(self) -> bool:
        """Whether standard error is a terminal."""
        return self._errors.is_terminal

    def report(self, report: RunReport) -> None:
        """Print the run report."""
        self.print(*report_lines(report, self.width))


class _Errors:
    """The standard error of the moment when a line is written: by then there may be bars."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def run_log() -> RunLog:
    """Return an observer that logs a run on standard error, without the items that went well."""
    logger = structlog.wrap_logger(
        structlog.PrintLogger(cast(TextIO, _Errors())),
        processors=[
            _worth_a_line,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S.%f", utc=False),
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), sort_keys=False),
        ],
    )
    return RunLog(logger)


def _worth_a_line(_: Any, __: str, line: EventDict) -> EventDict:
    """Leave out items that begin or succeed, and escape control characters."""
    if line["event"] in ("item started", "item finished"):
        raise structlog.DropEvent
    return {name: one_line(value) for name, value in line.items()}


def one_line(value: object) -> object:
    return visible(value).replace("\n", "\\n") if isinstance(value, str) else value


# --- the run report -----------------------------------------------------------------------------


# What to leave out first if the screen is too narrow for all columns.
EXPENDABLE = ("peak", "retries", "skipped", "cpu s", "failed", "timed out", "cancelled", "exec s")


def report_lines(report: RunReport, width: int = WIDTH_OF_A_FILE) -> list[str | Table]:
    """Return the run report for people: measurements, with nodes under their graphs.

    A name is never broken: columns that do not fit into the width are left out, empty ones
    first, and the report lists them.
    """
    shown = {
        status: status.replace("_", " ")
        for status, count in report.items.items()
        if count or status in ("ok", "failed", "skipped")
    }
    items = [f"{report.items[status]:,} {name}" for status, name in shown.items()]
    rows = [*_report_rows(report, shown)]
    columns = ["  node", "items", *shown.values(), "retries", "peak", "exec s", "cpu s"]
    left_out = []
    empty = [c for c in columns if all(row.get(c, "") in ("", "0", "0.000") for row in rows)]
    for column in (*empty, *EXPENDABLE):
        if _width(columns, rows) <= width:
            break
        if column in columns:
            columns.remove(column)
            left_out += [] if column in empty else [column]
    table = Table(box=None, padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(row.get(column, "") for column in columns))
    return [
        "",
        f"run report: {report.name}",
        *(f"  {line}" for line in report.summary()[0].partition(": ")[2:]),
        f"  items: {', '.join(items)}; retries: {report.retries:,}",
        *(f"  {line}" for line in report.summary()[2:]),
        table,
        *([f"  not shown at this width: {', '.join(left_out)}"] if left_out else []),
        *filter(None, [report.verdict]),
    ]


def _report_rows(report: RunReport, shown: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Yield a row for each node, and one for each enclosing graph, by column."""
    above: tuple[str, ...] = ()
    for node in report.nodes.values():
        if not (node.items or node.stage_workers):
            continue
        parts = tuple(node.name.split("/"))
        for depth, name in enumerate(parts[:-1], start=1):
            if parts[:depth] != above[:depth]:
                yield {"  node": "  " * depth + name}
        above = parts
        yield {
            "  node": "  " * len(parts) + parts[-1],
            "items": f"{max(sum(node.items.values()), node.stage_items):,}",
            **{shown[s]: f"{node.items[s]:,}" if node.items else "" for s in shown},
            "retries": f"{node.retries:,}",
            "peak": str(node.peak),
            "exec s": "" if node.is_whole else f"{node.work_s:.3f}",
            "cpu s": f"{node.cpu_s:.3f}" if node.cpu_s else "",
        }


def _width(columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> int:
    """Return how many characters a table takes."""
    return sum(2 + max([len(c), *(len(row.get(c, "")) for row in rows)]) for c in columns)
