"""Waits that never end: wake-ups that come too early, and locks in two orders."""

import asyncio

from tests.testing.races.planting import MS, after, race, steps, together


@race
async def event_cleared_too_late(fixed: bool) -> None:
    """A worker clears its event after its work, although an item has come in the meantime."""
    event, todo, done = asyncio.Event(), list[int](), list[int]()

    async def work() -> None:
        while len(done) < 2:
            await event.wait()
            if fixed:
                event.clear()
            taken, todo[:] = list(todo), []
            await steps(2)
            done.extend(taken)
            if not fixed:
                event.clear()

    async def add(item: int) -> None:
        todo.append(item)
        event.set()

    await together(work(), add(1), after(5, add(2)))


@race
async def if_in_place_of_while(fixed: bool) -> None:
    """A consumer is woken for an item that another has taken before it gets its turn."""
    condition, items, taken = asyncio.Condition(), list[int](), list[int]()

    async def consume() -> None:
        async with condition:
            if fixed:
                while not items:
                    await condition.wait()
            elif not items:
                await condition.wait()
            taken.append(items.pop())

    async def produce(item: int) -> None:
        async with condition:
            items.append(item)
            condition.notify()

    await together(consume(), after(1, produce(1)), after(5, consume()), after(9, produce(2)))
    assert sorted(taken) == [1, 2], taken


@race
async def notify_wakes_the_wrong_one(fixed: bool) -> None:
    """One condition for two kinds of waiters: ``notify`` wakes one that cannot use it."""
    condition, ready, ended = asyncio.Condition(), set[str](), list[str]()

    async def wait_for(what: str) -> None:
        async with condition:
            await condition.wait_for(lambda: what in ready)
            ended.append(what)

    async def provide(what: str) -> None:
        async with condition:
            ready.add(what)
            if fixed:
                condition.notify_all()
            else:
                condition.notify()

    await together(
        wait_for("tea"), after(1, wait_for("milk")), after(3, provide("tea")),
        after(8, provide("milk")),
    )  # fmt: skip


@race
async def published_before_the_subscription(fixed: bool) -> None:
    """A message is published before the subscriber is there, and is for nobody."""
    queues: list[asyncio.Queue[str]] = []
    subscribed = asyncio.Event()

    async def subscribe() -> None:
        await steps(2)  # asks the broker
        queue: asyncio.Queue[str] = asyncio.Queue()
        queues.append(queue)
        subscribed.set()
        await queue.get()

    async def publish() -> None:
        await steps(4)
        if fixed:
            await subscribed.wait()
        for queue in queues:
            queue.put_nowait("news")

    await together(subscribe(), publish())


@race
async def pulse(fixed: bool) -> None:
    """``set`` and ``clear`` at once wake only those who wait already."""
    go, gone = asyncio.Event(), False

    async def waits() -> None:
        await steps(2)
        if not (fixed and gone):
            await go.wait()

    async def starts() -> None:
        nonlocal gone
        await steps(4)
        gone = True
        go.set()
        go.clear()

    await together(waits(), starts())


@race
async def locks_in_two_orders(fixed: bool) -> None:
    """Two tasks take the same two locks, each in its own order."""
    here, there = asyncio.Lock(), asyncio.Lock()

    async def move(first: asyncio.Lock, second: asyncio.Lock) -> None:
        async with first:
            await steps()
            async with second:
                await steps()

    await together(move(here, there), after(4, move(*((here, there) if fixed else (there, here)))))


@race
async def join_without_task_done(fixed: bool) -> None:
    """A worker is cancelled between ``get`` and ``task_done``, and ``join`` waits for ever."""
    queue: asyncio.Queue[int] = asyncio.Queue()

    async def work() -> None:
        while True:
            await queue.get()
            try:
                await steps()
            except asyncio.CancelledError:
                if fixed:
                    queue.task_done()
                raise
            queue.task_done()

    worker = asyncio.create_task(work())
    queue.put_nowait(1)
    await steps(4)
    worker.cancel()
    await asyncio.wait([worker])
    if fixed:
        while not queue.empty():  # the worker was cancelled before it began
            queue.get_nowait()
            queue.task_done()
    await queue.join()


@race
async def two_permits_each(fixed: bool) -> None:
    """Every task holds one of two connections and waits for a second one."""
    pool = asyncio.Semaphore(2)
    both = asyncio.Lock()

    async def copy() -> None:
        if fixed:
            async with both:
                await pool.acquire()
                await pool.acquire()
        else:
            await pool.acquire()
            await steps()
            await pool.acquire()
        await steps()
        pool.release()
        pool.release()

    await together(copy(), after(4, copy()))


@race
async def worker_puts_into_its_own_queue(fixed: bool) -> None:
    """A worker puts a job back into its bounded queue, which is full, and waits for itself."""
    queue: asyncio.Queue[int] = asyncio.Queue(0 if fixed else 1)
    done: list[int] = []

    async def work() -> None:
        tried: set[int] = set()
        while len(done) < 4:
            job = await queue.get()
            await steps(2)
            if job == 2 and job not in tried:
                tried.add(job)
                await queue.put(job)
            else:
                done.append(job)

    async def produce() -> None:
        for job in range(4):
            await queue.put(job)
            await steps(5)

    await together(work(), produce())


@race
async def end_before_the_last_item(fixed: bool) -> None:
    """The producer that is done first ends the queue; what the other still has is lost."""
    queue: asyncio.Queue[int | None] = asyncio.Queue()
    left, got = 2, list[int]()

    async def produce(first: int, pauses: int) -> None:
        nonlocal left
        for item in (first, first + 1):
            await steps(pauses)
            queue.put_nowait(item)
        left -= 1
        if first == 2 if not fixed else left == 0:
            queue.put_nowait(None)

    async def consume() -> None:
        while (item := await queue.get()) is not None:
            got.append(item)

    await together(consume(), produce(0, 2), produce(2, 3))
    assert sorted(got) == [0, 1, 2, 3], got


@race
async def waiter_replaced(fixed: bool) -> None:
    """There is room for one waiter; a second replaces the first, which then waits for ever."""
    waiters: list[asyncio.Future[None]] = []
    ready = False

    async def wait() -> None:
        if ready:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not fixed:
            waiters.clear()
        waiters.append(future)
        await future

    async def wake() -> None:
        nonlocal ready
        ready = True
        for future in waiters:
            future.set_result(None)

    await together(wait(), after(3, wake()), after(5, wait()))


@race
async def readers_let_a_writer_in(fixed: bool) -> None:
    """A writer looks that nobody reads, waits for the disk, and writes while somebody reads."""
    readers, writing, lock = 0, False, asyncio.Lock()

    async def read() -> None:
        nonlocal readers
        if fixed:
            await lock.acquire()
        readers += 1
        await steps(2)
        readers -= 1
        assert not writing, "read while it is written"
        if fixed:
            lock.release()

    async def write() -> None:
        nonlocal writing
        if fixed:
            await lock.acquire()
        while readers:
            await steps()
        writing = True
        await steps(2)
        writing = False
        if fixed:
            lock.release()

    await together(write(), after(4, read()))


@race
async def latch_used_again_too_soon(fixed: bool) -> None:
    """A fast task resets a latch for the second round before a slow one has passed the first."""
    arrived, rounds, opened = 0, 0, asyncio.Event()
    latches = [asyncio.Event(), asyncio.Event()]

    async def meet(number: int) -> None:
        nonlocal arrived, rounds
        latch = latches[number] if fixed else opened
        arrived += 1
        if arrived == 2 * (number + 1):
            latch.set()
        while not latch.is_set():
            await latch.wait()
            if not latch.is_set() and not fixed:
                await steps()  # woken, and shut again: waits once more

    async def walk(pauses: int) -> None:
        for number in range(2):
            await meet(number)
            await steps(pauses)
            if not fixed and number == 0:
                opened.clear()

    await together(walk(2), after(1, walk(2)))


@race
async def second_of_two_results_dropped(fixed: bool) -> None:
    """``wait(FIRST_COMPLETED)`` returns two tasks when both have ended; one result is used."""
    results: list[int] = []

    async def ask(number: int, pauses: int) -> int:
        await steps(pauses)
        return number

    pending = {asyncio.create_task(ask(1, 2)), asyncio.create_task(ask(2, 4))}
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        if fixed:
            results += [task.result() for task in done]
        else:
            results.append(done.pop().result())
    assert sorted(results) == [1, 2], results


@race
async def waits_for_what_is_over(fixed: bool) -> None:
    """A task sees that a job runs, and then waits for a notification that came in between."""
    running, ended = True, asyncio.Condition()

    async def job() -> None:
        nonlocal running
        await asyncio.sleep(2 * MS)
        async with ended:
            running = False
            ended.notify_all()

    async def wait() -> None:
        if fixed:
            async with ended:
                await ended.wait_for(lambda: not running)
        elif running:
            await asyncio.sleep(MS)  # tells the user that it waits
            async with ended:
                await ended.wait()

    async def later() -> None:
        await steps()
        await wait()

    await together(job(), later())
