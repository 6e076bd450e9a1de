"""Check, then act: what was true before an await need not be true after it."""

import asyncio

from tests.testing.races.planting import MS, after, lock_if, race, steps, together


@race
async def last_seat(fixed: bool) -> None:
    """Two guests see that a seat is free, and both book it."""
    seats, booked, lock = 1, [], lock_if(fixed)

    async def book(guest: str) -> None:
        nonlocal seats
        async with lock:
            if seats > 0:
                await steps()  # the guest pays
                seats -= 1
                booked.append(guest)

    await together(book("Ann"), after(2, book("Ben")))
    assert len(booked) == 1, booked


@race
async def lazy_connection(fixed: bool) -> None:
    """Two requests find that there is no connection yet, and each of them opens one."""
    opened: list[object] = []
    connection, lock = None, lock_if(fixed)

    async def connected() -> object:
        nonlocal connection
        async with lock:
            if connection is None:
                await asyncio.sleep(3 * MS)
                connection = object()
                opened.append(connection)
            return connection

    async def later() -> None:
        for _ in range(3):
            await asyncio.sleep(MS)
        await connected()

    await together(connected(), later())
    assert len(opened) == 1, f"{len(opened)} connections"


@race
async def cache_stampede(fixed: bool) -> None:
    """Requests for one key all miss the cache and all ask the database."""
    cache: dict[str, asyncio.Task[str] | str] = {}
    asked = 0

    async def load() -> str:
        nonlocal asked
        asked += 1
        await asyncio.sleep(2 * MS)
        return "value"

    async def get(*delays: float) -> None:
        for delay in delays:
            await asyncio.sleep(delay)
        if fixed:
            if "key" not in cache:
                cache["key"] = asyncio.create_task(load())
            task = cache["key"]
            assert isinstance(task, asyncio.Task)
            await task
        elif "key" not in cache:
            cache["key"] = await load()

    await together(get(), get(0, 2 * MS), get(0, 0, 3 * MS))
    assert asked == 1, f"asked {asked} times"


@race
async def lock_per_key_dropped(fixed: bool) -> None:
    """A lock is thrown away while a task still waits for it, so the next task gets another lock."""
    locks: dict[str, asyncio.Lock] = {}
    inside = most = 0

    async def change() -> None:
        nonlocal inside, most
        async with locks.setdefault("key", asyncio.Lock()):
            inside += 1
            most = max(most, inside)
            await steps(2)
            inside -= 1
        if not fixed:
            locks.pop("key", None)

    await together(change(), after(1, change()), after(8, change()))
    assert most == 1, f"{most} tasks hold the lock of one key"


@race
async def overdraft(fixed: bool) -> None:
    """Two withdrawals are each covered by the balance; both together are not."""
    balance = 100

    async def withdraw(amount: int, begins: float) -> None:
        nonlocal balance
        if begins:
            await steps()
            await asyncio.sleep(begins)
        if balance >= amount:
            if fixed:
                balance -= amount
            await asyncio.sleep(2 * MS)  # the machine counts the notes
            if not fixed:
                balance -= amount

    await together(withdraw(80, 0), withdraw(60, 2 * MS))
    assert balance >= 0, balance


@race
async def name_taken_twice(fixed: bool) -> None:
    """Two users register one name, which was free when each of them asked."""
    users: dict[str, str] = {}
    accepted = []

    async def register(name: str, mail: str) -> None:
        if name in users:
            return
        await steps(2)  # hashes the password
        if fixed and name in users:
            return
        users[name] = mail
        accepted.append(mail)

    await together(register("ann", "a@a.example"), after(3, register("ann", "b@b.example")))
    assert len(accepted) == 1, accepted


@race
async def message_handled_twice(fixed: bool) -> None:
    """A message that is delivered again is handled again, as the first delivery is not done yet."""
    seen: set[int] = set()
    handled = []

    async def deliver(number: int) -> None:
        if number in seen:
            return
        if fixed:
            seen.add(number)
        await asyncio.sleep(MS)
        handled.append(number)
        seen.add(number)

    async def broker() -> None:
        async with asyncio.TaskGroup() as group:
            for number in (1, 2, 3, 2):  # 2 was not confirmed within a millisecond
                group.create_task(deliver(number))
                await asyncio.sleep(MS / 2)

    await broker()
    assert sorted(handled) == [1, 2, 3], handled


@race
async def too_many_in_a_window(fixed: bool) -> None:
    """A rate limiter looks at its window, waits, and then takes a place that is no longer free."""
    calls: list[float] = []

    async def call() -> None:
        while len(calls) >= 2:
            await asyncio.sleep(10 * MS)
            calls.clear()
        if fixed:
            calls.append(0)
        await steps()  # logs
        if not fixed:
            calls.append(0)
        assert len(calls) <= 2, f"{len(calls)} calls in one window"

    await together(call(), after(3, call()), after(6, call()))


@race
async def pool_too_large(fixed: bool) -> None:
    """A pool compares its size before it opens a connection and counts it afterwards."""
    size = 0

    async def grow(begins: int) -> None:
        nonlocal size
        await steps(begins)
        if size < 3:
            if fixed:
                size += 1
            await steps(3)
            if not fixed:
                size += 1

    await together(*(grow(3 * number) for number in range(6)))
    assert size == 3, size


@race
async def token_refreshed_twice(fixed: bool) -> None:
    """Two requests refresh a token that has expired; the second makes that of the first invalid."""
    valid, token, lock = 1, 0, lock_if(fixed)

    async def refresh() -> None:
        nonlocal valid, token
        async with lock:
            if token == valid:
                return
            await asyncio.sleep(2 * MS)
            valid += 1
            token = valid

    async def request(begins: float) -> None:
        await asyncio.sleep(begins)
        await refresh()
        mine = token
        await asyncio.sleep(MS)
        assert mine == valid, "401: the token is not valid"

    await together(request(0), request(2 * MS))


@race
async def wrong_lock_for_the_check(fixed: bool) -> None:
    """The check and the act each hold the lock, but not both in one turn of it."""
    lock, stock, sold = asyncio.Lock(), 1, 0

    async def sell() -> None:
        nonlocal stock, sold
        async with lock:
            await steps()
            available = stock > 0
            if fixed and available:
                stock -= 1
                sold += 1
        if available and not fixed:
            async with lock:
                await steps()
                stock -= 1
                sold += 1

    await together(sell(), after(5, sell()))
    assert sold == 1, f"{sold} of 1 sold"
