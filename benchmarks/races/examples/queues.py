"""Examples of queues between threads and tasks: janus, and culsans, which takes its place."""

import asyncio
from typing import Any

from benchmarks.races.examples.documented import MS, cancelled, ends, example

# Threads put without waiting here: a call in a thread is one step of a simulation.


@example("janus")
@example("culsans")
async def from_a_thread_in_order(queues: Any) -> None:
    """What a thread puts is what a task gets, in the same order; join() waits for all of it."""
    queue = queues.Queue()

    def produce() -> None:
        for number in range(5):
            queue.sync_q.put(number)

    async def consume() -> list[int]:
        got = []
        for _ in range(5):
            got.append(await queue.async_q.get())
            await asyncio.sleep(MS)
            queue.async_q.task_done()
        return got

    got, _ = await ends([consume(), asyncio.to_thread(produce)])
    assert got == list(range(5))
    await asyncio.wait_for(queue.async_q.join(), 1)
    await queue.aclose()


@example("janus")
@example("culsans")
async def a_getter_is_cancelled(queues: Any) -> None:
    """No item is lost when a task that waits in get() is cancelled."""
    queue = queues.Queue()

    async def put() -> None:
        for number in range(3):
            await asyncio.sleep(MS)
            await queue.async_q.put(number)

    async def get() -> None:
        got.append(await queue.async_q.get())

    got: list[int] = []
    getters = [asyncio.create_task(get()) for _ in range(2)]
    putting = asyncio.create_task(put())
    await cancelled(getters[0], MS)
    await putting
    await getters[1]
    while not queue.async_q.empty():
        got.append(queue.async_q.get_nowait())
    assert sorted(got) == [0, 1, 2]
    await queue.aclose()


@example("janus")
@example("culsans")
async def a_putter_is_cancelled(queues: Any) -> None:
    """A put() that is cancelled leaves its place to the next, and a bounded queue within it."""
    queue = queues.Queue(maxsize=1)

    async def put(number: int) -> int:
        await queue.async_q.put(number)
        return number

    putters = [asyncio.create_task(put(number)) for number in range(4)]

    async def consume() -> list[int]:
        got: list[int] = []
        while len(got) < 3:
            assert queue.async_q.qsize() <= 1
            got.append(await queue.async_q.get())
            await asyncio.sleep(MS)
        return got

    consumer = asyncio.create_task(consume())
    await cancelled(putters[2], MS)
    got = await asyncio.wait_for(consumer, 1)
    rest = [] if queue.async_q.empty() else [queue.async_q.get_nowait()]
    put_well = await ends(asyncio.wait_for(one, 1) for one in putters if not one.cancelled())
    assert sorted(got + rest) == sorted(put_well)
    await queue.aclose()


@example("janus")
@example("culsans")
async def closed_while_a_reader_waits(queues: Any) -> None:
    """A get() that waits ends with AsyncQueueShutDown when the queue is closed."""
    queue = queues.Queue()

    async def get() -> str:
        try:
            await queue.async_q.get()
        except queues.AsyncQueueShutDown:
            return "shut down"
        return "got"

    readers = [asyncio.create_task(get()) for _ in range(2)]
    await asyncio.sleep(MS)
    await queue.aclose()
    assert await ends(asyncio.wait_for(one, 1) for one in readers) == ["shut down"] * 2


@example("janus")
@example("culsans")
async def shut_down_with_items(queues: Any) -> None:
    """After shutdown() what is in the queue is still handed out, and then gets raise."""
    queue = queues.Queue()

    def produce() -> int:
        for number in range(5):
            try:
                queue.sync_q.put(number)
            except queues.SyncQueueShutDown:
                return number
        return 5

    async def consume() -> int:
        got = 0
        while True:
            try:
                await queue.async_q.get()
            except queues.AsyncQueueShutDown:
                return got
            got += 1

    async def shut_down() -> None:
        await asyncio.sleep(MS)
        queue.shutdown()

    produced, got, _ = await ends([asyncio.to_thread(produce), consume(), shut_down()])
    assert produced == got
    await queue.aclose()


@example("janus")
@example("culsans")
async def joined_by_two(queues: Any) -> None:
    """Two that wait in join() both go on when the last task is done, and none before."""
    queue = queues.Queue()
    for number in range(3):
        queue.sync_q.put(number)

    async def join() -> None:
        await queue.async_q.join()
        assert queue.async_q.unfinished_tasks == 0

    async def consume() -> None:
        while not queue.async_q.empty():
            await queue.async_q.get()
            await asyncio.sleep(MS)
            queue.async_q.task_done()

    await ends([join(), consume(), join(), consume()])
    await queue.aclose()
