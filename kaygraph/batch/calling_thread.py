"""A batch of a ``def exec`` in the calling thread of ``run()``, while nothing else runs."""

from asyncio import CancelledError, _get_running_loop, _set_running_loop
from contextvars import Context, copy_context
from time import monotonic
from types import CoroutineType
from typing import Any, NamedTuple

from ..aio.stopped import stopped_at
from ..aio.tasks import cancellation_check, cancelled_again
from ..errors import RAISED_STOP
from ..executors.calling_thread import call_here, is_due, turn
from ..executors.kinds import late
from ..limits.slots import Slot
from ..run.place import Worker, Working
from .fan_out import NEVER_DRAINS, SKIPPED, FanOut
from .source import END, PLAIN, SyncSource


class Broken(NamedTuple):
    """An item whose ``exec`` failed or returned a coroutine."""

    item: Any
    error: BaseException | None
    returned: Any = None


class FanOutInCallingThread(FanOut):
    """A bounded gather whose only worker calls ``exec`` for one item after another.

    The loop gets a turn once a millisecond. If something else starts to run, the rest of the items
    go the way of every other batch, to threads.
    """

    async def _worker(self, number: int, context: Context) -> None:
        is_asked = self.work is not self._given  # for each result
        if isinstance(self.source, SyncSource) and not (self.timed or is_asked):
            self.failures.emit = self.frame.run.emit
            await self._call_all(self.source, number)
            self.failures.emit = None
        if not self.is_over:
            await super()._worker(number, context)

    async def _call_all(self, source: SyncSource, number: int) -> None:
        run, slot = self.frame.run, Slot(self.caps, number)
        cancelled = cancellation_check()
        with Working(self.name, Worker(self.owner, self.frame, slot, several=True)):
            while run.alone and not self.is_over:
                if not slot.held:
                    await slot.take()
                broken = self._call_many(source, slot)
                if broken is not None:
                    await self._mended(broken, slot)
                if slot.wanted:
                    slot.give()
                try:
                    if is_due(run):
                        await turn(run)
                    if cancelled():
                        await cancelled_again()
                except CancelledError as cancellation:
                    stopped_at(cancellation, f"{self.name!r}, item {slot.index}")
                    raise

    def _call_many(self, source: SyncSource, slot: Slot) -> Broken | None:
        """Call ``exec`` for items: to the last, to one that fails, or until the loop is due."""
        run, due = self.frame.run, self.frame.run.next_turn
        drains = NEVER_DRAINS if self.frame.rules.whole else run
        iterator, pull = source.iterator, source.next
        append, call = self.results.append, self.owner.exec
        loop = _get_running_loop()
        # Only iterators that run no user code may be read while no loop is running.
        is_hidden = type(iterator) in PLAIN
        try:
            if is_hidden:
                _set_running_loop(None)
            while True:
                item = END if drains.draining else pull(iterator, END)
                if item is END:
                    self.is_over = True
                    return None
                slot.index = self.pulled
                self.pulled += 1
                try:
                    value = copy_context().run(call, item) if is_hidden else call_here(call, item)
                except BaseException as error:
                    return Broken(item, error)
                if type(value) is CoroutineType:
                    return Broken(item, None, value)
                append(value)
                if monotonic() >= due:
                    return None
        finally:
            _set_running_loop(loop)

    async def _mended(self, broken: Broken, slot: Slot) -> None:
        """Handle an item without a result according to ``on_error``."""
        error = broken.error
        try:
            if error is None:
                self.results.append(await late(self.owner, "exec", broken.returned))
                return
            if isinstance(error, StopIteration):
                raise RuntimeError(RAISED_STOP) from error
        except BaseException as failure:
            error = failure
        try:
            self.results.append(SKIPPED)
            await self._failed(broken.item, slot.index, slot, error)
        finally:
            del error, broken  # they hold this frame: avoid a reference cycle
