"""In which order the tasks that are ready go on: another seed, another legal order."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from ._policies import Option, Policy, policy_of

ORDERS = ("any", "turns", "steps", "asyncio")

# Among so many timers that are due, the next to fire is chosen.
MOST_TIMERS = 8


class Deviation(NamedTuple):
    """A choice that was not asyncio's: the n-th of the run, and which option was taken.

    Option 0 is asyncio's, so that ``option`` is at least 1.
    """

    choice: int
    option: int


# What comes before steps that wait for the next turn of the loop.
WAITING = "what comes next"

# What is called with a deviation: its time, and the options, that which was taken first.
Note = Callable[[float, Sequence[asyncio.Handle | str]], object]


class Schedule:
    """A seeded order among the steps of tasks, and among timers that are close to each other.

    asyncio promises an order among callbacks, and none among tasks that are ready, or between a
    timer and what else happens at about the same time. Seed 0 is the order in which asyncio itself
    would run them.

    Args:
        seed: Decides every choice.
        deviations: How many times the order may differ from asyncio's; from then on it does not.
        planned: The deviations to take instead of those of the seed.
        order: "any": tasks that are ready run in any order, and may wait for others while these
            take several steps. "turns": in any order within a turn of the loop, and none waits;
            timers that are due together fire in the same turn. "steps": see ``StepByStep``.
            "asyncio": they run in the order in which they became ready; timers and calls in threads
            alone come sooner or later.

    Attributes:
        taken: The deviations so far.
        active: Whether there may be others; where not, nothing need be asked.
        note: Called with each deviation.
    """

    def __init__(
        self,
        seed: int,
        deviations: int | None = None,
        planned: Iterable[tuple[int, int]] | None = None,
        order: str = "any",
    ) -> None:
        if order not in ORDERS:
            raise ValueError(f"order must be 'any', 'turns', 'steps' or 'asyncio', got {order!r}")
        self.order = order
        self.taken: list[Deviation] = []
        self._choices = 0
        self._most = deviations
        self.note: Note | None = None
        self._planned = None if planned is None else dict(planned)
        self._policy: Policy | None = None
        self.active = (bool(seed) if planned is None else bool(planned)) and deviations != 0
        if self.active and planned is None:
            self._policy = policy_of(seed)
        self._last = max(self._planned, default=0) if self._planned else None

    def end(self) -> None:
        """The run has ended; what is cancelled after it goes on in asyncio's order, if need be."""

    def steps(
        self, ready: deque[asyncio.Handle], number: int, at: float
    ) -> Sequence[asyncio.Handle]:
        """Put the task steps among these in order; take out and return those that wait a turn.

        Other callbacks stay in their order, and no step comes before one that was ready before it:
        the callbacks of a future run before the task that waits for it goes on. ``number`` is how
        many steps the loop has run, ``at`` is its time.
        """
        least = 1 if self._policy is not None and self._policy.every_step else 2
        if self.order == "asyncio" or len(ready) < least:
            return ()
        before = len(self.taken)
        ordered: list[asyncio.Handle] = []
        steps: list[asyncio.Handle] = []
        ran = 0
        for handle in ready:
            if task_of(handle) is not None:
                steps.append(handle)
                continue
            if steps:
                ran += self._order(steps, ordered, number + ran, True, at)
            ordered.append(handle)
        if steps:
            self._order(steps, ordered, number + ran, ran > 0, at)
        if len(self.taken) > before:
            ready.clear()
            ready.extend(ordered)
        return steps

    def _order(
        self,
        steps: list[asyncio.Handle],
        ordered: list[asyncio.Handle],
        number: int,
        may_wait: bool,
        at: float,
    ) -> int:
        """Move steps that run now to ``ordered``; return how many. The rest waits."""
        ran = 0
        while steps and self.active:
            may_wait = self.order == "any" and (may_wait or ran > 0)
            options: list[asyncio.Handle | str] = [*steps, WAITING] if may_wait else [*steps]
            option = 0
            if self._policy is not None:
                option = self._policy.step(steps, number + ran + 1, may_wait)
            if len(options) > 1:
                option = self._chosen(option, at, options)
            if option == len(steps):
                return ran
            ordered.append(steps.pop(option))
            ran += 1
        ran += len(steps)
        ordered += steps
        steps.clear()
        return ran

    def timer(
        self, close: Sequence[asyncio.TimerHandle], due: bool, ready: Sequence[asyncio.Handle],
        fired: Sequence[asyncio.Handle], at: float,
    ) -> asyncio.TimerHandle | None:  # fmt: skip
        """Return which of these timers fires now, or None: what is ready goes on first.

        Args:
            close: The next timers, the earliest first; those that are due and those that are so
                soon that they could be.
            due: Whether the first of them is due.
            ready: What runs in this turn.
            fired: The timers that have fired in this turn.
            at: The time of the loop.
        """
        options: list[Option] = [*close]
        if not due:
            options.insert(0, None)
        elif (ready or fired) and self.order != "turns":
            options.append(None)
        if len(options) == 1 or not self.active:
            return options[0]  # type: ignore[return-value]
        option = 0
        if self._policy is not None:
            steps = [handle for handle in ready if task_of(handle) is not None]
            option = self._policy.event(options, steps)
        option = self._chosen(option, at, options, (*ready, *fired))
        return options[option]  # type: ignore[return-value]

    def later(self, what: str, seconds: Sequence[float], at: float) -> float | None:
        """Return in how many of these seconds something happens in a thread; None: at once."""
        option = 0 if self._policy is None else self._policy.later(len(seconds) + 1)
        times = [f"{what}, at once", *(f"{what}, {late:g} s later" for late in seconds)]
        option = self._chosen(option, at, times)
        return seconds[option - 1] if option else None

    def _chosen(
        self,
        option: int,
        at: float,
        options: Sequence[Option | str],
        ready: Sequence[asyncio.Handle] = (),
    ) -> int:
        """Count a choice, note it if it is not asyncio's, and return it."""
        if self._planned is not None:
            option = self._planned.get(self._choices, 0)
            option = option if option < len(options) else 0
        if self._choices == self._last:
            self._rest()
        self._choices += 1
        if option:
            self.taken.append(Deviation(self._choices - 1, option))
            if len(self.taken) == self._most:
                self._rest()
            if self.note is not None:  # "no timer" is noted as what runs instead
                named = [ready[0] if each is None else each for each in options]
                self.note(at, [named[option], *named[:option], *named[option + 1 :]])
        return option

    def _rest(self) -> None:
        """All choices to come are asyncio's own."""
        self.active = False


def task_of(handle: asyncio.Handle) -> "asyncio.Task[Any] | None":
    """Return the task of which a handle is the next step, or None for any other callback."""
    callback = handle._callback  # type: ignore[attr-defined]
    owner = getattr(callback, "__self__", None)
    if not isinstance(owner, asyncio.Task):
        return None
    # `call_soon(task.cancel)` is a callback like any other: steps have private names, or none.
    return None if hasattr(asyncio.Task, getattr(callback, "__name__", "")) else owner
