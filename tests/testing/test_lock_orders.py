"""Locks that are taken in opposite orders are noted, also where they have not deadlocked."""

import asyncio
from typing import Any

from kaygraph.testing import explore, simulate


async def both(
    first: asyncio.Lock, second: asyncio.Lock, after: float = 0, within: Any = None
) -> None:
    """Take two locks, one within the other."""
    await asyncio.sleep(after)
    if within is not None:
        async with within:
            await both(first, second)
        await asyncio.sleep(10)
        return
    async with first, second:
        pass


def test_opposite_orders_are_a_warning_though_nothing_has_deadlocked() -> None:
    """With the lines where they are taken."""

    async def main() -> None:
        one, other = asyncio.Lock(), asyncio.Lock()

        async def first() -> None:
            await both(one, other)
            await asyncio.sleep(10)

        async with asyncio.TaskGroup() as group:
            group.create_task(first())
            group.create_task(both(other, one, after=5))

    found = explore(main, seeds=20)
    assert not found
    (warning,) = found.warnings
    assert warning.startswith("locks are taken in opposite orders, which may deadlock: one at ")
    assert warning.count("test_lock_orders.py:") == 2
    assert str(found).endswith(f"none of 20 seeds breaks it\nwarning: {warning}")
    assert simulate(main).warnings == [warning]


def test_orders_that_cannot_meet_are_no_warning() -> None:
    """The same order; one task alone; one after the other; and within a third lock."""

    async def same() -> None:
        one, other = asyncio.Lock(), asyncio.Lock()
        await asyncio.gather(both(one, other), both(one, other))

    async def alone() -> None:
        one, other = asyncio.Lock(), asyncio.Lock()
        await both(one, other)
        await both(other, one)

    async def one_after_the_other() -> None:
        one, other = asyncio.Lock(), asyncio.Lock()
        await asyncio.create_task(both(one, other))
        await asyncio.create_task(both(other, one))

    async def guarded() -> None:
        one, other, guard = asyncio.Lock(), asyncio.Lock(), asyncio.Lock()
        await asyncio.gather(both(one, other, 0, guard), both(other, one, 0, guard))

    async def not_at_the_same_time() -> None:
        one, other = asyncio.Lock(), asyncio.Lock()

        async def apart(first: asyncio.Lock, second: asyncio.Lock) -> None:
            async with first:
                pass
            async with second:
                pass
            await asyncio.sleep(1)

        await asyncio.gather(apart(one, other), apart(other, one))

    for program in (same, alone, one_after_the_other, guarded, not_at_the_same_time):
        assert explore(program, seeds=30).warnings == [], program.__name__
