"""The run report: what a run did, counted and measured from its events."""

from collections import Counter
from dataclasses import dataclass, field
from math import ceil
from typing import Any, get_args

from ..events import (
    Event,
    ItemFailed,
    ItemFinished,
    ItemRetried,
    ItemStarted,
    LimitChanged,
    NodeFinished,
    RunFinished,
    RunStarted,
    StageFinished,
    StageStarted,
)
from ..outcome import Status

STATUSES: tuple[Status, ...] = get_args(Status)


@dataclass(slots=True)
class WorkerFigures:
    """What one worker of a node did: items ended, and seconds in ``exec``."""

    items: int = 0
    work_s: float = 0.0


@dataclass(slots=True)
class NodeFigures:
    """What one node did. Times are in seconds.

    ``wall_s`` is the node's own time from start to end, summed over its runs; ``work_s`` the time
    in ``exec``, summed over items; ``in_flight`` the items
    that run now and ``peak`` the most there were; ``limit`` what ``max_workers="auto"`` has found.
    The last five are those of a pipeline's stage, summed over its workers.
    """

    name: str
    runs: int = 0
    wall_s: float = 0.0
    work_s: float = 0.0
    in_flight: int = 0
    peak: int = 0
    retries: int = 0
    limit: int | None = None
    items: Counter[str] = field(default_factory=Counter)
    workers: dict[int, WorkerFigures] = field(default_factory=dict)
    stage_workers: int = 0
    stage_items: int = 0
    busy_s: float = 0.0
    starved_s: float = 0.0
    blocked_s: float = 0.0
    is_whole: bool = False  # its work is that of its parts, which have figures of their own

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain data; times in seconds."""
        row: dict[str, Any] = {
            "name": self.name,
            "runs": self.runs,
            "wall_s": round(self.wall_s, 6),
            "work_s": round(self.work_s, 6),
            "peak_in_flight": self.peak,
            "items": {status: self.items[status] for status in STATUSES},
            "retries": self.retries,
            "workers": len(self.workers),
        }
        if self.limit is not None:
            row["limit"] = self.limit
        if self.stage_workers:
            row |= {
                "workers": self.stage_workers,
                "stage_items": self.stage_items,
                "busy_s": round(self.busy_s, 6),
                "starved_s": round(self.starved_s, 6),
                "blocked_s": round(self.blocked_s, 6),
            }
        return row


class RunReport:
    """An observer that adds up what a run did.

    ``report = RunReport(); graph.run(shared, observers=[report]); print(report)``

    Attributes:
        wall_s: Seconds from the run's start to its end.
        work_s: Seconds spent in ``exec``, summed over all items: what one after another would take.
        speedup: ``work_s / wall_s``.
        peak_in_flight: The most calls of ``exec`` at the same time.
        efficiency: ``speedup / peak_in_flight``: 1.0 when every place was busy all the time.
        items: Calls of ``exec`` by status; each call is counted under exactly one.
        retries: Attempts beyond the first.
        nodes: Figures per node, in the order in which they began.
    """

    def __init__(self) -> None:
        self.name = ""
        self.wall_s = 0.0
        self.peak_in_flight = 0
        self.nodes: dict[str, NodeFigures] = {}
        self._started_at = 0.0
        self._in_flight = 0

    def __call__(self, event: Event, /) -> None:
        match event:
            case ItemStarted(name, whole=whole):
                figures = self._figures(name)
                figures.is_whole = whole
                self._in_flight += not figures.is_whole
                self.peak_in_flight = max(self.peak_in_flight, self._in_flight)
                figures.in_flight += 1
                figures.peak = max(figures.peak, figures.in_flight)
            case ItemFinished(name, _, _, worker, attempts, seconds):
                self._ended(name, worker, attempts, seconds, "ok")
            case ItemFailed(name, _, _, worker, attempts, seconds, status):
                self._ended(name, worker, attempts, seconds, status)
            case ItemRetried(name):
                self._figures(name).retries += 1
            case NodeFinished(name, _, seconds):
                figures = self._figures(name)
                figures.runs += 1
                figures.wall_s += seconds
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
                self.name, self._started_at = name, at
            case RunFinished(_, _, seconds):
                self.wall_s += seconds

    def _figures(self, name: str) -> NodeFigures:
        if name not in self.nodes:
            self.nodes[name] = NodeFigures(name)
        return self.nodes[name]

    def _ended(self, name: str, worker: int, attempts: int, seconds: float, status: str) -> None:
        figures = self._figures(name)
        if attempts:  # one that was cancelled while it waited for a permit was never in flight
            figures.in_flight -= 1
            self._in_flight -= not figures.is_whole
        figures.items[status] += 1
        figures.work_s += seconds
        load = figures.workers.setdefault(worker, WorkerFigures())
        load.items += 1
        load.work_s += seconds

    @property
    def work_s(self) -> float:
        return sum(node.work_s for node in self.nodes.values() if not node.is_whole)

    @property
    def submitted(self) -> int:
        """Items that were taken up: those that have ended, and those in flight."""
        return sum(self.items.values()) + sum(node.in_flight for node in self.nodes.values())

    @property
    def retries(self) -> int:
        return sum(node.retries for node in self.nodes.values())

    @property
    def items(self) -> dict[str, int]:
        total = sum((node.items for node in self.nodes.values()), Counter[str]())
        return {status: total[status] for status in STATUSES}

    @property
    def speedup(self) -> float:
        return self.work_s / self.wall_s if self.wall_s else 0.0

    @property
    def efficiency(self) -> float:
        return self.speedup / self.peak_in_flight if self.peak_in_flight else 0.0

    @property
    def bottleneck(self) -> str | None:
        """The stage with the most busy time per worker; without stages, the node that worked most.

        More of anything else would not make the run faster.
        """
        stages = [node for node in self.nodes.values() if node.stage_workers]
        if stages:
            return max(stages, key=lambda node: node.busy_s / node.stage_workers).name
        worked = [node for node in self.nodes.values() if node.work_s and not node.is_whole]
        return max(worked, key=lambda node: node.work_s).name if worked else None

    @property
    def advised_workers(self) -> dict[str, int]:
        """For a pipeline's bottleneck: with how many workers the next stage would be it."""
        loads = sorted(
            (node.busy_s / node.stage_workers, node.name)
            for node in self.nodes.values()
            if node.stage_workers
        )
        if len(loads) < 2 or not loads[-2][0]:
            return {}
        slowest = self.nodes[loads[-1][1]]
        return {slowest.name: ceil(slowest.busy_s / loads[-2][0])}

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data; times in seconds."""
        return {
            "wall_s": round(self.wall_s, 6),
            "work_s": round(self.work_s, 6),
            "speedup": round(self.speedup, 3),
            "efficiency": round(self.efficiency, 3),
            "peak_in_flight": self.peak_in_flight,
            "items": self.items,
            "retries": self.retries,
            "bottleneck": self.bottleneck,
            "nodes": [node.to_dict() for node in self.nodes.values()],
        }

    def __str__(self) -> str:
        counts = ", ".join(
            f"{count} {status.replace('_', ' ')}"
            for status, count in self.items.items()
            if count or status in ("ok", "failed", "skipped")
        )
        lines = [
            f"{self.name}: {self.wall_s:.3f} s for {self.work_s:.3f} s of work: "
            f"speedup {self.speedup:.1f}, efficiency {self.efficiency:.0%}, "
            f"peak in flight {self.peak_in_flight}",
            f"items: {counts}; retries: {self.retries}",
        ]
        rows = [node for node in self.nodes.values() if node.items or node.stage_workers]
        width = max((len(node.name) for node in rows), default=0)
        for node in rows:
            items = max(sum(node.items.values()), node.stage_items)
            line = (
                f"  {node.name:<{width}}  {items:>6} items  "
                f"{node.work_s:>8.3f} s work  peak {node.peak}"
            )
            if node.limit is not None:
                line += f"  limit found {node.limit}"
            if node.stage_workers:
                line += (
                    f"  busy {node.busy_s:.3f} s, starved {node.starved_s:.3f} s, "
                    f"blocked {node.blocked_s:.3f} s"
                )
            lines.append(line)
        if any(node.stage_workers for node in rows):
            lines.append(f"bottleneck: {self.bottleneck}")
        return "\n".join(lines)
