"""How a run begins and ends."""

import asyncio
import signal
import sys
import warnings
from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Generator,
    Mapping,
    Sequence,
)
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar, TypeVar
from weakref import ref

from .._validation import check_limit
from ..aio.stopped import tell
from ..aio.tasks import CALLER, Caller, current_task, outlast, raise_if_awaited
from ..aio.timeouts import within
from ..aio.tracebacks import trim
from ..errors import DeadlineExceededError, RunInterrupted, note_place
from ..events import Observer, RunFinished, RunStarted
from .frame import FRAME, Frame
from .run import Run

T = TypeVar("T")

# How long what is in flight may take to end after the first SIGINT or SIGTERM, by default.
GRACE_S = 10.0


class Runnable:
    """How a node is run: from synchronous code, on a loop, or as something to hold on to."""

    name: str
    _successors: Mapping[str, Any]
    run_within: Callable[[Any, Frame], Coroutine[Any, Any, str | None]]
    _interrupts_at_once: ClassVar[bool] = False  # Ctrl-C, in a hook that holds the main thread

    def run(
        self,
        shared: Any = None,
        /,
        *,
        observers: Sequence[Observer] = (),
        deadline: float | None = None,
        grace: float | None = GRACE_S,
    ) -> str | None:
        """Run from synchronous code and return the last action.

        If an event loop runs in this thread already, it is blocked while the run takes place in a
        thread with a loop of its own. Outside of notebooks this gives a RuntimeWarning: use
        ``run_async`` there.

        In the main thread, the first SIGINT or SIGTERM drains the run: no more items are taken, no
        more nodes begin, what is in flight comes to its end and is handed to ``post``. A line on
        standard error says so. The second ends the process within a second. A hook that holds the
        main thread then (in ``input()``, say) gets a KeyboardInterrupt when ``grace`` is over, or
        with the second signal. Where somebody else has set a handler, nothing of this happens.

        An error shows the caller and the hook that failed, without the frames of the engine in
        between; the environment variable ``KAYGRAPH_TRACEBACK=full`` keeps them.

        Args:
            shared: The shared store; a new dict when left out.
            observers: Called with every event of the run.
            deadline: Seconds that the run may take, all included.
            grace: Seconds that what is in flight has after the first signal, before it is
                cancelled; None: as long as it takes.

        Raises:
            RunInterrupted: The run has ended early because of a signal. In a prompt or a notebook
                it is a KeyboardInterrupt, which does not end the interpreter.
            DeadlineExceededError: It was cancelled because ``deadline`` ran out.
        """
        __tracebackhide__ = True  # read by IPython and pytest
        run = Run()
        run.inline = True
        grace = check_limit("grace", grace)
        launch = self._launch(self.run_within, shared, observers, deadline, run)
        try:
            return run_in_new_loop(launch, run, grace, self._interrupts_at_once)
        except BaseException as error:
            trim(error)
            raise

    def run_async(
        self,
        shared: Any = None,
        /,
        *,
        observers: Sequence[Observer] = (),
        deadline: float | None = None,
    ) -> Coroutine[Any, Any, str | None]:
        """Run on the current event loop and return the last action; see ``run``.

        When it returns, raises or is cancelled, nothing that it started is left behind.
        """
        return self._launch(self.run_within, shared, observers, deadline, Run())()

    def launch(
        self,
        shared: Any = None,
        /,
        *,
        observers: Sequence[Observer] = (),
        deadline: float | None = None,
    ) -> "RunTask":
        """Begin a run on the current event loop, in a task of its own, and return it."""
        run = Run()
        return RunTask(run, self._launch(self.run_within, shared, observers, deadline, run))

    def _launch(
        self,
        work: Callable[[Any, Frame], Coroutine[Any, Any, T]],
        shared: Any,
        observers: Sequence[Observer],
        deadline: float | None,
        run: Run,
    ) -> Callable[[], Coroutine[Any, Any, T]]:
        """Check what is asked of a run, and return what begins it."""
        if self._successors:
            warnings.warn(
                f"{self!r} runs alone; to run what follows it too, put it in a Graph",
                stacklevel=3,
            )
        if observers or run.ambient:
            several = isinstance(observers, Collection) and not callable(observers)
            if not several or not all(map(callable, observers)):
                raise TypeError(
                    "observers is a list of what can be called with an event, as in "
                    f"run(shared, observers=[report]); got {observers!r}"
                )
            run.observe(observers)
        shared = {} if shared is None else shared
        if deadline is not None:
            work = _in_time(work, check_limit("deadline", deadline), self.name)
        return partial(launched, self.name, Frame(run), work, shared)


def _in_time(
    work: Callable[[Any, Frame], Coroutine[Any, Any, T]], deadline: float | None, name: str
) -> Callable[[Any, Frame], Coroutine[Any, Any, T]]:
    def in_time(shared: Any, frame: Frame) -> Coroutine[Any, Any, T]:
        assert deadline is not None
        return within(deadline, "deadline", f"the run of {name!r}", work(shared, frame))

    return in_time


class RunTask:
    """A run under way. Awaiting it gives the last action, or raises what the run raised."""

    def __init__(self, run: Run, launch: Callable[[], Coroutine[Any, Any, str | None]]) -> None:
        self._run = run
        self._grace: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._task = asyncio.get_running_loop().create_task(self._ended(launch))
        self._task.add_done_callback(self._over)

    def __await__(self) -> Generator[Any, None, str | None]:
        return self._waited_for().__await__()

    def done(self) -> bool:
        """Whether the run is over."""
        return self._task.done()

    def cancel(self) -> None:
        """End the run now; whoever awaits it gets a CancelledError when all is cleaned up."""
        self._run.expired = False  # it is not for a grace that was over that it ends
        self._task.cancel()

    def drain(self, grace: float | None = None) -> None:
        """Take no more items and begin no more nodes; what is in flight comes to its end.

        What is done then is handed to ``post``, and the run returns. A round of a BatchGraph and
        the branches of a group are in flight as a whole.

        Args:
            grace: Seconds after which what is still in flight is cancelled. Batches and pipelines
                hand over what was done until then; where something else was in flight, the run
                raises a DeadlineExceededError. None: as long as it takes.
        """
        grace = check_limit("grace", grace)
        self._run.drain()
        if self._run.expired or self.done():
            return
        self._grace = grace
        if self._timer is not None:
            self._timer.cancel()
        if grace is not None:
            self._timer = asyncio.get_running_loop().call_later(grace, self._expire)

    @property
    def draining(self) -> bool:
        """Whether ``drain`` was called."""
        return self._run.draining

    async def _waited_for(self) -> str | None:
        """Wait for the run; a cancellation of whoever waits is passed on to it, and once."""
        cancellation: asyncio.CancelledError | None = None
        try:
            await asyncio.wait([self._task])
        except asyncio.CancelledError as error:
            cancellation = error
            self._task.cancel(*error.args)
            with suppress(asyncio.CancelledError):
                await outlast([self._task])
        try:
            return self._task.result()
        except asyncio.CancelledError as ended:
            if cancellation is None:
                raise
            raise cancellation from ended.__cause__  # a scope around takes no other than its own
        finally:
            # Its task holds an error that holds this frame: no cycle may stay.
            del self, cancellation

    def _expire(self) -> None:
        self._run.expire(self._task)

    def _over(self, _: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()

    async def _ended(self, launch: Callable[[], Coroutine[Any, Any, str | None]]) -> str | None:
        try:
            return await launch()
        except asyncio.CancelledError as error:
            if not self._run.expired:
                raise
            late = DeadlineExceededError(
                f"what was in flight was not done within grace={self._grace:g} s, and was cancelled"
            )
            try:
                raise late from tell(late, error)
            finally:
                del late  # it holds this frame: no cycle may keep them alive
        finally:
            del self


async def launched(
    name: str, frame: Frame, work: Callable[[Any, Frame], Awaitable[T]], shared: Any
) -> T:
    """Do the work of a run of its own, and close whatever the run has opened."""
    run, error, action = frame.run, None, None
    task = current_task()
    caller = None
    if task is not None and (task.cancelling() or CALLER.get(None) is not None):
        caller = CALLER.set(Caller(ref(task), task.cancelling()))
    reset = FRAME.set(frame)
    started = 0.0
    if run.emit is not None:
        started = asyncio.get_running_loop().time()
        run.emit(RunStarted(name, started))
    try:
        try:
            result = await work(shared, frame)
        except asyncio.CancelledError as cancellation:  # of the hooks of a batch that is streamed
            raise_if_awaited(cancellation)
            raise
        action = result if isinstance(result, str) else None
        return result
    except BaseException as failure:
        error = failure
        if not isinstance(failure, asyncio.CancelledError):
            note_place(failure, repr(name))
        trim(failure)
        raise
    finally:
        try:
            if run.opened:
                await run.close(error)
        except BaseException as failure:
            error = error or failure
            trim(failure)
            raise
        finally:
            try:
                if run.emit is not None:
                    now = asyncio.get_running_loop().time()
                    run.emit(RunFinished(name, now, now - started, action, error))
            finally:
                FRAME.reset(reset)
                if caller is not None:
                    CALLER.reset(caller)
            # An error holds this frame, and all that this frame holds.
            del error, task, run, frame, work, shared


def _in_a_notebook() -> bool:
    """Whether IPython runs what is typed: its loop has nothing else to do meanwhile."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None


def run_in_new_loop(
    launch: Callable[[], Coroutine[Any, Any, T]], run: Run, grace: float | None, at_once: bool
) -> T:
    """Run to the end in this thread, or in another where a loop runs here already."""
    # Only here are there signals to hear: what hears them is loaded here.
    if sys.modules["asyncio.events"]._get_running_loop() is None:
        try:
            from .signals import Signals

            signals = Signals(run, grace, at_once)
        except KeyboardInterrupt:  # it has come meanwhile
            raise RunInterrupted(signal.SIGINT, drained=True) from None
        return signals.run(launch())
    notebook = _in_a_notebook()
    if not notebook:
        warnings.warn(
            "run() blocks the event loop of this thread until the run has ended: write "
            "'await graph.run_async(shared)'",
            RuntimeWarning,
            stacklevel=3,
        )
    from .beside import RunBeside

    beside: RunBeside[T] = RunBeside(run, grace, notebook)
    return beside.result(launch)
