"""Which items of a node are traced: many of a few, and few of many."""

from math import inf


class Sampling:
    """Which items have a span: the first ``most``, then one in ten, and so on.

    That is one in ten until ten times as many have come, then one in a hundred, and so on.
    """

    __slots__ = ("_next", "_step", "_until", "count")

    def __init__(self, most: int | None) -> None:
        self.count = 0
        self._next: float = inf if most == 0 else 0
        self._until = inf if most is None else most
        self._step = 1

    def takes_next(self) -> bool:
        """Count an item, and return whether it has a span."""
        count = self.count
        self.count = count + 1
        if count != self._next:
            return False
        if count + 1 >= self._until:
            self._step *= 10
            self._until *= 10
        self._next = count + self._step
        return True
