"""``simulate``: one run on a virtual clock in a seeded order, and its result."""

import asyncio
import traceback
from collections.abc import Callable, Coroutine, Sequence
from functools import cached_property
from typing import Any

from ..errors import add_note
from ..events import Event, Observer
from ..node.node import BaseNode
from ..observability.report import RunReport
from ..run.run import Run
from ._loop import EndlessRunError, place_of, tasks_of
from ._schedule import Order
from ._simulated import MAX_STEPS, SimulationLoop, simulating
from .capture import capturing, runs_begun

# What can be simulated: a node, or a coroutine function that takes the shared store.
Simulated = BaseNode[Any, Any] | Callable[[Any], Coroutine[Any, Any, Any]]


class Simulation:
    """The result of a simulated run.

    Attributes:
        action: The last action, as ``run`` returns it.
        shared: The shared store.
        seed: The seed that repeats the run.
        deviations: How many times the order of tasks differed from that of asyncio.
        seconds: The duration of the run by the loop's virtual clock.
        steps: The number of callbacks that the loop ran; a jump of the clock counts as one.
        left: What the run has left behind, one line each: tasks, permits, async generators.
        events: The events of the run, in order.
        error: The error of the run; always None in the result of ``simulate``.
    """

    def __init__(self, seed: int, shared: Any) -> None:
        self.seed, self.shared = seed, shared
        self.action: Any = None
        self.deviations = self.steps = 0
        self.seconds = 0.0
        self.left: list[str] = []
        self.error: BaseException | None = None
        self._log: list[tuple[str, Event] | Order] = []

    @cached_property
    def events(self) -> list[Event]:
        return [entry[1] for entry in self._log if not isinstance(entry, Order)]

    @cached_property
    def report(self) -> RunReport:
        """The run report of its events; times are the loop's."""
        report = RunReport()
        for event in self.events:
            report(event)
        return report

    @cached_property
    def trace(self) -> list[str]:
        """One line per event; the same for the same seed, in every process.

        A line has the time in seconds, the task, the event and its attributes; errors are shown by
        their class. An ``Order`` line gives the order of tasks that were ready at the same time,
        when it differed from that of asyncio.
        """
        nodes: dict[str, str] = {}
        return [_line(entry, nodes) for entry in self._log]

    def let_go(self, *others: BaseException) -> None:
        """Clear the frames of all tracebacks, and keep their lines.

        Otherwise one kept error would keep the objects of the whole run alive.
        """
        reported = (getattr(event, "error", None) for event in self.events)
        errors: list[BaseException | None] = [self.error, *others, *reported]
        known = set[int]()
        while errors:
            error = errors.pop()
            if error is None or id(error) in known:
                continue
            known.add(id(error))
            traceback.clear_frames(error.__traceback__)
            errors += [error.__cause__, error.__context__]
            if isinstance(error, BaseExceptionGroup):
                errors += error.exceptions

    def __repr__(self) -> str:
        return (
            f"<Simulation seed={self.seed} action={self.action!r} seconds={self.seconds:g} "
            f"steps={self.steps}>"
        )


def simulate(
    graph: Simulated,
    shared: Any = None,
    /,
    *,
    seed: int = 0,
    observers: Sequence[Observer] = (),
    watched: bool = True,
    deviations: int | None = None,
    max_steps: int = MAX_STEPS,
    max_seconds: float | None = None,
) -> Simulation:
    """Run a graph on a virtual clock, in an order of tasks that the seed decides.

    Waits take no real time. Tasks that are ready at the same moment run in a seeded order, and so
    do timers that are due at the same moment. Each seed gives one legal interleaving; the same seed
    gives the same run. Seed 0 is the order of asyncio itself.

    A ``def exec`` runs at once, in the thread of the loop; ``time.sleep`` in it advances the
    virtual clock. ``random`` is seeded for the run. ``time.monotonic`` and similar functions are
    not changed. There is no network: give nodes that need one a stand-in for their service.

    You may call this while an event loop runs; that loop is blocked meanwhile.

    Args:
        graph: Any node, or a coroutine function that is called with the shared store.
        shared: The shared store; a new dict by default. It is not copied.
        seed: The seed of the order, of ``random``, and of ``Faults`` without a seed.
        observers: Observers that are called with every event of the run.
        watched: Whether the run has observers at all. Without them there are no events, and nodes
            take the shorter code path of an unobserved run.
        deviations: Deviate from the order of asyncio at most this many times.
        max_steps: The maximum number of callbacks that the loop runs.
        max_seconds: The maximum duration by the virtual clock; no limit by default.

    Raises:
        Exception: Whatever the run raises, with a note that says how to repeat the run.
        DeadlockError: All tasks wait and nothing will wake them; the message says where they wait.
        EndlessRunError: ``max_steps`` or ``max_seconds`` was reached.
    """
    result = play(
        graph, {} if shared is None else shared, seed, observers, watched, deviations, max_steps,
        max_seconds,
    )  # fmt: skip
    if result.error is not None:
        add_seed(result.error, result.seed, deviations)
        raise result.error
    return result


def add_seed(error: BaseException, seed: int, deviations: int | None) -> None:
    """Add a note to an error that says how to repeat the run."""
    prefix = "" if deviations is None else f", deviations={deviations}"
    add_note(error, f"simulate(…, seed={seed}{prefix}) repeats this run")


def play(
    work: Simulated,
    shared: Any,
    seed: int,
    observers: Sequence[Observer] = (),
    watched: bool = True,
    deviations: int | None = None,
    max_steps: int = MAX_STEPS,
    max_seconds: float | None = None,
    prepare: "Callable[[SimulationLoop, asyncio.Task[Any]], None] | None" = None,
) -> Simulation:
    """Simulate a run and keep its error. ``prepare`` is called before the first step."""
    if isinstance(work, type) or not (isinstance(work, BaseNode) or callable(work)):
        hint = f" Did you mean {work.__name__}()?" if isinstance(work, type) else ""
        raise TypeError(
            "what is simulated is a node, a graph or an 'async def' that takes the shared store, "
            f"got {work!r}.{hint}"
        )
    result = Simulation(seed, shared)
    recorder = Recorder(result._log)
    loop = SimulationLoop(seed, deviations, max_steps, max_seconds, recorder.choose)
    with simulating(loop), runs_begun() as runs:
        try:
            seen = (recorder, *observers) if watched else ()
            task = loop.create_task(begun(work, shared, seen))
            if prepare is not None:
                prepare(loop, task)
            try:
                result.action = loop.run_until_complete(task)
            except (Exception, asyncio.CancelledError, BaseExceptionGroup) as error:
                result.error = error
            result.seconds, result.steps = loop.time(), loop.steps
            result.deviations = loop.schedule.deviations
            if not isinstance(result.error, EndlessRunError) and task.done():
                result.left = left_on(loop, runs)
        finally:
            loop.finish()
    return result


async def begun(work: Simulated, shared: Any, observers: Sequence[Observer]) -> Any:
    """Run a node or a coroutine function; the observers watch all runs that it begins."""
    if isinstance(work, BaseNode):
        return await work.run_async(shared, observers=observers)
    with capturing(*observers):
        return await work(shared)


def left_on(loop: SimulationLoop, runs: Sequence[Run]) -> list[str]:
    """Return what should have ended with the run, one line each."""
    return [
        *(f"a task: {place_of(task)}" for task in tasks_of(loop)),
        *("a call in a thread" for call in loop.threads.running if not call.done()),
        *(f"an async generator that is not closed: {name}" for name in loop.open_generators()),
        *(f"an async generator that nobody closed: {name}" for name in loop.abandoned),
        *(f"a complaint of the loop: {complaint}" for complaint in loop.complaints),
        *(f"permits of {leak}" for run in runs for leak in run.leaks()),
    ]


class Recorder:
    """Records events and scheduling choices in order."""

    def __init__(self, log: list[tuple[str, Event] | Order]) -> None:
        self._log = log

    def __call__(self, event: Event, /) -> None:
        task = asyncio.current_task()
        self._log.append(("" if task is None else task.get_name(), event))

    def choose(self, order: Order) -> None:
        self._log.append(order)


def _line(entry: tuple[str, Event] | Order, nodes: dict[str, str]) -> str:
    """Return an entry of the trace as text; ``nodes`` maps a task to the last node it was at."""
    if isinstance(entry, Order):
        names = (f"{name} ({nodes[name]})" if name in nodes else name for name in entry.names)
        return f"{round(entry.at, 6)} Order {', '.join(names)}"
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
