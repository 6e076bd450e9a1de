"""Beginnings and ends: what is closed twice, used after its end, or never closed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from tests.testing.races.planting import MS, after, lock_if, race, steps, together


class Connection:
    """It is opened once and closed once."""

    def __init__(self, log: list["Connection"] | None = None) -> None:
        self.is_open = True
        if log is not None:
            log.append(self)

    def close(self) -> None:
        assert self.is_open, "closed twice"
        self.is_open = False

    def send(self) -> None:
        assert self.is_open, "used after its end"


@race
async def double_close(fixed: bool) -> None:
    """Two tasks see an open connection, say good-bye, and both close it."""
    connection, lock = Connection(), lock_if(fixed)

    async def close() -> None:
        async with lock:
            if connection.is_open:
                await steps(2)  # says good-bye to the server
                connection.close()

    await together(close(), after(3, close()))


@race
async def submitted_during_shutdown(fixed: bool) -> None:
    """A job is accepted while the pool still takes jobs, and queued when nobody works any more."""
    jobs: asyncio.Queue[str | None] = asyncio.Queue()
    accepting, done, accepted = True, list[str](), list[str]()

    async def submit(job: str) -> None:
        if not fixed and not accepting:
            return
        await steps()  # writes the job to a log
        if fixed and not accepting:
            return
        accepted.append(job)
        jobs.put_nowait(job)

    async def work() -> None:
        while (job := await jobs.get()) is not None:
            done.append(job)

    async def shut_down() -> None:
        nonlocal accepting
        await steps(3)
        accepting = False
        jobs.put_nowait(None)

    await together(work(), submit("a"), after(1, submit("b")), shut_down())
    assert done == accepted, f"accepted {accepted}, done {done}"


@race
async def reconnected_twice(fixed: bool) -> None:
    """Two tasks see that a connection is lost; each opens one, and one of the two stays open."""
    log: list[Connection] = []
    lock = lock_if(fixed)
    current = Connection(log)
    current.close()

    async def send(begins: float) -> None:
        nonlocal current
        if begins:
            await steps()
            await asyncio.sleep(begins)
        async with lock:
            if not current.is_open:
                await asyncio.sleep(2 * MS)
                current = Connection(log)
        current.send()

    await together(send(0), send(2 * MS))
    current.close()
    assert not any(connection.is_open for connection in log), "a connection is left open"


@race
async def generator_closed_by_another(fixed: bool) -> None:
    """A task closes an async generator that another task is just waiting in."""

    async def rows() -> AsyncIterator[int]:
        for row in range(3):
            await steps(2)
            yield row

    found = rows()
    reader_done = asyncio.Event()

    async def read() -> None:
        with suppress(StopAsyncIteration):
            await anext(found)
        reader_done.set()

    async def stop() -> None:
        if fixed:
            await reader_done.wait()
        await found.aclose()  # type: ignore[attr-defined]

    await together(read(), after(4, stop()))


@race
async def stopped_before_it_has_started(fixed: bool) -> None:
    """``stop`` finds nothing to stop, as ``start`` has not come that far; the service then runs."""
    running, stopping, lock = False, False, lock_if(fixed)

    async def start() -> None:
        nonlocal running
        async with lock:
            await steps(2)  # binds a port
            running = not (fixed and stopping)

    async def stop() -> None:
        nonlocal running, stopping
        stopping = True
        async with lock:
            if running:
                running = False

    await together(start(), after(3, stop()))
    assert not running, "it runs and nobody will stop it"


@race
async def last_user_closes(fixed: bool) -> None:
    """The last user closes a connection, and before that is done another user counts on it."""
    users, connection, lock = 0, Connection(), lock_if(fixed)

    async def use(hold: int) -> None:
        nonlocal users, connection
        async with lock:
            if not connection.is_open:
                connection = Connection()
            users += 1
        await steps(hold)
        connection.send()
        async with lock:
            users -= 1
            if users == 0:
                await steps()
                connection.close()

    await together(use(1), after(6, use(2)))


@race
async def taken_out_while_closing(fixed: bool) -> None:
    """A pool closes all connections that are in it, and one that is out comes back later."""
    log: list[Connection] = []
    idle, closed = [Connection(log), Connection(log)], False

    async def request() -> None:
        if closed:
            return
        connection = idle.pop()
        await steps(2)
        if fixed and closed:
            connection.close()
        else:
            idle.append(connection)

    async def close() -> None:
        nonlocal closed
        closed = True
        while idle:
            idle.pop().close()

    await together(request(), after(3, close()))
    assert not any(connection.is_open for connection in log), "a connection is left open"


@race
async def called_after_unsubscribing(fixed: bool) -> None:
    """An event is handed round, and a subscriber is called that has left in the meantime."""
    subscribers = {"log": Connection(), "page": Connection()}

    async def publish() -> None:
        for name, subscriber in list(subscribers.items()):
            await steps()
            if not fixed or name in subscribers:
                subscriber.send()

    async def leave() -> None:
        subscribers.pop("page").close()

    await together(publish(), after(3, leave()))


@race
async def accepted_while_draining(fixed: bool) -> None:
    """A server waits until no request is in flight; one was let in and was not counted yet."""
    database, active, draining = Connection(), 0, False

    async def request() -> None:
        nonlocal active
        if draining:
            return
        if fixed:
            active += 1
        await steps()  # reads who it is
        if not fixed:
            active += 1
        await steps(2)
        database.send()
        active -= 1

    async def drain() -> None:
        nonlocal draining
        draining = True
        while active:  # noqa: ASYNC110 - as such servers do
            await asyncio.sleep(MS)
        database.close()

    await together(request(), after(5, drain()))


@race
async def task_started_after_the_end(fixed: bool) -> None:
    """A scheduler cancels its tasks; one of them starts another while it is being cancelled."""
    tasks: set[asyncio.Task[None]] = set()
    ended = False

    def start(work: "asyncio.Future[None] | None", hold: int) -> None:
        if fixed and ended:
            return
        tasks.add(asyncio.create_task(run(hold)))

    async def run(hold: int) -> None:
        try:
            await steps(hold)
        finally:
            if hold < 100:
                start(None, 100 if not ended else 101)

    async def close() -> None:
        nonlocal ended
        ended = True
        for task in list(tasks):
            task.cancel()
        await asyncio.wait(list(tasks))

    start(None, 3)
    await steps(6)
    await close()
    left = [task for task in tasks if not task.done()]
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left)
    assert not left, "a task outlives its scheduler"


@race
async def reply_after_the_waiter_left(fixed: bool) -> None:
    """Replies are matched by their order; the reply to a request that was given up shifts them."""
    waiting: dict[int, asyncio.Future[int]] = {}
    loop = asyncio.get_running_loop()

    async def answer(number: int) -> None:
        await asyncio.sleep(2 * MS)
        asked = number if fixed else next(iter(waiting), 0)
        future = waiting.pop(asked, None)
        if future is not None and not future.done():
            future.set_result(number)

    async def request(number: int, begins: float, seconds: float) -> None:
        await asyncio.sleep(begins)
        future = waiting[number] = loop.create_future()
        answering = asyncio.create_task(answer(number))
        try:
            async with asyncio.timeout(seconds):
                assert await future == number, "the reply to another request"
        except TimeoutError:
            waiting.pop(number, None)
        await asyncio.wait([answering])

    await together(request(1, 0, 2.4 * MS), request(2, MS, 100 * MS))
