"""Time, threads and I/O: what comes a little earlier or later than it did at first."""

import asyncio
import time

from tests.testing.races.planting import MS, race, steps, together


@race
async def expires_between_check_and_use(fixed: bool) -> None:
    """An entry is there when it is looked for, and has expired when it is read."""
    cache = {"key": 1}

    async def expire() -> None:
        await asyncio.sleep(3 * MS)
        cache.pop("key", None)

    async def read() -> None:
        await asyncio.sleep(MS)
        if fixed:
            cache.get("key")
        elif "key" in cache:
            await asyncio.sleep(MS)
            await steps(2)
            cache["key"]

    await together(expire(), read())


@race
async def sleep_in_place_of_an_event(fixed: bool) -> None:
    """A task sleeps for as long as another "surely" needs."""
    ready, started = False, asyncio.Event()

    async def server() -> None:
        nonlocal ready
        await asyncio.sleep(2 * MS)
        ready = True
        started.set()

    async def client() -> None:
        if fixed:
            await started.wait()
        else:
            await asyncio.sleep(2.2 * MS)
        assert ready, "connection refused"

    await together(server(), client())


@race
async def heartbeat_and_watchdog(fixed: bool) -> None:
    """The watchdog waits hardly longer than the time between two beats, and declares a death."""
    last, dead, stop = 0.0, False, False
    loop = asyncio.get_running_loop()

    async def beat() -> None:
        nonlocal last, stop
        for _ in range(5):
            last = loop.time()
            await asyncio.sleep(2 * MS)
        stop = True

    async def watch() -> None:
        nonlocal dead
        while not stop:
            seen = last
            await asyncio.sleep(20 * MS if fixed else 2 * MS)
            await steps()
            if last == seen and not stop:
                dead = True
                return

    await together(beat(), watch())
    assert not dead, "declared dead, and alive"


@race
async def debounce(fixed: bool) -> None:
    """A key stops the timer that would save, but the timer has fired and the save has begun."""
    saved: list[tuple[int, int]] = []
    version = 0
    timer: asyncio.TimerHandle | None = None
    tasks: set[asyncio.Task[None]] = set()
    loop = asyncio.get_running_loop()

    async def save(text: int) -> None:
        await asyncio.sleep(MS / 4)
        if not fixed or text == version:
            saved.append((text, version))

    def fire(text: int) -> None:
        tasks.add(loop.create_task(save(text)))

    async def key(begins: float) -> None:
        nonlocal timer, version
        await asyncio.sleep(begins)
        if timer is not None:
            timer.cancel()
        version += 1
        timer = loop.call_later(3 * MS, fire, version)

    await together(key(0), key(2.6 * MS))
    await asyncio.sleep(20 * MS)
    assert all(text == newest for text, newest in saved), f"an old text is saved last: {saved}"


@race
async def counter_in_threads(fixed: bool) -> None:
    """Two tasks read and write a number, each in a thread of its own."""
    numbers, lock = {"n": 0}, asyncio.Lock()

    def read() -> int:
        return numbers["n"]

    def write(value: int) -> None:
        numbers["n"] = value

    async def add(begins: int) -> None:
        await asyncio.sleep(begins * MS)
        if fixed:
            await lock.acquire()
        await asyncio.to_thread(write, await asyncio.to_thread(read) + 1)
        if fixed:
            lock.release()

    await together(add(0), add(5))
    assert numbers["n"] == 2, numbers


@race
async def threads_end_in_another_order(fixed: bool) -> None:
    """Two calls in threads are expected to end in the order in which they began."""
    lines: list[str] = []

    async def write(line: str) -> None:
        await asyncio.to_thread(time.sleep, MS)
        lines.append(line)

    first = asyncio.create_task(write("head"))
    if fixed:
        await first
    else:
        await asyncio.sleep(2 * MS)
    second = asyncio.create_task(write("body"))
    await asyncio.wait([first, second])
    assert lines == ["head", "body"], lines


@race
async def thread_goes_on_after_the_timeout(fixed: bool) -> None:
    """A call in a thread cannot be stopped: it writes after the timeout has cleaned up."""
    files: set[str] = set()

    def write() -> None:
        time.sleep(2 * MS)
        files.add("part")

    call = asyncio.create_task(asyncio.to_thread(write))
    try:
        async with asyncio.timeout(8 * MS):
            await asyncio.shield(call)
    except TimeoutError:
        if fixed:
            await call
        files.discard("part")
        await asyncio.wait([call])
        assert not files, "a file is left behind"


@race
async def callback_from_a_thread(fixed: bool) -> None:
    """A thread calls the loop when it is done, and a task looks before the call has run."""
    loop = asyncio.get_running_loop()
    called = asyncio.Event()

    def work() -> None:
        loop.call_soon_threadsafe(called.set)

    if fixed:
        await asyncio.to_thread(work)
        await called.wait()
    else:
        call = loop.run_in_executor(None, work)
        await asyncio.sleep(5 * MS)
        assert called.is_set(), "the thread has not called yet"
        await call


@race
async def ticks_add_up(fixed: bool) -> None:
    """Three ticks of a millisecond are expected to be over after three milliseconds."""
    ticks = 0
    all_done = asyncio.Event()

    async def tick() -> None:
        nonlocal ticks
        for _ in range(3):
            await asyncio.sleep(MS)
            ticks += 1
        all_done.set()

    async def ends() -> None:
        if fixed:
            await all_done.wait()
        else:
            await asyncio.sleep(4 * MS)
        assert ticks == 3, f"{ticks} of 3 ticks"

    await together(tick(), ends())


@race
async def lease_runs_out_during_the_work(fixed: bool) -> None:
    """The owner of a lease works for nearly as long as it lasts, and another takes it over."""
    owner, writes, fence = "", list[tuple[str, int]](), 0

    async def work(name: str, begins: float, seconds: float) -> None:
        nonlocal owner, fence
        await asyncio.sleep(begins)
        owner, fence = name, fence + 1
        mine = fence
        await asyncio.sleep(seconds)
        if not fixed or mine == fence:
            writes.append((name, fence - mine))

    await together(work("a", 0, 2 * MS), work("b", 2.5 * MS, MS))
    assert all(late == 0 for _, late in writes), f"written without the lease: {writes}"
