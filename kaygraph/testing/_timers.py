"""The timers of a simulation, and which of them may fire first."""

import asyncio
from collections.abc import Sequence
from typing import Any

from ._ordering import Clock


class Timer(asyncio.TimerHandle):
    """A timer among those of one moment: the one that was set first is due first."""

    __slots__ = ("clock", "number")

    number: int
    clock: Clock  # if somebody wants to know what came before it was set

    def __lt__(self, other: Any) -> bool:
        return (self._when, self.number) < (other._when, other.number)  # type: ignore[attr-defined]


def in_order(timers: Sequence[Timer]) -> list[Timer]:
    """Return those that asyncio could fire first, of timers in the order in which they are due.

    None was set after another one and is due after it.
    """
    earliest, found = timers[0].number, []
    for timer in timers:
        if timer.number <= earliest:
            earliest = timer.number
            found.append(timer)
    return found
