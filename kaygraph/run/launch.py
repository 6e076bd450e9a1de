"""How a run starts and ends."""

import asyncio
import sys
import warnings
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from math import inf
from threading import get_ident
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict, TypeVar

from .._validation import check_limit
from ..aio.cancelling import ARE_LEFT_BEHIND, CALLER, note_caller
from ..aio.tasks import current_task, in_own_task, outlast, raise_if_awaited
from ..aio.timeouts import within
from ..aio.tracebacks import trim
from ..errors import note_place
from ..events import Observer, RunFinished, RunStarted
from .by_hand import run_by_hand
from .changed import note_changed_hook
from .frame import FRAME, Frame
from .joining import VIEW, Joining, frame_around
from .new_loop import run_in_new_loop
from .observers import OBSERVING, check_observers
from .place import PLACE
from .recorder import RunsRecorded
from .run import TURN_S, Run
from .runner import LoopFactory, check_loop_factory
from .tap import Tap
from .task import RunTask
from .watcher import Watcher, watcher_of

if TYPE_CHECKING:
    from .in_cell import InCell

T = TypeVar("T")

# How long the work in flight may take after the first SIGINT or SIGTERM, by default.
GRACE_S = 10.0

# So many nested graphs and runs share one stack: Python has room for a thousand calls,
# of which each takes up to fifteen.
STACKED = 24


class RunSettings(TypedDict, total=False):
    """The options of a run, other than its store and its observers."""

    deadline: float | None
    detached: bool
    journal: RunsRecorded | None
    watch: Watcher | int


class Runnable:
    """How a node is run: from synchronous code, on a loop, or in the background."""

    name: str
    _successors: Mapping[str, Any]
    run_within: Callable[[Any, Frame], Coroutine[Any, Any, str | None]]
    note_hooks_again: Callable[[], list[str]]
    _interrupts_at_once: ClassVar[bool] = False  # Ctrl-C, in a hook that blocks the main thread

    def run(
        self,
        shared: Any = None,
        /,
        *,
        observers: Sequence[Observer] = (),
        deadline: float | None = None,
        grace: float | None = GRACE_S,
        detached: bool = False,
        journal: RunsRecorded | None = None,
        watch: Watcher | int = False,
        loop_factory: LoopFactory | None = None,
    ) -> str | None:
        """Run from synchronous code and return the last action.

        If an event loop already runs in this thread, it is blocked while the run takes place in a
        second thread with its own loop. Outside of notebooks this gives a RuntimeWarning: use
        ``run_async`` there.

        In the main thread, the first SIGINT or SIGTERM drains the run: it takes no more items and
        starts no more nodes; the work in flight runs to its end and is handed to ``post``. A line
        on standard error says so. The second signal ends the process within a second. A hook that
        blocks the main thread then (in ``input()``, for example) gets a KeyboardInterrupt when
        ``grace`` expires, or with the second signal. None of this happens if the program has set
        its own handler.

        In a notebook, a run without observers that takes longer than two seconds shows its
        progress in its cell, unless the environment variable ``KAYGRAPH_PROGRESS`` is ``off``.

        An error shows the caller and the hook that failed, without the frames of the engine in
        between; the environment variable ``KAYGRAPH_TRACEBACK=full`` keeps them.

        Args:
            shared: The shared store; a new dict when left out.
            observers: Called with every event of the run.
            deadline: Seconds that the whole run may take.
            grace: Seconds for the work in flight after the first signal, before it is
                cancelled; None: as long as it takes.
            detached: If a hook of another run calls it: whether to run independently of that run.
            journal: Records the run, so that it can be resumed: see docs/how-to/durable-runs.md.
            watch: Shows the run in the browser while it goes on: True, a port, or a Watch.
            loop_factory: Makes the event loop, which is closed when the run has ended:
                for example ``uvloop.new_event_loop``. By default it is asyncio's, and is kept for
                the next run of this thread, unless the run left something behind on it.

        Raises:
            RunInterrupted: A signal ended the run early. In a prompt or a notebook
                it is a KeyboardInterrupt, which does not end the interpreter.
            DeadlineExceededError: ``deadline`` expired and the run was cancelled.
        """
        __tracebackhide__ = True  # read by IPython and pytest
        run = Run()
        run.inline = True
        work = self.run_within
        try:
            grace = check_limit("grace", grace)
            check_loop_factory(loop_factory)
            in_cell = _shown_in_cell(observers, watch) if "IPython" in sys.modules else None
            observers = observers if in_cell is None else (in_cell,)
            asked = self._asked(work, shared, observers, deadline, run, detached, journal, watch)
            how = grace, self._interrupts_at_once, loop_factory, in_cell
            return run_in_new_loop(partial(launched, *asked), run, *how)
        except BaseException as error:
            trim(error, run.trimmed)
            raise

    def _run_by_hand(self, shared: Any) -> str | None:
        """Like ``run`` without options, but without a loop until something waits."""
        __tracebackhide__ = True  # read by IPython and pytest
        run = Run()
        run.inline = True
        asked = self._asked(self.run_within, shared, (), None, run, False, None)
        try:
            return run_by_hand(partial(launched, *asked), run, GRACE_S)
        except BaseException as error:
            trim(error, run.trimmed)
            raise

    def run_async(
        self,
        shared: Any = None,
        /,
        *,
        observers: Sequence[Observer] = (),
        deadline: float | None = None,
        detached: bool = False,
        journal: RunsRecorded | None = None,
        watch: Watcher | int = False,
    ) -> Coroutine[Any, Any, str | None]:
        """Run on the current event loop and return the last action; see ``run``.

        When it returns, raises or is cancelled, nothing that it started is left running.
        """
        run = Run()
        run.in_callers_task = ARE_LEFT_BEHIND
        asked = self._asked(
            self.run_within, shared, observers, deadline, run, detached, journal, watch
        )
        work = launched(*asked)
        work.__qualname__ = "run_async"  # type: ignore[attr-defined]  # in the warning of a missing await
        return work

    def launch(
        self,
        shared: Any = None,
        /,
        *,
        observers: Sequence[Observer] = (),
        deadline: float | None = None,
        detached: bool = False,
        journal: RunsRecorded | None = None,
        watch: Watcher | int = False,
    ) -> RunTask:
        """Start a run on the current event loop, in its own task, and return it."""
        given = deadline, detached, journal, watch
        return self.launched_with(None, shared, observers, *given)

    def launched_with(
        self,
        tap: Tap | None,
        shared: Any,
        observers: Sequence[Observer],
        deadline: float | None = None,
        detached: bool = False,
        journal: RunsRecorded | None = None,
        watch: Watcher | int = False,
    ) -> RunTask:
        """Launch a run with a Tap on the results of one node; for the engine."""
        run = Run()
        run.tap, run.watched = tap, tap is not None
        asked = self._asked(
            self.run_within, shared, observers, deadline, run, detached, journal, watch
        )
        return RunTask(run, partial(launched, *asked))

    def _store_of(self, shared: Any) -> Any:
        """Return the store that hooks receive, for the one that a run was given."""
        return {} if shared is None else shared

    def _asked(
        self,
        work: Callable[[Any, Frame], Coroutine[Any, Any, T]],
        shared: Any,
        observers: Sequence[Observer],
        deadline: float | None,
        run: Run,
        detached: bool,
        journal: RunsRecorded | None,
        watch: Watcher | int = False,
    ) -> tuple[str, Frame, Callable[[Any, Frame], Coroutine[Any, Any, T]], Any, bool]:
        """Check the options of a run, and return the arguments of ``launched``."""
        if "IPython" in sys.modules:  # %autoreload changes existing classes
            self.note_hooks_again()
        if self._successors:
            warnings.warn(
                f"{self!r} runs alone; to also run the nodes that follow it, put it in a Graph",
                stacklevel=3,
            )
        if observers or run.ambient:
            check_observers(observers)
        watching = None
        if watch is not False and watch is not None:
            watching = watcher_of(watch).watching(self, run, journal)
            observers = [*observers, watching]
        if observers or run.ambient:
            run.observe(observers)
        shared = self._store_of(shared)
        deadline = check_limit("deadline", deadline)
        if journal is not None:
            run.watched = run.watches_items = True
            work = _recorded(work, journal, self, deadline)
        elif deadline is not None:
            work = _in_time(work, deadline, self.name)
        if watching is not None:
            work = watching.around(work)
        if "IPython" in sys.modules:
            from .in_cell import responsive

            work = responsive(work)
        return self.name, Frame(run), work, shared, detached


def _shown_in_cell(observers: object, watch: object) -> "InCell | None":
    from .in_cell import shown_in_cell  # imported only under IPython

    return shown_in_cell(observers, watch)


def _recorded(
    work: Callable[[Any, Frame], Coroutine[Any, Any, T]],
    journal: RunsRecorded,
    node: Runnable,
    deadline: float | None,
) -> Callable[[Any, Frame], Coroutine[Any, Any, T]]:
    if isinstance(journal, type) or not hasattr(journal, "recording"):
        raise TypeError(
            'journal is a Journal, as in run(shared, journal=Journal("runs.db", run="import-7")); '
            f"got {journal!r}"
        )

    def resumed(elapsed_s: float) -> Callable[[Any, Frame], Coroutine[Any, Any, T]]:
        if deadline is None:
            return work
        left = max(0.0, deadline - elapsed_s)
        before = f", {elapsed_s:.3g} s before it was resumed included," if elapsed_s else ""
        return _in_time(work, left, node.name, before)

    return journal.recording(node, resumed)


def _in_time(
    work: Callable[[Any, Frame], Coroutine[Any, Any, T]],
    deadline: float | None,
    name: str,
    before: str = "",
) -> Callable[[Any, Frame], Coroutine[Any, Any, T]]:
    async def whole(shared: Any, frame: Frame) -> T:
        result = await work(shared, frame)
        if frame.run.within:
            await frame.run.outlast_joined()
        return result

    def in_time(shared: Any, frame: Frame) -> Coroutine[Any, Any, T]:
        assert deadline is not None
        return within(deadline, "deadline", f"the run of {name!r}{before}", whole(shared, frame))

    return in_time


async def launched(
    name: str,
    frame: Frame,
    work: Callable[[Any, Frame], Coroutine[Any, Any, T]],
    shared: Any,
    detached: bool = False,
    placed: bool = False,
) -> T:
    """Do the work of a run, and close everything that it opened.

    If a hook of another run started it, it is part of that run, unless ``detached``.
    ``placed``: its frame is already that of this place.
    """
    if not placed and FRAME.get(None) is not None:
        return await _placed(name, frame, work, shared, detached)
    run, error, action = frame.run, None, None
    run.task = task = None if run.by_hand else current_task()
    run.name = name
    if run.inline:
        run.thread, run.next_turn = get_ident(), monotonic() + (inf if run.by_hand else TURN_S)
    caller = None if task is None else note_caller(task, run.in_callers_task)
    reset = FRAME.set(frame)
    started = 0.0
    if run.emit_run is not None:
        started = asyncio.get_running_loop().time()
        run.emit_run(RunStarted(name, started))
    try:
        try:
            result = await work(shared, frame)
        except asyncio.CancelledError as cancellation:  # of the hooks of a batch that is streamed
            raise_if_awaited(cancellation)
            raise
        if run.opened and run.within:  # its deadline, if any, applies to them too: see _in_time
            await run.outlast_joined()
        action = result if run.emit_run is not None and isinstance(result, str) else None
        return result
    except BaseException as failure:
        error = failure
        if not isinstance(failure, asyncio.CancelledError):
            note_place(failure, repr(name))
        note_changed_hook(failure)
        run.trimmed = trim(failure)
        raise
    finally:
        try:
            if run.opened:
                await _closed(run, error)
        except BaseException as failure:
            error = error or failure
            trim(failure)
            raise
        finally:
            try:
                if run.emit_run is not None:
                    now = asyncio.get_running_loop().time()
                    run.emit_run(RunFinished(name, now, now - started, action, error))
                    # They know it: avoid a reference cycle.
                    run.emit = run.emit_run = run.emit_item = None
            finally:
                run.task = None  # no more runs join it
                FRAME.reset(reset)
                if caller is not None:
                    CALLER.reset(caller)
            del error, task, run, frame, work, shared  # an error holds this frame


async def _placed(
    name: str,
    frame: Frame,
    work: Callable[[Any, Frame], Coroutine[Any, Any, T]],
    shared: Any,
    detached: bool,
) -> T:
    """Launch a run from a hook of another run, or from something that hook left running."""
    around = None if detached else frame_around()
    if around is None:
        observing, view, place = OBSERVING.set(False), VIEW.set(None), PLACE.set(None)
        try:
            return await launched(name, frame, work, shared, placed=True)
        finally:
            OBSERVING.reset(observing)
            VIEW.reset(view)
            PLACE.reset(place)
    joining = Joining(frame.run, around, shared)
    frame = joining.frame
    assert frame.scope is not None
    name = f"{frame.scope.path}{name}"
    whole = joining.within(name, launched(name, frame, work, shared, placed=True))
    return await (whole if frame.scope.depth % STACKED else in_own_task(whole))


async def _closed(run: Run, error: BaseException | None) -> None:
    """Close what a run has opened, and end the runs inside it."""
    if run.by_hand:
        await asyncio.sleep(0)  # it goes on, on a loop
    run.closing = True
    if run.within:
        await _ended_joined(run)
    await run.close(error)


async def _ended_joined(run: Run) -> None:
    """Cancel the runs inside a failed run, and wait for their end."""
    run.cancel_joined()
    await outlast([asyncio.get_running_loop().create_task(run.outlast_joined())])
