"""A store that ends with its process: for tests, and as the reference for all others."""

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from ..errors import RunUnknownError
from .store import (
    Answer,
    Row,
    RunInfo,
    answered,
    check_row,
    check_run,
    check_status,
    exists,
    plain,
    taken_over,
)


@dataclass(slots=True)
class _Run:
    info: RunInfo
    first: int = 1  # the number of the first row in its log
    rows: list[Row] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)


class MemoryStore:
    """Runs kept in memory; see Store.

    Args:
        clock: Returns the time, in seconds since 1970.
        entropy: Returns a number of random bytes, for the seeds of runs.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._clock, self._entropy = clock, entropy
        self._runs: dict[str, _Run] = {}  # in the order of their creation
        self._cache: dict[bytes, tuple[bytes, float]] = {}
        self._epoch = 0

    def claim(self, run: str, graph: str) -> RunInfo:
        check_run(run)
        self._epoch += 1
        now = self._now()
        if run not in self._runs:
            self._runs[run] = _Run(_new(run, plain(graph), now, self._entropy(16)))
        found = self._runs[run]
        if found.info.status != "done":
            found.info = replace(found.info, status="running", action=None, error=None)
        found.info = replace(found.info, epoch=self._epoch, updated=now)
        return found.info

    def rows(self, run: str) -> Iterator[Row]:
        return iter([*self._found(run).rows])

    def append(self, run: str, epoch: int, blob: bytes) -> int:
        found, now = self._owned(run, epoch), self._now()
        number = found.info.rows + 1
        found.rows.append(Row(number, now, bytes(blob)))
        found.info = replace(found.info, rows=number, updated=now)
        return number

    def finish(
        self, run: str, epoch: int, status: str, action: str | None, error: str | None
    ) -> None:
        check_status(status)
        error = error if error is None else plain(error)
        self._change(self._owned(run, epoch), status=status, action=action, error=error)

    def set_input(self, run: str, epoch: int, data: bytes) -> None:
        self._change(self._owned(run, epoch), input=bytes(data))

    def answer(self, run: str, name: str, data: bytes) -> None:
        found = self._found(run)
        if name in found.answers:
            raise answered(run, name)
        found.answers[name] = Answer(name, bytes(data), self._now())
        self._change(found)

    def answers(self, run: str) -> list[Answer]:
        return [*self._found(run).answers.values()]

    def info(self, run: str) -> RunInfo:
        return self._found(run).info

    def find(self, run: str) -> RunInfo | None:
        found = self._runs.get(run)
        return None if found is None else found.info

    def runs(self) -> list[RunInfo]:
        return [replace(run.info, input=None) for run in reversed(self._runs.values())]

    def copy(self, run: str, new: str, through: int) -> None:
        found = self._found(run)
        if check_run(new) in self._runs:
            raise exists(new)
        least = 0 if found.first == 1 else found.first
        check_row(run, through, least, found.info.rows)
        now = self._now()
        rows = [row for row in found.rows if row.number <= through]
        info = replace(
            _new(new, found.info.graph, now, found.info.seed), input=found.info.input, rows=through
        )
        until = rows[-1].at if rows else -math.inf
        answers = {name: one for name, one in found.answers.items() if one.at <= until}
        self._runs[new] = _Run(info, found.first, rows, answers)

    def forget(self, run: str, before: int) -> None:
        found = self._found(run)
        check_row(run, before, found.first, found.info.rows)
        found.rows = [row for row in found.rows if row.number >= before]
        found.first = before
        self._change(found)

    def remove(self, runs: Iterable[str]) -> None:
        for run in runs:
            self._runs.pop(run, None)

    def compact(self) -> None:
        pass

    def cache_get(self, key: bytes) -> tuple[bytes, float] | None:
        return self._cache.get(key)

    def cache_get_all(self, keys: Iterable[bytes]) -> dict[bytes, tuple[bytes, float]]:
        return {key: self._cache[key] for key in keys if key in self._cache}

    def cache_set(self, key: bytes, data: bytes, expires: float | None) -> None:
        self._cache[key] = (bytes(data), math.inf if expires is None else float(expires))

    def cache_set_all(self, entries: Mapping[bytes, tuple[bytes, float | None]]) -> None:
        for key, entry in entries.items():
            self.cache_set(key, *entry)

    def cache_prune(self, now: float) -> None:
        self._cache = {key: kept for key, kept in self._cache.items() if kept[1] > now}

    def close(self) -> None:
        """Do nothing: records live as long as the store."""

    def _now(self) -> float:
        return float(self._clock())

    def _found(self, run: str) -> _Run:
        if run not in self._runs:
            raise RunUnknownError(run, [*reversed(self._runs)], "the journal in memory")
        return self._runs[run]

    def _owned(self, run: str, epoch: int) -> _Run:
        found = self._runs.get(run)
        if found is None or found.info.epoch != epoch:
            raise taken_over(run, gone=found is None)
        return found

    def _change(self, found: _Run, **changes: str | bytes | None) -> None:
        found.info = replace(found.info, updated=self._now(), **changes)  # type: ignore[arg-type]


def _new(run: str, graph: str, now: float, seed: bytes) -> RunInfo:
    return RunInfo(
        run=run,
        graph=graph,
        status="interrupted",
        created=now,
        updated=now,
        epoch=0,
        action=None,
        error=None,
        rows=0,
        input=None,
        seed=seed,
    )
