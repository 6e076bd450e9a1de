"""How a seed chooses: at random, at random now and then, or by priorities that change."""

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any, Protocol
from weakref import ref

from ._places import woken_by

# A callback that is due, or None for "none of the timers yet".
Option = asyncio.Handle | None

# Among how many steps the priorities of a seed change. The same seed must be the same run without
# a run before it that counts, so the seed draws the number.
LENGTHS = (8, 32, 128, 512, 2048)

# For so many turns of the loop, a timer that is due may wait for steps of higher priority.
LONGEST_WAIT = 100


class Policy(Protocol):
    """Chooses what runs next; 0 is what asyncio would run."""

    every_step: bool  # whether it is asked where there is but one step

    def step(self, ready: Sequence[asyncio.Handle], number: int, may_wait: bool) -> int:
        """Return the place of the step that runs as the loop's n-th.

        Where they may wait, the place after the last means: no more of them in this turn.
        """

    def event(self, options: Sequence[Option], ready: Sequence[asyncio.Handle]) -> int:
        """Return the place of the timer that fires now, or of None: what is ready comes first."""

    def later(self, options: int) -> int:
        """Return how late something happens in a thread: 0 is at once."""


class Walk:
    """A random walk: each choice is uniform, or is asyncio's own except for a share of them."""

    every_step = False

    def __init__(self, random: Random, share: float) -> None:
        self._random, self._share = random.random, share

    def step(self, ready: Sequence[asyncio.Handle], _: int, may_wait: bool) -> int:
        if self._share < 1.0 and self._random() >= self._share:
            return 0
        return int(self._random() * (len(ready) + may_wait))

    def event(self, options: Sequence[Option], _: Sequence[asyncio.Handle]) -> int:
        if self._share < 1.0 and self._random() >= self._share:
            return 0
        return int(self._random() * len(options))

    def later(self, options: int) -> int:
        return int(self._random() * options) if self._random() < self._share else 0


class Priorities:
    """Probabilistic concurrency testing (Burckhardt, Kothari, Musuvathi, Nagarakatte 2010).

    Each task draws a priority, which its timers have too; the highest that may run does. At d - 1
    steps, drawn among the first k, the one that would run gets the lowest priority. So does one
    that has run for very long while others were ready: it may be waiting for them.
    """

    every_step = True

    def __init__(self, random: Random, depth: int, length: int) -> None:
        self._random = random.random
        self._changes = sorted(random.randrange(1, length + 1) for _ in range(depth - 1))
        self._lowest = 0.0
        # By the address, which another object may take later: none is kept, since a task that fails
        # may be waiting for the garbage collector.
        self._drawn: dict[int, tuple[float, ref[Any]]] = {}
        self._waited = 0  # for how many turns timers have
        self._running: Any = None
        self._row = 0  # how many steps it has run in a row while others were ready

    def step(self, ready: Sequence[asyncio.Handle], number: int, may_wait: bool) -> int:
        if may_wait:
            return len(ready)  # those of a higher priority may become ready in the next turn
        priorities = [self._of(handle) for handle in ready]
        place = priorities.index(max(priorities))
        while self._changes and number >= self._changes[0]:
            del self._changes[0]
            place = self._lowered(ready, priorities, place)
        owner = _owner(ready[place])
        self._row = self._row + 1 if owner is self._running and len(ready) > 1 else 0
        if self._row > LONGEST_WAIT:
            self._row = 0
            place = self._lowered(ready, priorities, place)
            owner = _owner(ready[place])
        self._running = owner
        return place

    def _lowered(self, ready: Sequence[asyncio.Handle], priorities: list[float], place: int) -> int:
        """Give the one at this place the lowest priority; return the place of the highest."""
        self._lowest -= 1.0
        changed = _owner(ready[place])
        self._drawn[id(changed)] = (self._lowest, ref(changed))
        priorities[place] = self._lowest
        return priorities.index(max(priorities))

    def event(self, options: Sequence[Option], ready: Sequence[asyncio.Handle]) -> int:
        if not ready and None in options:
            return options.index(None)  # one has fired: what it wakes may have a higher priority
        steps = max(map(self._of, ready), default=-1e9)
        priorities = [steps if option is None else self._of(option) for option in options]
        place = priorities.index(max(priorities))
        self._waited = self._waited + 1 if options[place] is None else 0
        if self._waited < LONGEST_WAIT:
            return place
        self._waited = 0
        return next(place for place, option in enumerate(options) if option is not None)

    def later(self, options: int) -> int:
        return int(self._random() * options)

    def _of(self, handle: asyncio.Handle) -> float:
        owner = _owner(handle)
        drawn = self._drawn.get(id(owner))
        if drawn is None or drawn[1]() is not owner:
            drawn = self._drawn[id(owner)] = (self._random(), ref(owner))
        return drawn[0]


def policy_of(seed: int) -> Policy:
    """Return the policy of a seed: half of them walk, a quarter now and then, a quarter by rank."""
    random = Random(seed)
    if seed % 2:
        return Walk(random, 1.0)
    if seed % 4:
        depth = 1 + int(random.random() * 3)
        return Priorities(random, depth, LENGTHS[int(random.random() * len(LENGTHS))])
    return Walk(random, (0.5, 0.2, 0.05)[int(random.random() * 3)])


def _owner(handle: asyncio.Handle) -> Any:
    """Return the task of which a handle is a step, or that a timer wakes; else the handle."""
    if isinstance(handle, asyncio.TimerHandle):
        return woken_by(handle) or handle
    owner = getattr(handle._callback, "__self__", None)  # type: ignore[attr-defined]
    return owner if isinstance(owner, asyncio.Task) else handle
