"""The run report: what a run did, counted and measured from its events."""

import json
from collections import Counter
from math import ceil
from typing import Any

from .._formatting import redacted
from .._validation import check_flag, check_limit, human
from .counting import ItemsCounted
from .figures import STATUSES
from .processors import cores
from .timeline import Timeline
from .verdict import Measured, slowest_stages, verdict_on

NO_RUN = "no run yet: pass this report to a run, as in graph.run(shared, observers=[report])"


class RunReport(ItemsCounted):
    """An observer that sums up what a run did.

    ``report = RunReport(); graph.run(shared, observers=[report]); print(report)``

    Args:
        baseline: The report of the same run with one worker, or its wall time in seconds: what
            ``speedup`` compares with.
        timeline: Whether it records what workers do when, for ``to_svg``.

    Raises:
        TypeError: ``baseline`` is neither a report nor a number of seconds.
        ValueError: ``baseline`` has no run yet, or is not above 0; ``timeline`` is not a bool.

    Attributes:
        wall_s: Seconds from the run's start to its end.
        work_s: Seconds spent in ``exec``, summed over all items. Waiting counts, also for the
            processor and for the interpreter's lock.
        mean_in_flight: ``work_s / wall_s``: how many calls of ``exec`` there were at once, on
            average. It does not say what more of them would gain.
        peak_in_flight: The most calls of ``exec`` at the same time.
        cpu_s: Processor seconds of this process during the run, in all of its threads;
            ``loop_cpu_s`` those of the event loop's thread.
        worker_cpu_s: Processor seconds of ``exec`` in worker processes.
        memory: The most bytes that this process held during the run, as sampled; what
            worker processes held is among the figures of the nodes.
        speedup: How many times faster than the baseline the run was; None without a baseline.
        items: Calls of ``exec`` by status; each call is counted under exactly one.
        retries: Attempts beyond the first.
        nodes: Figures per node, in the order in which they started.
        verdict: One sentence: what kept the run from being faster, and what would help.
    """

    def __init__(
        self, *, baseline: "RunReport | float | None" = None, timeline: bool = True
    ) -> None:
        super().__init__(Timeline() if check_flag("timeline", timeline) else None)
        self.baseline_s = _seconds_of(baseline)

    @property
    def _has_run(self) -> bool:
        return bool(self.name or self.wall_s or self.nodes)

    @property
    def work_s(self) -> float:
        return sum(node.work_s for node in self.nodes.values())

    @property
    def worker_cpu_s(self) -> float:
        return sum(node.cpu_s for node in self.nodes.values() if node.in_processes)

    @property
    def submitted(self) -> int:
        """Items that were taken: those that have ended and those that have not."""
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
        """The stage with the most busy time per worker; without stages, the node with the most
        work.

        More of anything else would not make the run faster.
        """
        if stages := slowest_stages(self.nodes.values()):
            return stages[0].name
        worked = [node for node in self.nodes.values() if node.work_s]
        return max(worked, key=lambda node: node.work_s).name if worked else None

    @property
    def advised_workers(self) -> dict[str, int]:
        """For a pipeline's bottleneck: with how many workers the next stage would become it."""
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
            "name": redacted(self.name),
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
            "bottleneck": None if self.bottleneck is None else redacted(self.bottleneck),
            "verdict": redacted(self.verdict),
            "nodes": [node.to_dict() for node in self.nodes.values()],
        }

    def to_json(self, indent: int | None = None) -> str:
        """Return ``to_dict()`` as JSON; docs/how-to/reports.md has its keys.

        Args:
            indent: Spaces per level; None: everything on one line.
        """
        return json.dumps(self.to_dict(), indent=indent)

    def to_svg(self, *, standalone: bool = True) -> str:
        """Return the timeline of the run as SVG: what the workers of each node did when.

        Up to twelve workers of a node have a bar each, more of them share one. The picture
        is as wide as its container.

        Args:
            standalone: Whether it contains its stylesheet. A page that allows no inline styles
                provides ``kaygraph.drawing.style.TIMELINE``.

        Raises:
            ValueError: The report was made with ``timeline=False``.
        """
        if self._timeline is None:
            raise ValueError("the report has no timeline: it was made with timeline=False")
        from .picture import drawn  # imported only when needed

        return drawn(self._timeline, self.name, self.nodes, self.wall_s, standalone)

    def __str__(self) -> str:
        rows = [node for node in self.nodes.values() if node.items or node.stage_workers]
        width = max((len(redacted(node.name)) for node in rows), default=0)
        lines = [f"  {redacted(node.name):<{width}}  {node}" for node in rows]
        return "\n".join([*self.summary(), *lines, redacted(self.verdict)]).rstrip()

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """Show it in a notebook: as a table and a timeline, or as text."""
        from ..drawing.tables import html_table  # imported only when needed

        heads = ("node", "items", "failed", "retries", "at once", "seconds in exec", "longest")
        rows = [node.row() for node in self.nodes.values() if node.items or node.stage_workers]
        shown = html_table(heads, rows, above=self.summary(), below=redacted(self.verdict))
        found = {"text/plain": str(self)}
        if self._timeline is not None and self.nodes:
            found["image/svg+xml"] = timeline = self.to_svg()
            shown = f"<div>{shown}{timeline}</div>"
        return {**found, "text/html": shown}

    def summary(self) -> list[str]:
        """Return the lines about the run as a whole."""
        if not self._has_run:
            return [NO_RUN]
        counts = ", ".join(
            f"{count} {status.replace('_', ' ')}"
            for status, count in self.items.items()
            if count or status in ("ok", "failed", "skipped")
        )
        workers = f", worker processes {self.worker_cpu_s:.3f} s" if self.worker_cpu_s else ""
        lines = [
            f"{redacted(self.name)}: {self.wall_s:.3f} s; calls of exec at once: "
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


def _seconds_of(baseline: Any) -> float | None:
    if isinstance(baseline, RunReport):
        if not baseline._has_run:
            raise ValueError(f"baseline has {NO_RUN}")
        return baseline.wall_s
    if baseline is not None and (
        isinstance(baseline, bool) or not isinstance(baseline, int | float)
    ):
        raise TypeError(
            f"baseline must be the RunReport of another run, or its wall time in seconds; got "
            f"{baseline!r}"
        )
    return check_limit("baseline", baseline)
