"""The order "steps": each turn of the loop runs one thing, and all that may run are options."""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import compress
from operator import not_
from typing import Any

from ._loop import RESOLUTION_S
from ._schedule import Schedule, task_of


class StepByStep(Schedule):
    """A schedule that chooses before each step of a task, each callback and each timer.

    A turn of the loop runs one of these: a step before which no callback was ready; the first
    callback; or, where no callback is ready, a timer that is due or close. So a choice is made once
    all that came before it has happened. Option 0 is what asyncio would run.
    """

    def __init__(
        self,
        seed: int = 0,
        deviations: int | None = None,
        planned: Iterable[tuple[int, int]] | None = None,
    ) -> None:
        super().__init__(seed, deviations, planned, "steps")
        self.active = True
        self._turn = 0
        self._next: asyncio.Handle | None = None  # was chosen among timers and steps
        self._due: dict[int, int] = {}  # by the number of a timer: when asyncio would run it

    def end(self) -> None:
        self.active = False

    def timer(
        self, close: Sequence[Any], due: bool, ready: Sequence[asyncio.Handle],
        fired: Sequence[asyncio.Handle], at: float,
    ) -> Any:  # fmt: skip
        if fired:
            return None
        for timer in close:
            if timer.when() <= at + RESOLUTION_S:
                self._due.setdefault(timer.number, self._turn + len(ready))
        options = _enabled(ready)
        if options and task_of(options[-1]) is None:
            return None
        first = [self._due.get(timer.number, self._turn + 1) <= self._turn for timer in close]
        options[:0] = compress(close, first)
        options += compress(close, map(not_, first))
        self._next = self._choose(options, at)
        return self._next if isinstance(self._next, asyncio.TimerHandle) else None

    def steps(
        self, ready: deque[asyncio.Handle], number: int, at: float
    ) -> Sequence[asyncio.Handle]:
        chosen, self._next = self._next, None
        if chosen is None and (options := _enabled(ready)):
            chosen = self._choose(options, at)
        waiting = [handle for handle in ready if handle is not chosen]
        ready.clear()
        if chosen is not None:
            ready.append(chosen)
        self._turn += 1
        return waiting

    def _choose(self, options: Sequence[asyncio.Handle], at: float) -> asyncio.Handle:
        """Return which of these runs in this turn."""
        return options[self._option(options, at)]

    def _option(self, options: Sequence[asyncio.Handle], at: float) -> int:
        if len(options) == 1:
            return 0
        option = 0
        if self._policy is not None and len(self.taken) != self._most:
            option = self._policy.step(options, self._turn, False)
        return self._chosen(option, at, options)

    def _rest(self) -> None:
        pass  # later turns, too, run one thing each


def schedule_of(
    seed: int,
    deviations: int | None = None,
    planned: Iterable[tuple[int, int]] | None = None,
    order: str = "any",
) -> Schedule:
    """Return the schedule of a run; see ``Schedule``."""
    if order == "steps":
        return StepByStep(seed, deviations, planned)
    return Schedule(seed, deviations, planned, order)


def _enabled(ready: Iterable[asyncio.Handle]) -> list[asyncio.Handle]:
    """Return which of these may run first: steps, up to the first other callback."""
    options = []
    for handle in ready:
        if not handle.cancelled():
            options.append(handle)
            if task_of(handle) is None:
                break
    return options
