"""A timeline as SVG: a row for each node, and in it a bar for each worker.

Bars stretch with the width of the drawing, texts do not: it has no ``viewBox``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, groupby
from math import ceil

from .style import TIMELINE
from .text import shortened, width_of, written

_LANE = 8  # pixels: of one worker
_AREA = 40  # of several
_GAP = 2
_LABEL = 20  # with the note of a node
_NAME = 190  # at most
_BELOW = 10  # a row
_AXIS = 22
_MARK = 12  # of a failure
_STEPS = 16  # a level is one of this many
_STATES = {
    "work": "in exec",
    "paused": "waits to retry",
    "line": "in line",
    "failed": "failed",
    "retried": "attempt failed",
}
_STAGES = {"busy": "busy", "starved": "no input", "blocked": "no room"}
_TICKS = 5  # and one at the beginning
_DAY = 86_400
_LONGER = (20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, _DAY)
_NARROW = 390  # the least width at which nothing is cut


@dataclass(frozen=True, slots=True)
class Track:
    """A bar: of one worker, or of several.

    Attributes:
        workers: How many.
        work: By bin, how many of them were in ``exec``, on average.
        paused: By bin, how many of their items waited for another attempt.
        failed: The bins in which items failed.
        retried: The bins in which attempts failed that were followed by another one.
    """

    workers: int
    work: Sequence[float]
    paused: Sequence[float]
    failed: Sequence[bool]
    retried: Sequence[bool]


@dataclass(frozen=True, slots=True)
class Row:
    """A node on a timeline.

    Attributes:
        note: The text next to its name.
        under_way: The bins in which it ran.
        line: By bin, how many of its workers waited for a limit; empty if none ever did.
        workers: How many it had at once.
        shares: For a stage, in any unit: how long it was busy, had no input and had no room.
    """

    name: str
    note: str
    under_way: Sequence[bool]
    tracks: Sequence[Track]
    line: Sequence[float] = ()
    workers: int = 1
    shares: tuple[float, float, float] | None = None


def timeline_svg(
    title: str, rows: Sequence[Row], seconds: float, bins: float, more: int, standalone: bool
) -> str:
    """Return a timeline.

    Args:
        title: The name of what ran.
        rows: The nodes.
        seconds: How long it took.
        bins: How many bins that is.
        more: How many nodes were left out.
        standalone: Whether it contains its stylesheet, ``kaygraph.drawing.style.TIMELINE``.
    """
    y, body = 8, list[str]()
    for row in rows:
        drawn, height = _row(row, y, bins)
        body.append(drawn)
        y += height
    if more:
        body.append(f'<text class="kaygraph-note" x="1%" y="{y + 8}">and {more} more nodes</text>')
        y += _LABEL
    axis, legend = _axis(seconds, y), list(_legend(rows, y + _AXIS))
    height = y + _AXIS + len(legend) * _LABEL
    text = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="kaygraph-timeline kaygraph-{height}" '
        f'role="img" width="100%" height="{height}">',
        f"<title>{written(title)}: {seconds:.3g} s</title>",
        f"<desc>{written(_described(rows, more))}</desc>",
    ]
    if standalone:
        # A notebook's rule for all drawings would take its height away.
        own = f"svg.kaygraph-timeline.kaygraph-{height}{{height:{height}px}}"
        text.append(f"<style>{TIMELINE}{own}</style>")
    text.append('<rect class="kaygraph-paper" width="100%" height="100%"/>')
    return "\n".join([*text, axis, *body, *legend, "</svg>"])


def _described(rows: Sequence[Row], more: int) -> str:
    note = [f"{row.name}: {row.note}" if row.note else row.name for row in rows]
    return "; ".join([*note, f"and {more} more"] if more else note)


def _row(row: Row, top: int, bins: float) -> tuple[str, int]:
    """Return the drawing of a node, and its height."""
    name = written(row.name)
    text = [
        f'<g class="kaygraph-row" data-node="{name}"><title>{name}: {written(row.note)}</title>',
        f'<text class="kaygraph-name" x="1%" y="{top + 12}">'
        f"{written(shortened(row.name, 13, _NAME))}</text>",
        f'<text class="kaygraph-note kaygraph-end" x="99%" y="{top + 12}">'
        f"{written(row.note)}</text>",
    ]
    y = top + _LABEL
    heights = [_LANE if track.workers == 1 else _AREA for track in row.tracks]
    whole = sum(heights) + _GAP * len(heights) + (_LANE + _GAP if row.line else 0)
    whole = max(whole - _GAP, _LANE)
    # Its own coordinates: a bin is 1 wide.
    text.append(
        f'<svg class="kaygraph-bars" x="1%" y="{y}" width="98%" height="{whole}" '
        f'viewBox="0 0 {_number(bins)} {whole}" preserveAspectRatio="none">'
    )
    below = 0
    for track, height in zip(row.tracks, heights, strict=True):
        text.append(_lane(row, below, height))
        text += _bars(track, below, height)
        below += height + _GAP
    if row.line or not row.tracks:
        text.append(_lane(row, below, _LANE))
    if row.line:
        levels = _levels(row.line, row.workers, _LANE)
        text.append(_area("kaygraph-line", [0.0] * len(levels), levels, below + _LANE))
    text.append("</svg>")
    y += whole
    if row.shares is not None and any(row.shares):
        text.append(_shares(row.shares, y + 3))
        y += 8
    text.append("</g>")
    return "".join(text), y + _BELOW - top


def _lane(row: Row, top: int, height: int) -> str:
    """Return the background of a bar, which is darker while the node runs."""
    lane = f'<rect class="kaygraph-lane" y="{top}" width="100%" height="{height}"/>'
    return lane + _marks("kaygraph-node", row.under_way, top, height)


def _bars(track: Track, top: int, height: int) -> Iterator[str]:
    most = max(track.workers, *map(sum, zip(track.work, track.paused, strict=True)))
    work = _levels(track.work, most, height)
    both = _levels([a + b for a, b in zip(track.work, track.paused, strict=True)], most, height)
    bottom = top + height
    yield _area("kaygraph-work", [0.0] * len(work), work, bottom)
    yield _area("kaygraph-paused", work, both, bottom)
    yield _marks("kaygraph-retried", track.retried, top, min(3, height))
    yield _marks("kaygraph-failed", track.failed, top, min(_MARK, height))


def _levels(values: Sequence[float], most: float, height: int) -> list[float]:
    """Return the height of each, in a few steps; anything above zero is visible."""
    most = most or 1.0
    return [min(_STEPS, ceil(value / most * _STEPS - 0.01)) * height / _STEPS for value in values]


def _area(kind: str, low: Sequence[float], high: Sequence[float], bottom: float) -> str:
    """Return an area between two levels, of one rectangle for each run of equal ones."""
    path, x = list[str](), 0
    for (under, over), same in groupby(zip(low, high, strict=True)):
        wide = sum(1 for _ in same)
        if over > under:
            height = _number(over - under)
            path.append(f"M{x} {_number(bottom - over)}h{wide}v{height}h-{wide}z")
        x += wide
    return f'<path class="{kind}" d="{"".join(path)}"/>' if path else ""


def _marks(kind: str, where: Sequence[bool], top: int, height: int) -> str:
    return _area(kind, [0.0] * len(where), [height * one for one in where], top + height)


def _shares(shares: tuple[float, float, float], top: int) -> str:
    """Return a bar that shows the parts of a stage's time."""
    text, left, whole = list[str](), 1.0, sum(shares)
    for kind, share in zip(_STAGES, shares, strict=True):
        wide = 98 * share / whole
        text.append(
            f'<rect class="kaygraph-{kind}" x="{left:.2f}%" y="{top}" width="{wide:.2f}%" '
            'height="5"/>'
        )
        left += wide
    return "".join(text)


def _axis(seconds: float, bottom: int) -> str:
    """Return the ticks of the time, and their lines."""
    step = _step(seconds)
    text = ['<g class="kaygraph-axis">']
    number = 0
    while step and number * step <= seconds * 1.0001:
        x = 1 + 98 * number * step / seconds
        anchor = "start" if x < 4 else "end" if x > 96 else "middle"
        text.append(
            f'<line x1="{x:.2f}%" x2="{x:.2f}%" y1="0" y2="{bottom}"/>'
            f'<text class="kaygraph-{anchor}" x="{x:.2f}%" y="{bottom + 12}">'
            f"{_duration(number * step, step)}</text>"
        )
        number += 1
    return "".join([*text, "</g>"])


def _step(seconds: float) -> float:
    """Return the time between two ticks, of which there are at most six."""
    if not seconds:
        return 0.0
    step, factors = 1e-6, cycle((2, 2.5, 2))  # 1, 2, 5, 10, ...
    while step * _TICKS < 0.9999 * seconds and step < 20:
        step *= next(factors)
    if step < 20:
        return step
    longer = next((one for one in _LONGER if one * _TICKS >= seconds), _DAY)
    return longer * ceil(seconds / _TICKS / longer)


def _duration(seconds: float, step: float) -> str:
    if not seconds:
        return "0"
    units = (3600, "h"), (60, "min"), (0.1, "s"), (1e-4, "ms"), (0, "µs")
    unit = next(unit for least, unit in units if step >= least)
    size = {"h": 3600, "min": 60, "s": 1, "ms": 1e-3, "µs": 1e-6}[unit]
    return f"{_number(seconds / size)} {unit}"


def _legend(rows: Sequence[Row], top: int) -> Iterator[str]:
    """Yield lines of the legend, for the colours in use."""
    tracks = [track for row in rows for track in row.tracks]
    there = {
        "work": any(any(track.work) for track in tracks),
        "paused": any(any(track.paused) for track in tracks),
        "line": any(row.line for row in rows),
        "failed": any(any(track.failed) for track in tracks),
        "retried": any(any(track.retried) for track in tracks),
        **dict.fromkeys(_STAGES, any(row.shares for row in rows)),
    }
    x, y, text = 8, top, list[str]()
    for kind, words in (_STATES | _STAGES).items():
        if not there[kind]:
            continue
        wide = width_of(words, 11) + 30
        if x + wide > _NARROW:
            yield "".join(text)
            x, y, text = 8, y + _LABEL, []
        text.append(
            f'<rect class="kaygraph-{kind}" x="{x}" y="{y + 2}" width="10" height="10"/>'
            f'<text class="kaygraph-note" x="{x + 14}" y="{y + 11}">{words}</text>'
        )
        x += wide
    if text:
        yield "".join(text)


def _number(value: float) -> str:
    return f"{value:.4g}" if value < 10_000 else f"{value:.0f}"
