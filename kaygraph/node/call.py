"""The one place that calls ``exec`` when a plain await is not enough.

Limits, attempts, time limits, the fallback, the place where it runs, and the events, for one item
after another. Every item passes through ``Calls.run``; what only some of them need is in functions
of their own, here and in ``composed``.
"""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

from ..aio.contexts import Apart
from ..aio.stopped import stopped_after, stopped_at
from ..aio.tasks import awaited_cancelled, is_cancelled
from ..aio.timeouts import late_error
from ..errors import CircuitOpenError, Drop, add_note, note_place
from ..events import ItemFailed, ItemRetried
from ..executors.choice import execute
from ..executors.kinds import YIELDING, result_of
from ..executors.yielding import substitutes
from ..limits.slots import Slot
from ..outcome import status_of
from ..run.frame import FRAME, Frame
from ..run.place import PLACE, Worker
from ..run.recorder import RunItem
from .composed import NO_TICKET, Composed, most_attempts


def _at_once(_: Slot) -> None: ...


class Work(NamedTuple):
    """Runs ``exec`` for one item after another.

    Attributes:
        run: ``(item, index, slot) -> awaitable``; ``index`` is the item's place in its batch, None
            for a node that has only one. The slot's caps are held while ``exec`` runs and may still
            be held afterwards; ``slot.attempts`` and ``slot.seconds`` are those of this item.
        begin: Called by each worker with its slot before its first item, in the worker's task.
    """

    run: RunItem
    begin: Callable[[Slot], None] = _at_once


def compose(node: Any, frame: Frame, kept: bool = False) -> Work:
    """Return the Work that runs a node's ``exec`` for the items of a batch or a stage.

    ``kept``: no result is visible before all items have ended.
    """
    calls = Calls(node, frame)
    run: RunItem = calls.run
    if node.cache is not None:
        run = node.cache.cached(calls)
    if (journal := frame.run.journal) is not None:
        run = journal.recorded(node, frame, run, kept=kept)
    return Work(run, calls.begin)


async def call(node: Any, item: Any, index: int | None, frame: Frame, slot: Slot) -> Any:
    """Run a node's ``exec`` for one item; return its result, or the fallback's."""
    here, place = PLACE.get(), None
    if (slot.caps or node.keyed) and (here is None or here.slot is not slot):
        place = PLACE.set(Worker(node, frame, slot))  # for graphs that run inside exec
    work = compose(node, frame)
    work.begin(slot)
    try:
        return await work.run(item, index, slot)
    finally:
        slot.leave_task()
        if place is not None:
            PLACE.reset(place)


def report_failure(node: Any, frame: Frame, raised: BaseException) -> None:
    """Report the failure of a node's only item, whose ``exec`` was awaited directly."""
    if frame.run.emit is None:
        return
    error, name = awaited_cancelled(raised) or raised, frame.name_of(node)
    try:
        if not isinstance(error, asyncio.CancelledError):
            note_place(error, repr(name))
        at = asyncio.get_running_loop().time()
        frame.run.emit(ItemFailed(name, at, 0, 0, 1, 0.0, status_of(error), error))
    finally:
        del error, raised  # they hold this frame: avoid a reference cycle


class Calls(Composed):
    """The calls of a node's ``exec`` in one place of a run, for one item after another."""

    __slots__ = ()

    async def run(self, item: Any, index: Any, slot: Slot, again: Frame | None = None) -> Any:
        """Run one item; ``again``: only another attempt at it, in this frame."""
        value: Any = None
        failure: BaseException | None = None
        ticket = NO_TICKET
        timer, started, starts_s = slot.timer, 0.0, 0.0
        if again is None:
            slot.attempts, slot.seconds, slot.waiting = 0, 0.0, False
        made = slot.attempts
        try:
            if self.prepares and again is None and self._taken_up(item, index, slot):
                await self._begin_early(slot)
            if self.acquires or not slot.held:
                ticket = self._at_once(slot) or await self._acquire(item, slot)
            if self.clocked:
                started = self.clock()
            slot.attempts = made + 1
            if self.counter is not None and again is None:
                self.counter.began(index or 0, started)
            if self.emit_item is not None or again is not None:
                self._emit_start(index, slot, started, again)
            if timer is not None and self.timeout is not None:
                timer.attempt = started + self.timeout
                if timer.attempt < timer.at:
                    timer.arm()
            if self.direct:
                value = await self.exec(item)
            else:
                starts_s = slot.usage.start_s
                frame = again or self.frame
                value = await execute(self.node, item, frame, slot, self.place, self.limit_s)
        except BaseException as error:
            failure = error
        try:
            if slot.attempts > made:
                failure = self._ended(slot, started, starts_s, ticket, failure)
            if again is not None:
                return _returned(value, failure)
            if failure is not None or not (self.deadline is None or self._in_time(slot)):
                value = await self._settled(item, index, slot, failure, value)
        finally:
            del failure  # it holds this frame: avoid a reference cycle
        if self.ends or slot.item or slot.loan is not None:
            self._end_item(index, slot)
        return value

    # --- when an attempt has failed ---------------------------------------------------------------

    async def _settled(
        self, item: Any, index: Any, slot: Slot, failure: BaseException | None, value: Any
    ) -> Any:
        """Return the value for an item that failed, or was late, or raise its error."""
        node, error = self.node, None
        try:
            try:
                return await self._within_deadline(item, index, slot, failure, value)
            except Drop:
                raise
            except Exception as raised:
                if not node._has_fallback or is_cancelled(raised):
                    raise
                slot.fell_back = True
                returned = node.exec_fallback(item, raised)
                value = await result_of(node, "exec_fallback", returned, node._fallback_is_async)
                if node.exec_kind in YIELDING:
                    value = await substitutes(node, value, slot.outlet)
                return value
        except BaseException as raised:
            error = awaited_cancelled(raised) or raised
            self._note(error, item, index, slot)
            self._end_item(index, slot, error)
            if error is not raised:
                raise error from raised
            raise
        finally:
            del error, failure  # they hold this frame: avoid a reference cycle
            if slot.attempts > 1:
                FRAME.set(self.frame)

    async def _within_deadline(
        self, item: Any, index: Any, slot: Slot, failure: BaseException | None, value: Any
    ) -> Any:
        """Make other attempts, until the deadline."""
        try:
            if failure is not None:
                value = await self._retried(item, index, slot, failure)
                failure = None
        except BaseException as error:
            failure = error
        try:
            late = None if slot.timer is None else slot.timer.end_item(failure)
            if late is not None:
                raise late_error(self.what, "deadline", self.deadline, *late, self.blocks)
            return _returned(value, failure)
        finally:
            del failure, late

    async def _retried(self, item: Any, index: Any, slot: Slot, failure: BaseException) -> Any:
        """Try until an attempt succeeds or the last one fails."""
        last: Exception | None = None  # the error of the attempt before
        made = 0  # how many attempts there were before the one that failed
        try:
            while True:
                wait = self._wait_after(failure, slot, made)
                if wait is None:
                    raise self._given_up(failure, slot, made, last)
                assert isinstance(failure, Exception)
                last, made = failure, slot.attempts
                if self.emit is not None:
                    where = self.name, self.clock(), index or 0, slot.worker, made
                    self.emit(ItemRetried(*where, last, wait))
                slot.give()  # another item may run while we wait
                slot.waiting = True
                await self._waited(wait, slot)
                try:
                    return await self._again(item, index, slot)
                except Exception as error:
                    failure = error
        except asyncio.CancelledError as cancellation:
            stopped_after(cancellation, last)
            raise
        finally:
            del last, failure  # they hold this frame: avoid a reference cycle

    async def _again(self, item: Any, index: Any, slot: Slot) -> Any:
        """Make another attempt, which does not see context variables set by earlier ones."""
        frame = self.frame.derive(attempt=slot.attempts + 1)
        assert slot.context is not None
        try:
            return await Apart(slot.context.copy(), self.run(item, index, slot, frame))
        finally:
            if slot.attempts == frame.attempt:  # otherwise it ended before it began
                FRAME.set(frame)

    def _wait_after(self, error: BaseException, slot: Slot, made: int) -> float | None:
        """Return how long to wait for the next attempt; None: no further attempt.

        ``made`` is how many attempts there were before the one that failed.
        """
        retry = self.node.retry
        if not isinstance(error, Exception) or isinstance(error, Drop | CircuitOpenError):
            return None  # exec was not called, or did not fail
        if is_cancelled(error):  # exec turned its cancellation into an error
            return None
        if slot.attempts == made:  # it failed before it began: this would never end
            return None
        if slot.attempts >= most_attempts(self.node):
            return None
        if not (retry is None or retry.applies_to(error)):
            return None
        if slot.outlet is not None and slot.outlet.count:  # its values would be passed on twice
            add_note(error, f"not tried again: exec had yielded {slot.outlet.count} values")
            return None
        return self.node.wait if retry is None else retry.wait_after(slot.attempts, error)  # type: ignore[no-any-return]

    def _given_up(
        self, error: BaseException, slot: Slot, made: int, last: Exception | None
    ) -> BaseException:
        """Return the error of an item that is not tried again."""
        if not isinstance(error, Exception) or isinstance(error, Drop):
            return error
        timer = slot.timer
        if timer is not None and timer.whole <= self.clock() and is_cancelled():
            cancellation = asyncio.CancelledError()  # as the deadline expects it
            cancellation.__cause__ = error
            return cancellation
        if isinstance(error, CircuitOpenError) and slot.attempts == made:
            error.__cause__ = last
        return error

    async def _waited(self, seconds: float, slot: Slot) -> None:
        """Wait between two attempts; meanwhile another worker takes this one's place."""
        since = self.clock()
        if seconds:
            slot.pause()
        try:
            if slot.timer is not None and since >= slot.timer.whole:
                await asyncio.Event().wait()  # the deadline's timer is due, and ends this
            await asyncio.sleep(seconds)
        finally:
            slot.resume(self.clock() - since)

    def refused(self, error: BaseException, item: Any, index: Any, slot: Slot) -> None:
        """Note where an item failed for which ``run`` was not called, and report the failure."""
        self._note(error, item, index, slot)
        self._end_item(index, slot, error)

    def _note(self, error: BaseException, item: Any, index: Any, slot: Slot) -> None:
        """Note where an error or a cancellation happened: the node, the item and the attempt."""
        most, name = most_attempts(self.node), self.name
        attempt = f", attempt {slot.attempts} of {most}" if most > 1 else ""
        if isinstance(
            error, asyncio.CancelledError
        ):  # one of many at once: its item is not inspected
            place = repr(name) if index is None else f"{name!r}, item {index}"
            stopped_at(error, place + (attempt if slot.attempts else ", waiting to begin"))
            return
        from .._formatting import item_place  # only a failure pays for it

        shows = self.frame.rules.show_items
        place = repr(name) if index is None else item_place(name, index, item, shows)
        note_place(error, place + attempt)


def _returned(value: Any, failure: BaseException | None) -> Any:
    """Return a value, or raise the error if there is one."""
    try:
        if failure is not None:
            raise failure
        return value
    finally:
        del failure  # it holds this frame: avoid a reference cycle
