"""A row as text: as wide as allowed, with a bar if there is room for one."""

import math
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .rows import Row, visible

LONGEST_NAME = 32  # characters
BAR = 24
SHORTEST_BAR = 8

RED, GREEN, YELLOW, BLUE, DIM, BOLD = "31", "32", "33", "36", "2", "1"


@dataclass(frozen=True, slots=True)
class Style:
    """What a stream can show.

    Attributes:
        color: Whether colours are wanted.
        unicode: Whether its encoding has more than ASCII.
    """

    color: bool
    unicode: bool

    def paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.color and text else text

    def bar(self, share: float, width: int) -> str:
        full = min(width, math.floor(share * width))
        on, off = ("━", "─") if self.unicode else ("#", "-")
        return self.paint(on * full, GREEN if full == width else BLUE) + self.paint(
            off * (width - full), DIM
        )

    def mark(self, state: str) -> str:
        marks = {"running": "▸", "draining": "▸", "finished": "✓", "failed": "✗"}
        plain = {"running": ">", "draining": ">", "finished": "+", "failed": "x"}
        code = {"finished": GREEN, "failed": RED}.get(state, BLUE)
        return self.paint((marks if self.unicode else plain)[state], code)


def cells(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) > 0 for char in text)


def cut(text: str, width: int, style: Style) -> str:
    """Return a text shortened to at most this many columns."""
    if cells(text) <= width:
        return text
    end = "…" if style.unicode else "~"
    while text and cells(text) > width - 1:
        text = text[:-1]
    return text + end if width > 0 else ""


def duration(seconds: float) -> str:
    """Return a duration as people write it: 0.4 s, 12 s, 3:04 min, 2:10 h."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    minutes = whole // 60
    return f"{minutes // 60}:{minutes % 60:02d} h"


def count(row: Row) -> str:
    """Return how many items are done, and of how many if known."""
    if not row.counts:
        return f"{row.runs:,} ×" if row.runs > 1 else ""
    if row.share is not None and row.state == "running":
        return f"{row.done:,}/{row.total:,}"
    if not (row.done or row.in_flight) and row.state == "running":  # for example a source
        return ""
    return f"{row.done:,}"


def per_second(rate: float) -> str:
    """Return a rate with two significant digits."""
    if rate >= 10:
        return f"{rate:,.0f}/s"
    return f"{rate:.1f}/s" if rate >= 0.1 else f"{rate * 60:.1g}/min"


def facts(row: Row) -> list[tuple[str, str]]:
    """Return the facts after the count of a row, the most important first, and their colours."""
    found = []
    if row.failed:
        found.append((f"{row.failed:,} failed", RED))
    if row.skipped:
        found.append((f"{row.skipped:,} skipped", YELLOW))
    if row.left_s is not None:
        found.append((f"{duration(row.left_s)} left", ""))
    if row.rate is not None:
        found.append((per_second(row.rate), ""))
    if row.retried:
        found.append((f"{row.retried:,} retried", YELLOW))
    if row.in_flight > 1 and row.state == "running":
        found.append((f"{row.in_flight:,} at once", DIM))
    if row.state != "running" and row.seconds:
        found.append((f"in {duration(row.seconds)}", DIM))
    return found


def bars(rows: Sequence[Row], width: int, style: Style) -> list[str]:
    """Return the lines of a run's nodes, none of them wider than ``width`` columns.

    With little room, facts are dropped first, then the bars, then long names are cut.
    """
    if not rows:
        return []
    names = [cut("  " * row.depth + row.name, LONGEST_NAME, style) for row in rows]
    counts = [count(row) for row in rows]
    name_width, count_width = max(map(cells, names)), max(map(cells, counts))
    name_width = max(1, min(name_width, width - 4 - count_width - 2))
    room = width - 4 - name_width - 2 - count_width  # for a bar and facts
    has_bars = any(row.share is not None for row in rows)
    bar_width = min(BAR, room - 2 - 22) if has_bars else 0
    if 0 < bar_width < SHORTEST_BAR:
        bar_width = SHORTEST_BAR if room - 2 >= SHORTEST_BAR else 0
    bar_width = max(0, bar_width)
    room -= bar_width + 2 if bar_width else 0
    lines = []
    for row, name, amount in zip(rows, names, counts, strict=True):
        shown = cut(name, name_width, style).lstrip()
        indent = "  " * min(row.depth, (name_width - 1) // 2)
        padding = " " * max(0, name_width - len(indent) - cells(shown))
        parts = [f"  {indent}{style.mark(row.state)} {shown}{padding}"]
        if bar_width:
            parts.append(_bar(row, bar_width, style))
        parts.append(amount.rjust(count_width))
        parts.extend(_fitting(facts(row), room, style))
        lines.append("  ".join(parts).rstrip())
        if row.waits is not None:
            lines.append(style.paint(cut(f"      {visible(row.waits)}", width, style), DIM))
    return lines


def _bar(row: Row, width: int, style: Style) -> str:
    if not row.counts or row.share is None:
        return " " * width
    return style.bar(1.0 if row.state == "finished" else row.share, width)


def _fitting(found: Iterable[tuple[str, str]], room: int, style: Style) -> list[str]:
    parts = []
    for text, code in found:
        if cells(text) + 2 > room:
            break
        room -= cells(text) + 2
        parts.append(style.paint(text, code) if code else text)
    return parts


def plain(row: Row) -> str:
    """Return a row as one line of a log."""
    amount = count(row)
    what = [f"{amount} items" if amount and row.counts and row.total is None else amount]
    what += [text for text, _ in facts(row)]
    if row.state == "failed":
        what.append("failed")
    if row.waits is not None:
        what.append(visible(row.waits))
    return f"{row.path}: " + (", ".join(filter(None, what)) or row.state)
