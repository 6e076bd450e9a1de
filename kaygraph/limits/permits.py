"""Caps, and the queues of those that wait for them.

An attempt acquires all of its caps in one step, or none. A waiter holds nothing, so there can be no
deadlock. It waits in the queue of the one cap that blocks it, and the oldest waiter is served
first.
"""

import asyncio
from collections.abc import Callable, Hashable, Sequence
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Any, Protocol

# How often a waiter changes queues before it keeps its permits while it waits for a rate.
PATIENCE = 3

AUTO_MOST = 512  # the highest limit of max_workers="auto"

_ages = count()


class Cap(Protocol):
    """Something that a slot can acquire. Its queue is empty while there is room."""

    @property
    def waiting(self) -> Sequence[Any]: ...

    @property
    def first(self) -> "Waiter":
        """The oldest waiter in the queue."""

    timed: bool  # whether room comes with time (a rate) and not from holders that leave
    setting: str  # the setting that makes one wait
    keyed: bool  # whether it applies to some items only, so that others may go on

    def enter(self, age: float = inf) -> bool:
        """Acquire one permit; return False if there is no room or an older waiter in the queue."""

    def begun(self) -> None:
        """Note that ``exec`` is called now; only of one that is timed."""

    def leave(self) -> None:
        """Release a permit that was used; the caller then calls ``serve``."""

    def undo(self) -> None:
        """Release a permit that was not used; the caller then calls ``serve`` if anyone waits."""

    def stand(self, waiter: "Waiter") -> None:
        """Add a waiter to the queue."""

    def serve(self) -> None:
        """Admit waiters as far as there is room, and drop those that no longer wait."""


class Waiter:
    """A waiter for several caps at once, in the queue of the one that blocks it.

    It holds nothing while it waits, with one exception: when permits and a rate are never free at
    the same time, it keeps its permits while it waits for the rate. A rate frees itself with time,
    so even then there can be no deadlock.
    """

    __slots__ = ("age", "caps", "future", "kept", "moves", "obstacle", "pause")

    def __init__(
        self, caps: tuple[Cap, ...], obstacle: Cap, pause: Callable[[], None] | None = None
    ) -> None:
        self.caps, self.pause = caps, pause
        self.kept = self.moves = 0
        self.age = next(_ages)
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stand(obstacle)

    def __lt__(self, other: "Waiter") -> bool:
        return self.age < other.age

    def try_again(self) -> None:
        """Acquire all caps, or move to the queue of the one that blocks now."""
        if self.future.done():
            return
        obstacle = entered(self.caps[self.kept :], self.age)
        if obstacle is None:
            self.future.set_result(None)
            return
        if obstacle is not self.obstacle:
            self.moves += 1
        if obstacle.timed and self.moves > PATIENCE and not self.kept:
            permits = [cap for cap in self.caps if not cap.timed]  # they precede the rates
            if entered(permits, self.age) is None:
                self.kept = len(permits)
        self._stand(obstacle)

    def _stand(self, obstacle: Cap) -> None:
        self.obstacle = obstacle
        obstacle.stand(self)
        if obstacle.keyed and self.pause is not None:
            self.pause()


def entered(caps: Sequence[Cap], age: float = inf) -> Cap | None:
    """Acquire all caps and return None, or acquire none and return the one that blocks."""
    for number, cap in enumerate(caps):
        if not cap.enter(age):
            for taken in caps[:number]:
                taken.undo()
            return cap
    return None


def older(line: list[Waiter], age: float) -> bool:
    """Return whether the queue has an older waiter; drop those at its head that are done."""
    while line and line[0].future.done():
        heappop(line)
    return bool(line) and line[0].age < age


class Permits:
    """A semaphore with several holders per acquisition: a worker, its graph, its key.

    It stands in front of every worker of a batch in place of an ``asyncio.Semaphore``: it serves
    the oldest waiter first and shows who waits, and a waiter for one of several holds none of the
    others. An object belongs to one run and its event loop.
    """

    __slots__ = ("free", "size", "waiting")

    timed = keyed = False
    setting = "max_workers"

    def __init__(self, size: int) -> None:
        self.free = self.size = size
        self.waiting: list[Waiter] = []

    def enter(self, age: float = inf) -> bool:
        if self.free <= 0 or (self.waiting and older(self.waiting, age)):
            return False
        self.free -= 1
        return True

    def begun(self) -> None:
        pass

    def leave(self) -> None:
        self.free += 1

    undo = leave

    @property
    def first(self) -> Waiter:
        return self.waiting[0]

    def stand(self, waiter: Waiter) -> None:
        heappush(self.waiting, waiter)

    def serve(self) -> None:
        while self.waiting and (self.free > 0 or self.waiting[0].future.done()):
            heappop(self.waiting).try_again()

    def resize(self, size: int) -> None:
        """Allow ``size`` permits from now on; calls above a lower size run to their end."""
        self.free += size - self.size
        self.size = size
        self.serve()

    @property
    def leak(self) -> str | None:
        """The permits not returned by the end of a run, or None."""
        waiting = sum(not waiter.future.done() for waiter in self.waiting)
        if self.free == self.size and not waiting:
            return None
        return f"{self.size - self.free} of {self.size} permits not given back, {waiting} waiting"


class AutoPermits(Permits):
    """Permits with an adaptive size; see ``adaptive``."""

    __slots__ = ("adaptive",)

    def __init__(self) -> None:
        from .adaptive import Adaptive  # imported only when needed

        self.adaptive = Adaptive(AUTO_MOST)
        super().__init__(self.adaptive.limit)

    def sampled(self, seconds: float, now: float, error: BaseException | None) -> bool:
        """Record a call that has ended, and return whether the limit has changed."""
        if error is not None and not isinstance(error, Exception):
            return False  # a cancellation says nothing about the service
        from .adaptive import overloaded

        in_flight = self.size - self.free
        refused = error is not None and overloaded(error)
        if not self.adaptive.sampled(seconds, now, in_flight, refused):
            return False
        self.resize(self.adaptive.limit)
        return True


class KeyPermits(Permits):
    """The permits of a key, and how many of its items are in progress.

    All waiters here wait for the same other caps. So each free permit is offered to
    one waiter: those behind it would only follow it to the next queue, all of them at every turn.
    """

    __slots__ = ("items", "key")

    keyed = True
    setting = "limit_by"

    def __init__(self, size: int, key: Hashable) -> None:
        super().__init__(size)
        self.key, self.items = key, 0

    def serve(self) -> None:
        offers = self.free
        while self.waiting and (offers > 0 or self.waiting[0].future.done()):
            waiter = heappop(self.waiting)
            offers -= not waiter.future.done()
            waiter.try_again()


class KeyedPermits:
    """Permits for each key, kept as long as an item with that key is in progress."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.taken = 0  # the items in progress, over all keys
        self.known: dict[Hashable, KeyPermits] = {}
        self._spare: KeyPermits | None = None  # from a key that is gone, for the next

    def begin(self, key: Hashable) -> KeyPermits:
        """Return the permits of an item's key; the caller calls ``end`` when the item ends.

        Raises:
            TypeError: The key cannot be hashed.
        """
        permits = self.known.get(key)
        if permits is None:
            permits, self._spare = self._spare or KeyPermits(self.size, key), None
            self.known[key] = permits
            permits.key = key
        permits.items += 1
        self.taken += 1
        return permits

    def end(self, permits: KeyPermits) -> None:
        permits.items -= 1
        self.taken -= 1
        if not permits.items:
            del self.known[permits.key]
            if permits.free == self.size and not permits.waiting:
                self._spare = permits

    @property
    def leak(self) -> str | None:
        """The permits not returned by the end of a run, or None."""
        return f"permits of {len(self.known)} keys in use" if self.known else None
