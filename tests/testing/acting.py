"""Random programs of a few tasks, which use all of asyncio's primitives and share what is watched.

What came of one is what its tasks have seen and left, and never the order of their steps: two
orders that differ only in steps which touch different objects end alike.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, NamedTuple

from kaygraph.testing import watch

SHORT, LONG = 0.01, 0.0105


class Values:
    def __init__(self) -> None:
        self.one = self.other = 0


class World:
    """What the tasks of a program share."""

    def __init__(self) -> None:
        self.values, self.items, self.counts = watch(Values()), watch([0]), watch({"a": 0})
        self.lock, self.event, self.condition = asyncio.Lock(), asyncio.Event(), asyncio.Condition()
        self.queue = asyncio.Queue[int](1)
        self.semaphore = asyncio.Semaphore(1)
        self.future = asyncio.get_running_loop().create_future()
        self.tasks: list[asyncio.Task[None]] = []


class Actor(NamedTuple):
    """A task of a program: its number, and what it has seen."""

    world: World
    number: int
    seen: list[object]


async def read(actor: Actor) -> None:
    actor.seen.append((actor.world.values.one, actor.world.values.other))


async def write(actor: Actor) -> None:
    actor.world.values.one = actor.number


async def lose_an_update(actor: Actor) -> None:
    before = actor.world.values.other
    await asyncio.sleep(0)
    actor.world.values.other = before + 1


async def append(actor: Actor) -> None:
    actor.world.items.append(actor.number)


async def compare(actor: Actor) -> None:
    actor.seen.append(actor.world.items == [0])


async def count(actor: Actor) -> None:
    actor.world.counts["a"] += 1
    actor.seen.append(len(actor.world.counts))
    actor.world.counts[str(actor.number)] = actor.world.counts["a"]


async def give_way(_: Actor) -> None:
    await asyncio.sleep(0)


async def sleep(_: Actor) -> None:
    await asyncio.sleep(SHORT)


async def sleep_longer(_: Actor) -> None:
    await asyncio.sleep(LONG)


async def lock(actor: Actor) -> None:
    async with actor.world.lock:
        before = actor.world.values.one
        await asyncio.sleep(0)
        actor.world.values.one = before + 1


async def look_at_lock(actor: Actor) -> None:
    actor.seen.append(actor.world.lock.locked())


async def take_permit(actor: Actor) -> None:
    async with actor.world.semaphore:
        actor.world.values.one += 1
        await asyncio.sleep(0)
        actor.seen.append(actor.world.values.one)


async def set_event(actor: Actor) -> None:
    actor.world.event.set()


async def clear_event(actor: Actor) -> None:
    actor.world.event.clear()


async def wait_for_event(actor: Actor) -> None:
    await _in_time(actor, actor.world.event.wait())


async def notify(actor: Actor) -> None:
    async with actor.world.condition:
        actor.world.condition.notify()


async def wait_for_condition(actor: Actor) -> None:
    async def woken() -> None:
        async with actor.world.condition:
            await actor.world.condition.wait()

    await _in_time(actor, woken())


async def put(actor: Actor) -> None:
    try:
        actor.world.queue.put_nowait(actor.number)
    except asyncio.QueueFull:
        actor.seen.append("full")


async def get(actor: Actor) -> None:
    try:
        actor.seen.append(await asyncio.wait_for(actor.world.queue.get(), SHORT))
    except TimeoutError:
        actor.seen.append("nothing")


async def set_future(actor: Actor) -> None:
    if not actor.world.future.done():
        actor.world.future.set_result(actor.number)


async def wait_for_future(actor: Actor) -> None:
    done, _ = await asyncio.wait([actor.world.future], timeout=SHORT)
    actor.seen.append(len(done))


async def cancel_the_next(actor: Actor) -> None:
    tasks = actor.world.tasks
    actor.seen.append(tasks[(actor.number + 1) % len(tasks)].cancel())


async def begin_a_task(actor: Actor) -> None:
    task = asyncio.ensure_future(append(actor))
    await asyncio.sleep(0)
    actor.seen.append(task.done())
    await task


async def gather(actor: Actor) -> None:
    await asyncio.gather(append(actor), lose_an_update(actor))


async def fail_in_a_group(actor: Actor) -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            group.create_task(lose_an_update(actor))
    except* ValueError:
        actor.seen.append("failed")


async def end_in_time(actor: Actor) -> None:
    await _in_time(actor, asyncio.sleep(SHORT))


async def look_at_clock(actor: Actor) -> None:
    actor.seen.append(round(asyncio.get_running_loop().time(), 6))


async def call_soon(actor: Actor) -> None:
    handle = asyncio.get_running_loop().call_soon(actor.world.items.append, 10)
    await asyncio.sleep(0)
    handle.cancel()


async def _in_time(actor: Actor, work: Awaitable[object]) -> None:
    try:
        async with asyncio.timeout(SHORT):
            await work
            actor.seen.append("in time")
    except TimeoutError:
        actor.seen.append("too late")


Act = Callable[[Actor], Coroutine[Any, Any, None]]

ACTS: tuple[Act, ...] = (
    append, begin_a_task, call_soon, cancel_the_next, clear_event, compare, count, end_in_time,
    fail_in_a_group, gather, get, give_way, lock, look_at_clock, look_at_lock, lose_an_update,
    notify, put, read, set_event, set_future, sleep, sleep_longer, take_permit, wait_for_condition,
    wait_for_event, wait_for_future, write,
)  # fmt: skip


def program_of(acts: Sequence[Sequence[Act]]) -> Callable[[], Coroutine[Any, Any, object]]:
    """Return a program with a task for each list of acts; it returns what came of it."""

    async def main() -> object:
        world = World()
        actors = [Actor(world, number, []) for number in range(len(acts))]

        async def play(actor: Actor) -> None:
            for act in acts[actor.number]:
                await act(actor)

        world.tasks += [asyncio.ensure_future(play(actor)) for actor in actors]
        ends = await asyncio.gather(*world.tasks, return_exceptions=True)
        return (
            world.values.one, world.values.other, tuple(world.items), tuple(world.counts.items()),
            tuple(tuple(actor.seen) for actor in actors), tuple(type(end).__name__ for end in ends),
        )  # fmt: skip

    return main
