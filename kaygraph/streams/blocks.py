"""Stages that run many items in one call of their node's ``exec_block``, and chains of them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from typing import Any

from ..aio.buffer import Buffer
from ..aio.outlet import ListOutlet
from ..aio.tasks import Gathering
from ..batch.blocks import SLOW_S, BlockWork, Pace
from ..batch.fan_out import NEVER_DRAINS
from ..batch.source import AsyncSource
from ..errors import note_place
from ..limits.slots import Slot
from ..node.blocks import Blocks, ExecBlock, exec_block_of
from ..node.node import Node
from ..outcome import Outcome
from ..run.frame import Frame
from ..run.place import Worker
from .stage import Stage


def stage_of(
    node: Node[Any, Any], inbox: Buffer[Any], outbox: Buffer[Any], frame: Frame, outcomes: bool
) -> Stage:
    """Return the stage that runs a node.

    It runs many items at once if no settings apply between two of them: no attempts, no
    limits, no observers.
    """
    is_bare = frame.bare and frame.tap_of(frame.name_of(node)) is None
    exec_block = exec_block_of(node) if node.exec_is_plain and is_bare else None
    if exec_block is None:
        return Stage(node, inbox, outbox, frame, outcomes)
    return BlockStage(node, inbox, outbox, frame, outcomes, exec_block)


def join_lines(stages: Sequence[Stage]) -> None:
    """Connect stages that work on blocks, one at a time, directly to the next such stage."""
    for stage, after in pairwise(stages):
        if not (isinstance(stage, BlockStage) and isinstance(after, BlockStage)):
            continue
        if stage.workers == after.workers == 1:
            stage.after, after.is_led = after, True


class BlockStage(Stage):
    """A stage that takes many items at once: a block.

    A node that may run several items at once has one call for all of them. So its block may have
    as many items as it has workers, and waits up to a millisecond for them to come.
    """

    def __init__(
        self,
        node: Node[Any, Any],
        inbox: Buffer[Any],
        outbox: Buffer[Any],
        frame: Frame,
        outcomes: bool,
        exec_block: ExecBlock,
    ) -> None:
        super().__init__(node, inbox, outbox, frame, outcomes)
        self.order = None  # one worker keeps it
        self.after: BlockStage | None = None  # the next of its chain
        self.is_led = False  # by an earlier one in its chain
        self._exec_block = exec_block

    def start(self, gathering: Gathering[None]) -> None:
        if not self.is_led:
            gathering.add(self._begun(0))

    async def worker(self, number: int) -> None:
        await Line(self).run(self._read)

    async def feed(self, source: Blocks[Any]) -> None:
        """Read the lists of the source and run them, without a buffer in between."""
        lists = AsyncSource(source.lists, self.frame)

        async def read(line: Line) -> None:
            outlet = ListOutlet(line.take_up)
            try:
                await lists.read(outlet)
            except Exception as error:
                if not outlet.takes_up:  # otherwise it is one of the stages'
                    note_place(error, repr(self.name))
                raise

        await Line(self).run(read)

    async def _read(self, line: "Line") -> None:
        """Take items from the inbox until none are left."""
        inbox = self.inbox
        while inbox.items or await self._wait_for_item(line.slot):
            if self.workers > 1:
                items = await self._gathered(line.slot)
            else:
                items = inbox.take_many(await line.room(len(inbox.items)))
            await line.take(items)

    async def _gathered(self, slot: Slot) -> list[Any]:
        """Take items while they come, at most one for each worker that the node may have."""
        inbox, most = self.inbox, self.workers
        items = inbox.take_many(most)
        end, pauses = self.clock() + SLOW_S, 0
        while len(items) < most and not inbox.closed and pauses < 2 and self.clock() < end:
            slot.give()
            await asyncio.sleep(0)
            pauses = 0 if inbox.items else pauses + 1
            items += inbox.take_many(most - len(items))
        return items

    def begin(self) -> BlockWork:
        """Return what runs blocks, in this task."""
        worker = Worker(self.node, self.frame, Slot((), 0, self.timed), several=True)
        self.failures.emit = self.frame.run.emit
        return BlockWork(self._exec_block, worker, self.failures, self._failed)

    async def work(self, items: list[Any], work: BlockWork) -> list[Any]:
        """Run items, and return the values to pass on; earlier stages' outcomes bypass the node."""
        values: list[Any] = []
        try:
            while items:
                number = self._number_before_outcome(items)
                if number:
                    await self._work_on(items[:number] if items[number:] else items, work, values)
                for outcome in items[number : number + 1]:
                    self.taken += 1
                    self.passed += 1
                    values.append(outcome)
                items = items[number + 1 :]
        except BaseException:
            # so that they are accounted for
            self.outbox.items.extend(values)
            self.inbox.items.extendleft(reversed(items[work.done :]))
            raise
        return values

    def _number_before_outcome(self, items: list[Any]) -> int:
        if self.outcomes:
            for number, item in enumerate(items):
                if type(item) is Outcome:
                    return number
        return len(items)

    async def _work_on(self, items: list[Any], work: BlockWork, values: list[Any]) -> None:
        first = self.taken
        try:
            await work.work(items, first, values)
        except asyncio.CancelledError:
            self.cancelled += work.together - 1
            raise
        finally:
            self.taken = first + work.done

    def _failed(self, item: Any, index: int, slot: Slot, error: BaseException) -> Sequence[Any]:
        self.taken = index + 1  # of its block, those before it
        return super()._failed(item, index, slot, error)

    async def pass_on(self, values: list[Any], slot: Slot) -> None:
        """Put values into the outbox."""
        if len(values) <= self.outbox.size - len(self.outbox.items):
            self.outbox.extend(values)
        else:
            await self._pass(values, slot)


class Line:
    """Consecutive stages that work on blocks: they share one task.

    The first takes the items that are there, as far as there is room behind the last, and no more
    than can run in about a millisecond: so a slow stream is one of single items. The values of a
    stage go straight to the next. So a block has at most as many items as the buffers between the
    stages may hold.
    """

    def __init__(self, first: BlockStage) -> None:
        self.stages = [first]
        while (after := self.stages[-1].after) is not None:
            self.stages.append(after)
        frame = first.frame
        # All permits at once: while it waits for one of them, it holds none.
        self.slot = Slot((*(stage.cap for stage in self.stages), *frame.caps))
        self._works = [(stage, stage.begin()) for stage in self.stages]
        self._drains = NEVER_DRAINS if frame.rules.whole else frame.run
        self._clock = first.clock
        self._pace = Pace(sum(stage.inbox.size for stage in self.stages))

    async def run(self, read: "Callable[[Line], Awaitable[None]]") -> None:
        """Have ``read`` take items, to the end."""
        started = self._clock()
        try:
            await read(self)
        finally:
            self.slot.give()
            seconds, behind_s = self._clock() - started, 0.0
            for stage in reversed(self.stages):
                stage.blocked += behind_s  # while those behind it work, and starved by the others
                behind_s += stage.busy
                stage.starved = max(0.0, seconds - stage.busy - stage.blocked)
        for stage in self.stages:
            stage.failures.settle(stage.items)
            stage.outbox.close()

    async def take_up(self, items: list[Any]) -> None:
        """Take a list, block by block; when the run drains, the rest stays there."""
        while items and not self._drains.draining:
            number = await self.room(len(items))
            if self._drains.draining:
                break
            block = items[:number]
            del items[:number]
            await self.take(block)
        self.slot.give()  # the source may be slow

    async def room(self, number: int) -> int:
        """Return how many of this many items may be taken now: at least one."""
        last = self.stages[-1]
        if len(last.outbox.items) >= last.outbox.size:
            blocked = last.blocked
            await last._wait_for_room(self.slot)
            for stage in self.stages[:-1]:
                stage.blocked += last.blocked - blocked
        return min(number, self._pace.most, last.outbox.size - len(last.outbox.items))

    async def take(self, items: list[Any]) -> None:
        """Run a block, stage by stage, and put the results into the last outbox."""
        if not self.slot.held:
            try:
                await self.slot.take()
            except BaseException:
                self.stages[0].inbox.items.extendleft(reversed(items))  # to be accounted for
                raise
        number, began = len(items), self._clock()
        at = began
        for stage, work in self._works:
            if not items:
                break
            try:
                items = await stage.work(items, work)
            finally:
                until = self._clock()
                stage.busy += until - at
                at = until
        self._pace.note(number, at - began)
        if items:
            await self.stages[-1].pass_on(items, self.slot)
        if self.slot.wanted:
            self.slot.give()
