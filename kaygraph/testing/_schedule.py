"""In which order the tasks that are ready go on: another seed, another legal order."""

import asyncio
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple


class Order(NamedTuple):
    """A choice of the schedule: who was ready, in the order in which they went on."""

    at: float
    names: tuple[str, ...]


class Schedule:
    """A seeded order among the task steps of one iteration, and among timers of one moment.

    asyncio promises an order among callbacks, and none among tasks or among timers that are due
    at the same moment: what is chosen here could happen on any loop. Seed 0 is the order in which
    asyncio itself would run them.

    Args:
        seed: Decides every choice.
        deviations: How many times the order may differ from asyncio's; from then on it does not.
    """

    def __init__(self, seed: int, deviations: int | None = None) -> None:
        self.deviations = 0
        self._most = deviations
        self._random: Callable[[], float] | None = Random(seed).random if seed else None
        if deviations == 0:
            self._random = None

    def steps(self, ready: deque[asyncio.Handle]) -> list[int] | None:
        """Put the task steps among these in order; return their former places, or None."""
        if self._random is None:
            return None
        places = [place for place, handle in enumerate(ready) if task_of(handle) is not None]
        order = self._deviation(places, self._shuffled(places))
        if order is not None:
            handles = [ready[place] for place in order]
            for place, handle in zip(places, handles, strict=True):
                ready[place] = handle
        return order

    def timers(self, due: list[asyncio.TimerHandle]) -> list[int] | None:
        """Put timers of one moment in order; return the former places of all, or None."""
        if self._random is None:
            return None
        places = list(range(len(due)))
        shuffled = sorted(self._shuffled(places), key=lambda place: due[place].when())
        order = self._deviation(places, shuffled)
        if order is not None:
            due[:] = [due[place] for place in order]
        return order

    def _shuffled(self, places: list[int]) -> list[int]:
        """Return the places in another order (the algorithm of Fisher and Yates)."""
        assert self._random is not None
        order = list(places)
        for last in range(len(order) - 1, 0, -1):
            other = int(self._random() * (last + 1))
            order[last], order[other] = order[other], order[last]
        return order

    def _deviation(self, places: list[int], order: list[int]) -> list[int] | None:
        """Count an order that is not asyncio's own; return it, or None."""
        if order == places:
            return None
        self.deviations += 1
        if self.deviations == self._most:
            self._random = None
        return order


def task_of(handle: asyncio.Handle) -> "asyncio.Task[Any] | None":
    """Return the task of which a handle is the next step, or None for any other callback."""
    callback = handle._callback  # type: ignore[attr-defined]
    owner = getattr(callback, "__self__", None)
    if not isinstance(owner, asyncio.Task):
        return None
    # `call_soon(task.cancel)` is a callback like any other: steps have private names, or none.
    return None if hasattr(asyncio.Task, getattr(callback, "__name__", "")) else owner
