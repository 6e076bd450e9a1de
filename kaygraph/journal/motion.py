"""Whether anything of a run can go on, or all that is left waits for what does not come from it."""

import asyncio
from collections.abc import Callable

from .position import Position

# A hook, or a call, is not there for a moment where an item goes from one place to the next.
QUIET_S = 0.02
TURNS = 10


class Motion:
    """Counts what is under way: nodes whose hooks are called, and calls of ``exec``.

    What stands still below one of these (it waits for its turn, or for an answer) makes it stand
    still as well: a batch, say, of which all that is under way waits. Each call counts for itself,
    so that the batch does not stand still as long as one of its calls works.

    Args:
        may_stop: Whether anything waits that may not come.
        quiet: Called when nothing moves, once that has been so for some turns of the loop. It
            returns after how many seconds to look again, None for when something has moved.
    """

    def __init__(self, may_stop: Callable[[], bool], quiet: Callable[[], float | None]) -> None:
        self.moving = 0  # how many are under way and do not stand still
        self.changes = 0  # how often anything has begun, ended, stopped or gone on
        self._may_stop, self._quiet = may_stop, quiet
        self._loop = asyncio.get_running_loop()
        self._look: asyncio.Handle | None = None

    def begin(self, position: Position) -> None:
        """Note that something is under way at a position."""
        position.moves = True
        self.changes += 1
        if not position.still:
            self.moving += 1

    def end(self, position: Position) -> None:
        """Note that it has ended."""
        position.moves = False
        self.changes += 1
        if not position.still:
            self.moving -= 1
            if not self.moving:
                self.look()

    def stop(self, position: Position) -> None:
        """Note that something at a position stands still until ``go_on``."""
        self.changes += 1
        at: Position | None = position
        while at is not None:
            if not at.still and at.moves:
                self.moving -= 1
            at.still += 1
            at = at.around
        if not self.moving:
            self.look(waits=True)  # it does so in a moment

    def go_on(self, position: Position) -> None:
        """Note that it does not stand still any more."""
        self.changes += 1
        at: Position | None = position
        while at is not None:
            at.still -= 1
            if not at.still and at.moves:
                self.moving += 1
            at = at.around

    def look(self, *, waits: bool = False) -> None:
        """Look, in a moment, whether nothing moves."""
        if self._look is None and (waits or self._may_stop()):
            self._look = self._loop.call_later(QUIET_S, self._looked, self.changes, TURNS)

    def close(self) -> None:
        """Look no more."""
        if self._look is not None:
            self._look.cancel()
            self._look = None
        self._may_stop, self._quiet = bool, _never

    def _looked(self, changes: int, turns: int) -> None:
        self._look = None
        if self.moving:
            return  # it is looked at when that ends
        if changes != self.changes:
            self.look()
        elif turns:
            self._look = self._loop.call_soon(self._looked, changes, turns - 1)
        elif (again := self._quiet()) is not None:
            self._look = self._loop.call_later(again, self._looked, self.changes, 0)


def _never() -> None:
    return None
