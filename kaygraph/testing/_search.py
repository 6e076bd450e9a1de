"""Every order of a program, once: a search with sleep sets (Godefroid, 1996).

A run leads to others: at each of its choices, another option. One is left out if the same order,
but for steps that touch different objects, is tried elsewhere: what was tried at a choice sleeps in
the runs of its later options, until a step comes that touches the same objects. A run in which all
that could go on sleeps is given up.

Orders with fewer deviations from asyncio's own come first, since most bugs need few.
"""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ._footprints import Footprint, Footprints
from ._loop import SimulationError
from ._schedule import Deviation
from ._simulated import EDGES, active_loop
from ._step_by_step import StepByStep
from ._touching import touching_primitives


class RedundantRunError(SimulationError):
    """The order of a run is tried elsewhere."""


@dataclass(slots=True)
class Choice:
    """A choice of a run that has options to try in other runs.

    Attributes:
        before: The deviations that lead to it.
        number: Its number among the choices of the run.
        tried: The footprints of options, by their places: of those that sleep here, and of those
            that were tried.
    """

    before: tuple[Deviation, ...]
    number: int
    tried: dict[int, Footprint] = field(default_factory=dict)


class Asleep(NamedTuple):
    """A step that was tried first in another run, and what it has touched there."""

    handle: asyncio.Handle
    footprint: Footprint


class Search:
    """The orders of a program that are yet to be tried.

    Args:
        only_watched: As for ``Footprints``.
        most: How many are tried at most; twice as many are kept, since some are given up.

    Attributes:
        complete: Whether all orders were tried, or are left.
    """

    def __init__(self, only_watched: bool, most: int) -> None:
        self.only_watched = only_watched
        self.complete = True
        self._kept = 2 * most
        self._left: deque[tuple[Choice, int] | None] = deque([None])

    def __bool__(self) -> bool:
        """Return whether there are orders left."""
        return bool(self._left)

    def next(self) -> "SearchedOrder":
        """Return the schedule of the next run."""
        return SearchedOrder(self, self._left.popleft())

    def add(self, choice: Choice, option: int) -> None:
        if len(self._left) < self._kept:
            self._left.append((choice, option))
        else:
            self.complete = False


@contextmanager
def following(only_watched: bool) -> Iterator[None]:
    """Have what is simulated within tell what its steps touch."""
    if not only_watched:  # steps touch what is not known, whatever primitives they touch
        yield
        return
    EDGES[-1].add()  # made and undone on the outside
    with touching_primitives(lambda: getattr(active_loop(), "footprints", None)):
        yield


class SearchedOrder(StepByStep):
    """The schedule of a run of a search: it follows the search to an option, and goes on by itself.

    Attributes:
        redundant: Whether the run was given up.
    """

    _loop: Any
    _footprints: Footprints

    def __init__(self, search: Search, start: tuple[Choice, int] | None) -> None:
        choice, option = start or (Choice((), -1), 0)
        self._plan = dict(choice.before)
        if start is not None:
            self._plan[choice.number] = option
        super().__init__()
        self._planned = self._plan
        self.redundant = False
        self._search, self._start, self._first = search, choice, option
        self._asleep: dict[int, Asleep] = {}  # by the address of the callback
        # The choice that has led to the step that runs, the option, and the objects at that time.
        self._tried: tuple[Choice, int, int] | None = None

    def follow(self, loop: Any, _: object) -> None:
        """Follow what the steps of a run touch."""
        self._loop = loop
        self._footprints = Footprints(loop, self._search.only_watched)

    def end(self) -> None:
        super().end()
        if self._loop.has_sockets:
            raise ValueError(
                "exhaustive=True tries the orders of tasks and timers, and the program has opened "
                "a connection, which may take any time: leave out exhaustive="
            )

    def later(self, what: str, seconds: Sequence[float], at: float) -> float | None:
        if self._choices > self._start.number:
            choice = Choice(tuple(self.taken), self._choices)
            for option in range(1, len(seconds) + 1):
                self._search.add(choice, option)
        return super().later(what, seconds, at)

    def _option(self, options: Sequence[asyncio.Handle], at: float) -> int:
        self._end_step()
        if len(options) > 1 and self._choices <= self._start.number:
            option = self._followed(options)
        else:
            option = self._branched(options)
        self._footprints.begin(options[option], at)
        return self._chosen(option, at, options) if len(options) > 1 else 0

    def _followed(self, options: Sequence[asyncio.Handle]) -> int:
        """Return what leads to where this run begins to be a new one."""
        if self._choices == self._start.number:
            self._tried = self._start, self._first, self._footprints.made
            for place, footprint in self._start.tried.items():
                self._asleep[id(options[place])] = Asleep(options[place], footprint)
        return self._plan.get(self._choices, 0)

    def _branched(self, options: Sequence[asyncio.Handle]) -> int:
        """Return the first option that does not sleep, and have other runs take the others."""
        asleep = {
            place: self._asleep[id(each)].footprint
            for place, each in enumerate(options)
            if id(each) in self._asleep
        }
        awake = [place for place in range(len(options)) if place not in asleep]
        if not awake:
            self.redundant = True
            raise RedundantRunError("the order of this run is tried elsewhere")
        first, *others = awake
        if others:
            choice = Choice(tuple(self.taken), self._choices, asleep)
            self._tried = choice, first, self._footprints.made
            for other in others:
                self._search.add(choice, other)
        if len(options) > 1:
            self._plan[self._choices] = first
        return first

    def _end_step(self) -> None:
        """The step that was chosen last has ended: wake what touches the same, and note it."""
        footprint = self._footprints.current
        self._asleep = {
            address: asleep
            for address, asleep in self._asleep.items()
            if not asleep.footprint.conflicts(footprint)
        }
        if self._tried is not None:
            choice, option, made = self._tried
            choice.tried[option] = footprint.until(made)
            self._tried = None
