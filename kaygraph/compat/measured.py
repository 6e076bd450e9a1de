"""KayGraph's nodes that validate input and output, and that collect metrics."""

import time
from collections import deque
from typing import Any

from ..run.frame import Frame
from .nodes import Node


class ValidatedNode(Node):
    """A node that checks what ``exec`` gets and what it returns.

    ``validate_input`` and ``validate_output`` return the value to use, which may be a different
    one, or whether the value is valid (True or False), or raise. They are called once, before the
    first attempt and after the last.

    Raises:
        ValueError: One of them returned False.
    """

    def validate_input(self, prep_res: Any, /) -> Any:
        """Check what ``prep`` returned before ``exec`` gets it."""
        return prep_res

    def validate_output(self, exec_res: Any, /) -> Any:
        """Check what ``exec`` returned before ``post`` gets it."""
        return exec_res

    async def _work(self, prep_res: Any, shared: Any, frame: Frame) -> Any:
        prep_res = self._accepted("input", prep_res, self.validate_input(prep_res))
        exec_res = await super()._work(prep_res, shared, frame)
        return self._accepted("output", exec_res, self.validate_output(exec_res))

    def _accepted(self, what: str, value: Any, verdict: Any) -> Any:
        if verdict is value or not isinstance(verdict, bool):
            return verdict
        if not verdict:
            raise ValueError(f"validate_{what} of {self.name!r} refused {type(value).__name__}")
        return value


MOST_KEPT = 1000  # of the latest times and counts


class Figures:
    """Running totals of a node and of all its copies."""

    def __init__(self) -> None:
        self.times: tuple[float, float, float] = (float("inf"), 0.0, 0.0)  # least, most, sum
        self.runs = self.failed = self.retries = 0
        self.latest: deque[tuple[float, int]] = deque(maxlen=MOST_KEPT)  # seconds, retries

    def add(self, seconds: float, retries: int, failed: bool) -> None:
        self.latest.append((seconds, retries))
        least, most, total = self.times
        self.times = min(least, seconds), max(most, seconds), total + seconds
        self.runs, self.failed = self.runs + 1, self.failed + failed
        self.retries += retries


class MetricsNode(Node):
    """A node that counts its runs and how long they take.

    As in KayGraph, ``collect_metrics`` may be the first argument, and those of Node follow it.
    """

    def __init__(self, *args: Any, collect_metrics: bool = True, **settings: Any) -> None:
        if args and isinstance(args[0], bool):
            collect_metrics, *args = args  # type: ignore[assignment]
        super().__init__(*args, **settings)
        self.collect_metrics = collect_metrics
        self._figures = Figures()

    async def _work(self, prep_res: Any, shared: Any, frame: Frame) -> Any:
        if not self.collect_metrics:
            return await super()._work(prep_res, shared, frame)
        started, failed = time.perf_counter(), True
        try:
            exec_res = await super()._work(prep_res, shared, frame)
            failed = False
        finally:
            self._figures.add(time.perf_counter() - started, self.cur_retry, failed)
        return exec_res

    @property
    def metrics(self) -> dict[str, Any]:
        """The seconds and retries of the latest 1,000 runs, and how many succeeded and failed."""
        figures = self._figures
        return {
            "execution_times": [seconds for seconds, _ in figures.latest],
            "retry_counts": [retries for _, retries in figures.latest],
            "success_count": figures.runs - figures.failed,
            "error_count": figures.failed,
        }

    def get_stats(self) -> dict[str, Any]:
        """Return counts, rates from 0 to 1, and seconds, all attempts of a run together.

        Both families of names that KayGraph documents are included; without runs, all are 0.
        """
        figures = self._figures
        least, most, total = figures.times
        runs, failed = figures.runs, figures.failed
        mean, least = (total / runs, least) if runs else (0.0, 0.0)
        return {
            "total_executions": runs,
            "total_count": runs,
            "error_count": failed,
            "success_rate": (runs - failed) / runs if runs else 0.0,
            "error_rate": failed / runs if runs else 0.0,
            "total_retries": figures.retries,
            "avg_execution_time": mean,
            "min_execution_time": least,
            "max_execution_time": most,
            "avg_time": mean,
            "min_time": least,
            "max_time": most,
            "total_time": total,
        }
