"""The order "steps": one thing at a time, and seed 0 is asyncio's."""

import asyncio
from typing import Any

import pytest

from kaygraph.testing import explore, simulate
from tests.testing.races.corpus import RACES
from tests.testing.races.measuring import MAX_SECONDS, MAX_STEPS
from tests.testing.races.planting import Program, Race
from tests.testing.test_schedule import orders_of

each_race = pytest.mark.parametrize("race", RACES, ids=[race.name for race in RACES])


def trace_of(play: Program, order: str) -> list[str]:
    run = simulate(play, order=order, max_steps=MAX_STEPS, max_seconds=MAX_SECONDS)
    return run.trace


@each_race
def test_seed_0_is_the_same_run_as_with_any_other_order(race: Race) -> None:
    """Step by step, whatever a program does."""
    assert trace_of(race.twin, "steps") == trace_of(race.twin, "any")


def test_callbacks_keep_their_order() -> None:
    """And a step that became ready after a callback comes after it."""

    async def work(noted: list[str]) -> None:
        loop = asyncio.get_running_loop()
        woken = loop.create_future()

        async def wait() -> None:
            await woken
            noted.append("woken")

        waiting = asyncio.ensure_future(wait())
        await asyncio.sleep(0.01)
        loop.call_soon(noted.append, "first")
        loop.call_soon(noted.append, "second")
        woken.set_result(None)
        await waiting

    assert orders_of(work, order="steps") == {("first", "second", "woken")}


def test_a_timer_comes_before_or_between_what_is_ready() -> None:
    """As long as it is due, or close, and no callback was ready before it."""

    async def work(noted: list[str]) -> None:
        async def steps() -> None:
            for step in ("a", "b"):
                noted.append(step)
                await asyncio.sleep(0)

        asyncio.get_running_loop().call_later(0.0005, noted.append, "timer")
        await steps()
        await asyncio.sleep(0.01)

    assert orders_of(work, order="steps") == {("a", "timer", "b"), ("a", "b", "timer")}


def test_a_failure_is_repeated_by_its_schedule() -> None:
    """The note of the error has all that it takes."""

    async def work(noted: list[int]) -> None:
        async def note(number: int) -> None:
            await asyncio.sleep(0)
            noted.append(number)

        await asyncio.gather(note(1), note(2))
        assert noted == [1, 2]

    found = explore(work, list, order="steps", seeds=50)
    assert found.shortest is not None
    assert "order='steps'" in str(found)
    with pytest.raises(AssertionError):
        simulate(work, [], order="steps", schedule=found.shortest.schedule)


def test_another_order_is_refused() -> None:
    async def work() -> None: ...

    settings: dict[str, Any] = {"order": "step"}
    with pytest.raises(ValueError, match="order must be 'any', 'turns', 'steps' or 'asyncio'"):
        simulate(work, **settings)
