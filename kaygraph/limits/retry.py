"""How many attempts ``exec`` gets, and how long to wait between them."""

from collections.abc import Callable
from dataclasses import dataclass

from .._validation import check_count, check_def, check_on, check_seconds

Wait = float | Callable[[int, Exception], float]

On = type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Attempts per item, with exponential backoff and jitter.

    The wait after attempt ``n`` is ``min(wait * backoff ** (n - 1), max_wait)`` seconds, minus a
    random fraction of at most ``jitter`` ("full jitter" at 1.0; Marc Brooker, "Exponential Backoff
    and Jitter", AWS Architecture Blog, 2015).

    Args:
        attempts: The number of attempts in total, at least 1.
        wait: Seconds before the second attempt, or ``(attempt, error) -> seconds`` for every wait
            (for instance from a ``Retry-After`` header). Backoff and jitter do not apply to what
            the function returns.
        backoff: The factor from one wait to the next, at least 1.
        max_wait: The longest wait in seconds.
        jitter: The fraction of a wait that is random, from 0 to 1.
        on: Which errors to retry: exception classes, or ``(error) -> bool``.

    Raises:
        ValueError: An argument is out of range.
    """

    attempts: int = 3
    wait: Wait = 0.0
    backoff: float = 1.0
    max_wait: float = 60.0
    jitter: float = 0.0
    on: On = Exception

    def __post_init__(self) -> None:
        check_count("attempts", self.attempts)
        if callable(self.wait):
            check_def("wait", self.wait)
        else:
            check_seconds("wait", self.wait)
        check_seconds("max_wait", self.max_wait)
        if not (_is_number(self.backoff) and self.backoff >= 1):
            raise ValueError(f"backoff must be a number, at least 1, got {self.backoff!r}")
        if not (_is_number(self.jitter) and 0 <= self.jitter <= 1):
            raise ValueError(f"jitter must be a number from 0 to 1, got {self.jitter!r}")
        check_on("on", self.on)

    def applies_to(self, error: Exception) -> bool:
        """Return whether to retry after an error."""
        if isinstance(self.on, (type, tuple)):
            return isinstance(error, self.on)
        return bool(self.on(error))

    def wait_after(self, attempt: int, error: Exception) -> float:
        """Return how many seconds to wait after a failed attempt; attempts count from 1."""
        if callable(self.wait):
            seconds = self.wait(attempt, error)
            if not _is_number(seconds):
                raise TypeError(f"wait of a Retry must return seconds, got {seconds!r}")
            return max(0.0, seconds)
        try:
            longest = min(self.wait * self.backoff ** (attempt - 1), self.max_wait)
        except OverflowError:
            longest = self.max_wait
        if not self.jitter:
            return longest
        import random  # imported only when it is used

        return longest * (1 - self.jitter * random.random())


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
