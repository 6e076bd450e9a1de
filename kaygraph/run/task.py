"""A run in progress: await it, inspect it, drain it or cancel it."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .._public import load
from .._validation import check_limit
from ..aio.cancelling import cancel
from ..aio.stopped import explain
from ..aio.tasks import outlast
from ..aio.tracebacks import trim
from ..errors import DeadlineExceededError
from .run import Run

if TYPE_CHECKING:
    from ..snapshot import RunSnapshot


class RunTask:
    """A run in progress. Awaiting it returns the last action, or raises what the run raised."""

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

    def when_done(self, call: Callable[[Any], object]) -> None:
        """Call a function when the run is over; for the engine."""
        self._task.add_done_callback(call)

    def cancel(self) -> None:
        """Cancel the run; awaiting it raises a CancelledError once everything is cleaned up."""
        self._run.expired = False  # it does not end because of an expired grace
        cancel(self._task)

    def drain(self, grace: float | None = None) -> None:
        """Take no more items and start no more nodes; the work in flight runs to its end.

        The results are handed to ``post``, and the run returns. A round of a BatchGraph and
        the branches of a group are in flight as a whole.

        Args:
            grace: Seconds after which the work still in flight is cancelled. Batches and pipelines
                hand over what was done until then; if other work was in flight, the run raises a
                DeadlineExceededError. None: as long as it takes.
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

    def snapshot(self) -> "RunSnapshot":
        """Return what the run is doing: what runs now, what waits, and for what.

        Call it from the thread of its loop. It does not count what has ended before; an
        Inspector among the observers does.
        """
        taken: RunSnapshot = load("Inspector").look_at(self._run)
        if not self.done():
            return taken
        if self._task.cancelled():
            return taken.ended("CancelledError")
        error = self._task.exception()
        if error is None:
            return taken.ended(None)
        from .._formatting import error_text  # only a failure pays for it

        return taken.ended(error_text(error))

    def explain(self) -> str:
        """Return why the run makes no progress: one line for each wait."""
        return self.snapshot().explain()

    async def _waited_for(self) -> str | None:
        """Wait for the run; a cancellation of the waiter is passed on to it, once."""
        cancellation: asyncio.CancelledError | None = None
        is_late = False
        try:
            await asyncio.wait([self._task])
        except asyncio.CancelledError as error:
            cancellation, is_late = error, self._task.done()
            cancel(self._task, *error.args)
            with suppress(asyncio.CancelledError):
                await outlast([self._task])
        try:
            try:
                action = self._task.result()
            except asyncio.CancelledError as ended:
                if cancellation is None:
                    raise
                raise cancellation from ended.__cause__  # an enclosing scope accepts no other
            if cancellation is not None and is_late:  # there was nothing to pass it on to
                raise cancellation
            return action
        except BaseException as error:
            trim(error, self._run.trimmed)
            raise
        finally:
            # Its task holds an error that holds this frame: avoid a reference cycle.
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
                f"the work in flight was not done within grace={self._grace:g} s, and was cancelled"
            )
            try:
                raise late from explain(late, error)
            finally:
                del late  # it holds this frame: avoid a reference cycle
        finally:
            del self
