"""``simulate``: one run on a virtual clock in a seeded order, and its result."""

import asyncio
import inspect
import traceback
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import cached_property, partial
from typing import Any

from ..errors import add_note
from ..events import Event, Observer
from ..node.node import BaseNode
from ..observability.report import RunReport
from ..run.run import Run
from ._loop import EndlessRunError
from ._places import place_of, tasks_of
from ._schedule import Deviation, Schedule
from ._simulated import JITTER_S, MAX_STEPS, SimulationLoop, active, simulating
from ._step_by_step import schedule_of
from ._tracing import Entry, Order, Step, Tracer, line_of
from .capture import capturing, runs_begun
from .network.settings import Network, using_network

# What can be simulated: a node, or a coroutine function that takes the shared store, or nothing.
Simulated = (
    BaseNode[Any, Any]
    | Callable[[Any], Coroutine[Any, Any, Any]]
    | Callable[[], Coroutine[Any, Any, Any]]
)


class Simulation:
    """The result of a simulated run.

    Attributes:
        action: The last action, as ``run`` returns it; what a coroutine function returned.
        shared: The shared store.
        seed: The seed that repeats the run.
        deviations: How many times the order of tasks differed from that of asyncio.
        schedule: These deviations, as ``simulate(…, schedule=…)`` takes them.
        seconds: The duration of the run by the loop's virtual clock.
        steps: The number of callbacks that the loop ran; a jump of the clock counts as one.
        left: What the run has left behind, one line each: tasks, permits, async generators, errors
            that nobody has asked for, coroutines that were never awaited, cancellations that a task
            has swallowed.
        warnings: What may fail another time: locks that were taken in opposite orders by tasks that
            ran at the same time.
        events: The events of the run, in order.
        error: The error of the run; always None in the result of ``simulate``.
    """

    def __init__(self, seed: int, shared: Any) -> None:
        self.seed, self.shared = seed, shared
        self.action: Any = None
        self.steps = 0
        self.schedule: tuple[Deviation, ...] = ()
        self.seconds = 0.0
        self.left: list[str] = []
        self.warnings: list[str] = []
        self.error: BaseException | None = None
        self.log: list[Entry] = []  # what a Tracer records

    @property
    def deviations(self) -> int:
        return len(self.schedule)

    @cached_property
    def events(self) -> list[Event]:
        return [entry[1] for entry in self.log if not isinstance(entry, Order | Step)]

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
        return [line_of(entry, nodes) for entry in self.log]

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
    schedule: Iterable[tuple[int, int]] | None = None,
    order: str = "any",
    jitter: float = JITTER_S,
    max_steps: int = MAX_STEPS,
    max_seconds: float | None = None,
    network: Network | None = None,
) -> Simulation:
    """Run a coroutine function or a graph on a virtual clock, in an order that the seed decides.

    Waits take no real time. Tasks that are ready at the same time run in a seeded order. Timers
    that are due at about the same time fire in either order, before or between the steps of tasks
    that are ready. Each seed gives one legal interleaving; the same seed gives the same run. Seed 0
    is the order of asyncio itself.

    A call in a thread (``asyncio.to_thread``, ``run_in_executor``, ``anyio.to_thread``) is one
    step, in the thread of the loop; the seed decides when. A ``def exec`` runs at once.
    ``time.sleep`` in them advances the virtual clock, which ``time.monotonic``, ``time.time`` and
    similar functions follow, unless they were imported by name. ``random`` is seeded for the run.

    Connections stay in memory: asyncio's streams, transports and servers, and what builds on them,
    such as aiohttp, run unchanged. TLS, files, child processes and sockets that block do not.

    You may call this while an event loop runs; that loop is blocked meanwhile.

    Args:
        graph: A coroutine function, which is called with the shared store if it takes an argument;
            or any node.
        shared: The shared store; a new dict by default. It is not copied.
        seed: The seed of the order, of ``random``, and of ``Faults`` without a seed.
        observers: Observers that are called with every event of the run.
        watched: Whether the run has observers at all. Without them there are no events.
        deviations: Deviate from the order of asyncio at most this many times.
        schedule: Deviate from the order of asyncio where these say, and not where the seed does:
            ``Simulation.schedule`` or ``Failure.schedule``.
        order: "any": tasks that are ready run in any order, and some wait while others take several
            steps. "turns": none waits. "steps": each step, callback and timer is chosen when it
            comes. "asyncio": in the order of asyncio's loop; timers and threads alone differ.
        jitter: How close to each other timers are due, in seconds, that fire in either order.
        max_steps: The most callbacks that the loop runs.
        max_seconds: The maximum duration by the virtual clock; no limit by default.
        network: How fast and how reliable connections are; ``Network()`` by default.

    Raises:
        Exception: What the run raises, with a note that says how to repeat it.
        DeadlockError: All tasks wait and nothing will wake them; the message says where they wait.
        EndlessRunError: ``max_steps`` or ``max_seconds`` was reached.
    """
    with using_network(network):
        result = play(
            graph, {} if shared is None else shared, seed, observers, watched,
            schedule_of(seed, deviations, schedule, order), max_steps, max_seconds, jitter=jitter,
        )  # fmt: skip
    if result.error is not None:
        add_seed(result.error, seed, deviations, schedule and result.schedule, order)
        raise result.error
    return result


def add_seed(
    error: BaseException,
    seed: int,
    deviations: int | None = None,
    schedule: Iterable[tuple[int, int]] | None = None,
    order: str = "any",
) -> None:
    """Add a note to an error that says how to repeat the run."""
    rest = "" if order != "steps" else ", order='steps'"
    rest += "" if deviations is None else f", deviations={deviations}"
    if schedule is not None:
        rest += f", schedule={[(choice, option) for choice, option in schedule]}"
    add_note(error, f"simulate(…, seed={seed}{rest}) repeats this run")


def play(
    work: Simulated,
    shared: Any,
    seed: int,
    observers: Sequence[Observer] = (),
    watched: bool = True,
    schedule: Schedule | None = None,
    max_steps: int = MAX_STEPS,
    max_seconds: float | None = None,
    prepare: "Callable[[SimulationLoop, asyncio.Task[Any]], None] | None" = None,
    jitter: float = JITTER_S,
) -> Simulation:
    """Simulate a run and keep its error. ``prepare`` is called before the first step."""
    with simulating():
        result = Simulation(seed, shared)
        tracer = Tracer(result.log, steps=not isinstance(work, BaseNode))
        schedule = Schedule(seed) if schedule is None else schedule
        schedule.note = tracer.deviated
        begin = partial(beginner_of(work), observers=(tracer, *observers) if watched else ())
        return played(begin, result, schedule, max_steps, max_seconds, prepare, jitter, tracer)


def played(
    begin: Callable[[Any], Coroutine[Any, Any, Any]],
    result: Simulation,
    schedule: Schedule,
    max_steps: int = MAX_STEPS,
    max_seconds: float | None = None,
    prepare: "Callable[[SimulationLoop, asyncio.Task[Any]], None] | None" = None,
    jitter: float = JITTER_S,
    tracer: Tracer | None = None,
) -> Simulation:
    """Simulate a coroutine within ``simulating()``, and note what came of it in ``result``."""
    loop = SimulationLoop(result.seed, schedule, max_steps, max_seconds, jitter)
    if tracer is not None and tracer.notes_steps:
        loop.stepped = tracer.step
    with active(loop), runs_begun() as runs:
        try:
            task = loop.create_task(begin(result.shared))
            if prepare is not None:
                prepare(loop, task)
            try:
                result.action = loop.run_until_complete(task)
            except (Exception, asyncio.CancelledError, BaseExceptionGroup) as error:
                result.error = error
            schedule.end()
            result.error = loop.with_unordered(result.error)
            result.seconds, result.steps = loop.time(), loop.steps
            result.schedule = tuple(schedule.taken)
            result.warnings = loop.warnings()
            if not isinstance(result.error, EndlessRunError) and task.done():
                result.left = left_on(loop, runs)
        finally:
            loop.finish()
    return result


def beginner_of(work: Simulated) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Return what begins a node or a coroutine function; ``observers`` watch all runs in it."""
    if isinstance(work, type) or not (isinstance(work, BaseNode) or callable(work)):
        hint = f" Did you mean {work.__name__}()?" if isinstance(work, type) else ""
        if inspect.iscoroutine(work):
            work.close()
            hint = f" Pass {work.__name__} itself, without calling it"
        raise TypeError(
            "what is simulated is a node, a graph or an 'async def' that takes the shared store "
            f"or nothing, got {work!r}.{hint}"
        )
    function: Any = work
    with_store = takes_store(work)

    async def begin(shared: Any, observers: Sequence[Observer]) -> Any:
        if isinstance(work, BaseNode):
            return await work.run_async(shared, observers=observers)
        with capturing(*observers):
            return await (function(shared) if with_store else function())

    return begin


def takes_store(work: Any) -> bool:
    """Return whether what is simulated is a node, or a function that takes an argument."""
    if isinstance(work, BaseNode):
        return True
    try:
        inspect.signature(work).bind(None)
    except TypeError:
        return False
    except ValueError:  # it has none to show
        pass
    return True


def left_on(loop: SimulationLoop, runs: Sequence[Run]) -> list[str]:
    """Return what should have ended with the run, one line each."""
    return [
        *(f"a task: {place_of(task)}" for task in tasks_of(loop)),
        *("a call in a thread" for call in loop.threads.running if not call.done()),
        *(f"an async generator that is not closed: {name}" for name in loop.open_generators()),
        *(f"an async generator that nobody closed: {name}" for name in loop.abandoned),
        *(f"a complaint of the loop: {complaint}" for complaint in loop.complaints),
        *(f"an error that nobody has asked for: {line}" for line in loop.unretrieved()),
        *(f"a coroutine that was never awaited: {name}" for name in loop.unawaited),
        *loop.swallowed(),
        *(f"permits of {leak}" for run in runs for leak in run.leaks()),
    ]
