"""The recorded order in which nodes were given their results, and the wait for one's turn."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple


class Point(NamedTuple):
    """A place in the recorded order: what a node's ``exec`` came to was handed to ``post``."""

    key: bytes
    path: str
    name: str


class Turns:
    """Hands over results in the recorded order; what is new comes after all that is recorded.

    Args:
        points: In the recorded order.
    """

    def __init__(self, points: Sequence[Point]) -> None:
        self.points = points
        self.places = {point.key: place for place, point in enumerate(points)}
        self._passed = bytearray(len(points))
        self._next = 0
        self._waiting: dict[int, list[asyncio.Future[None]]] = {}
        self._after: deque[asyncio.Future[None]] = deque()
        self._below: dict[str, int] = {}  # how many points are to come at a path or below it
        for point in points:
            for path in around(point.path):
                self._below[path] = self._below.get(path, 0) + 1

    @property
    def are_over(self) -> bool:
        """Whether all that is recorded has been handed over."""
        return self._next == len(self.points)

    @property
    def next(self) -> Point:
        """Whose turn it is."""
        return self.points[self._next]

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._after) + sum(map(len, self._waiting.values()))

    def is_free(self, place: int | None) -> bool:
        """Whether ``take`` would not wait."""
        if place is None:
            return self.are_over and not self._after
        return place <= self._next

    async def take(self, place: int | None) -> None:
        """Wait for the turn of a point; None: of what is not recorded yet."""
        if place is None:
            await self._follow()
            return
        try:
            await self.reach(place)
        finally:  # also where it is cancelled: it does not hold up the others
            self.drop(place)

    async def reach(self, place: int) -> None:
        """Wait until it is the turn of a point, without taking it."""
        while place > self._next:
            future = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(place, []).append(future)
            try:
                await future
            except asyncio.CancelledError:
                if future in self._waiting.get(place, ()):
                    self._waiting[place].remove(future)
                raise

    async def _follow(self) -> None:
        """Wait for all that is recorded, and for those who have come before."""
        if self.are_over and not self._after:
            return
        future = asyncio.get_running_loop().create_future()
        self._after.append(future)
        try:
            await future
        finally:
            self._after.remove(future)
            self._wake()

    def drop(self, place: int) -> None:
        """Note that a point has had its turn, or will not come any more."""
        if self._passed[place]:
            return
        self._passed[place] = True
        for path in around(self.points[place].path):
            self._below[path] -= 1
        while self._next < len(self.points) and self._passed[self._next]:
            self._next += 1
        self._wake()

    def skip(self) -> list[Point]:
        """Pass over the points that nobody has asked for, up to one that is waited for.

        Returns:
            Those points.
        """
        awaited = min((place for place, by in self._waiting.items() if by), default=None)
        end = len(self.points) if awaited is None else awaited
        skipped = [place for place in range(self._next, end) if not self._passed[place]]
        for place in skipped:
            self.drop(place)
        return [self.points[place] for place in skipped]

    def leave(self, path: str) -> None:
        """Note that nothing comes any more at a path and below it."""
        if not self._below.get(path):
            return
        below = f"{path}/", f"{path}["
        for place in range(self._next, len(self.points)):
            at = self.points[place].path
            if not self._passed[place] and (at == path or at.startswith(below)):
                self.drop(place)

    def _wake(self) -> None:
        futures = self._waiting.pop(self._next, [])
        if self.are_over and self._after:
            futures = [self._after[0]]
        for future in futures:
            if not future.done():
                future.set_result(None)


def around(path: str) -> Sequence[str]:
    """Return a path and those of what is around it."""
    paths = [path]
    for at in range(len(path) - 1, 0, -1):
        if path[at] in "/[":
            paths.append(path[:at])
    return paths
