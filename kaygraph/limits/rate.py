"""How often calls may begin."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from math import inf
from typing import Any
from weakref import WeakKeyDictionary

from .._validation import check_def, check_seconds
from .clock import Clocked
from .permits import Waiter

Weight = float | Callable[[Any], float]

# Weights are added up as whole numbers, of which FULL are `calls`: a sum of floats is off by its
# last digit at once (0.1 + 0.1 + 0.1 > 0.3), and by more the longer a window is in use. Each weight
# is rounded once, to within 2**-53 of itself: so a sum up to MOST is no more than `calls`.
FULL = 2**96
MOST = FULL + 2**56


class RateLimit:
    """Never more than ``calls`` in any window of ``per`` seconds.

    The algorithm is a sliding log, not a token bucket: there is no burst across the border of two
    windows. Every attempt counts, retries included, at the moment when ``exec`` is called. Nodes,
    runs and threads may share one object; it counts their calls together.

    Args:
        calls: How much may begin in a window, in units of ``weight``.
        per: The length of the window in seconds.
        weight: The weight of a call: a number, or ``(item) -> number`` (for instance the number of
            tokens of a prompt). 1 by default.

    Raises:
        ValueError: An argument is out of range. A run raises it for an item whose weight is more
            than ``calls``, since it could never begin.
    """

    def __init__(self, calls: float, per: float = 1.0, *, weight: Weight = 1) -> None:
        if isinstance(calls, bool) or not isinstance(calls, int | float) or not calls > 0:
            raise ValueError(f"calls must be a number above 0, got {calls!r}")
        if not check_seconds("per", per):
            raise ValueError(f"per must be more than 0 seconds, got {per!r}")
        self.calls, self.per = calls, float(per)
        self.weight = check_def("weight", weight)
        if not callable(weight):
            self._weighed(weight)
        self._windows = Clocked(_Window)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rate_limit, (self.calls, self.per, self.weight)

    def __repr__(self) -> str:
        return f"RateLimit({self.calls:g}, per={self.per:g})"

    def _weighed(self, weight: Any) -> int:
        """Return a weight as a whole number, of which FULL are ``calls``."""
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not weight >= 0:
            raise ValueError(f"weight must be a number, 0 or more, got {weight!r}")
        if weight > self.calls and weight / self.calls * FULL > MOST:
            raise ValueError(
                f"an item weighs {weight:g}, and {self!r} lets no more than {self.calls:g} begin "
                "in a window: split the item, or raise calls"
            )
        return int(weight / self.calls * FULL)

    def claim(self, item: Any) -> "RateClaim":
        """Return the cap that represents an item in a slot."""
        weight = self.weight(item) if callable(self.weight) else self.weight
        return RateClaim(self, self._windows.here()[0], self._weighed(weight))


def _rate_limit(calls: float, per: float, weight: Weight) -> RateLimit:
    return RateLimit(calls, per, weight=weight)


class _Begun:
    """A call in the window: when it began, and its weight."""

    __slots__ = ("at", "weight")

    def __init__(self, at: float, weight: int) -> None:
        self.at, self.weight = at, weight


class _Window:
    """The calls that began in the last ``per`` seconds, on all loops that share a clock."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.log: deque[_Begun] = deque()
        self.used = 0  # the weight of the calls in the log and of the pending ones
        self.pending = 0  # calls that are admitted and have not begun
        self.lines: WeakKeyDictionary[asyncio.AbstractEventLoop, _Line] = WeakKeyDictionary()

    def forget(self, now: float, per: float) -> None:
        # The comparison is that of a timer (at + per); in floats, now - per can differ from it.
        while self.log and self.log[0].at + per <= now:
            self.used -= self.log.popleft().weight


class _Line:
    """The waiters for a window on one loop, and the timer that serves them."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Waiter, RateClaim]] = []
        self.timer: asyncio.TimerHandle | None = None
        self.serving = False


class RateClaim:
    """One item's claim on a RateLimit: a cap of its slot."""

    __slots__ = ("_entry", "_line", "_rate", "_weight", "_window")

    timed, keyed = True, False
    setting = "rate"

    def __init__(self, rate: RateLimit, window: _Window, weight: int) -> None:
        self._rate, self._window, self._weight = rate, window, weight
        self._line = window.lines.setdefault(asyncio.get_running_loop(), _Line())
        self._entry: _Begun | None = None

    @property
    def waiting(self) -> Sequence[Any]:
        return self._line.waiting

    @property
    def first(self) -> Waiter:
        return self._line.waiting[0][0]

    def enter(self, age: float = inf) -> bool:
        if self._line.waiting and self.first.age < age:
            return False  # a light call does not overtake a heavy one that waits
        window, now = self._window, self._now()
        with window.lock:
            window.forget(now, self._rate.per)
            if window.used + self._weight > MOST:
                return False
            self._entry = None
            window.pending += 1
            window.used += self._weight
        return True

    def begun(self) -> None:
        window = self._window
        with window.lock:  # log the time of the call: the loop may have been busy since admission
            self._entry = _Begun(self._now(), self._weight)
            window.log.append(self._entry)
            window.pending -= 1

    def leave(self) -> None:
        pass  # the call counts until the window has passed

    def undo(self) -> None:
        window = self._window
        with window.lock:
            if self._entry is None:
                window.pending -= 1
                window.used -= self._weight
            elif any(entry is self._entry for entry in window.log):
                window.used -= self._weight
                self._entry.weight = 0

    def stand(self, waiter: Waiter) -> None:
        heappush(self._line.waiting, (waiter, self))
        self._arm()

    def serve(self) -> None:
        line = self._line
        line.serving = True
        while line.waiting:
            turn, claim = heappop(line.waiting)
            turn.try_again()
            if not turn.future.done() and turn.obstacle is claim:
                break  # it is blocked here again, and nobody overtakes it
        line.serving = False
        self._arm()

    def _arm(self) -> None:
        """Set the timer to the moment when there is room for the first waiter."""
        line, window, now = self._line, self._window, self._now()
        if line.serving:
            return
        if line.timer is not None:
            line.timer.cancel()
            line.timer = None
        if not line.waiting:
            return
        first, due = line.waiting[0][1], now
        with window.lock:
            excess = window.used + first._weight - MOST
            for call in window.log:
                if excess <= 0:
                    break
                excess -= call.weight
                due = call.at + self._rate.per
            if excess > 0:  # a pending call blocks; it stays in the window at least this long
                due = now + self._rate.per
        line.timer = asyncio.get_running_loop().call_later(max(0.0, due - now), self.serve)

    def _now(self) -> float:
        return self._rate._windows.here()[1]
