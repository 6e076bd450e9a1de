"""The bounded gather: many items, at most ``max_workers`` at once, each accounted for once."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sized
from contextvars import Context, copy_context
from functools import partial
from itertools import repeat
from operator import length_hint
from types import CoroutineType
from typing import Any

from ..aio.buffer import Buffer
from ..aio.contexts import Apart, settled
from ..aio.stopped import WHILE_CANCELLED, raise_failed_meanwhile
from ..aio.tasks import (
    READ_TURN,
    TURN,
    Gathering,
    cancellation_check,
    cancelled_again,
    is_cancelled,
    raise_if_cancelled,
)
from ..errors import TooManyFailuresError
from ..events import BatchFinished, Event
from ..executors.chunk import Ready
from ..limits.permits import Permits
from ..limits.slots import Slot
from ..node.call import Work
from ..node.observed import begun
from ..outcome import Outcome
from ..run.frame import Frame
from ..run.place import InNode, Worker, Working
from ..run.run import Run
from ..run.tap import Tap
from .chunks import Chunks
from .failures import Failures, forget_callers
from .pool import WorkerPool
from .source import END, AsyncSource, SyncSource, opened

SKIPPED = object()  # in place of a missing result: removed before results are returned

NEVER_DRAINS = Run()


def never(_: SyncSource) -> None:
    """Take no items ahead."""


class FanOut:
    """``asyncio.gather`` over workers that pull, each behind permits.

    There is a task per worker, not per item. A worker takes its permits, pulls the next item and
    runs it; it keeps the permits for the next item unless another waits for one. The source is
    pulled lazily, so memory grows with the number of workers, not of items.

    Args:
        name: The node's name, for outcomes.
        frame: The place in the run. While the run drains, no more items are pulled.
        items: An iterable or async iterable.
        work: Runs one item after another; it takes the slot's permits.
        owner: The node whose items these are.
        bare: ``exec`` itself, for a node without settings: it is awaited in place of ``work``.
        caps: The permits of a worker, the node's own first.
        max_workers: The maximum number of workers.
        max_waiting: How many workers may be replaced while their items wait.
        ordered: Whether results come in the order of the input, or as they finish.
        on_error: ``raise``, ``collect``, ``skip``, or a number or share of failures to tolerate.
        sink: Receives an outcome per item as the items finish; results are not kept then.
        chunks: Returns what takes items of the source in chunks, or None.
    """

    def __init__(
        self,
        name: str,
        items: Any,
        work: Work,
        frame: Frame,
        *,
        owner: Any = None,
        bare: Callable[[Any], Awaitable[Any]] | None = None,
        caps: tuple[Permits, ...],
        max_workers: int = 1,
        max_waiting: int = 0,
        ordered: bool = True,
        on_error: str | float = "raise",
        sink: Buffer[Outcome[Any]] | None = None,
        chunks: Callable[[SyncSource], Chunks | None] = never,
    ) -> None:
        self.name, self.work, self.frame, self.caps = name, work, frame, caps
        self.owner = owner
        self.ordered, self.sink = ordered, sink
        self.max_workers, self.max_waiting = max_workers, max_waiting
        self.pool: WorkerPool | None = None
        self.is_over = False  # no items are left
        self.workers = max(1, min(max_workers, length_hint(items, max_workers)))
        known = len(items) if isinstance(items, Sized) else 0
        self.failures = Failures(name, on_error, known, shows=frame.rules.show_items)
        # For the outcomes.
        self.timed = sink is not None or self.failures.on_error not in ("raise", "skip")
        self.bare = None if self.timed else bare
        self.results: list[Any] = []
        self.pulled = 0
        self.has_gaps = False  # SKIPPED stands in the results
        self.source: SyncSource | AsyncSource | Chunks = opened(items, name, frame)
        self.chunks_of = chunks
        self._given = work

    def run(self) -> Coroutine[Any, Any, list[Any]]:
        """Run all items and return the results."""
        emit = self.frame.run.emit
        return self._run() if emit is None else self._observed(emit)

    async def _observed(self, emit: Callable[[Event], None]) -> list[Any]:
        if self.is_direct:
            self.failures.emit = emit
        now = asyncio.get_running_loop().time
        started = now()
        try:
            return await self._run()
        finally:
            of = self.failures
            others = of.failed, of.skipped, of.cancelled
            counts = self.pulled, self.pulled - sum(others), *others
            emit(BatchFinished(self.name, at := now(), *counts, at - started))
            of.emit = None  # it knows this run: avoid a reference cycle

    def read_by(self, tap: Tap) -> None:
        """Pass the outcome of each item to another receiver too."""
        run = tap.items(self.name, self.work.run, self.failures.on_error)
        self.bare, self.timed, self.work = None, True, self.work._replace(run=run)

    @property
    def is_direct(self) -> bool:
        """Whether ``exec`` is awaited directly, so that nothing else reports a failed item."""
        return self.bare is not None

    async def _run(self) -> list[Any]:
        try:
            await raise_if_cancelled()  # prep may have swallowed it
            if self.max_workers == 1:  # also if others wait, only one works: nothing else runs
                await self._gathered()
            else:
                with self.frame.run.concurrently:
                    await self._gathered()
        except TooManyFailuresError as error:
            raise self.failures.whole(error) from None
        except asyncio.CancelledError as error:
            if not (self.frame.drains and self.frame.run.expired):
                raise
            raise_failed_meanwhile(error)
            self.has_gaps = True  # return what is done, and leave out what was cancelled
        finally:
            if not isinstance(self.source, SyncSource):
                self._account_for(self.source)
            if not isinstance(self.source, AsyncSource):
                self.source.close()
        self.failures.settle(self.pulled)
        # The context of an item leads here from its errors: avoid a reference cycle.
        results, self.results = self.results, []
        if self.failures.failed:
            forget_callers(results)
        if self.has_gaps:
            return [result for result in results if result is not SKIPPED]
        return results

    async def _gathered(self) -> None:
        """Run all workers at once, as ``asyncio.gather`` does; each stands behind its permits."""
        if isinstance(self.source, SyncSource):
            chunks = self.chunks_of(self.source)
            if chunks is not None:
                is_asked = self.sink is not None or self.work is not self._given  # for each result
                chunks.kept = None if is_asked else self._kept
                self.source = chunks
        only_one = self.workers < self.max_workers  # there is no second item
        alone = self.workers == 1 and (only_one or not self.max_waiting)
        if alone and not isinstance(self.source, AsyncSource):
            await self._alone()
            return
        gathering = Gathering[None](f"items of {self.name!r}")
        self.pool = WorkerPool(
            gathering,
            self._work,
            self.workers,
            self.max_waiting,
            self._has_no_more,
            on_demand=isinstance(self.source, SyncSource),
        )
        if isinstance(self.source, AsyncSource):  # which its own task reads
            gathering.add(begun(partial(_read, self.source, self.name), self.name, self.frame))
        try:
            await gathering.ended()
        finally:
            self.pool = None  # it has this object too: avoid a reference cycle

    def _has_no_more(self) -> bool:
        return self.is_over or self.frame.drains

    async def _alone(self) -> None:
        """Run the only worker in the batch's own task.

        As with ``gather``, a cancelled batch raises CancelledError, even when ``exec`` turns its
        cancellation into another error.
        """
        try:
            context = copy_context()
            # The context variables that items set are not seen outside.
            await Apart(context, self._work(0, context))
        except Exception as error:
            if not is_cancelled(error):
                raise
            try:
                await cancelled_again()
            except asyncio.CancelledError as cancellation:
                raise cancellation from BaseExceptionGroup(WHILE_CANCELLED, [error])

    def _work(self, number: int, context: Context) -> Coroutine[Any, Any, None]:
        return begun(partial(self._worker, number, context), self.name, self.frame)

    async def _worker(self, number: int, context: Context) -> None:
        """Run items until none are left, in a task with this context."""
        # Every item of every batch goes through this loop. So names are local, nothing is called
        # that is not required, and the only coroutine is that of `exec`.
        work, bare = self.work.run, self.bare
        source: Any = self.source
        results, keep = self.results, self.sink is None
        iterator, pull = source.iterator, source.next
        reserves = keep and self.ordered and iterator is not None
        slot = Slot(self.caps, number, self.timed, self.pool)
        slot.stands_by = self.pool is not None and iterator is not None
        own, capped = self.caps[0], len(self.caps) > 1
        cancelled = slot.cancelled = cancellation_check()
        run = NEVER_DRAINS if self.frame.rules.whole else self.frame.run
        pool = self.pool
        turn = self._turn(pool)
        with Working(self.name, Worker(self.owner, self.frame, slot, several=True)):
            self.work.begin(slot)
            before, since = copy_context(), self.pulled
            while True:
                for _ in repeat(None, turn):
                    if iterator is not None:
                        ready = slot.held or await self._permit(pool, slot)
                        item = pull(iterator, END) if ready and not run.draining else END
                        index = self.pulled
                    else:
                        index, item = await self._asked_for(source, slot)
                    if item is END:
                        self._end(pool)
                        return
                    if slot.stands_by and pool is not None:
                        pool.took_item(slot)
                    slot.index = index
                    self.pulled += 1
                    if reserves:
                        results.append(SKIPPED)
                    try:
                        value = await (work(item, index, slot) if bare is None else bare(item))
                    except BaseException as error:
                        await self._failed(item, index, slot, error)
                    else:
                        if reserves:
                            results[index] = value
                        elif keep:
                            self._keep(index, value)
                        else:
                            await self._deliver(item, index, slot, value)
                    try:
                        unsettled = cancelled() or context != before
                    except Exception:  # values that cannot be compared
                        unsettled = True
                    if unsettled:
                        call = bare or work
                        call, before = await settled(call, before, cancelled, self.name, index)
                        context = before  # no call changes it any more
                        bare, work = (call, work) if bare else (None, call)
                    if own.free < 0 or ((own.waiting or capped) and slot.wanted):
                        slot.give()
                    if slot.replaced and slot.is_surplus:
                        return
                await self._let_others(pool, self.pulled - since == turn)
                turn, since = self._turn(pool), self.pulled

    def _turn(self, pool: WorkerPool | None) -> int:
        """Return how many items that never suspend a worker may take before others get a turn."""
        turn = READ_TURN if self.frame.run.observes_items else TURN
        return turn if pool is None else max(8, turn // pool.at_work)

    async def _let_others(self, pool: WorkerPool | None, alone: bool) -> None:
        """Give other tasks a turn, unless they had one: other workers have taken items too."""
        if pool is None:
            await asyncio.sleep(0)
        elif alone:
            await pool.take_turns()

    async def _permit(self, pool: WorkerPool | None, slot: Slot) -> bool:
        """Acquire the permits of a worker; return False if it must end."""
        if pool is not None:
            return await pool.permit(slot)
        await slot.take()
        return True

    def _end(self, pool: WorkerPool | None) -> None:
        """Record that no items are left."""
        self.is_over = True
        if pool is not None:
            pool.finish()

    def _account_for(self, source: AsyncSource | Chunks) -> None:
        """Emit an event for each item that was read and did not run: it is cancelled."""
        self.failures.emit = self.frame.run.emit
        if isinstance(source, Chunks):
            for ready in source.done:  # they have ended, and their results were not taken
                self.pulled += 1
                self.failures.lose(ready.index, ready.error or asyncio.CancelledError())
        for index, _ in source.left:
            self.pulled += 1
            self.has_gaps = True
            self.failures.cancel(index, 0, asyncio.CancelledError())

    async def _asked_for(self, source: Any, slot: Slot) -> tuple[int, Any]:
        """Read an item from a slow source.

        Return its place too: the first worker that asked may be the last to wake.
        """
        if type(source) is Chunks:
            index, item = await source.next(slot)
        else:
            slot.give()  # others can work in the meantime
            index, item = await source.take()
        if item is not END:
            self._reserve(index)
            if self.bare is not None and not slot.held:
                try:
                    await slot.take()
                except BaseException:
                    source.left.append((index, item))  # it did not run
                    raise
        return index, item

    def _reserve(self, index: int) -> None:
        """Make room for the result of an item that came out of turn."""
        missing = index + 1 - len(self.results)
        if missing > 0 and self.ordered and self.sink is None:
            self.results += [SKIPPED] * missing

    def _kept(self, ended: list[Ready]) -> list[Ready]:
        """Keep the results of items that ran ahead, and return those that failed."""
        failed: list[Ready] = []
        results, ordered = self.results, self.ordered
        for one in ended:
            if one.error is not None or type(one.value) is CoroutineType:
                failed.append(one)
                continue
            self.pulled += 1
            if ordered:
                if one.index >= len(results):
                    self._reserve(one.index)
                results[one.index] = one.value
            else:
                results.append(one.value)
        return failed

    def _keep(self, index: int, result: Any) -> None:
        if self.ordered:
            self.results[index] = result
        else:
            self.results.append(result)

    async def _deliver(self, item: Any, index: int, slot: Slot, value: Any) -> None:
        assert self.sink is not None
        slot.give()  # the reader may be slow, and others can work in the meantime
        await self.sink.put(
            Outcome(self.name, index, "ok", value, None, slot.attempts, slot.seconds, item)
        )

    async def _failed(self, item: Any, index: int, slot: Slot, error: BaseException) -> None:
        self.failures.pulled = self.pulled
        try:
            outcome = self.failures.bear(item, index, slot, error)
        except Exception:
            if self.pool is not None:
                self.pool.failed_at(index)
            raise
        if self.sink is not None:
            slot.give()
            await self.sink.put(outcome)
        elif outcome.status == "skipped":
            self.has_gaps = True
        else:
            self._keep(index, outcome)


async def _read(source: AsyncSource, name: str) -> None:
    with InNode(name):
        await source.read()
