"""How often calls may begin."""

import asyncio
import threading
from array import array
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
                f"an item weighs {weight:g}, and {self!r} admits at most {self.calls:g} "
                "in a window: split the item, or raise calls"
            )
        return int(weight / self.calls * FULL)

    def claim(self, item: Any) -> "RateClaim":
        """Return the cap that represents an item in a slot."""
        return self.here().claim(item)

    def here(self) -> "RateHere":
        """Return the limit as it is on the running loop."""
        weight = None if callable(self.weight) else self._weighed(self.weight)
        return RateHere(self, self._windows.here()[0], self._windows.clock(), weight)

    def weight_of(self, item: Any) -> int:
        """Return the weight of an item as a whole number, of which FULL are ``calls``."""
        return self._weighed(self.weight(item) if callable(self.weight) else self.weight)


def _rate_limit(calls: float, per: float, weight: Weight) -> RateLimit:
    return RateLimit(calls, per, weight=weight)


class _Window:
    """The calls that began in the last ``per`` seconds, on all loops that share a clock.

    When each began, and its weight, are numbers side by side, of which the first ``_gone`` count no
    longer. So a million calls take 16 MB.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.used = 0  # the weight of the calls in the window and of the pending ones
        self.pending = 0  # calls that are admitted and have not begun
        self.lines: WeakKeyDictionary[asyncio.AbstractEventLoop, _Line] = WeakKeyDictionary()
        self._times = array("d")
        self._weights = array("d")  # whole numbers of 53 bits at most, times a power of two
        self._gone = 0
        self._before = 0  # how many calls there were before the first of the numbers

    def begin(self, now: float, weight: int) -> int:
        """Note a call that begins, and return what it is known by."""
        self._times.append(now)
        self._weights.append(weight)
        return self._before + len(self._times) - 1

    def take_back(self, call: int) -> None:
        """Forget a call that was not made."""
        place = call - self._before
        if place >= self._gone:
            self.used -= int(self._weights[place])
            self._weights[place] = 0.0

    def forget(self, now: float, per: float) -> None:
        """Forget the calls that began longer ago than ``per`` seconds."""
        times, gone = self._times, self._gone
        if gone == len(times) or times[gone] + per > now:
            return
        # The comparison is that of a timer (at + per); in floats, now - per can differ from it.
        while gone < len(times) and times[gone] + per <= now:
            self.used -= int(self._weights[gone])
            gone += 1
        if gone > 64 and 2 * gone > len(times):
            del times[:gone], self._weights[:gone]
            self._before += gone
            gone = 0
        self._gone = gone

    def room_at(self, weight: int, now: float, per: float) -> float:
        """Return when there is room for a call if none begins before."""
        excess, due = self.used + weight - MOST, now
        for place in range(self._gone, len(self._times)):
            if excess <= 0:
                return due
            excess -= int(self._weights[place])
            due = self._times[place] + per
        # A pending call blocks; it stays in the window at least this long.
        return now + per if excess > 0 else due


class _Line:
    """The waiters for a window on one loop, and the timer that admits them."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Waiter, RateClaim]] = []
        self.timer: asyncio.TimerHandle | None = None
        self.serving = False


class RateHere:
    """A RateLimit on one loop, looked up once: its window, its queue and its clock.

    Attributes:
        weight: The weight of every call; None if each has its own.
    """

    __slots__ = ("_line", "now", "per", "rate", "waiting", "weight", "window")

    def __init__(
        self, rate: RateLimit, window: _Window, now: Callable[[], float], weight: int | None
    ) -> None:
        self.rate, self.per, self.window, self.weight = rate, rate.per, window, weight
        self.now = now
        self._line = window.lines.setdefault(asyncio.get_running_loop(), _Line())
        self.waiting = self._line.waiting

    def claim(self, item: Any) -> "RateClaim":
        """Return the cap that represents an item in a slot."""
        weight = self.weight
        return RateClaim(self, self.rate.weight_of(item) if weight is None else weight)

    def begin_at_once(self) -> bool:
        """Let a call begin if there is room and nobody waits; return whether there was.

        Admitted and begun in one step, which is right where nothing can come between.
        """
        weight, window = self.weight, self.window
        if self.waiting or weight is None:
            return False
        with window.lock:
            now = self.now()
            window.forget(now, self.per)
            used = window.used + weight
            if used > MOST:
                return False
            window.used = used
            window.begin(now, weight)
        return True

    def serve(self) -> None:
        """Admit waiters as far as there is room."""
        line = self._line
        line.serving = True
        while line.waiting:
            turn, claim = heappop(line.waiting)
            turn.try_again()
            if not turn.future.done() and turn.obstacle is claim:
                break  # it is blocked here again, and nothing overtakes it
        line.serving = False
        self.arm()

    def arm(self) -> None:
        """Set the timer to the moment when there is room for the first waiter."""
        line, window, now = self._line, self.window, self.now()
        if line.serving:
            return
        if line.timer is not None:
            line.timer.cancel()
            line.timer = None
        if not line.waiting:
            return
        with window.lock:
            due = window.room_at(line.waiting[0][1].weight, now, self.per)
        line.timer = asyncio.get_running_loop().call_later(max(0.0, due - now), self.serve)


class RateClaim:
    """One item's claim on a RateLimit: a cap of its slot."""

    __slots__ = ("_call", "_here", "weight")

    timed, keyed = True, False
    setting = "rate"

    def __init__(self, here: RateHere, weight: int) -> None:
        self._here, self.weight = here, weight
        self._call: int | None = None  # by what the window knows it, once it has begun

    @property
    def waiting(self) -> Sequence[Any]:
        return self._here.waiting

    @property
    def rate(self) -> RateLimit:
        """The limit that it is a claim on."""
        return self._here.rate

    def seconds_left(self) -> float:
        """Return how long it takes until there is room if no other call begins."""
        here = self._here
        with here.window.lock:
            now = here.now()
            here.window.forget(now, here.per)
            return max(0.0, here.window.room_at(self.weight, now, here.per) - now)

    def used(self) -> float:
        """Return the share of the window that is taken."""
        here = self._here
        with here.window.lock:
            here.window.forget(here.now(), here.per)
            return min(1.0, here.window.used / FULL)

    @property
    def first(self) -> Waiter:
        return self._here.waiting[0][0]

    def enter(self, age: float = inf) -> bool:
        here = self._here
        if here.waiting and self.first.age < age:
            return False  # a light call does not overtake a heavy one that waits
        window = here.window
        with window.lock:
            window.forget(here.now(), here.per)
            if window.used + self.weight > MOST:
                return False
            self._call = None
            window.pending += 1
            window.used += self.weight
        return True

    def begun(self) -> None:
        here, window = self._here, self._here.window
        with window.lock:  # log the time of the call: the loop may have been busy since admission
            self._call = window.begin(here.now(), self.weight)
            window.pending -= 1

    def leave(self) -> None:
        pass  # the call counts until the window has passed

    def undo(self) -> None:
        window = self._here.window
        with window.lock:
            if self._call is not None:
                window.take_back(self._call)
            else:
                window.pending -= 1
                window.used -= self.weight

    def stand(self, waiter: Waiter) -> None:
        heappush(self._here.waiting, (waiter, self))
        self._here.arm()

    def serve(self) -> None:
        self._here.serve()
