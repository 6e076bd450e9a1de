"""Reads the source of a pipeline into the buffer of its first stage."""

import asyncio
from typing import Any

from ..aio.buffer import wake
from ..aio.outlet import ListOutlet
from ..aio.tasks import TURN
from ..batch.fan_out import NEVER_DRAINS
from ..batch.source import SyncSource, opened
from ..limits.slots import Slot
from ..node.blocks import Blocks
from ..run.place import InNode
from .outlet import UNBOUNDED, StageOutlet
from .stage import Stage


async def feed(stage: Stage, source: Any) -> None:
    """Read what a node's ``prep`` returned into the outbox, and wait whenever that is full."""
    started = stage.clock()
    stage.workers = 1
    with InNode(stage.name):
        items = opened(source, stage.name, stage.frame, alone=True)
        if isinstance(items, SyncSource):
            await _read(stage, items)
        elif isinstance(source, Blocks):
            await items.read(ListOutlet(lambda waiting: _take_up(stage, waiting)))
        else:
            outlet = StageOutlet(stage.outbox, Slot(), None)
            try:
                await items.read(outlet)
            finally:
                stage.taken += outlet.count
                stage.blocked += outlet.blocked_s
    stage.busy = stage.clock() - started - stage.blocked
    stage.outbox.close()


async def _read(stage: Stage, items: SyncSource) -> None:
    outbox = stage.outbox
    run = NEVER_DRAINS if stage.frame.rules.whole else stage.frame.run
    sink, size, readers = outbox.items, outbox.size, outbox.readers
    never_waits = size == UNBOUNDED
    taken = 0
    try:
        for taken, item in enumerate(() if run.draining else items.iterator, 1):
            if len(sink) >= size:
                await stage._wait_for_room(values=(item,))
            sink.append(item)
            if readers:
                wake(readers)
            if never_waits and not taken % TURN:
                await asyncio.sleep(0)  # let other tasks run
            if run.draining:
                break
    finally:
        stage.taken = taken
        items.close()


async def _take_up(stage: Stage, items: list[Any]) -> None:
    """Take a list of a source as far as there is room, and the rest when there is more."""
    outbox = stage.outbox
    run = NEVER_DRAINS if stage.frame.rules.whole else stage.frame.run
    while items and not run.draining:
        if len(outbox.items) >= outbox.size:
            await stage._wait_for_room()
            continue  # the run may drain by now
        number = min(len(items), outbox.size - len(outbox.items), TURN)
        outbox.extend(items[:number])
        stage.taken += number
        del items[:number]
        if outbox.size == UNBOUNDED:
            await asyncio.sleep(0)
