"""Caps, and the lines in which one waits for them.

All that an attempt needs is taken in one step, or nothing is: whoever waits holds nothing, so no
two can wait for each other. A waiter stands in the line of the one cap that is in its way, and is
served by age.
"""

import asyncio
from collections.abc import Hashable, Sequence
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Any, Protocol

# How often one who waits changes lines before it keeps its permits while it waits for a rate.
PATIENCE = 3

AUTO_MOST = 512  # how many may work at once, at most, where the limit finds itself

_ages = count()


class Cap(Protocol):
    """What a slot can hold. Nobody stands in its line while there is room."""

    @property
    def waiting(self) -> Sequence[Any]: ...

    @property
    def first(self) -> "Waiter":
        """Who has stood in the line for longest."""

    timed: bool  # time makes room in it, and nobody who holds it

    def enter(self, age: float = inf) -> bool:
        """Take one if there is room, and nobody older stands in the line for it."""

    def begun(self) -> None:
        """``exec`` is called now."""

    def leave(self) -> None:
        """Give back what was used; ``serve`` follows."""

    def undo(self) -> None:
        """Give back what was taken and not used; ``serve`` follows where somebody can wait."""

    def stand(self, waiter: "Waiter") -> None:
        """Put one who waits in the line."""

    def serve(self) -> None:
        """Let those in the line go on, as far as there is room, and forget who has left it."""


class Waiter:
    """One who waits for several caps at once, in the line of the one that is in the way.

    It holds nothing meanwhile, with one exception: where permits and a rate never happen to be
    free at the same time, it keeps its permits in the line for the rate. Rates are nobody's to
    hold, so even then no two can wait for each other.
    """

    __slots__ = ("age", "caps", "future", "kept", "moves", "obstacle")

    def __init__(self, caps: tuple[Cap, ...], obstacle: Cap) -> None:
        self.caps, self.obstacle = caps, obstacle
        self.kept = self.moves = 0
        self.age = next(_ages)
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        obstacle.stand(self)

    def __lt__(self, other: "Waiter") -> bool:
        return self.age < other.age

    def try_again(self) -> None:
        """Take all, or change to the line of what is in the way now."""
        if self.future.done():
            return
        obstacle = entered(self.caps[self.kept :], self.age)
        if obstacle is None:
            self.future.set_result(None)
            return
        if obstacle is not self.obstacle:
            self.moves += 1
        if obstacle.timed and self.moves > PATIENCE and not self.kept:
            permits = [cap for cap in self.caps if not cap.timed]  # they come first
            if entered(permits, self.age) is None:
                self.kept = len(permits)
        self.obstacle = obstacle
        obstacle.stand(self)


def entered(caps: Sequence[Cap], age: float = inf) -> Cap | None:
    """Take all, or none and return the one that is in the way."""
    for number, cap in enumerate(caps):
        if not cap.enter(age):
            for taken in caps[:number]:
                taken.undo()
            return cap
    return None


def older(line: list[Waiter], age: float) -> bool:
    """Whether somebody in the line is older; those who have left it are forgotten."""
    while line and line[0].future.done():
        heappop(line)
    return bool(line) and line[0].age < age


class Permits:
    """A counting semaphore that serves by age and can be asked whether somebody waits.

    Made for one run and its loop.
    """

    __slots__ = ("free", "size", "waiting")

    timed = False

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
        """Allow so many from now on; those that are too many end by themselves."""
        self.free += size - self.size
        self.size = size
        self.serve()

    @property
    def leak(self) -> str | None:
        """What is wrong with them when a run is over."""
        waiting = sum(not waiter.future.done() for waiter in self.waiting)
        if self.free == self.size and not waiting:
            return None
        return f"{self.size - self.free} of {self.size} permits not given back, {waiting} waiting"


class AutoPermits(Permits):
    """Permits whose number finds itself; see ``adaptive``."""

    __slots__ = ("adaptive",)

    def __init__(self) -> None:
        from .adaptive import Adaptive  # loads where it is used

        self.adaptive = Adaptive(AUTO_MOST)
        super().__init__(self.adaptive.limit)

    def sampled(self, seconds: float, now: float, error: BaseException | None) -> bool:
        """Take note of a call that has ended; return whether the limit is another one now."""
        if error is not None and not isinstance(error, Exception):
            return False  # it was cancelled, which says nothing of the service
        from .adaptive import overloaded

        in_flight = self.size - self.free
        refused = error is not None and overloaded(error)
        if not self.adaptive.sampled(seconds, now, in_flight, refused):
            return False
        self.resize(self.adaptive.limit)
        return True


class KeyedPermits:
    """Permits for each key, kept as long as an item with that key is under way."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.known: dict[Hashable, Permits] = {}
        self._items: dict[Hashable, int] = {}

    def begin(self, key: Hashable) -> Permits:
        """Return the permits of a key for an item; ``end`` follows when that has ended."""
        if key not in self.known:
            self.known[key] = Permits(self.size)
            self._items[key] = 0
        self._items[key] += 1
        return self.known[key]

    def end(self, key: Hashable) -> None:
        self._items[key] -= 1
        if not self._items[key]:
            del self._items[key], self.known[key]

    @property
    def leak(self) -> str | None:
        """What is wrong with them when a run is over."""
        return f"permits of {len(self.known)} keys in use" if self.known else None
