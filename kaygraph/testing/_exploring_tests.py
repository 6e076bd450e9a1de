"""Async tests of pytest under many schedules, with their fixtures, unchanged."""

import asyncio
import inspect
import unittest
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from ..errors import add_note
from ._accesses import UnorderedAccessError
from ._exploring_cases import run_case
from ._loop import SimulationError
from ._schedule import Deviation
from ._shortening import Shortening
from ._simulated import JITTER_S, SimulationLoop, active, simulating
from ._step_by_step import schedule_of
from ._tracing import Tracer
from .exploration import LINES_SHOWN, SHORTER_RUNS, seeds_of
from .network.settings import Network, using_network
from .simulation import Simulation, left_on

MAX_STEPS = 100_000


class LeftoversError(AssertionError):
    """A test has ended and left tasks or async generators behind."""


# Errors that no line of the test has raised.
_WITHOUT_A_LINE = (SimulationError, LeftoversError, UnorderedAccessError)


@dataclass(frozen=True)
class Settings:
    """What ``@pytest.mark.explore(…)`` takes: the arguments of ``explore`` that a test can have."""

    seeds: int | Iterable[int]
    order: str = "any"
    leftovers: bool = True
    jitter: float = JITTER_S
    max_steps: int = MAX_STEPS
    max_seconds: float | None = None
    network: Network | None = None


@dataclass(frozen=True)
class Found:
    """A seed that breaks a test."""

    seed: int
    schedule: tuple[Deviation, ...]
    error: BaseException
    trace: list[str]
    swaps: list[str]


def explores(item: pytest.Item) -> bool:
    """Return whether a test is a coroutine function that asyncio runs."""
    if not isinstance(item, pytest.Function) or not inspect.iscoroutinefunction(item.obj):
        return False
    if item.cls is not None and issubclass(item.cls, unittest.TestCase):
        return issubclass(item.cls, unittest.IsolatedAsyncioTestCase)
    callspec = getattr(item, "callspec", None)
    return _is_asyncio("asyncio" if callspec is None else callspec.params.get("anyio_backend"))


def _is_asyncio(backend: Any) -> bool:
    """Return whether a value of anyio's fixture ``anyio_backend`` names asyncio."""
    name = backend[0] if isinstance(backend, tuple) else backend
    return name in (None, "asyncio")


class ExploredTest:
    """Runs a test under many seeds, each with new fixtures, on the loop of the simulation.

    Async fixtures run on that loop too, whatever their scope: none outlives its seed. Other
    fixtures are pytest's own; those of the scope of a function are new for each seed.
    """

    def __init__(self, item: Any, settings: Settings, command: str) -> None:
        self._item, self._settings, self._command = item, settings, command
        self._runner: Runner | None = None
        self._fixtures = [
            fixture
            for fixtures in item._fixtureinfo.name2fixturedefs.values()
            for fixture in fixtures
            if _is_async(fixture.func)
        ]

    def run(self) -> None:
        """Run the seeds; raise the error of the one that is the easiest to understand.

        It has notes that say how many seeds break the test and what repeats it, and the report of
        the test has a section with the schedule.
        """
        __tracebackhide__ = True
        listed = seeds_of(self._settings.seeds)
        with simulating(), self._on_our_loop():
            failures = []
            for seed in listed:
                found = self._attempt(seed)
                if found is not None:
                    failures.append((len(found.schedule), found.seed))
                    if not found.schedule:
                        break  # asyncio's own order: no other need be tried
            if not failures:
                return
            found = self._shortened(min(failures)[1])
        assert found is not None
        self._report(found, len(failures), len(listed))
        if isinstance(found.error, _WITHOUT_A_LINE):
            said = (f"{type(found.error).__name__}: {found.error}", *found.error.__notes__)
            raise pytest.fail.Exception("\n".join(said), pytrace=False)
        raise found.error

    def _report(self, found: Found, failures: int, seeds: int) -> None:
        again = f"{self._command} --explore-seed {found.seed}"
        if found.schedule:
            count = f"{failures} of {seeds} seeds break it"
            add_note(found.error, f"{count}; to repeat the shortest: {again}")
        else:
            count = "it fails in asyncio's own order"
            add_note(found.error, f"{count}, on the virtual clock; to repeat it: {again}")
        lines = [count, *found.swaps]
        if found.trace:
            lines.append("the steps of its tasks:")
        if len(found.trace) > LINES_SHOWN:
            lines.append(f"… {len(found.trace) - LINES_SHOWN} lines before")
        lines += found.trace[-LINES_SHOWN:]
        self._item.add_report_section("call", "explore", "\n".join([*lines, again]))

    # --- one seed ---------------------------------------------------------------------------------

    def _shortened(self, seed: int) -> Found | None:
        first = self._attempt(seed)
        if first is None or not first.schedule:
            return self._attempt(seed, traced=True) or first

        def fails(schedule: Sequence[Deviation]) -> bool:
            found = self._attempt(seed, schedule)
            return found is not None and type(found.error) is type(first.error)

        fewer = Shortening(fails, SHORTER_RUNS).of(first.schedule)
        return self._attempt(seed, fewer, traced=True) or first

    def _attempt(
        self, seed: int, planned: Iterable[tuple[int, int]] | None = None, traced: bool = False
    ) -> Found | None:
        settings = self._settings
        run = Simulation(seed, None)
        schedule = schedule_of(seed, planned=planned, order=settings.order)
        tracer = Tracer(run.log, swaps=traced, steps=traced)
        loop = SimulationLoop(
            seed, schedule, settings.max_steps, settings.max_seconds, settings.jitter
        )
        if traced:
            schedule.note, loop.stepped = tracer.deviated, tracer.step
        error: BaseException | None = None
        with active(loop), using_network(settings.network):
            self._runner = Runner(loop)
            try:
                error = self._test(self._runner)
                if error is None and not settings.leftovers:
                    self._runner.end()
                    if left := left_on(loop, ()):
                        error = LeftoversError("\n".join(["the test has left behind", *left]))
                error = loop.with_unordered(error)
            finally:
                self._runner.end()
                loop.finish()
                self._runner = None
        if error is None:
            return None
        taken = tuple(schedule.taken)
        return Found(seed, taken, error, run.trace if traced else [], list(map(str, tracer.swaps)))

    def _test(self, runner: "Runner") -> BaseException | None:
        """Set the fixtures up, run the test and tear them down; return the first error."""
        item = self._item
        if item.cls is not None:
            for name in ("_instance", "_obj"):  # a new object for each seed
                vars(item).pop(name, None)
        item._initrequest()
        stash = dict(item.stash._storage)  # fixtures take out what belongs to the whole test
        error: BaseException | None = None
        try:
            item._request._fillfixtures()
            if not _is_asyncio(item.funcargs.get("anyio_backend")):
                pytest.skip("explore runs tests on asyncio, and this one is for another backend")
            arguments = {name: item.funcargs[name] for name in item._fixtureinfo.argnames}
            if isinstance(item.instance, unittest.IsolatedAsyncioTestCase):
                run_case(item.instance, runner)
            else:
                runner.run(item.obj(**arguments))
        except (pytest.skip.Exception, pytest.exit.Exception, KeyboardInterrupt, SystemExit):
            with suppress(Exception):
                self._tear_down()
            raise
        except BaseException as raised:
            error = raised
        try:
            self._tear_down()
        except (Exception, pytest.fail.Exception) as raised:
            error = error or raised
        item.stash._storage.update(stash)
        return error

    def _tear_down(self) -> None:
        item = self._item
        finalizers, _ = item.session._setupstate.stack[item]
        errors: list[BaseException] = []
        calls: list[Callable[[], object]] = []
        while len(finalizers) > 1:  # the first is that of the test itself, which pytest calls
            calls.append(finalizers.pop())
        for fixture in self._fixtures:  # those of a wider scope end with the loop that they are on
            calls.append(partial(fixture.finish, item._request))
        for call in calls:
            try:
                call()
            except (Exception, pytest.fail.Exception, asyncio.CancelledError) as error:
                errors.append(error)
        if errors:
            raise errors[0]

    # --- fixtures ---------------------------------------------------------------------------------

    @contextmanager
    def _on_our_loop(self) -> Iterator[None]:
        """Have the async fixtures of the test run on the loop of the simulation."""
        functions = [(fixture, fixture.func) for fixture in self._fixtures]
        for fixture, function in functions:
            fixture.func = self._synchronous(function)
        try:
            yield
        finally:
            for fixture, function in functions:
                fixture.func = function

    def _synchronous(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def bound() -> Callable[..., Any]:
            instance = self._item.instance
            if inspect.ismethod(function) and isinstance(instance, type(function.__self__)):
                return function.__func__.__get__(instance)  # type: ignore[no-any-return]
            return function

        def run(work: Coroutine[Any, Any, Any]) -> Any:
            assert self._runner is not None
            return self._runner.run(work)

        def value(**arguments: Any) -> Any:
            return run(bound()(**arguments))

        def generator(**arguments: Any) -> Iterator[Any]:
            values = bound()(**arguments)
            yield run(_next(values, None))
            if run(_next(values, values)) is not values:
                run(values.aclose())
                pytest.fail(f"the fixture {function.__name__} yields more than one value")

        return generator if inspect.isasyncgenfunction(function) else value


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


async def _next(values: Any, default: Any) -> Any:
    return await anext(values, default)


class Runner:
    """Runs coroutines one after another in one task: a cancel scope may be open in between."""

    def __init__(self, loop: SimulationLoop) -> None:
        self._loop = loop
        self._task: asyncio.Task[None] | None = None
        self._next: asyncio.Future[Any]

    def run(self, work: Coroutine[Any, Any, Any], context: Context | None = None) -> Any:
        """Run a coroutine to its end; return its result, or raise its error.

        ``context`` is that of the task, which the first coroutine begins.
        """
        ended = self._loop.create_future()
        if self._task is None or self._task.done():
            self._next = self._loop.create_future()
            self._task = self._loop.create_task(self._serve(), context=context)
        self._next.set_result((work, ended))
        try:
            error, result = self._loop.run_until_complete(ended)
        except SimulationError:
            self._task = None  # it will never go on: what is torn down needs another one
            raise
        if error is not None:
            raise error
        return result

    async def _serve(self) -> None:
        while True:
            work, ended = await self._next
            self._next = self._loop.create_future()
            if work is None:
                return
            try:
                ended.set_result((None, await work))
            except BaseException as error:
                ended.set_result((error, None))

    def end(self) -> None:
        """End the task."""
        if self._task is not None and not self._task.done():
            self._next.set_result((None, None))
            with suppress(SimulationError):
                self._loop.run_until_complete(self._task)
        self._task = None
