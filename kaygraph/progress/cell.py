"""A run in a cell of a notebook: a table with a bar for each node, redrawn as it goes on."""

from collections.abc import Sequence
from contextlib import suppress
from contextvars import copy_context
from time import monotonic
from typing import Any

from ..drawing.text import written
from ..events import Event, RunStarted
from ..inspection.inspector import Inspector
from ..snapshot import RunSnapshot
from .rows import Row, Rows, visible
from .text import Style, bars, count, cut, duration, facts

AFTER_S = 2.0  # a shorter run shows nothing
EVERY_S = 0.5
APART_S = 0.2  # a front end draws the whole table
MOST_ROWS = 40
WIDTH = 100  # of the text, for front ends without HTML
PLAIN = Style(color=False, unicode=True)


class Cell:
    """Shows one run in the output of the cell that is current when it is created."""

    def __init__(self) -> None:
        from IPython.display import DisplayHandle

        made: Any = DisplayHandle  # IPython is not typed
        self._handle = made()
        self._context = copy_context()  # by which the kernel knows the cell, in any thread
        self._rows = Rows()
        self._shown = False
        self._next = 0.0

    def show(self, snapshot: RunSnapshot) -> None:
        """Show the progress of the run; a snapshot right after another one is skipped."""
        over = snapshot.state in ("finished", "failed")
        if (now := monotonic()) < self._next and not over:
            return
        self._next = now + APART_S
        rows = self._rows.of(snapshot)
        data = {"text/plain": as_text(snapshot, rows), "text/html": as_html(snapshot, rows)}
        write = self._handle.update if self._shown else self._handle.display
        self._context.run(write, data, raw=True)
        self._shown = True

    def close(self) -> None:
        """The last table stays."""


class InCell:
    """Shows a long run in the cell that waits for it."""

    items = False

    def __init__(self) -> None:
        self._inspector = Inspector()
        self._cell: Cell | None = None
        self._due = monotonic() + AFTER_S
        self._has_begun = False

    def __call__(self, event: Event, /) -> None:
        self._inspector(event)
        self._has_begun = self._has_begun or isinstance(event, RunStarted)

    def look(self) -> None:
        if self._has_begun and monotonic() >= self._due:
            self._show()
            self._due = monotonic() + max(EVERY_S, self._inspector.interval)

    def close(self) -> None:
        if self._cell is not None:
            self._show()

    def _show(self) -> None:
        with suppress(Exception):  # a failed display must not fail the run
            if self._cell is None:
                self._cell = Cell()
            self._cell.show(self._inspector.snapshot())


def as_text(snapshot: RunSnapshot, rows: Sequence[Row]) -> str:
    """Return the display as text."""
    return "\n".join([heading(snapshot), *bars(rows[:MOST_ROWS], WIDTH, PLAIN)])


def heading(snapshot: RunSnapshot) -> str:
    """Return the line about the run as a whole."""
    parts = [cut(visible(snapshot.name), WIDTH, PLAIN)]
    if snapshot.seconds is not None:
        parts.append(duration(snapshot.seconds))
    if snapshot.state != "finished":
        parts.append(snapshot.state)
    return "  ".join(parts)


def as_html(snapshot: RunSnapshot, rows: Sequence[Row]) -> str:
    """Return the display as a table, in the notebook's style."""
    text = [f'<div class="kaygraph-progress"><p>{written(heading(snapshot))}</p>']
    text += [
        f"<p>{written(visible(wait.text))}</p>" for wait in snapshot.waits if wait.kind == "loop"
    ]
    text.append("<table><tbody>")
    for row in rows[:MOST_ROWS]:
        parts = ", ".join(fact for fact, _ in facts(row))
        text.append(
            f"<tr><td>{written(row.path)}</td><td>{_bar(row)}</td><td>{written(count(row))}</td>"
            f"<td>{written(parts or row.state)}</td></tr>"
        )
        if row.waits is not None:
            text.append(f'<tr><td></td><td colspan="3">{written(visible(row.waits))}</td></tr>')
    text.append("</tbody></table>")
    if len(rows) > MOST_ROWS:
        text.append(f"<p>and {len(rows) - MOST_ROWS} other nodes</p>")
    return "".join([*text, "</div>"])


def _bar(row: Row) -> str:
    if not row.counts or row.share is None:
        return ""
    share = 1.0 if row.state == "finished" else row.share
    return f'<progress max="1" value="{share:.3f}">{share:.0%}</progress>'
