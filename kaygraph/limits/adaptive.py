"""A limit on concurrent calls that finds itself, and whether an error is a sign of overload.

The knee of a service is where more calls at once no longer get more done. By Little's law it is
the rate at which calls end under load, times the latency without load.

- **Gradient.** A window of calls sets the limit to ``limit * unloaded / latency`` and, on top, the
  square root of the limit: Netflix's concurrency-limits, Envoy's adaptive concurrency. A window
  lasts until its mean is known by half of that headroom, so that noise does not move the limit.
- **Probes.** Now and then, and when latency has jumped, the limit goes under the knee for a window
  to measure the unloaded latency: ProbeRTT of BBR (Cardwell et al., 2016). Where latency follows
  the limit, the knee has moved; where it does not, the service is slower and the limit goes back.
- **Memory.** Growth begins with doubling, later goes half the way to where load was last met and
  faster again beyond: BIC (Xu, Harfoush and Rhee, 2004), from which CUBIC comes.
- **Overload.** Where more calls are refused than are at any limit, a raise is taken back at once;
  that limit stays out of reach until, after a probe, one call more is tried. A limit that had been
  safe falls to the share that was served: once a window, by half at most.
"""

from dataclasses import dataclass
from math import sqrt

from ..errors import CircuitOpenError

FIRST, MOST = 8, 512  # the limit at the start, and at most

LEAST_CALLS, MOST_ROUNDS = 4, 8  # in a window: calls, and rounds of as many as are in flight

PROBE_EVERY = 50  # latencies

PROBE_DEPTH = 1.5  # headrooms: with one above the knee, half a headroom under it

MOST_FAILING = 0.25  # no greater share of failures is taken for the usual one

OVERLOADED = frozenset({429, 502, 503, 504})

FILES = (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)


def overloaded(error: Exception) -> bool:
    """Whether an error is a sign of load; one of a bad record is not.

    With a status (``status``, ``status_code`` or ``code``, its own or its ``response``'s) it is at
    429, 502, 503 and 504; any other when it or its cause is a timeout or an error of a connection.
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, CircuitOpenError):
        for holder in (cause, getattr(cause, "response", None)):
            for name in ("status", "status_code", "code"):
                if isinstance(status := getattr(holder, name, None), int):
                    return status in OVERLOADED
        if isinstance(cause, OSError):
            return not isinstance(cause, FILES)
        cause = cause.__cause__
    return False


@dataclass(slots=True)
class _Window:
    """The calls that have ended since ``opens``. Times in seconds."""

    opens: float
    served: int = 0
    served_s: float = 0.0
    squares: float = 0.0  # of the latencies of those served
    refused: int = 0
    refused_s: float = 0.0
    ended: int = 0  # since the limit has changed
    turned_away: int = 0  # of these
    peak: int = 0  # the most in flight

    def variance(self, mean: float) -> float:
        return max(0.0, self.squares / self.served - mean * mean) if self.served else 0.0

    def tells(self, limit: int, now: float, latency: float) -> bool:
        """Whether these are enough to know the mean latency by half the headroom."""
        if self.served + self.refused < max(self.peak, LEAST_CALLS):
            return False
        if self.refused and now < self.opens + latency:
            return False
        noisy = 4 * limit * self.variance(latency) > self.served * latency * latency
        return not noisy or self.served >= MOST_ROUNDS * self.peak


class Adaptive:
    """A limit that finds itself from how long calls take and which are refused.

    ``limit``, from 1 to ``most``, is how many may run at once now. The same calls give the same
    limits: nothing here reads a clock or is random. The module tells the algorithm's sources.
    """

    def __init__(self, most: int = MOST) -> None:
        self.limit = min(FIRST, most)
        self._most = most
        self._window = _Window(0.0)
        self._changed_at = self._probe_at = 0.0
        self._unloaded = 0.0  # the latency without load, in seconds; 0 as long as it is unknown
        self._probing: tuple[int, float, bool] | None = None  # limit, latency and use before
        self._safe = 1  # a limit at which no call was refused
        self._ceiling = most + 1  # the least limit at which one was
        self._patience, self._try_at = 1, 0.0  # latencies until, and when the ceiling is tried
        self._failing = 0.0  # the share of calls that are refused at any limit
        self._met = 0  # the limit at which load was last met
        self._doubling, self._calm = True, 0  # how many windows without load, in a row

    def sampled(self, seconds: float, now: float, in_flight: int, overloaded: bool) -> bool:
        """Learn from one call that has ended; return whether the limit has changed.

        It took ``seconds`` and ended at ``now``, by any clock in seconds that does not go back,
        with ``in_flight`` calls running, itself included. ``overloaded``: refused or timed out.
        """
        window = self._window
        if now - seconds < self._changed_at:  # begun under another limit
            return False
        window.ended += 1
        window.turned_away += overloaded
        if self.limit > self._safe and window.turned_away > self._usual(window.ended):
            return self._change(self._below(self.limit, self._safe, now), now, now + self._unloaded)
        if now < window.opens or in_flight > self.limit:
            return False  # the limit is not in effect yet
        window.peak = max(window.peak, in_flight)
        if overloaded:
            window.refused += 1
            window.refused_s += seconds
        else:
            window.served += 1
            window.served_s += seconds
            window.squares += seconds * seconds
        latency = window.served_s / window.served if window.served else self._unloaded
        if not window.tells(self.limit, now, latency):
            return False
        settled = now + latency + 2 * sqrt(window.variance(latency))  # the calls of now have ended
        return self._change(round(self._judged(window, latency, now)), now, settled)

    def _change(self, limit: int, now: float, settled: float) -> bool:
        before, self.limit = self.limit, max(1, min(limit, self._most))
        self._changed_at = self._changed_at if self.limit == before else now
        self._window = _Window(now if self.limit == before else settled)
        return self.limit != before

    def _usual(self, calls: int) -> float:
        """Return how many of so many calls may fail for other reasons than load."""
        return self._failing * calls + 3 * sqrt(self._failing * calls)

    def _judged(self, window: _Window, latency: float, now: float) -> float:
        """Return the limit that follows from a window."""
        limit, headroom = self.limit, sqrt(self.limit)
        probing, self._probing = self._probing, None
        calls, used = window.served + window.refused, window.peak >= limit
        refused_more = window.refused > 1 + self._usual(calls) or not window.served
        if limit < self._ceiling:
            self._failing += (min(window.refused / calls, MOST_FAILING) - self._failing) / 8
        if refused_more:  # of few that hang, and of many refused at once, most were served
            in_time = window.served_s / ((window.served_s + window.refused_s) or 1.0)
            served = round(limit * max(window.served / calls, in_time))
            lowered = max(1, limit // 2, min(limit - 1, served))
            return self._below(lowered + 1, lowered, now)
        if used:
            self._safe = max(self._safe, limit)
            if limit >= self._ceiling or (window.refused and self._failing * calls > 0.5):
                self._ceiling, self._patience = self._most + 1, 1  # it was none, or is no longer
        if probing is not None and latency <= probing[1] * (1 + 1 / headroom):
            return self._probed(*probing, latency, now)
        if not self._probe_at:
            self._probe_at = now
            return limit  # these began at once: the short ones have ended first
        if not self._unloaded:
            self._unloaded, self._probe_at = latency, now + PROBE_EVERY * latency
        queue = max(0.0, limit * (1 - self._unloaded / latency)) if latency else 0.0
        faster = latency < self._unloaded * (1 - 1 / headroom)
        self._met = limit if queue > 2 * headroom else self._met
        if self._doubling and not faster and queue < min(limit / 4, 2 * headroom):
            return 2 * limit if used else limit
        if not (self._doubling or faster or queue > 2 * headroom or now >= self._probe_at):
            return self._stepped(queue, used, now)
        self._calm, self._probing = 0, (limit, latency, used)
        gradient = 1 - queue / limit  # a jump may have more to come: probe deeper
        return limit * min(1 - PROBE_DEPTH / headroom, gradient, 1.4 * gradient**2)

    def _below(self, ceiling: int, safe: int, now: float) -> int:
        """Return a limit to stay at, under one that is too high; for longer each time."""
        self._ceiling, self._safe = ceiling, min(self._safe, safe)
        self._patience = min(2 * self._patience, PROBE_EVERY)
        self._try_at = now + self._patience * self._unloaded
        self._doubling, self._calm, self._probing = False, 0, None
        return safe

    def _probed(self, limit: int, loaded: float, used: bool, latency: float, now: float) -> float:
        """Return the knee, by Little's law, and the headroom; or what is to be tried."""
        self._unloaded, self._probe_at = min(latency, loaded), now + PROBE_EVERY * latency
        knee = max(self.limit, limit * self._unloaded / loaded if loaded else 0.0)
        self._doubling = self._doubling and knee > limit - min(limit / 4, 2 * sqrt(limit))
        above = 2 * limit if self._doubling else knee + sqrt(knee)
        return min(above, self._ceiling - 1 if used else limit)

    def _stepped(self, queue: float, used: bool, now: float) -> float:
        """Return the limit less its queue, and the headroom; more after windows without load."""
        limit, headroom = self.limit, sqrt(self.limit)
        if used and now >= self._try_at and limit == self._ceiling - 1 < self._most:
            return self._ceiling
        self._calm = 0 if queue > headroom else self._calm + (queue < headroom / 2)
        step = headroom * max(1, self._calm)
        if limit < self._met:
            step = min(step, max(headroom, (self._met - limit) / 2))
        untried = max(self._safe, (limit + self._ceiling) / 2)
        return min(limit - queue + step, untried, self._ceiling - 1 if used else limit)
