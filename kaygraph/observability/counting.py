"""Counting and measuring what a run does, from its events."""

import asyncio
import time
from math import inf

from ..events import (
    NO_USAGE,
    AttemptStarted,
    Event,
    ItemFailed,
    ItemFinished,
    ItemRetried,
    ItemStarted,
    LimitChanged,
    NodeFinished,
    NodeStarted,
    RunFinished,
    RunStarted,
    StageFinished,
    StageStarted,
    Usage,
)
from ..executors.memory import peak_resident, resident
from ..limits.clock import has_own_clock
from ..run.observers import CountsItems
from .figures import NodeFigures, RoundFigures, WorkerFigures
from .processors import ready_s
from .timeline import NOTED, Timeline

LOOK_S = 0.05  # between two readings of the memory of the process


class ItemsCounted(CountsItems):
    """An observer that counts and measures, and keeps the figures.

    Args:
        timeline: Records what workers do when; None: not recorded.
    """

    def __init__(self, timeline: Timeline | None) -> None:
        self.name = ""
        self.wall_s = 0.0
        self.cpu_s = 0.0
        self.loop_cpu_s = 0.0
        self.memory = 0
        self.peak_in_flight = 0
        self.nodes: dict[str, NodeFigures] = {}
        self._rounds: dict[str, RoundFigures] = {}  # by the graph that the nodes belong to
        self._in_flight = 0
        # Processor seconds, the loop's, what it waited for a processor, and the highest memory so
        # far; None on a virtual clock.
        self._began: tuple[float, float, float, int] | None = None
        self._look_at = inf
        self._ready_s = 0.0
        self._timeline = timeline
        self._first_due = inf if timeline is None else -inf  # of a worker, see WorkerFigures

    def __call__(self, event: Event, /) -> None:
        if self._timeline is not None and type(event) in NOTED:
            self._timeline.note(event)
        match event:
            case ItemStarted(name, at, whole=whole):
                figures = self._figures(name)
                self._sample(figures, at)
                figures.is_whole = whole
                self._took_up(figures)
            case ItemFinished(name, at, _, worker, attempts, seconds, usage, waiting):
                self._ended(name, worker, attempts, seconds, "ok", usage, waiting, at)
                if at >= self._look_at:
                    self._look(at)
            case ItemFailed(name, at, _, worker, attempts, seconds, status, _, usage, waiting):
                self._ended(name, worker, attempts, seconds, status, usage, waiting, at)
            case ItemRetried(name, at):
                figures = self._figures(name)
                self._sample(figures, at)
                figures.retries += 1
                figures.waiting += 1
                self._let_go(figures)
            case AttemptStarted(name, at):
                figures = self._figures(name)
                self._sample(figures, at)
                figures.waiting -= 1
                self._took_up(figures)
            case NodeStarted(name):
                self._node_started(name)
            case NodeFinished(name, _, seconds):
                self._node_finished(name, seconds)
            case StageStarted(name, _, workers):
                self._figures(name).stage_workers = workers
            case StageFinished(name, _, _, items, busy_s, starved_s, blocked_s):
                figures = self._figures(name)
                figures.stage_items += items
                figures.busy_s += busy_s
                figures.starved_s += starved_s
                figures.blocked_s += blocked_s
            case LimitChanged(name, _, limit):
                self._figures(name).limit = limit
            case RunStarted(name, at):
                self.name = name
                self._begin(at)
            case RunFinished(_, at, seconds):
                self.wall_s += seconds
                self._measure(at)

    @property
    def counts_items(self) -> bool:
        """Whether it need not be called for each item; a subclass may override that."""
        return type(self).__call__ is ItemsCounted.__call__

    def counter_of(self, node: str, whole: bool) -> "ItemCounter":
        """Return the counter of a node's items, for the engine."""
        figures = self._figures(node)
        figures.is_whole = whole
        return ItemCounter(self, figures)

    def _figures(self, name: str) -> NodeFigures:
        if name not in self.nodes:
            self.nodes[name] = NodeFigures(name, due=self._first_due)
        return self.nodes[name]

    def _node_started(self, name: str) -> None:
        graph = name.rpartition("/")[0]
        if graph not in self._rounds:
            self._rounds[graph] = RoundFigures(graph)
        rounds = self._rounds[graph]
        rounds.under_way += 1
        rounds.peak = max(rounds.peak, rounds.under_way)

    def _node_finished(self, name: str, seconds: float) -> None:
        figures = self._figures(name)
        figures.runs += 1
        figures.wall_s += seconds
        if (rounds := self._rounds.get(name.rpartition("/")[0])) is not None:
            rounds.under_way -= 1
            rounds.wall_s += seconds
            rounds.runs = max(rounds.runs, figures.runs)

    def _sample(self, figures: NodeFigures, at: float) -> None:
        if at >= figures.due and self._timeline is not None:
            self._timeline.sample(figures, at)

    def _took_up(self, figures: NodeFigures) -> None:
        figures.in_flight += 1
        figures.peak = max(figures.peak, figures.in_flight)
        if not figures.is_whole:
            self._in_flight += 1
            self.peak_in_flight = max(self.peak_in_flight, self._in_flight)

    def _let_go(self, figures: NodeFigures) -> None:
        figures.in_flight -= 1
        self._in_flight -= not figures.is_whole

    def _ended(
        self,
        name: str,
        worker: int,
        attempts: int,
        seconds: float,
        status: str,
        usage: Usage,
        waiting: bool,
        at: float,
    ) -> None:
        figures, timeline = self._figures(name), self._timeline
        self._sample(figures, at)
        if waiting:
            figures.waiting -= 1
        elif attempts:  # one that was cancelled while it waited for a permit was never in flight
            self._let_go(figures)
        figures.items[status] += 1
        figures.longest_s = max(figures.longest_s, seconds)
        load = figures.workers.get(worker) or self._new_worker(figures, worker)
        load.items += 1
        if not figures.is_whole:
            figures.work_s += seconds
            load.work_s += seconds
            if timeline is not None:
                timeline.worked(figures, worker, seconds, at, attempts)
        if usage is not NO_USAGE:
            figures.add(usage)
            if timeline is not None and usage.queued_s:
                timeline.stood_in_line(figures, usage, seconds, at)

    def _new_worker(self, figures: NodeFigures, worker: int) -> WorkerFigures:
        load = figures.workers[worker] = WorkerFigures(due=self._first_due)
        return load

    def _begin(self, at: float) -> None:
        if self._timeline is not None:
            self._timeline.begin(at, self.wall_s)
        loop = asyncio._get_running_loop()
        if loop is not None and not has_own_clock(loop):
            times = time.process_time(), time.thread_time(), ready_s()
            self._began = (*times, peak_resident())
            self._look(at)

    def _look(self, at: float) -> None:
        self._look_at = at + LOOK_S
        self.memory = max(self.memory, resident())

    def _measure(self, at: float) -> None:
        """Add what the process has used since the run began."""
        if self._timeline is not None:
            self._timeline.end(self.nodes, at)
        if self._began is None:
            return
        cpu_s, loop_cpu_s, waited_s, memory = self._began
        self.cpu_s += time.process_time() - cpu_s
        self.loop_cpu_s += max(0.0, time.thread_time() - loop_cpu_s)
        self._ready_s += max(0.0, ready_s() - waited_s)
        self._look(at)
        if (peak := peak_resident()) > memory:  # a new maximum
            self.memory = max(self.memory, peak)
        self._began, self._look_at = None, inf


class ItemCounter:
    """Adds the items of one node that start and that succeed to a report."""

    __slots__ = ("_figures", "_report", "_workers")

    def __init__(self, report: ItemsCounted, figures: NodeFigures) -> None:
        self._report, self._figures = report, figures
        self._workers = figures.workers

    def began(self, index: int, at: float) -> None:
        figures = self._figures
        if at >= figures.due:
            self._report._sample(figures, at)
        figures.in_flight = now = figures.in_flight + 1
        if now > figures.peak:
            figures.peak = now
        if not figures.is_whole:
            report = self._report
            report._in_flight = now = report._in_flight + 1
            if now > report.peak_in_flight:
                report.peak_in_flight = now

    def ended(
        self,
        index: int,
        worker: int,
        attempts: int,
        seconds: float,
        usage: Usage,
        waiting: bool,
        at: float,
    ) -> None:
        report, figures = self._report, self._figures
        if waiting or attempts != 1:
            report._ended(figures.name, worker, attempts, seconds, "ok", usage, waiting, at)
            return
        if at >= figures.due:
            report._sample(figures, at)
        figures.in_flight -= 1
        figures.items["ok"] += 1
        if seconds > figures.longest_s:
            figures.longest_s = seconds
        load = self._workers.get(worker)
        if load is None:
            load = report._new_worker(figures, worker)
        load.items += 1
        if not figures.is_whole:
            report._in_flight -= 1
            figures.work_s += seconds
            load.work_s += seconds
            if at >= load.due and report._timeline is not None:
                report._timeline.worked(figures, worker, seconds, at)
        if usage is not NO_USAGE:
            figures.add(usage)
            if usage.queued_s and report._timeline is not None:
                report._timeline.stood_in_line(figures, usage, seconds, at)
        if at >= report._look_at:
            report._look(at)
