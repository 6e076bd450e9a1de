"""The timeline of a run: what workers did when, summed in a bounded number of bins.

It is bounded for any number of items and any length of a run: when the bins are used up, each of
them becomes twice as wide.
"""

from array import array
from math import inf

from ..events import (
    AttemptStarted,
    Event,
    ItemFailed,
    ItemRetried,
    NodeFinished,
    StageFinished,
    StageStarted,
    Usage,
)
from .figures import NodeFigures, WorkerFigures

BINS = 256  # at most
NARROWEST_S = 0.0001  # a bin, at first
NOTED = frozenset(
    {ItemFailed, ItemRetried, AttemptStarted, NodeFinished, StageStarted, StageFinished}
)
MOST_LANES = 12  # of a node: further workers share one


class Axis:
    """The time of a run, in bins.

    Attributes:
        origin: When the run started, by its loop's clock.
        end: The end of the recorded time, in seconds since then.
        width: The width of a bin, in seconds.
        doubled: How often the width was doubled.
    """

    __slots__ = ("doubled", "end", "origin", "width")

    def __init__(self) -> None:
        self.origin = self.end = 0.0
        self.width = NARROWEST_S
        self.doubled = 0

    def since(self, at: float) -> float:
        """Return a time by the loop's clock in seconds since the run started."""
        seconds = max(0.0, at - self.origin)
        if seconds > self.end:
            self.end = seconds
            while seconds >= self.width * BINS:
                self.width *= 2
                self.doubled += 1
        return seconds


class Series:
    """An amount per bin, from the first bin that has any to the last."""

    __slots__ = ("_axis", "_doubled", "_first", "_values")

    def __init__(self, axis: Axis) -> None:
        self._axis, self._doubled = axis, axis.doubled
        self._first, self._values = 0, array("d")

    def spread(self, since: float, until: float, amount: float) -> None:
        """Add an amount, evenly over the time between two moments."""
        width = self._axis.width
        first, last = int(since / width), int(until / width)
        if first >= last:
            self._add(last, amount)
            return
        share = amount / (until - since)
        self._add(first, ((first + 1) * width - since) * share)
        for number in range(first + 1, last):
            self._add(number, width * share)
        if until > last * width:
            self._add(last, (until - last * width) * share)

    def fill_up(self, until: float, seconds: float, others: "Series") -> None:
        """Add seconds that end at a moment, where neither these nor others have any yet."""
        width = self._axis.width
        number = int(until / width)
        while seconds > 0 and number >= 0:
            room = max(0.0, width - self.at(number) - others.at(number))
            self._add(number, min(room, seconds))
            seconds -= room
            number -= 1

    def at(self, number: int) -> float:
        """Return the amount of one bin."""
        self._widen()
        place = number - self._first
        return self._values[place] if 0 <= place < len(self._values) else 0.0

    def _add(self, number: int, amount: float) -> None:
        self._widen()
        values, place = self._values, number - self._first
        if not values:
            self._first, place = number, 0
        elif place < 0:
            values = self._values = array("d", bytes(-8 * place)) + values
            self._first, place = number, 0
        if place >= len(values):
            values.frombytes(bytes(8 * (place + 1 - len(values))))
        values[place] += amount

    def _widen(self) -> None:
        """Make the bins as wide as those of the axis are now."""
        while self._doubled < self._axis.doubled:
            self._doubled += 1
            values, self._values = self._values, array("d")
            if self._first % 2:
                values.insert(0, 0.0)
            if len(values) % 2:
                values.append(0.0)
            self._first //= 2
            self._values = array("d", map(float.__add__, values[::2], values[1::2]))


class Lane(dict[str, Series]):
    """What one worker of a node did, or all of them, as far as recorded.

    ``work``: seconds in exec; ``paused``: seconds in which an item waited for its next attempt;
    ``failed`` and ``retried``: items and attempts. For a node as a whole also ``under_way``:
    that it ran, and ``line``: seconds spent waiting for permits, keys and rates.
    """

    __slots__ = ("_axis",)

    def __init__(self, axis: Axis) -> None:
        self._axis = axis

    def __missing__(self, kind: str) -> Series:
        series = self[kind] = Series(self._axis)
        return series


class NodeTimes:
    """What a node did when."""

    __slots__ = (
        "lanes", "line_until", "paused", "ran_since", "ran_until", "sampled", "stage_since",
        "whole",
    )  # fmt: skip

    def __init__(self, axis: Axis) -> None:
        self.lanes: dict[int, Lane] = {}  # of the first workers
        self.whole = Lane(axis)  # of all
        self.sampled: float | None = None  # when the number of items in exec was last recorded
        self.line_until = 0.0
        self.paused: dict[int, float] = {}  # since when items wait for their next attempt
        self.stage_since: float | None = None
        self.ran_since, self.ran_until = inf, -inf  # the bin of its last end


class Timeline:
    """Sums up what the workers of nodes do when.

    A worker's items are recorded when the first one has ended that reaches into another bin than
    those before: until then, their time in ``exec`` is in the figures of the worker. Past the first
    few workers, only the number of items in ``exec`` is recorded, once per bin.
    """

    def __init__(self) -> None:
        self.axis = Axis()
        self._nodes: dict[str, NodeTimes] = {}
        self._under_way = 0  # runs

    def begin(self, at: float, before_s: float) -> None:
        """Start a run, after earlier ones that took this many seconds."""
        if not self._under_way:
            self.axis.origin = at - before_s
        self._under_way += 1

    def _times(self, node: str) -> NodeTimes:
        times = self._nodes.get(node)
        if times is None:
            times = self._nodes[node] = NodeTimes(self.axis)
        return times

    def _lane(self, node: str, worker: int) -> Lane | None:
        lanes = self._times(node).lanes
        if worker not in lanes and worker < MOST_LANES:
            lanes[worker] = Lane(self.axis)
        return lanes.get(worker)

    def sample(self, figures: NodeFigures, at: float) -> None:
        """Record how many items of a node were in exec and waiting since the last record.

        Called before either changes, once the time in ``figures.due`` has come.
        """
        times, until = self._times(figures.name), self.axis.since(at)
        if times.sampled is not None and times.sampled < until:
            since, took = times.sampled, until - times.sampled
            if figures.in_flight:
                times.whole["work"].spread(since, until, took * figures.in_flight)
            if figures.waiting:
                times.whole["paused"].spread(since, until, took * figures.waiting)
        times.sampled = until
        figures.due = self._end_of_bin(until)

    def _end_of_bin(self, moment: float) -> float:
        width = self.axis.width
        return self.axis.origin + (int(moment / width) + 1) * width

    def worked(
        self, figures: NodeFigures, worker: int, seconds: float, at: float, attempts: int = 1
    ) -> None:
        """Record an item whose time in exec, included in its worker's, is ``seconds``."""
        load, lane = figures.workers[worker], self._lane(figures.name, worker)
        if lane is None:
            load.due = inf
            return
        ended = self.axis.since(at)
        self._note_before(load, lane, seconds)
        if attempts > 1:
            lane["work"].fill_up(ended, seconds, lane["paused"])
        else:
            lane["work"].spread(max(0.0, ended - seconds), ended, seconds)
        load.noted_s = load.work_s
        load.due = self._end_of_bin(ended)

    def _note_before(self, load: WorkerFigures, lane: Lane, seconds: float) -> None:
        """Record the items of a worker before one of this many seconds: all in the bin before."""
        before = load.work_s - load.noted_s - seconds
        if before > 0:
            since = max(0.0, load.due - self.axis.origin - self.axis.width / 2)
            lane["work"].spread(since, since, before)

    def stood_in_line(self, figures: NodeFigures, usage: Usage, seconds: float, at: float) -> None:
        """Record the waiting time that an item reports, which took this many seconds.

        Its worker waited before the item started. Of several workers that wait for permits one
        queues, and the time of all of them is recorded whenever an item ends.
        """
        times = self._times(figures.name)
        if usage.queued_for == "max_workers" and figures.workers_at_once > 1:
            until = self.axis.since(at)
            since = min(until, max(0.0, until - usage.queued_s, times.line_until))
            times.line_until = until
        else:
            until = self.axis.since(at - seconds)
            since = max(0.0, until - usage.queued_s)
        times.whole["line"].spread(since, until, usage.queued_s)

    def note(self, event: Event) -> None:
        """Record one of the events in ``NOTED``."""
        match event:
            case NodeFinished(node, at, seconds):
                self._ran(self._times(node), seconds, at)
            case ItemFailed(node, at, item, worker):
                for lane in self._lanes(node, worker):
                    self._count(lane["failed"], at)
                self._times(node).paused.pop(item, None)
            case ItemRetried(node, at, item, worker):
                for lane in self._lanes(node, worker):
                    self._count(lane["retried"], at)
                self._times(node).paused[item] = at
            case AttemptStarted(node, at, item, worker):
                since = self._times(node).paused.pop(item, at)
                if (one := self._lane(node, worker)) is not None:
                    self._last(one["paused"], at - since, at)
            case StageStarted(node, at):
                self._times(node).stage_since = at
            case StageFinished(node, at):
                times = self._times(node)
                if times.stage_since is not None:
                    since, times.stage_since = times.stage_since, None
                    self._last(times.whole["under_way"], at - since, at)

    def _ran(self, times: NodeTimes, seconds: float, at: float) -> None:
        """Record that a node ran, unless that is known for this bin."""
        if at >= times.ran_until or at - seconds < times.ran_since:
            self._last(times.whole["under_way"], seconds, at)
            times.ran_until = self._end_of_bin(self.axis.since(at))
            times.ran_since = times.ran_until - self.axis.width

    def _lanes(self, node: str, worker: int) -> list[Lane]:
        lane, whole = self._lane(node, worker), self._times(node).whole
        return [whole] if lane is None else [lane, whole]

    def _count(self, series: Series, at: float) -> None:
        moment = self.axis.since(at)
        series.spread(moment, moment, 1.0)

    def _last(self, series: Series, seconds: float, at: float) -> None:
        """Add seconds up to a moment."""
        until = self.axis.since(at)
        series.spread(max(0.0, until - seconds), until, seconds)

    def end(self, nodes: dict[str, NodeFigures], at: float) -> None:
        """Record what the workers did since the last record: a run has ended."""
        self.axis.since(at)
        self._under_way -= 1
        for figures in nodes.values():
            self.sample(figures, at)
            times = self._times(figures.name)
            times.sampled, figures.due = None, -inf
            times.ran_since, times.ran_until = inf, -inf
            for worker, load in figures.workers.items():
                if (lane := self._lane(figures.name, worker)) is not None:
                    self._note_before(load, lane, 0.0)
                    load.noted_s, load.due = load.work_s, -inf

    @property
    def bins(self) -> int:
        """How many bins there are."""
        return min(BINS, int(self.axis.end / self.axis.width) + 1)

    def times_of(self, node: str) -> NodeTimes | None:
        """Return what a node did when; None if nothing was recorded."""
        return self._nodes.get(node)
