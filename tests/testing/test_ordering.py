"""Which steps have an order: what is awaited, locks, queues, and not that one came later."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from kaygraph.testing import explore, watch

MS = 0.001


class Box:
    """What two tasks write."""

    value = 0


def found_in(program: Callable[[Box], Awaitable[object]], seeds: int = 60) -> int:
    """Return in how many seeds two writes had no order."""

    async def main() -> None:
        await program(watch(Box()))

    found = explore(main, seeds=seeds)
    assert all("Box.value is written by two tasks" in str(failure.error) for failure in found)
    return len(found)


async def both(*work: Awaitable[Any]) -> None:
    """Run some work in tasks of their own."""
    async with asyncio.TaskGroup() as group:
        for one in work:
            group.create_task(_awaited(one))


async def _awaited(work: Awaitable[Any]) -> None:
    await work


ORDERED: list[Callable[[Box], Awaitable[object]]] = []


def ordered(program: Any) -> Any:
    """Add a program whose writes have an order."""
    ORDERED.append(program)
    return program


@ordered
async def one_begins_the_other(box: Box) -> None:
    async def child() -> None:
        box.value = 2

    box.value = 1
    await asyncio.create_task(child())


@ordered
async def a_task_that_has_ended_is_awaited(box: Box) -> None:
    async def child() -> None:
        box.value = 1

    task = asyncio.create_task(child())
    await asyncio.sleep(1)
    await task
    box.value = 2


@ordered
async def a_task_is_seen_to_have_ended(box: Box) -> None:
    async def child() -> None:
        box.value = 1

    task = asyncio.create_task(child())
    while not task.done():  # noqa: ASYNC110
        await asyncio.sleep(1)
    box.value = 2


@ordered
async def a_group_has_ended_before_it_is_left(box: Box) -> None:
    async def child() -> None:
        box.value = 1

    async with asyncio.TaskGroup() as group:
        group.create_task(child())
        await asyncio.sleep(1)
    box.value = 2


@ordered
async def a_group_of_anyio_has_ended_before_it_is_left(box: Box) -> None:
    async def child() -> None:
        box.value = 1

    async with anyio.create_task_group() as group:
        group.start_soon(child)
        await asyncio.sleep(1)
    box.value = 2


@ordered
async def gathered(box: Box) -> None:
    async def child() -> None:
        box.value = 1

    gathering = asyncio.gather(child(), asyncio.sleep(MS))
    await asyncio.sleep(1)
    await gathering
    box.value = 2


@ordered
async def waited_for_with_a_timeout(box: Box) -> None:
    async def child() -> None:
        box.value = 1

    await asyncio.wait_for(child(), 1)
    await asyncio.wait([asyncio.create_task(child())])
    for done in asyncio.as_completed([child()]):
        await done
    await asyncio.shield(child())
    box.value = 2


@ordered
async def a_task_that_was_cancelled(box: Box) -> None:
    async def child() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            box.value = 1

    task = asyncio.create_task(child())
    await asyncio.sleep(1)
    box.value = 0
    task.cancel()
    await asyncio.sleep(1)
    assert task.cancelled()
    box.value = 2


def locked_by(guard: Callable[[], Any]) -> Any:
    """Return a program in which two tasks write within a lock."""

    async def program(box: Box) -> None:
        lock = guard()

        async def child(number: int) -> None:
            await asyncio.sleep(number * MS)
            async with lock:
                box.value = number
                await asyncio.sleep(MS)
                box.value = number

        await both(child(0), child(1), child(10))

    program.__name__ = f"locked_by_{guard.__module__}_{guard.__qualname__}"
    return ordered(program)


def anyio_semaphore() -> anyio.Semaphore:
    return anyio.Semaphore(1)


def anyio_limiter() -> anyio.CapacityLimiter:
    return anyio.CapacityLimiter(1)


for made in (
    asyncio.Lock, asyncio.Semaphore, asyncio.BoundedSemaphore, asyncio.Condition, anyio.Lock,
    anyio.Condition, anyio_semaphore, anyio_limiter,
):  # fmt: skip
    locked_by(made)


@ordered
async def an_event_is_set(box: Box) -> None:
    event = asyncio.Event()

    async def sets() -> None:
        box.value = 1
        event.set()

    async def waits(seconds: float) -> None:
        await asyncio.sleep(seconds)
        await event.wait()
        assert event.is_set()

    async def writes() -> None:
        await waits(MS)
        box.value = 2

    await both(sets(), waits(0), writes())


@ordered
async def an_item_is_taken_from_a_queue(box: Box) -> None:
    queue: asyncio.Queue[int] = asyncio.Queue()

    async def puts() -> None:
        box.value = 1
        await queue.put(1)

    async def takes() -> None:
        await asyncio.sleep(MS)
        await queue.get()
        box.value = 2
        queue.task_done()

    async def joins() -> None:
        await asyncio.sleep(1)
        await queue.join()
        box.value = 3

    await both(puts(), takes(), joins())


@ordered
async def an_item_is_taken_from_a_stream_of_anyio(box: Box) -> None:
    send, receive = anyio.create_memory_object_stream[int](5)

    async def puts() -> None:
        box.value = 1
        await send.send(1)

    async def takes() -> None:
        await asyncio.sleep(MS)
        await receive.receive()
        box.value = 2

    async with send, receive:
        await both(puts(), takes())


@ordered
async def a_future_gets_its_result(box: Box) -> None:
    future = asyncio.get_running_loop().create_future()

    async def sets() -> None:
        box.value = 1
        future.set_result(1)

    async def waits() -> None:
        await asyncio.sleep(MS)
        await future
        box.value = 2

    await both(sets(), waits())


@ordered
async def a_condition_is_notified(box: Box) -> None:
    condition = asyncio.Condition()

    async def notifies() -> None:
        async with condition:
            box.value = 1
            condition.notify_all()

    async def waits() -> None:
        async with condition:
            await condition.wait_for(lambda: box.value)
            box.value = 2

    await both(notifies(), waits())


@ordered
async def a_barrier_is_passed(box: Box) -> None:
    barrier = asyncio.Barrier(2)

    async def before() -> None:
        box.value = 1
        await barrier.wait()

    async def after() -> None:
        await asyncio.sleep(MS)
        await barrier.wait()
        box.value = 2

    await both(before(), after())


@ordered
async def a_call_in_a_thread(box: Box) -> None:
    def call(number: int) -> None:
        box.value = number

    box.value = 1
    await asyncio.to_thread(call, 2)
    box.value = 3
    await anyio.to_thread.run_sync(call, 4)
    box.value = 5


@ordered
async def a_callback_and_what_it_wakes(box: Box) -> None:
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def call() -> None:
        box.value = 2
        done.set()

    box.value = 1
    loop.call_later(MS, call)
    await done.wait()
    box.value = 3


@ordered
async def an_answer_on_a_connection(box: Box) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        box.value = 2
        writer.write(b"answer\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "localhost", 80)
    reader, writer = await asyncio.open_connection("localhost", 80)
    box.value = 1
    writer.write(b"question\n")
    await reader.readline()
    box.value = 3
    writer.close()
    server.close()


@pytest.mark.parametrize("program", ORDERED, ids=lambda program: program.__name__)
def test_an_order_is_seen(program: Any) -> None:
    """Whether or not somebody had to wait."""
    assert found_in(program) == 0


def test_what_is_watched_by_a_task_is_ordered_by_the_group_that_it_was_begun_in() -> None:
    """Clocks are kept from then on: for tasks that were begun before, too."""

    async def main() -> None:
        box = Box()

        async def child() -> None:
            watch(box).value = 1

        task = asyncio.create_task(child())
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(MS))
        await asyncio.sleep(1)
        await task
        box.value = 2

    assert not (found := explore(main, seeds=60)), str(found)


def test_a_condition_that_was_made_before_anything_was_watched_gives_an_order() -> None:
    """Where it is entered, left and waited for."""

    async def main() -> None:
        condition = asyncio.Condition()
        box = watch(Box())

        async def waits() -> None:
            async with condition:
                box.value = 1
                await condition.wait_for(lambda: box.value == 2)
                box.value = 3

        async def notifies() -> None:
            await asyncio.sleep(MS)
            async with condition:
                box.value = 2
                condition.notify_all()
            await asyncio.sleep(MS)
            async with condition:
                box.value = 4

        await both(waits(), notifies())

    assert not (found := explore(main, seeds=60)), str(found)


# --- no order -------------------------------------------------------------------------------------


def apart(*, within: Callable[[], Any] | None = None) -> Any:
    """Return a program in which two tasks write, one long after the other."""

    async def program(box: Box) -> None:
        async def child(number: int) -> None:
            await asyncio.sleep(number)
            if within is not None:
                await within()
            box.value = number

        await both(child(0), child(1))

    return program


def test_that_one_came_later_is_not_an_order() -> None:
    """By a timer of a second: every seed says so."""
    assert found_in(apart()) == 60


def test_a_lock_that_was_given_back_before_the_write_gives_no_order() -> None:
    """What is written after it may come at any time."""

    async def program(box: Box) -> None:
        lock = asyncio.Lock()

        async def child(number: int) -> None:
            async with lock:
                await asyncio.sleep(MS)
            box.value = number

        await both(child(1), child(2))

    assert found_in(program) == 60


def test_a_semaphore_of_two_permits_gives_no_order_to_those_who_have_one_at_the_same_time() -> None:
    """Which is what some seeds do."""

    async def program(box: Box) -> None:
        permits = asyncio.Semaphore(2)

        async def child(number: int) -> None:
            async with permits:
                await asyncio.sleep(MS)
                box.value = number

        await both(child(1), child(2))

    assert found_in(program) == 60


def test_two_calls_in_threads_and_a_callback_have_no_order() -> None:
    """Nor have they one with the task that has begun them and does not wait."""

    async def threads(box: Box) -> None:
        def call() -> None:
            box.value += 1

        await asyncio.gather(asyncio.to_thread(call), asyncio.to_thread(call))

    async def beginner(box: Box) -> None:
        def call() -> None:
            box.value = 1

        thread = asyncio.get_running_loop().run_in_executor(None, call)
        box.value = 2
        await thread

    async def callback(box: Box) -> None:
        def call() -> None:
            box.value = 1

        asyncio.get_running_loop().call_later(MS, call)
        await asyncio.sleep(1)
        box.value = 2

    assert found_in(threads) == 60
    assert found_in(beginner) == 60
    assert found_in(callback) == 60


def test_two_requests_to_a_server_have_no_order() -> None:
    """Each connection is one for itself."""

    async def program(box: Box) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            box.value = int(await reader.readline())
            writer.close()

        async def ask(number: int) -> None:
            reader, writer = await asyncio.open_connection("localhost", 80)
            writer.write(b"%d\n" % number)
            await reader.read()
            writer.close()

        server = await asyncio.start_server(serve, "localhost", 80)
        await both(ask(1), ask(2))
        server.close()

    assert found_in(program) > 0


def test_a_program_that_watches_nothing_keeps_no_clocks() -> None:
    """Its classes are those of asyncio."""
    classes = []

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        classes.append((loop.ordering, type(loop.create_future()), vars(asyncio.Event)["set"]))

    event_set = vars(asyncio.Event)["set"]
    explore(main, seeds=1)
    assert classes == [(None, asyncio.Future, event_set)]

    async def watches() -> None:
        watch(Box())
        assert vars(asyncio.Event)["set"] is not event_set

    assert not explore(watches, seeds=1)
    assert vars(asyncio.Event)["set"] is event_set
    assert "__aenter__" not in vars(asyncio.Condition)
