"""A running stage of a pipeline: its workers, its buffers, its figures."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..aio.buffer import Buffer, wake
from ..aio.contexts import settled
from ..aio.outlet import hand_on
from ..aio.tasks import Gathering, current_task, raise_if_cancelled
from ..batch.batch import cap_of, max_waiting_of, workers_of
from ..batch.failures import Failures
from ..batch.pool import WorkerPool
from ..events import ItemFailed, StageFinished
from ..executors.kinds import YIELDING
from ..limits.slots import Slot
from ..node.node import Node
from ..node.observed import begun
from ..outcome import Outcome
from ..run.frame import Frame
from ..run.place import PLACE, Worker
from .order import Order
from .outlet import UNBOUNDED, StageOutlet


@dataclass(frozen=True, slots=True)
class StageReport:
    """What a stage did; its ``post`` gets it when the stream has ended.

    ``busy_s``, ``starved_s`` (waiting for input) and ``blocked_s`` (waiting for room behind it)
    are seconds, each summed over the stage's workers. Of the ``items`` that came in, so many were
    ``ok``, ``failed``, ``skipped`` and, where the grace of a draining run ran out, ``cancelled``.
    ``results`` are those of the pipeline: in the report of its last stage, if they are collected.
    """

    name: str
    workers: int
    items: int
    ok: int
    failed: int
    skipped: int
    busy_s: float
    starved_s: float
    blocked_s: float
    results: list[Any] | None = None
    cancelled: int = 0


class Stage:
    """A node that works on a stream, from its inbox to its outbox."""

    def __init__(
        self,
        node: Node[Any, Any],
        inbox: Buffer[Any],
        outbox: Buffer[Any],
        frame: Frame,
        outcomes: bool,
    ) -> None:
        self.node, self.inbox, self.outbox, self.frame = node, inbox, outbox, frame
        self.outcomes = outcomes  # earlier stages' outcomes are among the items: not worked on
        self.name = frame.name_of(node)
        self.cap = cap_of(node, frame)
        self.workers = workers_of(node, frame.rules)
        self.max_waiting = max_waiting_of(node, self.workers)
        self.pool: WorkerPool | None = None
        self.running = 0
        shows = frame.rules.show_items
        self.failures = Failures(self.name, getattr(node, "on_error", "raise"), shows=shows)
        self.timed = self.failures.on_error not in ("raise", "skip")  # for the outcomes
        self.clock = asyncio.get_running_loop().time
        self.taken = self.passed = self.cancelled = 0
        self.busy = self.starved = self.blocked = 0.0
        self.capped = bool(frame.caps)
        window = max(outbox.size if outbox.size < UNBOUNDED else inbox.size, self.workers)
        several = self.workers > 1 or self.max_waiting
        ordered = several and getattr(node, "ordered", True)
        self.order = Order(window, self.workers) if ordered else None

    @property
    def items(self) -> int:
        """How many items came in, without the outcomes of earlier stages."""
        return self.taken - self.passed

    def report(self, results: list[Any] | None) -> StageReport:
        failed, skipped = self.failures.failed, self.failures.skipped
        ok = self.items - failed - skipped - self.cancelled
        return StageReport(
            self.name, self.workers, self.items, ok, failed, skipped, self.busy, self.starved,
            self.blocked, results, self.cancelled,
        )  # fmt: skip

    def hand_over_kept(self) -> None:
        """Put what is done and waits for its turn into the outbox, however full that is."""
        if self.order is not None:
            self.outbox.items.extend(self.order.rest())

    def account_for_rest(self) -> None:
        """Emit an event for each item in the inbox: it is cancelled before it was worked on."""
        emit = self.frame.run.emit
        if emit is None or not self.node.has_exec:
            return
        for index, item in enumerate(self.inbox.items, self.taken):
            if not (self.outcomes and type(item) is Outcome):
                error = asyncio.CancelledError()
                at = self.clock()
                emit(ItemFailed(self.name, at, index, 0, 0, 0.0, "cancelled", error))

    def event(self) -> StageFinished:
        return StageFinished(
            self.name, self.clock(), self.workers, self.items, self.busy, self.starved,
            self.blocked,
        )  # fmt: skip

    async def regroup(self) -> None:
        """Let the node read the whole stream, and pass on what it makes of it."""
        assert self.node.regroup is not None
        started = self.clock()
        outlet = StageOutlet(self.outbox, Slot(), None)
        try:
            await hand_on(aiter(self.node.regroup(self._arriving())), outlet)
        finally:
            self.blocked += outlet.blocked_s
            self.busy = self.clock() - started - self.starved - self.blocked
        self.outbox.close()

    async def _arriving(self) -> AsyncGenerator[Any, None]:
        """Yield the items as they come; outcomes of earlier stages go past the node."""
        inbox = self.inbox
        while inbox.items or await self._wait_for_item():
            item = inbox.take()
            self.taken += 1
            if self.outcomes and type(item) is Outcome:
                self.passed += 1
                await self._pass((item,))
            else:
                yield item

    def start(self, gathering: Gathering[None]) -> None:
        """Start the workers."""
        pool = WorkerPool(gathering, self._begun, self.workers, self.max_waiting, self._has_no_more)
        self.pool = pool if self.max_waiting else None

    def _begun(self, number: int) -> Coroutine[Any, Any, None]:
        self.running += 1
        return begun(partial(self.worker, number), self.name, self.frame)

    def _has_no_more(self) -> bool:
        return self.inbox.closed and not self.inbox.items

    async def worker(self, number: int) -> None:
        """Work on items until there are no more."""
        node, frame = self.node, self.frame
        plain: Callable[[Any], Awaitable[Any]] | None = None
        if not node.has_exec:
            plain = _unchanged
        elif node.exec_is_plain and frame.bare and not self.timed:
            plain = node.exec  # type: ignore[assignment]
        slot = Slot((self.cap, *frame.caps), number, self.timed, self.pool)
        outlet: StageOutlet | None = None
        if node.exec_kind in YIELDING:
            outlet = slot.outlet = StageOutlet(self.outbox, slot, self.order)
        PLACE.set(Worker(node, frame, slot, several=True))  # in a task of its own
        started = self.clock()
        try:
            await self._work(plain, slot)
        finally:
            slot.close()
            slot.outlet = None  # it has the slot as well: no cycle may stay
            self.running -= 1
            self.busy += self.clock() - started
            if outlet is not None:
                self.blocked += outlet.blocked_s
        if not self.running:
            self.busy -= self.starved + self.blocked
            if self.pool is not None:
                self.busy -= self.pool.waited_s
            self.failures.settle(self.items)
            self.outbox.close()

    async def _work(self, plain: Callable[[Any], Awaitable[Any]] | None, slot: Slot) -> None:
        if plain is not None and self.workers == 1 and not self.outcomes:
            await self._in_runs(plain, slot)
        else:
            await self._one_by_one(plain, slot)

    async def _in_runs(self, plain: Callable[[Any], Awaitable[Any]], slot: Slot) -> None:
        """Work on all items that are in the inbox, as far as there is room behind them, in one go.

        This is for a single worker that only awaits ``exec``. No other worker empties its inbox or
        fills its outbox, so items and room that were there before a wait are there after it.
        """
        inbox, outbox = self.inbox, self.outbox
        source, sink, size = inbox.items, outbox.items, outbox.size
        writers, readers = inbox.writers, outbox.readers
        cancelling, look, context = _cancelling(), copy_context, copy_context()
        while source or await self._wait_for_item(slot):
            if len(sink) >= size:
                await self._wait_for_room(slot)
            if not slot.held:
                await slot.take()
            for _ in range(min(len(source), size - len(sink))):
                item = source.popleft()
                if writers:
                    wake(writers)
                slot.index = index = self.taken
                self.taken = index + 1
                try:
                    sink.append(await plain(item))
                except BaseException as error:
                    sink.extend(self._failed(item, index, slot, error))
                if readers:
                    wake(readers)
                try:
                    if not (cancelling() or look() != context):
                        continue
                except Exception:  # values that cannot be compared
                    pass
                plain, context = await settled(plain, context, cancelling, self.name, index)
            self._share(slot)

    async def _one_by_one(self, plain: Callable[[Any], Awaitable[Any]] | None, slot: Slot) -> None:
        """Work on one item at a time: other workers share the inbox and the outbox."""
        outcomes = self.outcomes
        yields = slot.outlet is not None  # then the values have gone on when exec has ended
        inbox, outbox, order = self.inbox, self.outbox, self.order
        source, sink, size = inbox.items, outbox.items, outbox.size
        readers = outbox.readers
        items = self.node.run_items(self.frame)
        if plain is None:
            items.begin(slot)
        work: Callable[..., Awaitable[Any]] = items.run
        cancelling, context = _cancelling(), copy_context()
        while not (slot.replaced and slot.is_surplus):
            if order is not None and order.is_full(self.taken):
                await self._wait_for_order(order, slot)
            elif not source:
                if not await self._wait_for_item(slot):
                    return
            elif plain is not None and not slot.held:
                await slot.take()  # another worker may take the item meanwhile, so look again
            else:
                item = inbox.take()
                slot.index = index = self.taken
                self.taken = index + 1
                values: Sequence[Any]
                try:
                    if outcomes and type(item) is Outcome:
                        self.passed += 1
                        values = (item,)
                    elif plain is not None:
                        values = (await plain(item),)
                    else:
                        value = await work(item, index, slot)
                        values = () if yields else (value,)
                except BaseException as error:
                    values = self._failed(item, index, slot, error)
                for due in (values,) if order is None else order.due(index, values):
                    if len(due) == 1 and len(sink) < size:  # as _pass does, without its cost
                        sink.append(due[0])
                        if readers:
                            wake(readers)
                    else:
                        await self._pass(due, slot)
                try:
                    unsettled = cancelling() or copy_context() != context
                except Exception:  # values that cannot be compared
                    unsettled = True
                if unsettled:
                    call = plain or work
                    call, context = await settled(call, context, cancelling, self.name, index)
                    plain, work = (call, work) if plain else (None, call)
                self._share(slot)

    def _failed(self, item: Any, index: int, slot: Slot, error: BaseException) -> Sequence[Any]:
        """Return what is passed on for a failed item, or raise when ``on_error`` says so."""
        self.failures.pulled = self.items
        try:
            outcome = self.failures.bear(item, index, slot, error)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return () if outcome.status == "skipped" else (outcome,)

    def _share(self, slot: Slot) -> None:
        """Give the permits back if somebody waits for them, or if the limit is lower now."""
        own = self.cap
        if own.waiting or own.free < 0 or (self.capped and slot.wanted):
            slot.give()

    async def _pass(self, values: Sequence[Any], slot: Slot | None = None) -> None:
        """Put values into the outbox, and wait whenever that is full."""
        outbox = self.outbox
        for number, value in enumerate(values):
            if len(outbox.items) >= outbox.size:
                await self._wait_for_room(slot, values[number:])
            outbox.items.append(value)
            if outbox.readers:
                wake(outbox.readers)

    async def _wait_for_item(self, slot: Slot | None = None) -> bool:
        """Wait for an item; return False when none will come."""
        if slot is None:
            await raise_if_cancelled()  # the node may have swallowed it
        else:
            slot.give()
        began = self.clock()
        more = await self.inbox.filled()
        self.starved += self.clock() - began
        return more

    async def _wait_for_room(self, slot: Slot | None = None, values: Sequence[Any] = ()) -> None:
        """Wait for room in the outbox.

        When the wait is cancelled, ``values``, which have not been passed on yet, are put there all
        the same: so they are accounted for.
        """
        if slot is not None:
            slot.give()
        began = self.clock()
        try:
            await self.outbox.room()
        except asyncio.CancelledError:
            self.outbox.items.extend(values)
            raise
        self.blocked += self.clock() - began

    async def _wait_for_order(self, order: Order, slot: Slot) -> None:
        """Wait until the item that holds up the order is done."""
        slot.give()
        began = self.clock()
        await order.advanced()
        self.blocked += self.clock() - began


def _cancelling() -> Callable[[], int]:
    """Return the current task's ``cancelling`` method."""
    task = current_task()
    assert task is not None
    return task.cancelling


async def _unchanged(item: Any) -> Any:
    return item
