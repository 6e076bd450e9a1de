"""The recorded order: whose turn it is, and what happens to turns that nobody takes."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaygraph.journal.turns import Point, Turns

pytestmark = pytest.mark.anyio


def turns_of(*paths: str) -> Turns:
    return Turns([Point(path.encode(), path, path) for path in paths])


async def taken(turns: Turns, order: list[str], arrival: list[str | None]) -> None:
    """Have everybody wait for a turn, in the order of their arrival; None has no record."""

    async def take(name: str | None) -> None:
        await turns.take(None if name is None else turns.places[name.encode()])
        order.append(name or "new")

    async with asyncio.TaskGroup() as tasks:
        for name in arrival:
            tasks.create_task(take(name))
            await asyncio.sleep(0)


@given(st.permutations(["a", "b", "c", "d", None, None]))
def test_results_are_handed_over_in_the_recorded_order(arrival: list[str | None]) -> None:
    """Whatever the order in which they are asked for; what is new comes last."""
    order: list[str] = []
    asyncio.run(taken(turns_of("a", "b", "c", "d"), order, arrival))
    assert order == ["a", "b", "c", "d", "new", "new"]


async def test_what_is_new_keeps_its_own_order() -> None:
    """One that comes when the replay is just over waits for those that waited for it."""
    turns = turns_of("a")
    order: list[str] = []

    async def follow(name: str) -> None:
        await turns.take(None)
        order.append(name)

    first, second = (asyncio.create_task(follow(name)) for name in ("first", "second"))
    await asyncio.sleep(0)
    await turns.take(0)
    assert turns.are_over
    assert not turns.is_free(None)
    await follow("third")
    assert order == ["first", "second", "third"]
    assert first.done()
    assert second.done()


async def test_a_cancelled_wait_holds_up_nobody() -> None:
    """Its point is passed over, wherever it stands."""
    turns = turns_of("a", "b", "c")
    waits = [asyncio.create_task(turns.take(place)) for place in (1, 2)]
    await asyncio.sleep(0)
    waits[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waits[0]
    await turns.take(0)
    await waits[1]
    assert turns.are_over


async def test_a_cancelled_wait_of_something_new_holds_up_nobody() -> None:
    """Those behind it go on."""
    turns = turns_of("a")
    waits = [asyncio.create_task(turns.take(None)) for _ in range(3)]
    await asyncio.sleep(0)
    waits[0].cancel()
    await turns.take(0)
    await asyncio.gather(*waits[1:])


async def test_what_is_left_behind_is_passed_over_with_all_below_it() -> None:
    """A path that begins alike is another one."""
    turns = turns_of("race/a", "race/a/b", "race/a[00]/c", "race/ab", "end")
    turns.leave("race/a")
    assert turns.next.path == "race/ab"
    turns.leave("nowhere")
    assert turns.next.path == "race/ab"
    turns.leave("race")
    assert turns.next.path == "end"


async def test_reaching_a_turn_does_not_take_it() -> None:
    """Several may wait for the same."""
    turns = turns_of("a", "b")
    waits = [asyncio.create_task(turns.reach(1)) for _ in range(2)]
    await asyncio.sleep(0)
    assert turns.waiting == 2
    await turns.take(0)
    await asyncio.gather(*waits)
    assert turns.next.path == "b"


async def test_points_that_nobody_asks_for_can_be_skipped() -> None:
    """Up to the first that somebody waits for; without one, all."""
    turns = turns_of("a", "b", "c", "d")
    wait = asyncio.create_task(turns.take(2))
    await asyncio.sleep(0)
    assert [point.path for point in turns.skip()] == ["a", "b"]
    await wait
    assert [point.path for point in turns.skip()] == ["d"]
    assert turns.are_over


async def test_many_in_any_order_with_cancellations() -> None:
    """No wait is left over, and the order of those that are not cancelled is the recorded one."""
    draw = random.Random(5)
    for _ in range(100):
        names = [f"n{number}" for number in range(draw.randint(1, 12))]
        turns, order = turns_of(*names), list[int]()

        async def take(place: int, turns: Turns = turns, order: list[int] = order) -> None:
            await turns.take(place)
            order.append(place)

        places = [*range(len(names))]
        draw.shuffle(places)
        tasks = {place: asyncio.create_task(take(place)) for place in places}
        await asyncio.sleep(0)  # all wait
        for place in draw.sample(places, draw.randint(0, len(places))):
            tasks[place].cancel()
        await asyncio.wait(tasks.values())
        assert turns.are_over
        assert order == sorted(order)
