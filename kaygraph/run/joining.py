"""A run that a hook of another run starts: it is part of that run.

On the same loop it uses the caps and threads of the outer run. Elsewhere (in a thread, or where
the loop of the outer run is blocked until it has ended) it cannot wait for anything there: it has
as many permits as are certain, and its own threads.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from threading import get_ident
from typing import Any, Protocol, TypeVar

from ..aio.tasks import current_task, is_cancelled
from ..aio.timeouts import within_limit
from ..events import Event, NodeFinished, NodeStarted
from ..limits.clock import has_own_clock
from ..limits.permits import Permits
from ..limits.slots import Loan
from .frame import FRAME, Frame, Scope
from .observers import OBSERVING, Observers, OnLoop
from .place import PLACE, Place, place_in
from .run import Run
from .spans import Carries

T = TypeVar("T")

Work = Callable[[Any, Frame], Awaitable[T]]


class Sees(Protocol):
    """What a branch knows about the writes to a store."""

    def sees(self, shared: Any) -> bool: ...


# The Writes of the branch that runs here, if they are checked: see observability.conflicts.
VIEW: ContextVar[Sees | None] = ContextVar("kaygraph_view", default=None)


class Begun:
    """The runs that a call has started in its thread: they end when it is cancelled."""

    __slots__ = ("_runs", "cancelled")

    def __init__(self) -> None:
        self._runs: list[Run] = []
        self.cancelled = False

    def context(self) -> Context:
        """Return the context to make the call in: a copy of the current one."""
        context = copy_context()  # not kept here, as it refers to this object: that is a cycle
        context.run(BEGUN.set, self)
        return context

    def add(self, run: Run) -> None:
        self._runs.append(run)
        if self.cancelled:
            _cancel(run)

    def cancel(self) -> None:
        self.cancelled = True
        for run in self._runs:
            _cancel(run)


def _cancel(run: Run) -> None:
    if run.task is not None:
        with suppress(RuntimeError):  # its loop is closed: it has ended
            run.task.get_loop().call_soon_threadsafe(run.task.cancel)


BEGUN: ContextVar[Begun] = ContextVar("kaygraph_begun")


def frame_around() -> Frame | None:
    """Return the frame of the hook that starts a run here, or None."""
    frame = FRAME.get(None)
    if frame is None or OBSERVING.get():
        return None
    return frame if frame.run.by_hand or frame.run.task is not None else None


class Joining:
    """How a run becomes part of the outer run.

    Args:
        run: The run that starts in the current task.
        around: The frame of the hook that started it.
        shared: Its store.
    """

    def __init__(self, run: Run, around: Frame, shared: Any) -> None:
        self.run, outer = run, around.run
        loop = None if outer.task is None else outer.task.get_loop()  # None: it runs by hand
        shares = loop is asyncio.get_running_loop()
        blocked = not shares and (outer.thread == get_ident() or run.blocks is loop)
        # Its deadlines are by the machine's clock, as they are here.
        self._limited = blocked and loop is not None and not has_own_clock(loop)
        emit = outer.emit
        if emit is not None and loop is not None and not (shares or blocked):
            followers = [one for one in outer.observers if isinstance(one, Carries)]
            emit = OnLoop(loop, emit, Observers(followers))
        run.join(outer, shares, emit, shares or blocked)
        self._emit = emit
        self._begun = BEGUN.get(None) if not (shares or blocked) else None
        here = None if outer.closing else place_in(around)
        self._loan = _loan_of(here, around) if shares else None
        if self._loan is not None and here is not None:
            run.loans = {**outer.loans, here.node: self._loan}
        else:
            run.loans = outer.loans
        self.frame = _frame_within(run, around, here, shares, blocked)
        view = VIEW.get()
        self._view = None
        if view is not None and not (shares and view.sees(shared)):
            self._view = VIEW.set(None)  # its branches are checked among themselves
        elif shares:
            run.checking = outer.checking

    async def within(self, name: str, work: Awaitable[T]) -> T:
        """Await the work of the run, and report it to the observers of the outer run."""
        run, loan = self.run, self._loan
        outer, task = run.around, current_task()
        assert outer is not None
        assert task is not None
        before = task.cancelling()
        run.task = task
        run.enter()
        place = PLACE.set(None)
        try:
            if outer.draining and not self.frame.rules.whole:  # since the call, in a thread
                run.halt()
            if self._begun is not None:
                self._begun.add(run)
            if loan is not None:
                loan.begin()
            with outer.concurrently:
                if self._limited:  # the loop of the outer run cannot end it
                    work = within_limit(work)
                result = await _observed(name, self._emit, work)
            if (
                task.cancelling() > before
            ):  # its grace expired, and it has handed over what was done
                raise asyncio.CancelledError
        finally:
            PLACE.reset(place)
            run.leave()
            drains = run.draining and not self.frame.rules.whole
            if outer.journal is not None and (drains or run.expired or outer.expired):
                outer.journal.cut_short()
            if self._view is not None:
                VIEW.reset(self._view)
            if loan is not None:
                await loan.end(waits=not is_cancelled())
        return result


def _loan_of(here: Place | None, around: Frame) -> Loan | None:
    """Return what the enclosing call of ``exec`` gives back while the run goes on."""
    if here is None or here.slot is None:
        return None
    if here.slot.loan is None:
        here.slot.loan = Loan(here.slot, around.caps)
    return here.slot.loan


def _frame_within(
    run: Run, around: Frame, here: Place | None, shares: bool, blocked: bool
) -> Frame:
    path = around.run.name
    if here is not None and here.node is not None:
        path = (here.frame or around).name_of(here.node)
    scope = Scope(f"{path}/")
    scope.depth = 1 if around.scope is None else around.scope.depth + 1
    caps, rules = around.caps, around.rules
    if caps and not shares:
        held = 0 if here is None or here.slot is None else len(here.slot.held)
        # None are taken or returned while the loop of the outer run is blocked.
        free = min(cap.free + (held > 0) for cap in caps) if blocked else 1
        caps = (Permits(max(1, free)),)
    if around.run.draining or around.run.closing:
        rules = rules.changed(whole=True)  # a hook in flight runs to its end
    frame = Frame(run, scope=scope, params=around.params, caps=caps, rules=rules)
    run.entry = frame
    return frame


async def _observed(name: str, emit: Callable[[Event], None] | None, work: Awaitable[T]) -> T:
    if emit is None:
        return await work
    now = asyncio.get_running_loop().time
    started = now()
    emit(NodeStarted(name, started))
    try:
        result = await work
    except BaseException as error:
        emit(NodeFinished(name, at := now(), at - started, None, error))
        raise
    action = result if isinstance(result, str) else None
    emit(NodeFinished(name, at := now(), at - started, action, None))
    return result
