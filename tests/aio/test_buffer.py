"""The bounded buffer between two sides of a stream."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaygraph.aio.buffer import Buffer
from tests.clock import VIRTUAL, run_virtually

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


async def turns(number: int = 10) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def read(buffer: Buffer[int], into: list[int]) -> None:
    while await buffer.filled():
        into.append(buffer.take())


async def test_items_come_out_in_the_order_they_went_in() -> None:
    """First in, first out, and the end of the stream after the last."""
    buffer, got = Buffer[int](3), list[int]()
    reader = asyncio.create_task(read(buffer, got))
    for number in range(10):
        await buffer.put(number)
    buffer.close()
    await reader
    assert got == list(range(10))


async def test_a_single_writer_never_holds_more_than_the_size() -> None:
    """The writer waits when the buffer is full."""
    buffer, written = Buffer[int](3), list[int]()

    async def write() -> None:
        for number in range(10):
            await buffer.put(number)
            written.append(number)

    writer = asyncio.create_task(write())
    await turns()
    assert len(buffer.items) == 3
    assert written == [0, 1]  # the third waits, put but not yet released
    buffer.take()
    await turns()
    assert len(buffer.items) == 3
    writer.cancel()
    await turns()


async def test_several_writers_never_hold_more_than_the_size() -> None:
    """However many writers there are, no more items wait than the buffer's size."""
    buffer = Buffer[int](3)
    writers = [asyncio.create_task(buffer.put(number)) for number in range(8)]
    await turns()
    most = len(buffer.items)
    got: list[int] = []
    reader = asyncio.create_task(read(buffer, got))
    await asyncio.gather(*writers)
    buffer.close()
    await reader
    assert sorted(got) == list(range(8))
    assert most == 3


async def test_neither_side_suspends_while_it_can_go_on() -> None:
    """Putting into room and taking what is there cost no turn of the loop."""
    buffer = Buffer[int](3)
    with pytest.raises(StopIteration):
        buffer.put(1).send(None)
    with pytest.raises(StopIteration):
        buffer.filled().send(None)
    assert buffer.take() == 1


async def test_close_wakes_every_reader() -> None:
    """Readers that wait for an item learn that there will be none."""
    buffer = Buffer[int](3)
    readers = [asyncio.create_task(buffer.filled()) for _ in range(3)]
    await turns()
    buffer.close()
    assert await asyncio.gather(*readers) == [False] * 3


async def test_close_leaves_the_items_to_be_taken() -> None:
    """What was put before the end is read before the end."""
    buffer, got = Buffer[int](3), list[int]()
    await buffer.put(1)
    await buffer.put(2)
    buffer.close()
    await read(buffer, got)
    assert got == [1, 2]


async def test_close_frees_a_writer_that_waits_for_room() -> None:
    """A writer does not wait for readers that will not come."""
    buffer = Buffer[int](1)
    writer = asyncio.create_task(buffer.put(1))
    await turns()
    assert not writer.done()
    buffer.close()
    await writer


async def test_a_cancelled_reader_passes_its_turn_on() -> None:
    """Woken for an item and cancelled at once: the next reader gets the item."""
    buffer, got = Buffer[int](3), list[int]()
    first = asyncio.create_task(buffer.filled())
    await turns()
    second = asyncio.create_task(read(buffer, got))
    await turns()
    await buffer.put(7)
    first.cancel()
    buffer.close()
    await second
    assert first.cancelled()
    assert got == [7]


async def test_a_cancelled_writer_adds_its_item_all_the_same() -> None:
    """Its current items are accounted for with the others."""
    buffer = Buffer[int](1)
    buffer.items.append(1)
    writer = asyncio.create_task(buffer.put(2))
    await turns()
    writer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writer
    assert list(buffer.items) == [1, 2]


async def test_a_cancelled_writer_passes_its_turn_on() -> None:
    """Woken for room and cancelled at once: the next writer goes on."""
    buffer = Buffer[int](1)
    await_room = [asyncio.create_task(buffer.room()) for _ in range(2)]
    buffer.items.append(0)
    await turns()
    buffer.take()
    await_room[0].cancel()
    await asyncio.wait(await_room)
    assert await_room[0].cancelled()
    assert await_room[1].exception() is None


@given(
    st.integers(1, 4),
    st.lists(st.lists(st.integers(0, 3), max_size=8), min_size=1, max_size=4),
    st.lists(st.integers(0, 3), min_size=1, max_size=3),
)
def test_every_item_is_read_once_whatever_the_speeds(
    size: int, writers: list[list[int]], readers: list[int]
) -> None:
    """Several writers and readers at random speeds lose and double nothing."""

    async def play() -> None:
        buffer, got = Buffer[tuple[int, int]](size), list[tuple[int, int]]()

        async def write(number: int, delays: list[int]) -> None:
            for index, delay in enumerate(delays):
                await asyncio.sleep(delay)
                await buffer.put((number, index))

        async def take(delay: int) -> None:
            while await buffer.filled():
                got.append(buffer.take())
                await asyncio.sleep(delay)

        reading = [asyncio.create_task(take(delay)) for delay in readers]
        await asyncio.gather(*(write(*numbered) for numbered in enumerate(writers)))
        buffer.close()
        await asyncio.gather(*reading)
        assert len(got) == len(set(got)) == sum(map(len, writers))
        for number in range(len(writers)):
            if len(readers) == 1:
                mine = [index for who, index in got if who == number]
                assert mine == sorted(mine)

    run_virtually(play())


async def test_many_items_wake_as_many_readers() -> None:
    """Each of them finds one; so does each writer for whom there is room."""
    buffer = Buffer[int](2)
    taken: list[int] = []

    async def read() -> None:
        if await buffer.filled():
            taken.append(buffer.take())

    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(read())
        await turns()
        buffer.extend([1, 2])
    assert taken == [1, 2]
    buffer.extend([3, 4])
    async with asyncio.TaskGroup() as group:
        for number in (5, 6):
            group.create_task(buffer.put(number))
        await turns()
        assert buffer.take_many(1) == [3]
        await turns()
        assert buffer.take_many(9) == [4, 5]
        await turns()
        assert buffer.take_many(9) == [6]
