"""Runs a list of items in one call of ``exec_block``, and accounts for each of them."""

import asyncio
from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context, copy_context
from typing import Any

from ..aio.contexts import Apart, settled
from ..aio.stopped import stopped_at
from ..aio.tasks import awaited_cancelled, cancellation_check
from ..errors import RAISED_STOP
from ..limits.slots import Slot
from ..node.blocks import DROPPED, ExecBlock
from ..run.place import PLACE, Worker
from .failures import Failures

SLOW_S = 0.001  # items that take or wait longer than this do not run together


class Pace:
    """How many items are taken together: one at first, and more while they are fast.

    Args:
        limit: The maximum.

    Attributes:
        most: How many the next block may have.
    """

    def __init__(self, limit: int) -> None:
        self.most, self._limit = 1, limit

    def note(self, number: int, seconds: float) -> None:
        """Record how long a block of this many items took."""
        if seconds > SLOW_S:
            self.most = max(1, self.most // 2)
        elif number >= self.most:
            self.most = min(self.most * 2, self._limit)


class BlockWork:
    """Runs the items of a stage or a batch, list by list, in one task.

    An item that leaves a context variable behind is the last one that runs together with others:
    the next must not see that, so from then on ``exec`` is called for each.

    Args:
        exec_block: The node's.
        worker: The node, and the slot with the figures of the current item.
        failures: Counts the items that are left out.
        failed: ``(item, index, slot, error) -> values`` that replace an item that
            failed; it raises if ``on_error`` says so.

    Attributes:
        done: How many items of the list have ended, in any way.
        together: How many of them ended with the error that was raised: several, if they were
            cancelled together.
    """

    def __init__(
        self,
        exec_block: ExecBlock,
        worker: Worker,
        failures: Failures,
        failed: Callable[[Any, int, Slot, BaseException], Sequence[Any]],
    ) -> None:
        assert worker.slot is not None
        self._exec_block, self._node, self._slot = exec_block, worker.node, worker.slot
        self._failures, self._failed = failures, failed
        self._cancelled, self._clock = cancellation_check(), asyncio.get_running_loop().time
        self._context: Context = copy_context()  # what each item sees
        self._context.run(PLACE.set, worker)
        self._call: Callable[[Any], Awaitable[Any]] | None = None  # for each item by itself
        self._first = self.done = 0
        self.together = 1

    async def work(self, items: list[Any], first: int, values: list[Any]) -> None:
        """Run items, the first with this index; append the values to pass on to ``values``."""
        self._first, self.done, self.together = first, 0, 1
        done = 0
        while done < len(items):
            within = self._context
            if self._call is None:
                within = within.copy()
                rest = items[done:] if done else items
                work = self._work(rest, first + done, values)
            else:
                work = self._alone(self._call, items[done], first + done, values)
            self.done = done = done + await Apart(within, work)
            if self._cancelled() or self._differs(within):
                self._call, _ = await settled(
                    self._call or self._node.exec, self._context, self._cancelled,
                    self._failures.name, first + done - 1,
                )  # fmt: skip

    def _differs(self, context: Context) -> bool:
        try:
            return context != self._context
        except Exception:  # values that cannot be compared
            return True

    async def _alone(
        self, call: Callable[[Any], Awaitable[Any]], item: Any, index: int, values: list[Any]
    ) -> int:
        """Run one item, without a trace."""
        self._begin(index)
        began = self._clock()
        try:
            values.append(await call(item))
        except BaseException as error:
            self._fail(item, index, self._clock() - began, error, values)
        return 1

    async def _work(self, items: list[Any], first: int, values: list[Any]) -> int:
        """Run items to the end, or to one that set a context variable; return how many.

        An error of an item does not end it if it was raised while its result was made.
        """
        self._begin(first)
        slot, timed, now = self._slot, self._slot.timed, self._clock
        cancelled, look, context = self._cancelled, copy_context, self._context
        append, index = values.append, first
        began = now() if timed else 0.0
        try:
            made = await self._exec_block(items)
        except BaseException as error:
            if isinstance(error, CancelledError) and not awaited_cancelled(error):
                self._stopped(first, len(items), error)
            self._fail(items[0], first, now() - began if timed else 0.0, error, values)
            return 1
        if type(made) is list:
            values += made
            return len(items)
        waited_s = now() - began if timed else 0.0  # by all of them
        while index < first + len(items):
            if timed:
                began = now()
            try:
                for value in made:
                    slot.index = index = index + 1
                    if value is DROPPED:
                        self._failures.drop(index - 1, slot)
                    else:
                        append(value)
                    if timed:
                        began = now()
                    try:
                        if not (cancelled() or look() != context):
                            continue
                    except Exception:  # values that cannot be compared
                        pass
                    return index - first
                if type(made) is not map or index == first + len(items):
                    break
                raise RuntimeError(RAISED_STOP)  # which has ended the loop
            except BaseException as error:
                seconds = waited_s + now() - began if timed else 0.0
                self._fail(items[index - first], index, seconds, error, values)
                slot.index = index = index + 1
                if cancelled() or self._differs(look()):
                    break
        return index - first

    def _begin(self, index: int) -> None:
        slot = self._slot
        slot.index, slot.attempts, slot.seconds = index, 1, 0.0

    def _stopped(self, first: int, number: int, cancellation: CancelledError) -> None:
        """Record that all of these items were running when they were cancelled."""
        if number > 1:
            self.together = number
            place = f"{self._failures.name!r}, items {first} to {first + number - 1}"
            stopped_at(cancellation, place)
            for index in range(first + 1, first + number):  # the first is reported as failed
                self._failures.cancel(index, self._slot.worker, cancellation, 1)

    def _fail(
        self, item: Any, index: int, seconds: float, error: BaseException, values: list[Any]
    ) -> None:
        """Append what replaces an item, or raise."""
        self._slot.seconds = seconds
        self.done = index - self._first + self.together
        values.extend(self._failed(item, index, self._slot, error))
