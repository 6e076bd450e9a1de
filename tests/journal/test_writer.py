"""The writer: groups, their order, and what happens when one cannot be written."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from kaygraph.journal import writer as writer_module
from kaygraph.journal.log import Entry
from kaygraph.journal.writer import APART_S, FEW, LATE_S, OVERDUE_S, Writer
from kaygraph.testing import simulate

pytestmark = pytest.mark.anyio


class Disk:
    """Takes groups; each waits until it is released."""

    def __init__(self) -> None:
        self.groups: list[list[Entry]] = []
        self.error: Exception | None = None
        self.open = threading.Event()
        self.open.set()
        self.threads: set[str] = set()

    @property
    def written(self) -> list[Entry]:
        return [entry for group in self.groups for entry in group]

    def commit(self, entries: list[Entry]) -> None:
        self.open.wait()
        self.threads.add(threading.current_thread().name)
        if self.error is not None:
            raise self.error
        self.groups.append(entries)


def blocks_for(seconds: float) -> None:
    """Keep the loop from turning, like an ``async def exec`` that computes."""
    time.sleep(seconds)


@asynccontextmanager
async def writing(
    disk: Disk, failed: Callable[[Exception], None] = pytest.fail
) -> AsyncIterator[Writer]:
    writer = Writer(disk.commit, failed)
    try:
        yield writer
    finally:
        writer.close()


async def test_what_is_added_at_once_is_one_group() -> None:
    """A separate thread writes it, in order."""
    disk = Disk()
    async with writing(disk) as writer:
        for number in range(5):
            writer.add([number])
        await writer.committed()
    assert disk.groups == [[[number] for number in range(5)]]
    assert disk.threads == {"kaygraph-journal"}


async def test_a_group_gathers_while_another_is_written() -> None:
    """Whatever arrives meanwhile becomes one transaction."""
    disk = Disk()
    async with writing(disk) as writer:
        disk.open.clear()
        writer.add([0])
        first = asyncio.create_task(writer.committed())
        await asyncio.sleep(0)
        waits = []
        for number in range(1, 50):
            writer.add([number])
            waits.append(asyncio.create_task(writer.committed()))
        await asyncio.sleep(0)
        assert writer.backlog == 49
        assert not first.done()
        disk.open.set()
        await asyncio.gather(first, *waits)
    assert [len(group) for group in disk.groups] == [1, 49]


async def test_a_loop_that_does_not_turn_holds_nothing_back() -> None:
    """What was done before an exec that blocks the loop is written while it blocks."""
    disk, added = Disk(), 0
    async with writing(disk) as writer:
        while len(disk.written) < 3:  # no await
            writer.add([added])
            added += 1
            blocks_for(2 * OVERDUE_S)
        assert disk.groups[0] == [[0], [1]]
        writer.add([added])
        await writer.committed()
        assert disk.written == [[number] for number in range(added + 1)]
        await asyncio.sleep(0)
        assert not writer.is_busy


async def test_groups_do_not_pile_up_on_a_disk_that_stands_still() -> None:
    """What is overdue is sent when the thread is idle, and gathers until then."""
    disk = Disk()
    async with writing(disk) as writer:
        disk.open.clear()
        for number in range(5):
            writer.add([number])
            blocks_for(2 * OVERDUE_S)
        assert writer.backlog == 3
        disk.open.set()
        await writer.committed()
    assert disk.groups == [[[0], [1]], [[2], [3], [4]]]


async def test_a_failure_unknown_to_the_loop_ends_the_log() -> None:
    """Later groups, sent by a blocked loop, are not written; the failure is reported once."""
    disk, failures = Disk(), asyncio.Queue[Exception]()
    async with writing(disk, failures.put_nowait) as writer:
        disk.error = OSError("disk full")
        for number in range(2):
            writer.add([number])
            blocks_for(2 * OVERDUE_S)
        while not disk.threads:
            blocks_for(OVERDUE_S)
        disk.error = None
        writer.add([2])
        blocks_for(2 * OVERDUE_S)
        assert str(await failures.get()) == "disk full"
        await writer.call(int)
        await asyncio.sleep(0)
        assert disk.groups == []
        assert failures.empty()


async def test_waiters_are_woken_in_the_order_of_the_log() -> None:
    """Results are handed over in that order."""
    order: list[int] = []
    async with writing(Disk()) as writer:

        async def add(number: int) -> None:
            writer.add([number])
            await writer.committed()
            order.append(number)

        await asyncio.gather(*map(add, range(20)))
    assert order == [*range(20)]


async def test_nothing_is_acknowledged_that_could_not_be_written() -> None:
    """The failure is reported once, waiters are not woken, and nothing more is written."""
    disk, failures = Disk(), asyncio.Queue[Exception]()
    async with writing(disk, failures.put_nowait) as writer:
        disk.error = OSError("disk full")
        writer.add([1])
        wait = asyncio.create_task(writer.committed())
        assert str(await failures.get()) == "disk full"
        disk.error = None
        writer.add([2])
        later = asyncio.create_task(writer.committed())
        await writer.call(int)  # everything that was queued is done
        assert not wait.done()
        assert not later.done()
        assert disk.groups == []
        wait.cancel()
        later.cancel()


async def test_calls_are_made_behind_what_is_written() -> None:
    """And return or raise their results."""
    disk = Disk()
    async with writing(disk) as writer:
        writer.add([1])
        wait = asyncio.create_task(writer.committed())
        await asyncio.sleep(0)
        assert await writer.call(lambda: len(disk.groups)) == 1
        await wait
        with pytest.raises(ZeroDivisionError):
            await writer.call(lambda: 1 // 0)


async def test_what_is_left_is_taken_for_the_last_call() -> None:
    """Nothing is written on its own any more."""
    disk = Disk()
    async with writing(disk) as writer:
        writer.add([1])
        rest: list[Any] = writer.take_rest()
        assert rest == [[1]]
        await writer.call(int)
    assert disk.groups == []


# --- at once --------------------------------------------------------------------------------------


class QuickDisk(Disk):
    """Takes groups at once, too, unless it is slow."""

    is_quick = True

    def at_once(self, entries: list[Entry]) -> bool:
        if self.is_quick:
            self.commit(entries)
        return self.is_quick


@asynccontextmanager
async def writing_at_once(
    disk: QuickDisk, failed: Callable[[Exception], None] = pytest.fail
) -> AsyncIterator[Writer]:
    writer = Writer(disk.commit, failed, disk.at_once)
    try:
        yield writer
    finally:
        writer.close()


async def test_an_entry_that_is_all_there_is_needs_no_thread() -> None:
    """It is written before the call returns, after those that gather."""
    disk = QuickDisk()
    async with writing_at_once(disk) as writer:
        assert writer.commit_at_once([1])
        writer.add([2])
        writer.add([3])
        assert writer.commit_at_once([4])
        assert not writer.is_busy
        assert writer.backlog == 0
        await writer.committed()
        await asyncio.sleep(0)
        await writer.call(int)
        assert disk.groups == [[[1]], [[2], [3], [4]]]
        assert disk.threads == {threading.current_thread().name}


async def test_an_entry_comes_behind_what_the_thread_writes() -> None:
    """Until the loop knows that this is done."""
    disk = QuickDisk()
    async with writing_at_once(disk) as writer:
        disk.open.clear()
        writer.add([1])
        wait = asyncio.create_task(writer.committed())
        await asyncio.sleep(0)
        assert not writer.commit_at_once([2])
        writer.add([2])
        disk.open.set()
        while not disk.written:
            blocks_for(0.001)
        assert not writer.commit_at_once([3])  # the loop does not know yet
        writer.add([3])
        await wait
        assert writer.commit_at_once([4])
    assert disk.groups == [[[1]], [[2], [3]], [[4]]]


async def test_an_entry_comes_behind_calls() -> None:
    """Even if nobody waits for one any more."""
    disk, begun, go_on = QuickDisk(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go_on.wait()

    async with writing_at_once(disk) as writer:
        call = asyncio.create_task(writer.call(work))
        await asyncio.get_running_loop().run_in_executor(None, begun.wait)
        call.cancel()
        await asyncio.wait([call])
        assert not writer.commit_at_once([1])
        go_on.set()
        await writer.call(int)
        assert writer.commit_at_once([1])


async def test_many_entries_that_gather_are_left_to_the_thread() -> None:
    """They take a while."""
    disk = QuickDisk()
    async with writing_at_once(disk) as writer:
        for number in range(FEW):
            writer.add([number])
        assert not writer.commit_at_once([FEW])
        await writer.committed()
        assert len(disk.groups) == 1


async def test_what_could_take_a_while_is_left_to_the_thread() -> None:
    """It is asked each time."""
    disk = QuickDisk()
    async with writing_at_once(disk) as writer:
        disk.is_quick = False
        assert not writer.commit_at_once([1])
        writer.add([1])
        await writer.committed()
        assert disk.threads == {"kaygraph-journal"}
        disk.is_quick = True
        assert writer.commit_at_once([2])


async def test_a_slow_disk_does_not_hold_up_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread has all commits for a second; a few slow ones among others do not matter."""
    disk, now = QuickDisk(), 0.0

    def commit(entries: list[Entry]) -> bool:
        nonlocal now
        now += took
        return disk.at_once(entries)

    monkeypatch.setattr(writer_module, "monotonic", lambda: now)
    async with writing_at_once(disk) as writer:
        writer._at_once = commit
        for place in range(200):
            took = 0.0001 if place % 10 else 0.009
            assert writer.commit_at_once([1])
        took, number = 0.003, 0
        while writer.commit_at_once([2]):
            number += 1
        assert number == pytest.approx(LATE_S / 0.002, abs=1)
        now += APART_S / 2
        assert not writer.commit_at_once([3])
        now += APART_S
        assert writer.commit_at_once([4])


async def test_a_failure_at_once_ends_the_log() -> None:
    """It is reported, nobody is woken, and nothing more is written."""
    disk, failures = QuickDisk(), list[Exception]()
    async with writing_at_once(disk, failures.append) as writer:
        disk.error = OSError("disk full")
        assert not writer.commit_at_once([1])
        assert [str(error) for error in failures] == ["disk full"]
        disk.error = None
        writer.add([1])
        wait = asyncio.create_task(writer.committed())
        assert not writer.commit_at_once([2])
        await writer.call(int)
        assert not wait.done()
        assert disk.groups == []
        wait.cancel()


def test_in_a_simulation_the_schedule_decides() -> None:
    """A write takes a turn of the loop there, so that others may come in between."""
    disk = QuickDisk()

    async def write(_: Any) -> None:
        async with writing_at_once(disk) as writer:
            assert not writer.commit_at_once([1])

    assert simulate(write).error is None
