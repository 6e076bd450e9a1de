"""The timeline of a report as rows and bars, for its drawing as SVG."""

from collections.abc import Mapping, Sequence

from .._formatting import redacted
from ..drawing.timeline import Row, Track, timeline_svg
from .figures import NodeFigures
from .timeline import MOST_LANES, Lane, Series, Timeline

MOST_ROWS = 50
MOST_BARS = 120


def drawn(
    timeline: Timeline,
    name: str,
    nodes: Mapping[str, NodeFigures],
    seconds: float,
    standalone: bool,
) -> str:
    """Return a timeline as SVG, with rows for the nodes that took most of the time."""
    shown = [one for one in nodes.values() if timeline.times_of(one.name) is not None]
    took = sorted((max(one.wall_s, one.work_s, one.load_s) for one in shown), reverse=True)
    if len(shown) > MOST_ROWS:
        least = took[MOST_ROWS - 1]
        shown = [one for one in shown if max(one.wall_s, one.work_s, one.load_s) >= least]
    shown = shown[:MOST_ROWS]
    most = most_lanes([len(one.workers) for one in shown if not one.is_whole])
    rows = [row_of(timeline, one, most) for one in shown]
    rows.sort(key=lambda row: (began(row), row.name.count("/")))
    whole = max(seconds, timeline.axis.end)
    bins = max(1.0, whole / timeline.axis.width)
    return timeline_svg(redacted(name), rows, whole, bins, len(took) - len(rows), standalone)


def began(row: Row) -> int:
    """Return the first bin in which a node did anything."""
    several = [row.under_way, *(track.work for track in row.tracks)]
    return min([next((n for n, value in enumerate(one) if value), len(one)) for one in several])


def most_lanes(workers: Sequence[int]) -> int:
    """Return the number of workers up to which each has its own bar, to limit the bars."""
    for most in range(MOST_LANES, 1, -1):
        if sum([one if one <= most else 1 for one in workers]) <= MOST_BARS:
            return most
    return 1


def row_of(timeline: Timeline, figures: NodeFigures, most: int = MOST_LANES) -> Row:
    """Return the row of a node; more than ``most`` workers share one bar."""
    times = timeline.times_of(figures.name)
    assert times is not None
    lanes = [times.lanes[number] for number in sorted(times.lanes)]
    workers = max(figures.workers_at_once, figures.stage_workers)
    tracks = list[Track]()
    if figures.is_whole:
        pass
    elif len(figures.workers) <= most:
        tracks += [_track(timeline, lane, 1) for lane in lanes]
    else:
        tracks.append(_track(timeline, times.whole, workers))
    line = _at_once(timeline, times.whole.get("line"))
    shares = (figures.busy_s, figures.starved_s, figures.blocked_s)
    return Row(
        redacted(figures.name),
        figures.note(),
        [value > 0 for value in _at_once(timeline, times.whole.get("under_way"))],
        tracks,
        line if any(line) else [],
        workers,
        shares if figures.stage_workers else None,
    )


def _track(timeline: Timeline, lane: Lane, workers: int) -> Track:
    return Track(
        workers,
        _at_once(timeline, lane.get("work")),
        _at_once(timeline, lane.get("paused")),
        [value > 0 for value in _at_once(timeline, lane.get("failed"))],
        [value > 0 for value in _at_once(timeline, lane.get("retried"))],
    )


def _at_once(timeline: Timeline, series: Series | None) -> list[float]:
    """Return how many there were at once on average, by bin."""
    if series is None:
        return [0.0] * timeline.bins
    width = timeline.axis.width
    return [series.at(number) / width for number in range(timeline.bins)]
