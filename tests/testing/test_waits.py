"""Deadlocks are reported with who waits for whom, and with the wake-up that was lost."""

import asyncio
from typing import Any

import pytest

from kaygraph.testing import DeadlockError, explore, simulate


def deadlock_of(main: Any) -> list[str]:
    """Return the lines of the error of a program that deadlocks."""
    with pytest.raises(DeadlockError) as caught:
        simulate(main)
    return str(caught.value).splitlines()[1:]


def test_tasks_that_wait_for_each_others_locks_are_named_with_where_they_took_them() -> None:
    """And so is the circle."""

    async def main() -> None:
        async def both(first: asyncio.Lock, second: asyncio.Lock) -> None:
            async with first:
                await asyncio.sleep(1)
                async with second:
                    pass

        one, other = asyncio.Lock(), asyncio.Lock()
        async with asyncio.TaskGroup() as group:
            group.create_task(both(one, other), name="a")
            group.create_task(both(other, one), name="b")

    lines = deadlock_of(main)
    waiting = {line.split(",")[0].strip(): line for line in lines}
    assert "waits for a, b" in waiting["task-1"]
    assert "waits for a lock that b has held since" in waiting["a"]
    assert "waits for a lock that a has held since" in waiting["b"]
    assert waiting["a"].count("test_waits.py:") == 2
    assert lines[-1] in ("  a circle: a → b → a", "  a circle: b → a → b")


def test_a_lock_that_is_held_over_a_wait_that_needs_it_is_named() -> None:
    """By the task itself, by one that has ended, and for a permit."""

    async def itself() -> None:
        lock = asyncio.Lock()
        async with lock:
            await lock.acquire()

    async def ended() -> None:
        permits = asyncio.Semaphore(1)
        await asyncio.create_task(permits.acquire(), name="first")
        await permits.acquire()

    assert "waits for a lock that itself has held since" in deadlock_of(itself)[0]
    assert "a permit of a semaphore that first, which has ended, has held" in deadlock_of(ended)[0]


def test_a_lock_that_was_given_back_has_no_holder() -> None:
    """Whoever gives it back."""

    async def main() -> None:
        lock = asyncio.Lock()
        async with lock:
            pass
        await lock.acquire()
        await asyncio.create_task(asyncio.to_thread(lock.release))
        async with lock:
            await lock.acquire()

    assert deadlock_of(main)[0].count("has held since") == 1


def test_a_lost_wake_up_is_named() -> None:
    """Of a condition that was notified too early, and of an event that was cleared too soon."""

    async def condition() -> None:
        changed = asyncio.Condition()
        async with changed:
            changed.notify_all()
        async with changed:
            await changed.wait()

    async def event() -> None:
        ready = asyncio.Event()
        ready.set()
        ready.clear()
        await ready.wait()

    async def heard() -> None:
        changed = asyncio.Condition()

        async def waits() -> None:
            async with changed:
                await changed.wait()

        waiting = asyncio.create_task(waits())
        await asyncio.sleep(1)
        async with changed:
            changed.notify_all()
        await waiting
        await waits()

    assert "notified at" in deadlock_of(condition)[0]
    assert "unheard: a lost wake-up" in deadlock_of(condition)[0]
    assert "it was set, and cleared at" in deadlock_of(event)[0]
    assert "lost wake-up" not in deadlock_of(heard)[0]


def test_queues_groups_and_futures_are_named() -> None:
    """What is missing, or the tasks that are waited for."""

    async def main() -> None:
        empty: asyncio.Queue[int] = asyncio.Queue()
        full: asyncio.Queue[int] = asyncio.Queue(1)
        full.put_nowait(1)
        async with asyncio.TaskGroup() as group:
            getter = group.create_task(empty.get(), name="getter")
            group.create_task(full.put(2), name="putter")
            group.create_task(full.join(), name="joiner")

            async def waits() -> None:
                await getter

            async def gathers() -> None:
                await asyncio.gather(getter, asyncio.Event().wait())

            group.create_task(waits(), name="waiter")
            group.create_task(gathers(), name="gatherer")

    text = "\n".join(deadlock_of(main))
    assert "waits for an item of a queue that is empty" in text
    assert "waits for room in a queue of 1 items" in text
    assert "waits for task_done() for 1 items of a queue" in text
    assert "waiter, in" in text
    assert text.count(", waits for getter") == 3
    assert "waits for getter, joiner, putter, waiter, gatherer" in text


def test_a_livelock_says_where_its_tasks_go_round() -> None:
    """Two that give way to each other forever never wait."""

    async def main() -> None:
        async def gives_way(own: str, other: str) -> None:
            while wants[other]:
                wants[own] = False
                await asyncio.sleep(0)
                wants[own] = True

        wants = {"a": True, "b": True}
        async with asyncio.TaskGroup() as group:
            group.create_task(gives_way("a", "b"), name="a")
            group.create_task(gives_way("b", "a"), name="b")

    found = explore(main, seeds=[0], max_steps=100)
    assert found.shortest is not None
    text = str(found)
    assert "EndlessRunError: the run has not ended after 100 steps" in text
    assert "gives_way (" in text
    assert "test_waits.py:" in text


def test_the_primitives_of_asyncio_are_as_before_afterwards() -> None:
    """Nothing stays that notes who waits."""
    before = [dict(vars(cls)) for cls in (asyncio.Lock, asyncio.Semaphore, asyncio.Event)]

    async def main() -> None:
        async with asyncio.Lock():
            assert dict(vars(asyncio.Lock)) != before[0]

    assert not explore(main, seeds=2)
    assert [dict(vars(cls)) for cls in (asyncio.Lock, asyncio.Semaphore, asyncio.Event)] == before
