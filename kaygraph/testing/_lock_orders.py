"""Locks that tasks take in opposite orders: they may deadlock, also where they have not done so."""

import asyncio
from dataclasses import dataclass
from typing import Any

Task = asyncio.Task[Any]


@dataclass(frozen=True, slots=True)
class _Taken:
    """Two locks that a task has held at the same time.

    Attributes:
        task: The task.
        locks: The locks, the first one first; kept so that no other can take their addresses.
        guards: The addresses of other locks that it held.
        places: Where it has taken the two.
    """

    task: Task
    locks: tuple[object, object]
    guards: frozenset[int]
    places: tuple[str, str]


class LockOrders:
    """In which orders the tasks of a simulation take locks while they hold others.

    Two orders that contradict each other are noted if the tasks have run at the same time and held
    no other lock that keeps them apart (Havelund, "Using Runtime Analysis to Guide Model Checking
    of Java Programs", 2000). Something else may do so, an event for example: this is not an error.

    Attributes:
        found: What was noted, each as text.
    """

    def __init__(self) -> None:
        self.found: dict[str, None] = {}
        self._held: dict[Task, list[tuple[object, str]]] = {}
        self._taken: dict[tuple[int, int], list[_Taken]] = {}

    def took(self, task: Task, lock: object, place: str) -> None:
        """A task has taken a lock."""
        held = self._held.get(task)
        if held is None:
            self._held[task] = [(lock, place)]
            return
        for other, since in held:
            guards = frozenset(id(one) for one, _ in held if one is not other)
            self._note(_Taken(task, (other, lock), guards, (since, place)))
        held.append((lock, place))

    def gave(self, task: Task, lock: object) -> None:
        """A lock that a task has taken was given back."""
        kept = [one for one in self._held.get(task, ()) if one[0] is not lock]
        if kept:
            self._held[task] = kept
        else:
            self._held.pop(task, None)

    def end(self) -> None:
        """Let the tasks go."""
        self._held.clear()
        self._taken.clear()

    def _note(self, taken: _Taken) -> None:
        first, second = map(id, taken.locks)
        for other in self._taken.get((second, first), ()):
            apart = other.task is taken.task or other.task.done() or other.guards & taken.guards
            if not apart:
                orders = sorted({taken.places, other.places})
                self.found[
                    "locks are taken in opposite orders, which may deadlock: "
                    + "; ".join(f"one at {one} and then another at {then}" for one, then in orders)
                ] = None
        same = self._taken.setdefault((first, second), [])
        if all((one.task, one.guards) != (taken.task, taken.guards) for one in same):
            same.append(taken)
