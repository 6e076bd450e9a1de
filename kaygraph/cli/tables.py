"""Text for a terminal."""

import time
from collections.abc import Iterable, Sequence

WIDEST = 60  # characters of a column


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as text: words aligned left, numbers right."""
    shown = [[_shown(cell) for cell in row] for row in rows]
    numbers = [all(_is_number(row[i]) for row in shown) for i in range(len(heads))]
    widths = [max(len(row[i]) for row in (list(heads), *shown)) for i in range(len(heads))]
    lines = []
    for row in (list(heads), *shown):
        cells = zip(row, widths, numbers, strict=True)
        lines.append(
            "  ".join(
                cell.rjust(width) if right else cell.ljust(width) for cell, width, right in cells
            )
        )
    return "\n".join(line.rstrip() for line in lines)


def _shown(cell: object) -> str:
    text = " ".join(str(cell).split())
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()


def times(at: float) -> str:
    """Return a time in this machine's time zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def since(at: float) -> str:
    """Return how long ago something was."""
    seconds = max(0.0, time.time() - at)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
