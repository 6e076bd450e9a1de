"""A stage of a pipeline at work: its workers, its buffers, its figures."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..aio.buffer import Buffer, wake
from ..aio.tasks import TURN, cancelled_again, raise_if_cancelled
from ..batch.batch import cap_of, workers_of
from ..batch.failures import Failures
from ..batch.fan_out import NEVER
from ..batch.source import close, opened
from ..events import ItemFailed, StageFinished
from ..limits.slots import Slot
from ..node.node import Node
from ..observability.slow_hooks import timed
from ..outcome import Outcome
from ..run.frame import Frame

UNBOUNDED = 2**62  # a buffer that never makes anybody wait


@dataclass(frozen=True, slots=True)
class StageReport:
    """What a stage did, as its ``post`` gets it when the stream has ended.

    ``busy_s``, ``starved_s`` (waiting for input) and ``blocked_s`` (waiting for room behind it)
    are seconds, each summed over the stage's workers. ``items`` came in; each is one of ``ok``,
    ``failed``, ``skipped`` and, where a run has drained and its grace was over, ``cancelled``.
    ``results`` are the pipeline's, for its last stage, where they are collected.
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
    """A node at work on a stream: its buffers, its workers and its figures."""

    def __init__(
        self,
        node: Node[Any, Any],
        inbox: Buffer[Any],
        outbox: Buffer[Any],
        frame: Frame,
        outcomes: bool,
    ) -> None:
        self.node, self.inbox, self.outbox, self.frame = node, inbox, outbox, frame
        self.outcomes = outcomes  # an earlier stage collects failures, which pass by
        self.name = frame.name_of(node)
        self.cap = cap_of(node, frame)
        self.workers = workers_of(node, frame)
        self.running = self.workers
        self.failures = Failures(self.name, node.on_error)
        self.clock = asyncio.get_running_loop().time
        self.taken = self.passed = self.cancelled = 0
        self.busy = self.starved = self.blocked = 0.0
        # Ordered hand-over: results wait in `held` until those before them have come.
        self.ordered = self.workers > 1 and getattr(node, "ordered", True)
        self.window = max(outbox.size if outbox.size < UNBOUNDED else inbox.size, self.workers)
        self.held: dict[int, Sequence[Any]] = {}
        self.following = 0
        self.passing = False
        self.waiting: deque[asyncio.Future[None]] = deque()

    @property
    def items(self) -> int:
        """How many items came in, without the outcomes that passed by."""
        return self.taken - self.passed

    def report(self, results: list[Any] | None) -> StageReport:
        failed, skipped = len(self.failures.errors), self.failures.skipped
        ok = self.items - failed - skipped - self.cancelled
        return StageReport(
            self.name, self.workers, self.items, ok, failed, skipped, self.busy, self.starved,
            self.blocked, results, self.cancelled,
        )  # fmt: skip

    def hand_on(self) -> None:
        """Pass on, without a wait, what is done and has waited for its order."""
        for index in sorted(self.held):
            self.outbox.items.extend(self.held.pop(index))

    def account_for_rest(self) -> None:
        """Tell of the items that were to be worked on here and were not taken up."""
        emit = self.frame.run.emit
        if emit is None or not self.node._has_exec:
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

    async def feed(self, source: Any) -> None:
        """Read the source into the outbox, no faster than that is read."""
        started = self.clock()
        self.workers = 1
        outbox = self.outbox
        run = NEVER if self.frame.rules.whole else self.frame.run
        sink, size, readers = outbox.items, outbox.size, outbox.readers
        endless = size == UNBOUNDED  # there is never a wait in which others have their turn
        items, later_items = opened(source, self.name, self.frame)
        taken = 0
        try:
            if items is not None:
                for taken, item in enumerate(() if run.draining else items, 1):
                    if len(sink) >= size:
                        await self._block(outbox, values=(item,))
                    sink.append(item)
                    if readers:
                        wake(readers)
                    if endless and not taken % TURN:
                        await asyncio.sleep(0)
                    if run.draining:
                        break
            elif later_items is not None:
                async for item in later_items:
                    await self._pass((item,))
                    taken += 1
        finally:
            self.taken = taken
            await close(items, later_items)
        self.busy = self.clock() - started - self.blocked
        outbox.close()

    async def worker(self, number: int) -> None:
        """Work on items until there are no more.

        The loop that every item of every stage goes through; see FanOut.
        """
        node, frame, ordered, outcomes = self.node, self.frame, self.ordered, self.outcomes
        inbox, outbox = self.inbox, self.outbox
        source, sink, size = inbox.items, outbox.items, outbox.size
        writers, readers = inbox.writers, outbox.readers
        bare: Callable[[Any], Awaitable[Any]] | None = None
        if not node._has_exec:
            bare = _unchanged
        elif node._plain and frame.bare:
            bare = node.exec
        several = node._exec_kind in ("generator", "async_generator")
        direct = bare is not None and not outcomes
        # One worker alone empties its inbox and fills its outbox: what there is, and room for, can
        # be worked off in one go.
        sole = direct and self.workers == 1
        own = self.cap
        slot = Slot((own, *frame.caps), number)
        capped = bool(frame.caps)
        values: Sequence[Any] | None = None
        task = asyncio.current_task()
        assert task is not None
        cancelling = task.cancelling
        started = self.clock()
        try:
            while True:
                if cancelling():  # exec may have swallowed it: the run ends all the same
                    await cancelled_again()
                if ordered and self.taken - self.following >= self.window:
                    await self._block(None, slot)
                    continue
                if not source:
                    if not await self._starve(slot):
                        break
                    continue
                if direct and not slot.held:
                    await slot.take()
                    continue  # others may have emptied the buffer meanwhile
                if sole and len(sink) >= size:
                    await self._block(outbox, slot)
                    continue
                for _ in range(min(len(source), size - len(sink)) if sole else 1):
                    item = source.popleft()
                    if writers:
                        wake(writers)
                    index = self.taken
                    self.taken = index + 1
                    try:
                        if direct:
                            value = await bare(item)  # type: ignore[misc]
                        elif outcomes and type(item) is Outcome:
                            self.passed += 1
                            value = item
                        elif node._has_exec:
                            value = await node._call(item, index, frame, slot)
                            values = value if several else None
                        else:
                            value = item
                    except asyncio.CancelledError:
                        self.cancelled += 1
                        raise
                    except Exception as error:
                        self.failures.pulled = self.items
                        value = self.failures.bear(item, index, slot, error)
                        if value.status == "skipped":
                            values = ()
                    if ordered or values is not None:
                        await self._hand_over(index, (value,) if values is None else values, slot)
                        values = None
                        continue
                    if not sole and len(sink) >= size:
                        await self._block(outbox, slot, (value,))
                    sink.append(value)
                    if readers:
                        wake(readers)
                    if cancelling():
                        break
                if own.waiting or own.free < 0 or (capped and slot.wanted):
                    slot.give()
        finally:
            slot.give()
            self.running -= 1
            self.busy += self.clock() - started
        if not self.running:
            self.busy -= self.starved + self.blocked
            self.failures.settle(self.items)
            outbox.close()

    async def _hand_over(self, index: int, values: Sequence[Any], slot: Slot) -> None:
        """Pass results on, in order where that is asked for."""
        if self.ordered:
            self.held[index] = values
            if self.passing:  # by another worker, which will find these in their turn
                return
        else:
            await self._pass(values, slot)
            return
        self.passing = True
        try:
            while self.following in self.held:
                await self._pass(self.held.pop(self.following), slot)
                self.following += 1
                while self.waiting:
                    wake(self.waiting)
        finally:
            self.passing = False

    async def _pass(self, values: Sequence[Any], slot: Slot | None = None) -> None:
        outbox = self.outbox
        for number, value in enumerate(values):
            if len(outbox.items) >= outbox.size:
                await self._block(outbox, slot, values[number:])
            outbox.items.append(value)
            if outbox.readers:
                wake(outbox.readers)

    async def _starve(self, slot: Slot) -> bool:
        slot.give()
        began = self.clock()
        more = await self.inbox.filled()
        self.starved += self.clock() - began
        return more

    async def _block(
        self,
        outbox: Buffer[Any] | None,
        slot: Slot | None = None,
        values: Sequence[Any] = (),
    ) -> None:
        """Wait for room behind this stage, or for the slow item that holds up the order.

        ``values`` are in hand: when the wait is cancelled they are accounted for with the others.
        """
        if slot is not None:
            slot.give()
        began = self.clock()
        if outbox is not None:
            try:
                await outbox.room()
            except asyncio.CancelledError:
                outbox.items.extend(values)
                raise
        else:
            await raise_if_cancelled()
            turn = asyncio.get_running_loop().create_future()
            self.waiting.append(turn)
            await turn
        self.blocked += self.clock() - began


async def _unchanged(item: Any) -> Any:
    return item


def begin(stages: Sequence[Stage], source: Any) -> list[Coroutine[Any, Any, None]]:
    """Return the coroutines of all stages; the source is read by the first, or for it."""
    feeder = first = stages[0]
    if first.node._has_exec:
        feeder = Stage(first.node, first.inbox, first.inbox, first.frame, False)
    working = [stage for stage in stages if stage is not feeder]
    return [
        timed(partial(feeder.feed, source), feeder.name, feeder.frame),
        *(
            timed(partial(stage.worker, number), stage.name, stage.frame)
            for stage in working
            for number in range(stage.workers)
        ),
    ]
