"""Which of the deviations of a schedule are needed for its failure."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Shortening(Generic[T]):
    """Finds a short list that still fails; it tries at most so many.

    Args:
        fails: Whether a list fails.
        tries: How many lists are tried.
    """

    def __init__(self, fails: Callable[[Sequence[T]], bool], tries: int) -> None:
        self._fails = fails
        self._left = tries

    def of(self, items: Sequence[T]) -> Sequence[T]:
        """Return a part of a list that fails, in its order."""
        return self._minimized(self._beginning(items))

    def _beginning(self, items: Sequence[T]) -> Sequence[T]:
        """Return a beginning of a list that fails: what comes after it has no effect on it."""
        passes, length = -1, 0
        while length < len(items) and not self._try(items[:length]):
            passes, length = length, max(1, length * 2)
        length = min(length, len(items))
        while length - passes > 1 and self._left > 0:
            middle = (passes + length) // 2
            if self._try(items[:middle]):
                length = middle
            else:
                passes = middle
        return items[:length]

    def _minimized(self, items: Sequence[T]) -> Sequence[T]:
        """Leave out what can be left out (delta debugging: Zeller and Hildebrandt, 2002)."""
        parts = 2
        while len(items) > 1 and self._left > 0:
            size = -(-len(items) // parts)
            cuts = range(0, len(items), size)
            # The last first: what is left out then does not renumber what comes before it.
            rests = ([*items[:cut], *items[cut + size :]] for cut in reversed(cuts))
            fewer = next((rest for rest in rests if self._try(rest)), None)
            if fewer is not None:
                items, parts = fewer, max(parts - 1, 2)
            elif size == 1:
                break
            else:
                parts = min(parts * 2, len(items))
        return items

    def _try(self, items: Sequence[T]) -> bool:
        self._left -= 1
        return self._left >= 0 and self._fails(items)
