"""An adaptive limit on concurrent calls, and whether an error is a sign of overload.

The knee of a service is the concurrency above which throughput no longer grows. By Little's law,
it is the throughput under load times the latency without load.

- **Gradient.** A window of calls sets the limit to ``limit * unloaded / latency`` plus a headroom
  of the square root of the limit, as in Netflix's concurrency-limits and Envoy's adaptive
  concurrency. A window lasts until its mean latency is known to half of that headroom, so that
  noise does not move the limit.
- **Probes.** Periodically, and when the latency has jumped, the limit drops below the knee for one
  window to measure the unloaded latency, as ProbeRTT in BBR does (Cardwell et al., 2016). If the
  latency follows the limit, the knee has moved. If it does not, the service has become slower and
  the limit returns.
- **Memory.** The limit grows by doubling at first. Later it grows half the way to the limit at
  which load was last met, and faster again above that: BIC (Xu, Harfoush and Rhee, 2004), the
  predecessor of CUBIC.
- **Overload.** When more calls are refused than usual, a raise is reverted at once. The refused
  limit is blocked until, after a probe, one more call is tried. A limit that used to be safe falls
  to the share of calls that were served: once per window, by half at most.
"""

from dataclasses import dataclass
from math import sqrt

from ..errors import CircuitOpenError

INITIAL_LIMIT, MAX_LIMIT = 8, 512

MIN_CALLS, MAX_ROUNDS = 4, 8  # per window; a round is as many calls as were in flight

PROBE_EVERY = 50  # latencies

PROBE_DEPTH = 1.5  # headrooms: from one above the knee to half a headroom below it

MAX_FAILING = 0.25  # a greater share of failures is never considered usual

OVERLOADED = frozenset({429, 502, 503, 504})

FILES = (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)


def overloaded(error: Exception) -> bool:
    """Return whether an error is a sign of overload; an error about a bad record is not.

    An error with a status (``status``, ``status_code`` or ``code``, of the error itself or of its
    ``response``) is one at 429, 502, 503 and 504. Any other error is one when it or one of its
    causes is a timeout or a connection error.
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
    """The calls that have ended since ``opens``. All times are in seconds."""

    opens: float
    served: int = 0
    served_s: float = 0.0
    squares: float = 0.0  # the sum of the squared latencies of served calls
    refused: int = 0
    refused_s: float = 0.0
    ended: int = 0  # calls since the limit last changed
    ended_refused: int = 0  # how many of these were refused
    peak: int = 0  # the most calls in flight

    def variance(self, mean: float) -> float:
        return max(0.0, self.squares / self.served - mean * mean) if self.served else 0.0

    def is_conclusive(self, limit: int, now: float, latency: float) -> bool:
        """Return whether the calls are enough to know the mean latency to half the headroom."""
        if self.served + self.refused < max(self.peak, MIN_CALLS):
            return False
        if self.refused and now < self.opens + latency:
            return False
        noisy = 4 * limit * self.variance(latency) > self.served * latency * latency
        return not noisy or self.served >= MAX_ROUNDS * self.peak


class Adaptive:
    """A limit that adapts to how long calls take and which are refused.

    ``limit``, from 1 to ``max_limit``, is how many calls may run at once now. The same calls give
    the same limits: nothing here reads a clock or is random. The docstring of the module names
    the sources of the algorithm.
    """

    def __init__(self, max_limit: int = MAX_LIMIT) -> None:
        self.limit = min(INITIAL_LIMIT, max_limit)
        self._max_limit = max_limit
        self._window = _Window(0.0)
        self._changed_at = self._probe_at = 0.0
        self._unloaded = 0.0  # the latency without load, in seconds; 0 until it is known
        # During a probe: the limit and the latency before it, and whether the limit was in use.
        self._probing: tuple[int, float, bool] | None = None
        self._safe = 1  # a limit at which no call was refused
        self._ceiling = max_limit + 1  # the lowest limit at which a call was refused
        # How many latencies to wait before the ceiling is tried again, and the time of that.
        self._patience, self._try_at = 1, 0.0
        self._failing = 0.0  # the share of calls that are refused at any limit
        self._met = 0  # the limit at which load was last met
        # Whether growth still doubles the limit; how many windows in a row had no load.
        self._doubling, self._calm = True, 0

    def sampled(self, seconds: float, now: float, in_flight: int, overloaded: bool) -> bool:
        """Learn from one call that has ended, and return whether the limit has changed.

        Args:
            seconds: How long the call took.
            now: When it ended, by any monotonic clock in seconds.
            in_flight: How many calls were running, itself included.
            overloaded: Whether the call was refused or timed out.
        """
        window = self._window
        if now - seconds < self._changed_at:  # it began under another limit
            return False
        window.ended += 1
        window.ended_refused += overloaded
        if self.limit > self._safe and window.ended_refused > self._usual(window.ended):
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
        if not window.is_conclusive(self.limit, now, latency):
            return False
        # By then, the calls that are in flight now have ended.
        settled = now + latency + 2 * sqrt(window.variance(latency))
        return self._change(round(self._next_limit(window, latency, now)), now, settled)

    def _change(self, limit: int, now: float, settled: float) -> bool:
        before, self.limit = self.limit, max(1, min(limit, self._max_limit))
        self._changed_at = self._changed_at if self.limit == before else now
        self._window = _Window(now if self.limit == before else settled)
        return self.limit != before

    def _usual(self, calls: int) -> float:
        """Return how many of ``calls`` calls may fail for reasons other than load."""
        return self._failing * calls + 3 * sqrt(self._failing * calls)

    def _next_limit(self, window: _Window, latency: float, now: float) -> float:
        """Return the limit that follows from a window."""
        limit, headroom = self.limit, sqrt(self.limit)
        probing, self._probing = self._probing, None
        calls, used = window.served + window.refused, window.peak >= limit
        refused_more = window.refused > 1 + self._usual(calls) or not window.served
        if limit < self._ceiling:
            self._failing += (min(window.refused / calls, MAX_FAILING) - self._failing) / 8
        if refused_more:
            # The greater of two shares counts: the share of calls is right when a few calls hang,
            # the share of time when many are refused at once.
            in_time = window.served_s / ((window.served_s + window.refused_s) or 1.0)
            served = round(limit * max(window.served / calls, in_time))
            lowered = max(1, limit // 2, min(limit - 1, served))
            return self._below(lowered + 1, lowered, now)
        if used:
            self._safe = max(self._safe, limit)
            if limit >= self._ceiling or (window.refused and self._failing * calls > 0.5):
                # The ceiling was wrong, or has moved.
                self._ceiling, self._patience = self._max_limit + 1, 1
        if probing is not None and latency <= probing[1] * (1 + 1 / headroom):
            return self._probed(*probing, latency, now)
        if not self._probe_at:
            self._probe_at = now
            return limit  # the first calls began together, so the short ones have ended first
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
        gradient = 1 - queue / limit  # a jump may continue: the square probes deeper
        return limit * min(1 - PROBE_DEPTH / headroom, gradient, 1.4 * gradient**2)

    def _below(self, ceiling: int, safe: int, now: float) -> int:
        """Note that a limit is too high; return a safe one, to keep for longer each time."""
        self._ceiling, self._safe = ceiling, min(self._safe, safe)
        self._patience = min(2 * self._patience, PROBE_EVERY)
        self._try_at = now + self._patience * self._unloaded
        self._doubling, self._calm, self._probing = False, 0, None
        return safe

    def _probed(self, limit: int, loaded: float, used: bool, latency: float, now: float) -> float:
        """Return the knee by Little's law plus the headroom; while doubling, twice the limit."""
        self._unloaded, self._probe_at = min(latency, loaded), now + PROBE_EVERY * latency
        knee = max(self.limit, limit * self._unloaded / loaded if loaded else 0.0)
        self._doubling = self._doubling and knee > limit - min(limit / 4, 2 * sqrt(limit))
        above = 2 * limit if self._doubling else knee + sqrt(knee)
        return min(above, self._ceiling - 1 if used else limit)

    def _stepped(self, queue: float, used: bool, now: float) -> float:
        """Return the limit without its queue plus the headroom; more after windows without load."""
        limit, headroom = self.limit, sqrt(self.limit)
        if used and now >= self._try_at and limit == self._ceiling - 1 < self._max_limit:
            return self._ceiling
        self._calm = 0 if queue > headroom else self._calm + (queue < headroom / 2)
        step = headroom * max(1, self._calm)
        if limit < self._met:
            step = min(step, max(headroom, (self._met - limit) / 2))
        untried = max(self._safe, (limit + self._ceiling) / 2)
        return min(limit - queue + step, untried, self._ceiling - 1 if used else limit)
