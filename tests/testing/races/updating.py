"""Updates that are lost or seen half done: reading and writing are not one step."""

import asyncio
from contextvars import ContextVar

from tests.testing.races.planting import MS, after, lock_if, race, steps, together


@race
async def counter(fixed: bool) -> None:
    """Two tasks read a counter, and both write back the same number."""
    count, lock = 0, lock_if(fixed)

    async def add() -> None:
        nonlocal count
        async with lock:
            read = count
            await steps()
            count = read + 1

    await together(add(), after(2, add()))
    assert count == 2, count


@race
async def total_read_before_the_await(fixed: bool) -> None:
    """``total += await price()`` reads the total first, and adds to it what may be old by then."""
    total = 0

    async def price(value: int) -> int:
        await asyncio.sleep(value * MS)
        return value

    async def add(value: int) -> None:
        nonlocal total
        if fixed:
            found = await price(value)
            total += found
        else:
            total += await price(value)

    async def later() -> None:
        await asyncio.sleep(2 * MS)
        await add(1)

    await together(add(2), later())
    assert total == 3, total


@race
async def session_saved_whole(fixed: bool) -> None:
    """Two requests of one session each load it, change one key and save all of it."""
    stored: dict[str, int] = {}
    lock = lock_if(fixed)

    async def request(key: str, begins: float) -> None:
        await asyncio.sleep(begins)
        async with lock:
            session = dict(stored)
            await asyncio.sleep(2 * MS)
            session[key] = 1
            await steps()
            stored.clear()
            stored.update(session)

    await together(request("basket", 0), request("language", 3 * MS))
    assert sorted(stored) == ["basket", "language"], stored


@race
async def same_value_other_stack(fixed: bool) -> None:
    """Compare-and-set sees the old value and takes it for "nothing has changed" (ABA)."""
    following = {"A": "B", "B": "C", "C": "D", "D": ""}
    top, version = "A", 0
    taken: list[str] = []

    async def pop(pauses: int) -> str:
        nonlocal top, version
        while True:
            seen, seen_version, rest = top, version, following[top]
            await steps(pauses)
            if top == seen and (not fixed or version == seen_version):
                top, version = rest, version + 1
                taken.append(seen)
                return seen

    async def push_again() -> None:
        nonlocal top, version
        first = await pop(0)
        await pop(0)
        following[first], top, version = top, first, version + 1
        taken.remove(first)

    await together(pop(2), after(4, push_again()))
    assert top not in taken, f"{top} is taken and on top of the stack"


@race
async def old_answer_comes_last(fixed: bool) -> None:
    """The answer to an earlier question arrives later, and is shown in place of the new one."""
    shown, asked = "", ""

    async def search(text: str, seconds: float) -> None:
        nonlocal shown, asked
        asked = text
        await asyncio.sleep(seconds)
        if not fixed or asked == text:
            shown = text

    async def user() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(search("k", 3 * MS))
            await asyncio.sleep(2 * MS)
            group.create_task(search("kay", MS))

    await user()
    assert shown == "kay", shown


@race
async def dict_changes_while_iterated(fixed: bool) -> None:
    """A task walks over a dict with awaits in between, and another task adds to it."""
    clients = {"a": 1, "b": 2}

    async def broadcast() -> None:
        for _ in list(clients) if fixed else clients:
            await steps()

    async def join() -> None:
        clients["c"] = 3

    await together(broadcast(), after(5, join()))


@race
async def index_moves(fixed: bool) -> None:
    """An item is looked up by its place, and by the time it is deleted another stands there."""
    jobs = ["a", "b", "c"]

    async def remove(job: str) -> None:
        place = jobs.index(job)
        await steps(2)
        del jobs[jobs.index(job) if fixed else place]

    await together(remove("a"), after(3, remove("b")))
    assert jobs == ["c"], jobs


@race
async def audit_in_between(fixed: bool) -> None:
    """Two accounts are read one after the other, and money moves in between."""
    accounts, lock = {"a": 50, "b": 50}, lock_if(fixed)

    async def transfer() -> None:
        async with lock:
            accounts["a"] -= 10
            await asyncio.sleep(MS)
            accounts["b"] += 10

    async def audit() -> None:
        async with lock:
            first = accounts["a"]
            await steps()
            assert first + accounts["b"] == 100, "money is missing"

    async def later() -> None:
        await asyncio.sleep(MS)
        await audit()

    await together(transfer(), later())


@race
async def version_checked_too_early(fixed: bool) -> None:
    """An optimistic update checks the version before the write, and not with it."""
    version, text = 1, ""
    accepted: list[str] = []

    async def save(new: str) -> None:
        nonlocal version, text
        while True:
            seen = version
            await steps()
            checked = version == seen
            if not fixed:
                await steps()
            if checked:
                version, text = version + 1, text + new
                accepted.append(f"{seen}{new}")
                return

    await together(save("x"), after(3, save("y")))
    assert accepted[0][0] != accepted[1][0], f"both have changed version {accepted[0][0]}"


@race
async def shared_buffer(fixed: bool) -> None:
    """Two messages are put together in one buffer, and their parts mix."""
    shared: list[str] = []
    sent: list[str] = []

    async def send(name: str) -> None:
        buffer: list[str] = [] if fixed else shared
        buffer.append(f"<{name}")
        await steps(2)
        buffer.append(f"{name}>")
        sent.append("".join(buffer))
        buffer.clear()

    await together(send("a"), after(3, send("b")))
    assert sorted(sent) == ["<aa>", "<bb>"], sent


@race
async def user_in_a_global(fixed: bool) -> None:
    """The user of a request stands in a global, which the next request sets anew."""
    current, user = "", ContextVar("user", default="")

    async def request(name: str) -> None:
        nonlocal current
        current = name
        user.set(name)
        await steps(3)
        answered = user.get() if fixed else current
        assert answered == name, f"{name} gets the data of {answered}"

    await together(request("ann"), after(4, request("ben")))


@race
async def settings_half_read(fixed: bool) -> None:
    """Host and port are changed one after the other, and somebody connects in between."""
    settings = {"host": "old", "port": "1"}

    async def move() -> None:
        nonlocal settings
        if fixed:
            await steps()
            settings = {"host": "new", "port": "2"}
            return
        settings["host"] = "new"
        await steps()
        settings["port"] = "2"

    async def connect() -> None:
        seen = settings["host"], settings["port"]
        assert seen in (("old", "1"), ("new", "2")), seen

    await together(move(), after(2, connect()))


@race
async def rollback_takes_others_back(fixed: bool) -> None:
    """A change that fails puts the old value back, over what others have written since."""
    balance = 10

    async def fails() -> None:
        nonlocal balance
        before = balance
        balance += 5
        try:
            await asyncio.sleep(2 * MS)
            raise ValueError("refused")
        except ValueError:
            balance = balance - 5 if fixed else before

    async def pays() -> None:
        nonlocal balance
        await asyncio.sleep(2 * MS)
        balance += 1

    await together(fails(), pays())
    assert balance == 11, balance
