"""The run report: what a run did, counted and measured from its events."""

import asyncio
import time
from collections import Counter
from math import ceil, inf
from typing import Any

from .._validation import human
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
from .figures import STATUSES, NodeFigures, RoundFigures, WorkerFigures
from .processors import cores, ready_s
from .verdict import Measured, slowest_stages, verdict_on

LOOK_S = 0.05  # between two looks at the memory of the process


class RunReport(CountsItems):
    """An observer that adds up what a run did.

    ``report = RunReport(); graph.run(shared, observers=[report]); print(report)``

    Args:
        baseline: The report of the same run with one worker, or its wall time in seconds: what
            ``speedup`` compares with.

    Attributes:
        wall_s: Seconds from the run's start to its end.
        work_s: Seconds spent in ``exec``, summed over all items. Waiting counts, also for the
            processor and for the interpreter's lock.
        mean_in_flight: ``work_s / wall_s``: how many calls of ``exec`` there were at once, on
            average. It says nothing about what more of them gain.
        peak_in_flight: The most calls of ``exec`` at the same time.
        cpu_s: Processor seconds of this process during the run, in all of its threads;
            ``loop_cpu_s`` those of the event loop's thread.
        worker_cpu_s: Processor seconds of ``exec`` in worker processes.
        memory: The most bytes that this process held during the run, as far as was looked; what
            worker processes held is among the figures of the nodes.
        speedup: How many times faster than the baseline the run was; None without a baseline.
        items: Calls of ``exec`` by status; each call is counted under exactly one.
        retries: Attempts beyond the first.
        nodes: Figures per node, in the order in which they began.
        verdict: One sentence: what kept the run from being faster, and what would help.
    """

    def __init__(self, *, baseline: "RunReport | float | None" = None) -> None:
        self.name = ""
        self.wall_s = 0.0
        self.cpu_s = 0.0
        self.loop_cpu_s = 0.0
        self.memory = 0
        self.peak_in_flight = 0
        self.baseline_s = baseline.wall_s if isinstance(baseline, RunReport) else baseline
        self.nodes: dict[str, NodeFigures] = {}
        self._rounds: dict[str, RoundFigures] = {}  # by the graph that the nodes belong to
        self._in_flight = 0
        # Processor seconds, the loop's, what it waited for a processor, and the highest memory so
        # far; None on a virtual clock.
        self._began: tuple[float, float, float, int] | None = None
        self._look_at = inf
        self._ready_s = 0.0

    def __call__(self, event: Event, /) -> None:
        match event:
            case ItemStarted(name, whole=whole):
                figures = self._figures(name)
                figures.is_whole = whole
                self._took_up(figures)
            case ItemFinished(name, at, _, worker, attempts, seconds, usage, waiting):
                self._ended(name, worker, attempts, seconds, "ok", usage, waiting)
                if at >= self._look_at:
                    self._look(at)
            case ItemFailed(name, _, _, worker, attempts, seconds, status, _, usage, waiting):
                self._ended(name, worker, attempts, seconds, status, usage, waiting)
            case ItemRetried(name):
                figures = self._figures(name)
                figures.retries += 1
                figures.waiting += 1
                self._let_go(figures)
            case AttemptStarted(name):
                figures = self._figures(name)
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
        """Whether it need not be called for each item; a subclass may want to be."""
        return type(self).__call__ is RunReport.__call__

    def counter_of(self, node: str, whole: bool) -> "ItemCounter":
        """Return what counts the items of a node, for the engine."""
        figures = self._figures(node)
        figures.is_whole = whole
        return ItemCounter(self, figures)

    def _figures(self, name: str) -> NodeFigures:
        if name not in self.nodes:
            self.nodes[name] = NodeFigures(name)
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
    ) -> None:
        figures = self._figures(name)
        if waiting:
            figures.waiting -= 1
        elif attempts:  # one that was cancelled while it waited for a permit was never in flight
            self._let_go(figures)
        figures.items[status] += 1
        figures.longest_s = max(figures.longest_s, seconds)
        load = figures.workers.setdefault(worker, WorkerFigures())
        load.items += 1
        if not figures.is_whole:
            figures.work_s += seconds
            load.work_s += seconds
        if usage is not NO_USAGE:
            figures.add(usage)

    def _begin(self, at: float) -> None:
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
        if self._began is None:
            return
        cpu_s, loop_cpu_s, waited_s, memory = self._began
        self.cpu_s += time.process_time() - cpu_s
        self.loop_cpu_s += max(0.0, time.thread_time() - loop_cpu_s)
        self._ready_s += max(0.0, ready_s() - waited_s)
        self._look(at)
        if (peak := peak_resident()) > memory:  # it has never held as much before
            self.memory = max(self.memory, peak)
        self._began, self._look_at = None, inf

    # --- what has become of it --------------------------------------------------------------------

    @property
    def work_s(self) -> float:
        return sum(node.work_s for node in self.nodes.values())

    @property
    def worker_cpu_s(self) -> float:
        return sum(node.cpu_s for node in self.nodes.values() if node.in_processes)

    @property
    def submitted(self) -> int:
        """Items that were taken up: those that have ended, and those that have not."""
        under_way = sum(node.in_flight + node.waiting for node in self.nodes.values())
        return sum(self.items.values()) + under_way

    @property
    def retries(self) -> int:
        return sum(node.retries for node in self.nodes.values())

    @property
    def items(self) -> dict[str, int]:
        total = sum((node.items for node in self.nodes.values()), Counter[str]())
        return {status: total[status] for status in STATUSES}

    @property
    def mean_in_flight(self) -> float:
        return self.work_s / self.wall_s if self.wall_s else 0.0

    @property
    def speedup(self) -> float | None:
        if self.baseline_s is None or not self.wall_s:
            return None
        return self.baseline_s / self.wall_s

    @property
    def bottleneck(self) -> str | None:
        """The stage with the most busy time per worker; without stages, the node that worked most.

        More of anything else would not make the run faster.
        """
        if stages := slowest_stages(self.nodes.values()):
            return stages[0].name
        worked = [node for node in self.nodes.values() if node.work_s]
        return max(worked, key=lambda node: node.work_s).name if worked else None

    @property
    def advised_workers(self) -> dict[str, int]:
        """For a pipeline's bottleneck: with how many workers the next stage would be it."""
        stages = slowest_stages(self.nodes.values())
        if len(stages) < 2 or not stages[1].load_s:
            return {}
        return {stages[0].name: ceil(stages[0].busy_s / stages[1].load_s)}

    @property
    def verdict(self) -> str:
        nodes, rounds = tuple(self.nodes.values()), tuple(self._rounds.values())
        times = self.wall_s, self.cpu_s, self.loop_cpu_s, self._ready_s
        return verdict_on(Measured(*times, cores(), nodes, rounds))

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data; times in seconds, memory in bytes."""
        speedup = self.speedup
        return {
            "wall_s": round(self.wall_s, 6),
            "work_s": round(self.work_s, 6),
            "mean_in_flight": round(self.mean_in_flight, 3),
            "peak_in_flight": self.peak_in_flight,
            "cpu_s": round(self.cpu_s, 6),
            "loop_cpu_s": round(self.loop_cpu_s, 6),
            "worker_cpu_s": round(self.worker_cpu_s, 6),
            "memory": self.memory,
            "baseline_s": self.baseline_s,
            "speedup": None if speedup is None else round(speedup, 3),
            "items": self.items,
            "retries": self.retries,
            "bottleneck": self.bottleneck,
            "verdict": self.verdict,
            "nodes": [node.to_dict() for node in self.nodes.values()],
        }

    def __str__(self) -> str:
        rows = [node for node in self.nodes.values() if node.items or node.stage_workers]
        width = max((len(node.name) for node in rows), default=0)
        return "\n".join(
            [*self.summary(), *(f"  {node.name:<{width}}  {node}" for node in rows), self.verdict]
        ).rstrip()

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """Show it in a notebook, as a table and as text."""
        from ..drawing.tables import html_table  # loads where it is used

        heads = ("node", "items", "failed", "retries", "at once", "seconds in exec", "longest")
        rows = [node.row() for node in self.nodes.values() if node.items or node.stage_workers]
        table = html_table(heads, rows, above=self.summary(), below=self.verdict)
        return {"text/plain": str(self), "text/html": table}

    def summary(self) -> list[str]:
        """Return the lines about the run as a whole."""
        counts = ", ".join(
            f"{count} {status.replace('_', ' ')}"
            for status, count in self.items.items()
            if count or status in ("ok", "failed", "skipped")
        )
        workers = f", worker processes {self.worker_cpu_s:.3f} s" if self.worker_cpu_s else ""
        lines = [
            f"{self.name}: {self.wall_s:.3f} s; calls of exec at once: "
            f"{self.mean_in_flight:.1f} on average, {self.peak_in_flight} at most",
            f"items: {counts}; retries: {self.retries}",
            f"processor: {self.cpu_s:.3f} s, of which the event loop {self.loop_cpu_s:.3f} s"
            f"{workers}; memory: {human(self.memory)} at most",
        ]
        if self.speedup is not None:
            lines.append(
                f"speedup: {self.speedup:.2f}, against {self.baseline_s:.3f} s with one worker"
            )
        return lines


class ItemCounter:
    """Adds the items of one node that begin, and that end well, to a report."""

    __slots__ = ("_figures", "_report", "_workers")

    def __init__(self, report: RunReport, figures: NodeFigures) -> None:
        self._report, self._figures = report, figures
        self._workers = figures.workers

    def began(self) -> None:
        figures = self._figures
        figures.in_flight = now = figures.in_flight + 1
        if now > figures.peak:
            figures.peak = now
        if not figures.is_whole:
            report = self._report
            report._in_flight = now = report._in_flight + 1
            if now > report.peak_in_flight:
                report.peak_in_flight = now

    def ended(
        self, worker: int, attempts: int, seconds: float, usage: Usage, waiting: bool, at: float
    ) -> None:
        report, figures = self._report, self._figures
        if waiting or not attempts:
            report._ended(figures.name, worker, attempts, seconds, "ok", usage, waiting)
            return
        figures.in_flight -= 1
        figures.items["ok"] += 1
        if seconds > figures.longest_s:
            figures.longest_s = seconds
        load = self._workers.get(worker)
        if load is None:
            load = self._workers[worker] = WorkerFigures()
        load.items += 1
        if not figures.is_whole:
            report._in_flight -= 1
            figures.work_s += seconds
            load.work_s += seconds
        if usage is not NO_USAGE:
            figures.add(usage)
        if at >= report._look_at:
            report._look(at)
