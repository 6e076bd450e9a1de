"""Whether any part of a run can move, or everything left waits for something from outside."""

import asyncio
from collections.abc import Callable

from .position import Position

# When an item moves to its next place, there is no hook or call of it for a moment.
QUIET_S = 0.02
TURNS = 10


class Motion:
    """Counts what is in flight: nodes whose hooks are running, and calls of ``exec``.

    When something inside one of these stands still (waiting for its turn or an answer), that one
    stands still as well: for example a batch, all of whose calls wait. Each call is counted by
    itself, so that a batch does not stand still while one of its calls works.

    Args:
        may_stop: Whether anything waits for something that may never come.
        quiet: Called when nothing has moved for a few turns of the loop. It returns after how many
            seconds to look again, or None to look only after something has moved.
    """

    def __init__(self, may_stop: Callable[[], bool], quiet: Callable[[], float | None]) -> None:
        self.moving = 0  # how many are in flight and do not stand still
        self.changes = 0  # how often anything has begun, ended, stopped or continued
        self._may_stop, self._quiet = may_stop, quiet
        self._loop = asyncio.get_running_loop()
        self._look: asyncio.Handle | None = None

    def begin(self, position: Position) -> None:
        """Note that something at a position is in flight."""
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
            self.look(waits=True)  # it will do so in a moment

    def go_on(self, position: Position) -> None:
        """Note that it no longer stands still."""
        self.changes += 1
        at: Position | None = position
        while at is not None:
            at.still -= 1
            if not at.still and at.moves:
                self.moving += 1
            at = at.around

    def look(self, *, waits: bool = False) -> None:
        """Check, in a moment, whether nothing moves."""
        if self._look is None and (waits or self._may_stop()):
            self._look = self._loop.call_later(QUIET_S, self._looked, self.changes, TURNS)

    def close(self) -> None:
        """Stop checking."""
        if self._look is not None:
            self._look.cancel()
            self._look = None
        self._may_stop, self._quiet = bool, _never

    def _looked(self, changes: int, turns: int) -> None:
        self._look = None
        if self.moving:
            return  # its end triggers the check
        if changes != self.changes:
            self.look()
        elif turns:
            self._look = self._loop.call_soon(self._looked, changes, turns - 1)
        elif (again := self._quiet()) is not None:
            self._look = self._loop.call_later(again, self._looked, self.changes, 0)


def _never() -> None:
    return None
