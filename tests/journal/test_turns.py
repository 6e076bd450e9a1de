"""The recorded order: whose turn it is, and what becomes of turns that nobody takes."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaygraph.journal.turns import Point, Turn, Turns

pytestmark = pytest.mark.anyio


def turns_of(*paths: str) -> Turns:
    """Return the turns of a recorded run whose preps have all been called."""
    turns = Turns([Point(path.encode(), path, path) for path in paths])
    for path in paths:
        assert turns.prep(path) is None
        turns.begun(path)
    return turns


def turn_of(turns: Turns, path: str | None) -> Turn:
    """Return the turn of a recorded point, or of something new."""
    found = turns.add(b"new", "new", "new") if path is None else turns.find(path.encode())
    assert found is not None
    return found


async def taken(turns: Turns, order: list[str], arrival: list[str | None]) -> None:
    """Let all wait for a turn, in the order of their arrival; None has no record."""

    async def take(name: str | None) -> None:
        await turns.take(turn_of(turns, name))
        order.append(name or "new")

    async with asyncio.TaskGroup() as tasks:
        for name in arrival:
            tasks.create_task(take(name))
            await asyncio.sleep(0)


@given(st.permutations(["a", "b", "c", "d", None, None]))
def test_results_are_handed_over_in_the_recorded_order(arrival: list[str | None]) -> None:
    """In any order of asking; what is new comes last."""
    order: list[str] = []
    asyncio.run(taken(turns_of("a", "b", "c", "d"), order, arrival))
    assert order == ["a", "b", "c", "d", "new", "new"]


async def test_what_is_new_keeps_its_own_order() -> None:
    """One that arrives just after the replay waits for those that waited for it."""
    turns = turns_of("a")
    order: list[str] = []

    async def follow(name: str) -> None:
        await turns.take(turn_of(turns, None))
        order.append(name)

    first, second = (asyncio.create_task(follow(name)) for name in ("first", "second"))
    await asyncio.sleep(0)
    await turns.take(turn_of(turns, "a"))
    assert turns.are_over
    await follow("third")
    assert order == ["first", "second", "third"]
    assert first.done()
    assert second.done()


async def test_a_cancelled_wait_holds_up_nobody() -> None:
    """Its point is skipped, wherever it is."""
    turns = turns_of("a", "b", "c")
    waits = [asyncio.create_task(turns.take(turn_of(turns, path))) for path in ("b", "c")]
    await asyncio.sleep(0)
    waits[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waits[0]
    await turns.take(turn_of(turns, "a"))
    await waits[1]
    assert turns.are_over


async def test_a_cancelled_wait_of_something_new_holds_up_nobody() -> None:
    """Those after it continue."""
    turns = turns_of("a")
    waits = [asyncio.create_task(turns.take(turn_of(turns, None))) for _ in range(3)]
    await asyncio.sleep(0)
    waits[0].cancel()
    await turns.take(turn_of(turns, "a"))
    await asyncio.gather(*waits[1:])


async def test_what_is_left_behind_is_passed_over_with_all_below_it() -> None:
    """A path with the same beginning is a different one."""
    turns = turns_of("race/a", "race/a/b", "race/a[00]/c", "race/ab", "end")
    turns.leave("race/a")
    assert turns.missing == "race/ab"
    turns.leave("nowhere")
    assert turns.missing == "race/ab"
    turns.leave("race")
    assert turns.missing == "end"


async def test_reaching_a_turn_does_not_take_it() -> None:
    """Several may wait for the same one."""
    turns = turns_of("a", "b")
    waits = [asyncio.create_task(turns.reach(turn_of(turns, "b"))) for _ in range(2)]
    await asyncio.sleep(0)
    assert turns.waiting == 2
    await turns.take(turn_of(turns, "a"))
    await asyncio.gather(*waits)
    assert turns.missing == "b"


async def test_a_turn_after_what_is_below_a_path_comes_before_the_rest() -> None:
    """That of the path itself is not below it; where nothing is left there is none."""
    turns = turns_of("a/b", "c", "a/d", "a", "e")
    following = turns.after("a", "a")
    assert following is not None
    for path in ("a/b", "c", "a/d"):
        assert not turns.is_free(following)
        turns.drop(turn_of(turns, path))
    assert turns.is_free(following)
    await turns.take(following)
    assert turns.is_free(turn_of(turns, "a"))
    assert turns.after("a", "a") is None
    assert turns.after("f", "f") is None


async def test_points_that_nobody_asks_for_can_be_skipped() -> None:
    """Up to the first one that is waited for; without one, all."""
    turns = turns_of("a", "b", "c", "d")
    wait = asyncio.create_task(turns.take(turn_of(turns, "c")))
    await asyncio.sleep(0)
    assert turns.skip() == [b"a", b"b"]
    await wait
    assert turns.skip() == [b"d"]
    assert turns.are_over


async def test_a_prep_is_called_after_as_many_points_as_it_was() -> None:
    """And before the next one: what it read had not changed yet."""
    turns = Turns([Point(b"a", "a", "a"), Point(b"b", "b", "b", 1), Point(b"c", "c", "c", 1)])
    assert turns.prep("a") is None
    turns.begun("a")
    late = turns.prep("b")
    assert late is not None
    prep = asyncio.ensure_future(late)
    await asyncio.sleep(0)
    assert not prep.done()
    await turns.take(turn_of(turns, "a"))
    await prep
    turns.begun("b")
    assert not turns.is_free(turn_of(turns, "b"))  # that of c comes before it
    assert turns.prep("c") is None
    turns.begun("c")
    assert turns.is_free(turn_of(turns, "b"))


async def test_many_in_any_order_with_cancellations() -> None:
    """No wait is left over, and the order of those that are not cancelled is as recorded."""
    draw = random.Random(5)
    for _ in range(100):
        names = [f"n{number:02}" for number in range(draw.randint(1, 12))]
        turns, order = turns_of(*names), list[str]()

        async def take(name: str, turns: Turns = turns, order: list[str] = order) -> None:
            await turns.take(turn_of(turns, name))
            order.append(name)

        arrival = [*names]
        draw.shuffle(arrival)
        tasks = {name: asyncio.create_task(take(name)) for name in arrival}
        await asyncio.sleep(0)  # all wait
        for name in draw.sample(arrival, draw.randint(0, len(arrival))):
            tasks[name].cancel()
        await asyncio.wait(tasks.values())
        assert turns.are_over
        assert order == sorted(order)
