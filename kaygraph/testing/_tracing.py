"""The trace of a simulation: its events, and who came before whom."""

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..events import Event
from ._places import called, stack_of, woken_by
from ._schedule import WAITING, task_of


class Order(NamedTuple):
    """A choice of the schedule: who was ready, in the order in which they went on."""

    at: float
    names: tuple[str, ...]


class Step(NamedTuple):
    """A step of a task: where it goes on."""

    at: float
    task: str
    place: str


class Swap(NamedTuple):
    """A choice that was not asyncio's: what came first, and what asyncio would have run first.

    Attributes:
        at: The time of the loop in seconds.
        first: What came first: a task, or the timer or the call in a thread that a task waits for.
        second: What asyncio would have run first.
        first_stack: Where that task went on, from the outermost call in, a line each.
        second_stack: Where the other one was.
    """

    at: float
    first: str
    second: str
    first_stack: tuple[str, ...]
    second_stack: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"at {round(self.at, 6)} s, {self.first} came before {self.second}"]
        for name, stack in ((self.first, self.first_stack), (self.second, self.second_stack)):
            lines += [f"  {name}:", *(f"    {line}" for line in stack)] if stack else []
        return "\n".join(lines)


# An event and the name of the task that it happened in; or a choice that was not asyncio's.
Entry = tuple[str, Event] | Order | Step


class Tracer:
    """Records events, scheduling choices and, where asked, steps, in order.

    Args:
        log: What they are added to.
        swaps: Whether to keep the stacks of those that change places.
        steps: Whether to note each step of a task.
    """

    def __init__(self, log: list[Entry], swaps: bool = False, steps: bool = False) -> None:
        self._log, self._keeps_swaps = log, swaps
        self.notes_steps = steps
        self.swaps: list[Swap] = []

    def __call__(self, event: Event, /) -> None:
        task = asyncio.current_task()
        self._log.append(("" if task is None else called(task), event))

    def deviated(self, at: float, options: Sequence[asyncio.Handle | str]) -> None:
        names = tuple(map(name_of, options))
        self._log.append(Order(at, names))
        if self._keeps_swaps and names[0] != WAITING:  # what comes next is noted when it comes
            first, second = (tuple(_stack(option)) for option in options[:2])
            swap = Swap(at, names[0], names[1], first, second)
            if not self.swaps or self.swaps[-1][1:] != swap[1:]:  # one that waits for longer
                self.swaps.append(swap)

    def step(self, at: float, handle: asyncio.Handle) -> None:
        task = task_of(handle)
        if task is not None and (stack := stack_of(task)):
            self._log.append(Step(at, called(task), stack[-1]))


def _stack(option: asyncio.Handle | str) -> list[str]:
    if isinstance(option, str):
        return []
    task = woken_by(option) if isinstance(option, asyncio.TimerHandle) else task_of(option)
    return [] if task is None else stack_of(task)


def name_of(option: asyncio.Handle | str) -> str:
    """Return what a trace calls something that can run next."""
    if isinstance(option, str):
        return option
    if isinstance(option, asyncio.TimerHandle):
        woken = woken_by(option)
        return "a timer" if woken is None else f"timer of {called(woken)}"
    task = task_of(option)
    return "a callback" if task is None else called(task)


def line_of(entry: Entry, nodes: dict[str, str]) -> str:
    """Return an entry of the trace as text; ``nodes`` maps a task to the last node it was at."""
    if isinstance(entry, Order):
        names = (f"{name} ({nodes[name]})" if name in nodes else name for name in entry.names)
        return f"{round(entry.at, 6)} Order {', '.join(names)}"
    if isinstance(entry, Step):
        return f"{round(entry.at, 6)} {entry.task} {entry.place}"
    task, event = entry
    nodes[task] = event.node
    facts = "".join(  # of every event, the first two are `node` and `at`
        f" {name}={_shown(value)}"
        for name, value in zip(event._fields[2:], event[2:], strict=True)
        if value is not event._field_defaults.get(name)  # None, where it has no default
    )
    return f"{round(event.at, 6)} {task} {type(event).__name__} {event.node}{facts}"


def _shown(value: Any) -> str:
    if isinstance(value, BaseException):
        return type(value).__name__  # its text may hold addresses
    return str(round(value, 6)) if isinstance(value, float) else str(value)
