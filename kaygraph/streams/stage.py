"""A running stage of a pipeline: its workers, its buffers, its figures."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextvars import Context, copy_context
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
from .calls import outlet_of, plain_call, work_of
from .order import Order
from .outlet import UNBOUNDED, StageOutlet
from .report import StageReport
from .workers import Workers


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
        self.outcomes = outcomes  # earlier stages' outcomes are among the items: they do not run
        self.name = frame.name_of(node)
        self.cap = cap_of(node, frame)
        self.workers = workers_of(node, frame.rules)
        self.max_waiting = max_waiting_of(node, self.workers)
        self.pool: WorkerPool | None = None
        self.crew: Workers | None = None
        self.running = 0
        self.blocked_workers = 0  # how many wait for room behind the stage
        self.held_up = self.held_since = 0.0  # for how long any did, and since when one does
        shows = frame.rules.show_items
        self.failures = Failures(self.name, getattr(node, "on_error", "raise"), shows=shows)
        self.tap = frame.tap_of(self.name)
        # For the outcomes.
        self.timed = self.tap is not None or self.failures.on_error not in ("raise", "skip")
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
        """Put finished values that wait for their turn into the outbox, however full it is."""
        if self.order is not None:
            self.outbox.items.extend(self.order.rest())

    def account_for_rest(self) -> None:
        """Emit an event for each item in the inbox: it is cancelled before it ran."""
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
        """Let the node read the whole stream, and pass on the stream that it returns."""
        assert self.node.regroup is not None
        started = self.clock()
        outlet = outlet_of(self.outbox, Slot(), None, self.name, self.tap)
        try:
            await hand_on(aiter(self.node.regroup(self._arriving())), outlet)
        finally:
            self.blocked += outlet.blocked_s
            self.busy = self.clock() - started - self.starved - self.blocked
        self.outbox.close()

    async def _arriving(self) -> AsyncGenerator[Any, None]:
        """Yield the items as they come; outcomes of earlier stages bypass the node."""
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
        """Start the workers; if one may stand in for another, all of them."""
        self.started_at = self.clock()
        self.crew = Workers(
            self.inbox, self.workers, lambda number: self._start(gathering, number), self._held_up
        )
        if self.max_waiting:
            self.crew.started = self.workers
            self.pool = WorkerPool(
                gathering, self._begun, self.workers, self.max_waiting, self._has_no_more
            )
        else:
            self.crew.start()

    def _start(self, gathering: Gathering[None], number: int) -> None:
        """Start a worker; its time counts as if it had been there from the beginning."""
        if not gathering.is_ending:
            self._was_not_needed()
            gathering.add(self._begun(number))

    def _was_not_needed(self) -> None:
        self.busy += self.clock() - self.started_at
        self._had_nothing_to_do(self.started_at)

    def _held_up(self) -> bool:
        """Whether finished values cannot be passed on, so that more workers would only wait too."""
        order = self.order
        return self.blocked_workers > 0 if order is None else order.is_full(self.taken)

    def _begun(self, number: int, _: Context | None = None) -> Coroutine[Any, Any, None]:
        self.running += 1
        return begun(partial(self.worker, number), self.name, self.frame)

    def _has_no_more(self) -> bool:
        return self.inbox.closed and not self.inbox.items

    async def worker(self, number: int) -> None:
        """Run items until none are left."""
        node, frame = self.node, self.frame
        slot = Slot((self.cap, *frame.caps), number, self.timed, self.pool)
        plain = plain_call(node, frame, self.name, slot, self.tap, self.timed)
        if plain is not None:
            self.failures.emit = frame.run.emit
        outlet: StageOutlet | None = None
        if node.exec_kind in YIELDING:
            outlet = slot.outlet = outlet_of(self.outbox, slot, self.order, self.name, self.tap)
        PLACE.set(Worker(node, frame, slot, several=True))  # in its own task
        started = self.clock()
        try:
            await self._work(plain, slot)
        finally:
            slot.close()
            slot.outlet = None  # it has the slot too: avoid a reference cycle
            self.running -= 1
            self.busy += self.clock() - started
            if outlet is not None:
                self.blocked += outlet.blocked_s
        if not self.running:
            started = self.workers if self.crew is None else self.crew.started
            for _ in range(started, self.workers):
                self._was_not_needed()
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
        """Run all items that are in the inbox, as far as there is room behind them, in one go.

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
            index = self.taken
            for _ in range(min(len(source), size - len(sink))):
                item = source.popleft()
                if writers:
                    wake(writers)
                slot.index = index
                index += 1
                try:
                    sink.append(await plain(item))
                except BaseException as error:
                    self.taken = index
                    sink.extend(self._failed(item, index - 1, slot, error))
                if readers:
                    wake(readers)
                try:
                    if not (cancelling() or look() != context):
                        continue
                except Exception:  # values that cannot be compared
                    pass
                self.taken = index
                plain, context = await settled(plain, context, cancelling, self.name, index - 1)
            self.taken = index
            self._share(slot)

    async def _one_by_one(self, plain: Callable[[Any], Awaitable[Any]] | None, slot: Slot) -> None:
        """Run one item at a time: other workers share the inbox and the outbox."""
        inbox, outbox, order, workers = self.inbox, self.outbox, self.order, self.crew
        assert workers is not None
        source, sink, size = inbox.items, outbox.items, outbox.size
        writers, readers = inbox.writers, outbox.readers
        own, capped, outcomes = self.cap, self.capped, self.outcomes
        # What is passed on when exec has ended: its result, or nothing beyond what it yielded.
        done: Sequence[Any] | None = None if slot.outlet is None else ()
        window = order.window if order else UNBOUNDED
        on_error = self.failures.on_error
        items = work_of(self.node, self.frame, self.name, slot, self.tap, on_error)
        if plain is None:
            items.begin(slot)
        work: Callable[..., Awaitable[Any]] = items.run
        cancelling, look, context = _cancelling(), copy_context, copy_context()
        while not (slot.replaced and slot.is_surplus):
            index = self.taken
            if (
                not source
                or (plain and not slot.held)
                or (order and (index - order.next >= window or order.kept >= window))  # it is full
            ):
                if not await self._may_take(slot, workers):
                    return
                continue  # another worker may have taken the item, so look again
            item = source.popleft()
            if writers:
                wake(writers)
            slot.index = index
            self.taken = index + 1
            if outcomes and type(item) is Outcome:
                self.passed += 1
                await self._hand_over(index, (item,), slot)
                continue
            if not workers.looks:
                workers.look_soon()
            value, values = None, done
            try:
                value = await (plain(item) if plain else work(item, index, slot))
            except BaseException as error:
                values = self._failed(item, index, slot, error)
            in_turn = order is None or (order.next == index and not order.holds)
            if in_turn and values is None and len(sink) < size:
                sink.append(value)
                if order:
                    order.next = index + 1
                if readers:
                    wake(readers)
            else:
                await self._hand_over(index, (value,) if values is None else values, slot)
            if own.waiting or own.free < 0 or (capped and slot.wanted):
                slot.give()  # another waits for the permits, or the limit is lower now
            try:
                if not (cancelling() or look() != context):
                    continue
            except Exception:  # values that cannot be compared
                pass
            call, context = await settled(plain or work, context, cancelling, self.name, index)
            plain, work = (call, work) if plain else (None, call)
        workers.look_soon()  # another may wait for its result

    async def _hand_over(self, index: int, values: Sequence[Any], slot: Slot) -> None:
        """Pass on the result of an item when its turn has come and there is room."""
        for due in (values,) if self.order is None else self.order.due(index, values):
            await self._pass(due, slot)

    def _failed(self, item: Any, index: int, slot: Slot, error: BaseException) -> Sequence[Any]:
        """Return what is passed on for a failed item, or raise if ``on_error`` says so."""
        self.failures.pulled = self.items
        try:
            outcome = self.failures.bear(item, index, slot, error)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return () if outcome.status == "skipped" else (outcome,)

    def _share(self, slot: Slot) -> None:
        """Give the permits back if another waits for them, or if the limit is lower now."""
        if self.cap.waiting or self.cap.free < 0 or (self.capped and slot.wanted):
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

        When the wait is cancelled, ``values``, which have not been passed on yet, are put there
        anyway, so that they are accounted for.
        """
        if slot is not None:
            slot.give()
        began = self.clock()
        if not self.blocked_workers:
            self.held_since = began
        self.blocked_workers += 1
        try:
            await self.outbox.room()
        except asyncio.CancelledError:
            self.outbox.items.extend(values)
            raise
        finally:
            ended = self.clock()
            self.blocked_workers -= 1
            if not self.blocked_workers:
                self.held_up += ended - self.held_since
        self.blocked += ended - began

    async def _may_take(self, slot: Slot, workers: Workers) -> bool:
        """Wait until there may be an item to run; return False when none will come."""
        is_full = self.order is not None and self.order.is_full(self.taken)
        if self.inbox.items and not is_full:
            await slot.take()
            return True
        slot.give()
        began = self.clock()
        if is_full:
            # The worker of the item that holds up the order wakes others when it goes on.
            await workers.wanted()
            self.blocked += self.clock() - began
            return True
        held_up = self._held_up_so_far()
        more = await workers.item_came()
        self._had_nothing_to_do(began, held_up)
        return more

    def _held_up_so_far(self) -> float:
        return self.held_up + (self.clock() - self.held_since if self.blocked_workers else 0.0)

    def _had_nothing_to_do(self, since: float, held_up: float = 0.0) -> None:
        """Record the time of a worker that was not needed: others had no input, or no room."""
        blocked = self._held_up_so_far() - held_up
        self.blocked += blocked
        self.starved += self.clock() - since - blocked


def _cancelling() -> Callable[[], int]:
    """Return the current task's ``cancelling`` method."""
    task = current_task()
    assert task is not None
    return task.cancelling
