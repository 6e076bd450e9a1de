"""Cancellation and timeouts that come at the wrong step."""

import asyncio
from contextlib import suppress

from tests.testing.races.planting import MS, race, steps, together


class Pool:
    """Two connections; how many of them are out."""

    def __init__(self) -> None:
        self.out = 0

    async def take(self, seconds: float) -> "Pool":
        await asyncio.sleep(seconds)
        self.out += 1
        return self

    def give_back(self) -> None:
        self.out -= 1


@race
async def consumer_loses_an_item(fixed: bool) -> None:
    """A consumer is cancelled after it took an item and before the item was stored."""
    queue: asyncio.Queue[int] = asyncio.Queue()
    stored: list[int] = []

    async def consume() -> None:
        while True:
            item = await queue.get()
            try:
                await steps()
            except asyncio.CancelledError:
                if fixed:
                    queue.put_nowait(item)
                raise
            stored.append(item)

    async def produce() -> None:
        consumer = asyncio.create_task(consume())
        await steps()
        queue.put_nowait(1)
        await steps(3)
        consumer.cancel()
        await asyncio.wait([consumer])

    await produce()
    assert stored == [1] or queue.qsize() == 1, "the item is nowhere"


@race
async def permit_leaks(fixed: bool) -> None:
    """A permit is given back at the end of the work, which a cancelled task never reaches."""
    permits = asyncio.Semaphore(1)

    async def work() -> None:
        await permits.acquire()
        try:
            await steps(2)
        except asyncio.CancelledError:
            if fixed:
                permits.release()
            raise
        permits.release()

    task = asyncio.create_task(work())
    await steps(4)
    task.cancel()
    await asyncio.wait([task])
    assert not permits.locked(), "the permit is lost"


@race
async def timeout_and_result_at_once(fixed: bool) -> None:
    """The connection is there, and so is the timeout: nobody gives the connection back."""
    pool = Pool()

    async def take() -> Pool:
        connection = await pool.take(MS)
        await asyncio.sleep(MS / 4)  # checks that it is alive
        return connection

    async def take_safely() -> Pool:
        connection = await pool.take(MS)
        try:
            await asyncio.sleep(MS / 4)
        except asyncio.CancelledError:
            connection.give_back()
            raise
        return connection

    try:
        async with asyncio.timeout(1.7 * MS):
            connection = await (take_safely() if fixed else take())
        connection.give_back()
    except TimeoutError:
        pass
    assert pool.out == 0, "a connection is out for ever"


@race
async def cleanup_is_cancelled(fixed: bool) -> None:
    """A sibling fails while a task cleans up after its work, and the group cancels the cleanup."""
    written: list[str] = []
    flushes: list[asyncio.Task[None]] = []
    began = False

    async def flush() -> None:
        await steps()
        written.append("buffer")

    async def writes() -> None:
        nonlocal began
        began = True
        try:
            await steps()
        finally:
            if fixed:
                flushes.append(asyncio.create_task(flush()))
                await asyncio.shield(flushes[0])
            else:
                await flush()

    async def fails() -> None:
        await steps(4)
        raise ValueError

    with suppress(ExceptionGroup):
        await together(writes(), fails())
    if flushes:
        await flushes[0]
    assert written == ["buffer"] or not began, "what was written is lost"


@race
async def cancellation_is_swallowed(fixed: bool) -> None:
    """``suppress(CancelledError)`` around a child also swallows the cancellation of the parent."""

    children: list[asyncio.Task[None]] = []

    async def child() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await steps()

    async def parent() -> None:
        task = asyncio.create_task(child())
        children.append(task)
        await steps()
        task.cancel()
        if fixed:
            await asyncio.wait([task])
        else:
            with suppress(asyncio.CancelledError):
                await task
        await asyncio.Event().wait()

    task = asyncio.create_task(parent())
    await steps(6)
    task.cancel()
    await asyncio.wait([task])
    for child_task in children:
        child_task.cancel()
        await asyncio.wait([child_task])


@race
async def release_of_anothers_lock(fixed: bool) -> None:
    """A task that is cancelled while it waits for a lock releases that lock all the same."""
    lock, inside, most = asyncio.Lock(), 0, 0

    async def enter(hold: int) -> None:
        nonlocal inside, most
        acquired = False
        try:
            await lock.acquire()
            acquired = True
            inside += 1
            most = max(most, inside)
            await steps(hold)
        finally:
            inside -= acquired
            if (acquired or not fixed) and lock.locked():
                lock.release()

    async def impatient() -> None:
        task = asyncio.create_task(enter(1))
        await steps(4)
        task.cancel()
        await asyncio.wait([task])

    await together(enter(2), impatient(), enter(2))
    assert most == 1, f"{most} tasks hold the lock"


@race
async def gather_leaves_siblings(fixed: bool) -> None:
    """``gather`` fails with its first error; its other tasks go on and write to what is closed."""
    closed, wrote_late = False, False

    async def write() -> None:
        nonlocal wrote_late
        await asyncio.sleep(2 * MS)
        wrote_late = wrote_late or closed

    async def fail() -> None:
        await asyncio.sleep(2 * MS)
        raise ValueError

    tasks = [asyncio.ensure_future(work) for work in (write(), fail())]
    with suppress(ValueError):
        await asyncio.gather(*tasks)
    if fixed:
        await asyncio.wait(tasks)
    closed = True
    await asyncio.wait(tasks)
    assert not wrote_late, "written after the end"


@race
async def future_set_twice(fixed: bool) -> None:
    """The reply and the timeout each set the same future, and the second finds it done."""
    reply: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def answers() -> None:
        await asyncio.sleep(2 * MS)
        if not (fixed and reply.done()):
            reply.set_result("pong")

    async def expires() -> None:
        await asyncio.sleep(2 * MS)
        await steps(2)
        if not (fixed and reply.done()):
            reply.set_exception(TimeoutError())

    timer = asyncio.create_task(expires())
    answer = asyncio.create_task(answers())
    with suppress(TimeoutError):
        await reply
        timer.cancel()
    await answer
    await asyncio.wait([timer])
    assert timer.cancelled() or timer.exception() is None, timer.exception()


@race
async def shared_call_cancelled(fixed: bool) -> None:
    """Two callers await one task; the one that gives up cancels it for the other."""
    call = asyncio.create_task(asyncio.sleep(2 * MS, "value"))

    async def caller(seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await (asyncio.shield(call) if fixed else call)

    patient = asyncio.create_task(caller(100 * MS))
    hasty = asyncio.create_task(caller(2.4 * MS))
    await asyncio.wait([patient, hasty])
    await asyncio.wait([call])
    assert not patient.cancelled(), "the patient caller was cancelled"


@race
async def retry_of_what_goes_on(fixed: bool) -> None:
    """A call that timed out goes on behind its shield, and the retry does its work once more."""
    commits = 0

    async def commit() -> None:
        nonlocal commits
        await asyncio.sleep(2 * MS)
        commits += 1

    first = asyncio.create_task(commit())
    try:
        async with asyncio.timeout(2.4 * MS):
            await asyncio.shield(first)
    except TimeoutError:
        await (first if fixed else commit())
    await asyncio.wait([first])
    assert commits == 1, f"{commits} commits"


@race
async def cancelled_before_its_first_step(fixed: bool) -> None:
    """A task that is cancelled before it begins never reaches the ``finally`` that cleans up."""
    pool = Pool()
    await pool.take(0)

    async def use() -> None:
        try:
            await steps(2)
        finally:
            pool.give_back()

    async def stops(task: "asyncio.Task[None]") -> None:
        await steps()
        task.cancel()

    async def begins() -> None:
        await steps()
        if fixed:
            task = asyncio.create_task(steps(2))
            task.add_done_callback(lambda _: pool.give_back())
        else:
            task = asyncio.create_task(use())
        stopper = asyncio.create_task(stops(task))
        await asyncio.wait([task, stopper])

    await begins()
    assert pool.out == 0, "a connection is out for ever"


@race
async def timeout_hits_the_next_wait(fixed: bool) -> None:
    """A timer that cancels a task is stopped too late, and hits what the task does next."""
    task = asyncio.current_task()
    assert task is not None
    saved = False

    async def watch(doing: asyncio.Event) -> None:
        await steps(4)
        if not (fixed and doing.is_set()):
            task.cancel()

    async def works() -> None:
        nonlocal saved
        done = asyncio.Event()
        watcher = asyncio.create_task(watch(done))
        try:
            await steps(2)
            done.set()
        except asyncio.CancelledError:
            task.uncancel()
            done.set()
        await steps()
        saved = True
        watcher.cancel()
        await asyncio.wait([watcher])

    with suppress(asyncio.CancelledError):
        await works()
    assert saved, "cancelled outside of the timeout"
