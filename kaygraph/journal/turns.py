"""The recorded order in which hooks were called, and the wait for a turn."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple

SIZE = 16  # bytes of a key


class Point(NamedTuple):
    """A place in the recorded order: the result of a node's ``exec`` was handed to ``post``.

    ``began`` is how many points had been handed over before the ``prep`` of that visit was called.
    """

    key: bytes
    path: str
    name: str
    began: int = 0


class Turn:
    """One place in the order, which has passed when it was taken, or will not be."""

    __slots__ = ("counts", "futures", "key", "name", "passed", "path", "recorded")

    def __init__(self, key: bytes, path: str, name: str, recorded: bool, counts: bool) -> None:
        self.key, self.path, self.name = key, path, name
        self.recorded, self.counts = recorded, counts
        self.passed = False
        self.futures: list[asyncio.Future[None]] = []  # of its waiters


class Turns:
    """Hands over results in the recorded order; new ones follow, in the order of their recording.

    A recorded ``prep`` is called after as many points as in the recorded run, and before the next.

    Attributes:
        last: The key of the last point handed over; empty for none.
        handed_over: How many were handed over in this process, including those that did not come.
        nest: Whether anything recorded ran within an item.
        waiting: How many wait for their turn.
    """

    def __init__(self, points: Sequence[Point]) -> None:
        self.last, self.handed_over = b"", 0
        self.nest = any("[" in point.path for point in points)
        self.waiting = 0
        self._passed = 0  # how many recorded points have had their turn
        self._recorded = len(points)
        self._queue = deque(Turn(p.key, p.path, p.name, True, True) for p in points)
        self._turns = {turn.key: turn for turn in self._queue}
        self._below: dict[str, int] = {}  # how many recorded points are still to come, by path
        self._taken_up: set[str] = set()  # the paths of items that have started
        self._preps: dict[str, int] = {}  # after how many points to call the prep at a path
        for point in points:
            self._preps.setdefault(point.path, point.began)
            for path in around(point.path):
                self._below[path] = self._below.get(path, 0) + 1
        self._due = [0] * (len(points) + 1)  # how many preps are still to come, by number of points
        for began in self._preps.values():
            self._due[began] += 1
        self._next_prep = 0  # the smallest number of points after which one is still to come
        self._for_preps: dict[int, list[asyncio.Future[None]]] = {}
        self._skip_preps()

    @property
    def are_over(self) -> bool:
        """Whether everything recorded has been handed over."""
        return self._passed == self._recorded

    @property
    def missing(self) -> str:
        """The name of the node that must come before all others can continue."""
        if self._next_prep <= self._passed:
            for turn in self._queue:
                if self._preps.get(turn.path, self._recorded) <= self._passed:
                    return turn.name
        return self._queue[0].name if self._queue else ""

    def find(self, key: bytes) -> Turn | None:
        """Return the turn of what is recorded under a key, if there is one."""
        return self._turns.get(key)

    def add(self, key: bytes, path: str, name: str, *, counts: bool = True) -> Turn:
        """Return the turn of something new, after all others; it ``counts`` if it is recorded.

        What runs within an item of a node whose end is recorded comes before that end.
        """
        turn = Turn(key, path, name, False, counts)
        for at in () if self.are_over else with_items(path):
            end = self._turns.get(key_of(at))
            if end is not None and not end.passed:
                self._queue.insert(self._queue.index(end), turn)
                return turn
        self._queue.append(turn)
        return turn

    def after(self, path: str, name: str) -> Turn | None:
        """Return a turn after what is recorded below a path; None if nothing is still to come."""
        if not self._below.get(path):
            return None
        below = f"{path}/", f"{path}["
        last = -1
        for place, turn in enumerate(self._queue):
            if turn.recorded and not turn.passed and turn.path.startswith(below):
                last = place
        if last < 0:
            return None
        following = Turn(b"", path, name, False, False)
        self._queue.insert(last + 1, following)
        return following

    def is_free(self, turn: Turn) -> bool:
        """Whether ``take`` would not wait."""
        return turn.passed or (self._queue[0] is turn and self._next_prep > self._passed)

    def take_free(self, turn: Turn) -> bool:
        """Take a turn that needs no waiting; return whether it is one."""
        if not self.is_free(turn):
            return False
        self.drop(turn)
        return True

    async def take(self, turn: Turn) -> None:
        """Wait for a turn, and take it."""
        try:
            await self.reach(turn)
        finally:  # also when cancelled: it must not hold up the others
            self.drop(turn)

    async def reach(self, turn: Turn) -> None:
        """Wait for a turn without taking it."""
        while not self.is_free(turn):
            await self._wait(turn.futures)

    def drop(self, turn: Turn) -> None:
        """Note that something has had its turn, or will not come."""
        if turn.passed:
            return
        turn.passed = True
        if turn.recorded:
            for path in around(turn.path):
                self._below[path] -= 1
            self.begun(turn.path)
        self._advance()

    def note(self, key: bytes) -> None:
        """Note that something was handed over."""
        self.last = key
        self.handed_over += 1

    # --- preps ------------------------------------------------------------------------------------

    def prep(self, path: str) -> Awaitable[None] | None:
        """Return the wait until a ``prep`` may be called; None if it may be called now."""
        began = self._preps.get(path)
        return None if began is None or began <= self._passed else self._prep(path, began)

    async def _prep(self, path: str, began: int) -> None:
        while self._passed < began and path in self._preps:
            await self._wait(self._for_preps.setdefault(began, []))

    def begun(self, path: str) -> None:
        """Note that a ``prep`` is called now, or will not be."""
        began = self._preps.pop(path, None)
        if began is not None:
            self._due[began] -= 1
            if began == self._next_prep:
                self._skip_preps()
                self._wake()

    def _skip_preps(self) -> None:
        while self._next_prep <= self._recorded and not self._due[self._next_prep]:
            self._next_prep += 1

    # --- what does not come -----------------------------------------------------------------------

    def skip(self) -> list[bytes]:
        """Skip what was not requested, up to what is waited for; return its keys."""
        for path in self._due_paths():
            self.begun(path)
        skipped = []
        while self._queue and self._queue[0].recorded and not self._queue[0].futures:
            skipped.append(self._queue[0].key)
            self.drop(self._queue[0])
        return skipped

    def take_up(self, path: str) -> None:
        """Note that an item has started, within which points may be recorded."""
        if not self.are_over:
            self._taken_up.add(path)

    @property
    def is_late(self) -> bool:
        """Whether the next one belongs to an item that has not started."""
        if self._next_prep <= self._passed:
            return any(map(self._is_late, self._due_paths()))
        return bool(self._queue) and self._queue[0].recorded and self._is_late(self._queue[0].path)

    def skip_late(self) -> bool:
        """Skip what belongs to items that have not started; return whether there was any.

        If they start after all, what is recorded for them does not wait for a turn.
        """
        if not self.is_late:
            return False
        while self.is_late:
            if self._next_prep <= self._passed:
                for path in filter(self._is_late, self._due_paths()):
                    self.begun(path)
            else:
                self.drop(self._queue[0])
        return True

    def _due_paths(self) -> list[str]:
        return [path for path, began in self._preps.items() if began <= self._passed]

    def _is_late(self, path: str) -> bool:
        return any(at.endswith("]") and at not in self._taken_up for at in around(path))

    def leave(self, path: str) -> Sequence[Turn]:
        """Note that nothing recorded will come at or below a path; return what will not."""
        if not self._below.get(path):
            return ()
        below = f"{path}/", f"{path}["
        left = [
            turn
            for turn in self._queue
            if turn.recorded
            and not turn.passed
            and (turn.path == path or turn.path.startswith(below))
        ]
        for turn in left:
            self.drop(turn)
        return left

    # --- waking -----------------------------------------------------------------------------------

    async def _wait(self, futures: "list[asyncio.Future[None]]") -> None:
        future = asyncio.get_running_loop().create_future()
        futures.append(future)
        self.waiting += 1
        try:
            await future
        finally:
            self.waiting -= 1
            if future in futures:
                futures.remove(future)

    def _advance(self) -> None:
        queue = self._queue
        while queue and queue[0].passed:
            turn = queue.popleft()
            if turn.counts:
                self.note(turn.key)
            if turn.recorded:
                self._passed += 1
                _set(self._for_preps.pop(self._passed, ()))
        self._wake()

    def _wake(self) -> None:
        if self._queue and self._next_prep > self._passed:
            _set(self._queue[0].futures)


def _set(futures: "Sequence[asyncio.Future[None]]") -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)


def around(path: str) -> Sequence[str]:
    """Return a path and those that enclose it."""
    paths = [path]
    for at in range(len(path) - 1, 0, -1):
        if path[at] in "/[":
            paths.append(path[:at])
    return paths


def with_items(path: str) -> Iterator[str]:
    """Yield the paths of the enclosing nodes within whose items a path is, innermost first."""
    at = path.rfind("[")
    while at > 0:
        yield path[:at]
        at = path.rfind("[", 0, at)


def key_of(path: str) -> bytes:
    """Return the key of the result of a node at a path."""
    return blake2b(path.encode(errors="surrogatepass"), digest_size=SIZE).digest()
