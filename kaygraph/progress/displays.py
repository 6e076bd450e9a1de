"""Displays of a run: bars in a terminal, lines in a file or a pipe, a cell in a notebook."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Protocol

from ..snapshot import RunSnapshot
from .rows import Row, Rows, visible
from .screen import OPENING, Screen, can_draw, screen_of
from .text import BOLD, DIM, RED, Style, bars, cut, duration, plain

MOST_LINES = 40  # of the nodes of one run, at its end, without a terminal


class Display(Protocol):
    """Shows one run; its methods are called one after another, in different threads."""

    def show(self, snapshot: RunSnapshot) -> None:
        """Show the current progress; called up to ten times a second."""

    def close(self) -> None:
        """Stop: the last snapshot says how the run ended."""


class Bars:
    """A bar for each node, at the bottom of a terminal.

    Args:
        screen: Where they are drawn.
        leave: Whether the last ones stay.
    """

    def __init__(self, screen: Screen, leave: bool) -> None:
        self._screen, self._leave = screen, leave
        self._rows = Rows()
        self._shown: tuple[RunSnapshot, list[Row]] | None = None
        screen.add(self, self._lines)

    def show(self, snapshot: RunSnapshot) -> None:
        self._shown = snapshot, self._rows.of(snapshot)
        self._screen.draw()

    def close(self) -> None:
        self._screen.remove(self, self._leave)

    def _lines(self, width: int, height: int) -> list[str]:
        if self._shown is None:
            return []
        snapshot, rows = self._shown
        style = self._screen.style
        head = heading(snapshot, width, style)
        lines = [head, *held(snapshot, width, style)]
        kept, left_out = fitting(rows, height - len(lines))
        lines = [*lines, *bars(kept, width, style)][: height - bool(left_out)]
        if left_out:
            lines.append(style.paint(cut(f"    {left_out}", width, style), DIM))
        return lines


def heading(snapshot: RunSnapshot, width: int, style: Style) -> str:
    """Return the line about the run as a whole."""
    name = visible(snapshot.name)
    took = "" if snapshot.seconds is None else duration(snapshot.seconds)
    state = {"running": "", "finished": ""}.get(snapshot.state, snapshot.state)
    text = "  ".join(filter(None, [took, state]))
    name = cut(name, max(1, width - 2 - len(text) - 2), style)
    mark = style.mark(snapshot.state)
    tail = style.paint(text, RED if snapshot.state == "failed" else DIM)
    return f"{mark} {style.paint(name, BOLD)}  {tail}"


def held(snapshot: RunSnapshot, width: int, style: Style) -> list[str]:
    """Return the line for a hook that blocks the event loop."""
    texts = [wait.text for wait in snapshot.waits if wait.kind == "loop"]
    return [style.paint(cut(f"  {visible(text)}", width, style), DIM) for text in texts[:1]]


def fitting(rows: Sequence[Row], most: int) -> tuple[list[Row], str]:
    """Return the rows that fit into this many lines, and a summary of the others.

    Nodes that run stay longest, then those that have failed.
    """
    need = [1 + (row.waits is not None) for row in rows]
    if sum(need) <= most:
        return list(rows), ""
    order = {"running": 0, "failed": 1, "finished": 2}
    first = sorted(range(len(rows)), key=lambda i: (order[rows[i].state], -i))
    room, kept = most - 1, set()
    for index in first:
        if need[index] > room:
            break
        kept.add(index)
        room -= need[index]
    others = [row for index, row in enumerate(rows) if index not in kept]
    states = [row.state for row in others]
    counts = [f"{states.count(s)} {s}" for s in order if s in states]
    return [rows[i] for i in sorted(kept)], f"and {len(others)} other nodes: {', '.join(counts)}"


class Lines:
    """A line for each node with progress, every few seconds; at the end one for each.

    Args:
        stream: Where they go.
        every: Seconds between two lines of a node.
    """

    def __init__(self, stream: Any, every: float) -> None:
        self._stream = stream
        self._rows = Rows()
        self._shown: tuple[RunSnapshot, list[Row]] | None = None
        self._said: dict[str, tuple[object, ...]] = {}
        self._every, self._next = every, monotonic() + every

    def show(self, snapshot: RunSnapshot) -> None:
        self._shown = snapshot, rows = snapshot, self._rows.of(snapshot)
        if (now := monotonic()) >= self._next:
            self._next = now + self._every
            self._say(snapshot, [row for row in rows if row.path in self._said or _says(row)])

    def close(self) -> None:
        if self._shown is None:
            return
        snapshot, rows = self._shown
        self._say(snapshot, [row for row in rows if row.counts or row.state == "failed"])
        took = "" if snapshot.seconds is None else f" after {duration(snapshot.seconds)}"
        self._send([f"{visible(snapshot.name)}: {snapshot.state}{took}"])

    def _say(self, snapshot: RunSnapshot, rows: Sequence[Row]) -> None:
        news = []
        for row in rows:
            facts = (
                row.state, row.done, row.failed, row.skipped, row.retried, row.runs, row.waits,
            )  # fmt: skip
            if self._said.get(row.path) != facts:
                self._said[row.path] = facts
                news.append(row)
        run = visible(snapshot.name)
        lines = [f"{run}: {plain(row)}" for row in news[:MOST_LINES]]
        if len(news) > MOST_LINES:
            lines.append(f"{run}: and {len(news) - MOST_LINES} other nodes")
        self._send(lines)

    def _send(self, lines: Sequence[str]) -> None:
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        text = "".join(f"{line}\n" for line in lines)
        with suppress(OSError, ValueError):  # the reader is gone: that must not fail the run
            self._stream.write(text.encode(encoding, "replace").decode(encoding))
            self._stream.flush()


def _says(row: Row) -> bool:
    return row.counts or row.state == "running"


def display_here(leave: bool, every: float) -> Display | None:
    """Return the display of a run on standard error; None if there is none."""
    if "IPython" in sys.modules:
        from ..run.in_cell import in_kernel  # imported only when needed

        if in_kernel():
            from .cell import Cell

            return Cell()
    stream = sys.stderr
    if stream is None:
        return None
    with OPENING.lock:
        if can_draw(stream):
            return Bars(screen_of(stream), leave)
    return Lines(stream, every)
