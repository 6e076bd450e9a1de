"""A batch of a node that runs many items in one call of its ``exec_block``."""

import asyncio
from collections.abc import Coroutine, Sequence
from contextvars import Context, copy_context
from typing import Any

from ..aio.outlet import ListOutlet
from ..aio.tasks import Gathering
from ..limits.slots import Slot
from ..node.blocks import Blocks, ExecBlock
from ..node.observed import begun
from ..run.place import Worker, Working
from .blocks import SLOW_S, BlockWork, Pace
from .fan_out import NEVER_DRAINS, FanOut
from .source import END, AsyncSource, SyncSource

MOST = 1024  # items of one block


class FanOutInBlocks(FanOut):
    """A bounded gather whose only worker takes many items at once: a block.

    A block has as many items as can be read and run in about a millisecond or, for a node
    that may run several items at once, one for each of its workers.

    Args:
        exec_block: The node's.

    The others are those of FanOut; ``items`` are Blocks, or an iterable.
    """

    def __init__(self, exec_block: ExecBlock, name: str, items: Any, *args: Any, **settings: Any):
        super().__init__(name, items, *args, **settings)
        self._exec_block = exec_block
        if isinstance(items, Blocks):
            self.source = AsyncSource(items.lists, self.frame)
        self._drains = NEVER_DRAINS if self.frame.rules.whole else self.frame.run
        self._clock = asyncio.get_running_loop().time
        self._turned = self._clock()  # when other tasks last had a turn
        self._pace = Pace(MOST)

    @property
    def is_direct(self) -> bool:
        return True

    async def _gathered(self) -> None:
        if isinstance(self.source, SyncSource):
            await self._alone()
            return
        gathering = Gathering[None](f"items of {self.name!r}")
        context = copy_context()
        gathering.add(self._work(0, context), context)
        await gathering.ended()

    def _work(self, number: int, context: Context) -> Coroutine[Any, Any, None]:
        return begun(self._take_all, self.name, self.frame)

    async def _take_all(self) -> None:
        permits = Slot(self.caps)
        with Working(self.name, Worker(self.owner, self.frame, permits, several=True)):
            worker = Worker(self.owner, self.frame, Slot((), 0, self.timed), several=True)
            work = BlockWork(self._exec_block, worker, self.failures, self._borne)
            if isinstance(self.source, SyncSource):
                await self._read(self.source, work, permits)
                return

            async def take_up(items: list[Any]) -> None:
                while items and not self._drains.draining:
                    block = items[: self._most]
                    del items[: self._most]
                    await self._take(block, work, permits, self._clock())
                permits.give()  # the source may be slow

            assert isinstance(self.source, AsyncSource)
            await self.source.read(ListOutlet(take_up))

    async def _read(self, source: SyncSource, work: BlockWork, permits: Slot) -> None:
        """Read an iterator to its end."""
        iterator, pull = source.iterator, source.next
        failure: BaseException | None = None
        is_over = False
        try:
            while not (is_over or failure):
                items: list[Any] = []
                began, most = self._clock(), self._most
                try:
                    while len(items) < most:
                        item = END if self._drains.draining else pull(iterator, END)
                        if is_over := item is END:
                            break
                        items.append(item)
                except BaseException as error:
                    failure = error  # those before it are run
                if items:
                    await self._take(items, work, permits, began)
            if failure is not None:
                raise failure
        finally:
            del failure  # it holds this frame: avoid a reference cycle

    async def _take(self, items: list[Any], work: BlockWork, permits: Slot, began: float) -> None:
        """Run a block of items; ``began`` is when reading it started."""
        if not permits.held:
            await permits.take()
        first = self.pulled
        try:
            await work.work(items, first, self.results)
        finally:
            self.pulled = first + work.done
        if permits.wanted:
            permits.give()
        now = self._clock()
        self._pace.note(len(items), now - began)
        if now - self._turned > SLOW_S:
            await asyncio.sleep(0)
            self._turned = self._clock()

    @property
    def _most(self) -> int:
        """How many items the next block may have."""
        return self._pace.most if self.max_workers == 1 else self.max_workers

    def _borne(self, item: Any, index: int, slot: Slot, error: BaseException) -> Sequence[Any]:
        """Return what replaces a failed item in the results."""
        self.failures.pulled = index + 1
        outcome = self.failures.bear(item, index, slot, error)
        return () if outcome.status == "skipped" else (outcome,)
