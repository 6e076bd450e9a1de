"""A coroutine that was never awaited is left behind by the run that has thrown it away."""

import asyncio
import gc
from typing import Any

import pytest

from kaygraph.testing import explore, simulate

pytestmark = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")


async def save() -> None:
    """Do nothing."""


async def forgets() -> None:
    save()  # type: ignore[unused-coroutine]
    await asyncio.sleep(1)


def test_a_coroutine_that_is_never_awaited_fails_the_seed() -> None:
    """It is named, with where it is defined. It may be left behind if that is asked for."""
    (line,) = simulate(forgets).left
    assert line.startswith("a coroutine that was never awaited: save (")
    assert "test_unawaited.py:" in line
    found = explore(forgets, seeds=5)
    assert len(found) == 5
    assert line in str(found)
    assert not explore(forgets, seeds=5, leftovers=True)


def test_python_warns_as_ever() -> None:
    """In a simulation, and outside of it."""
    with pytest.warns(RuntimeWarning, match="coroutine 'save' was never awaited"):
        simulate(forgets)
    with pytest.warns(RuntimeWarning, match="coroutine 'save' was never awaited"):
        asyncio.run(forgets())


def test_what_the_collector_finds_may_be_of_another_run() -> None:
    """One that is kept in a circle is not counted, whichever run is in progress then."""

    def circle() -> None:
        kept: list[Any] = [save()]
        kept.append(kept)

    async def collects() -> None:
        circle()
        gc.collect()

    assert simulate(collects).left == []


@pytest.mark.parametrize("calls", [1, 5])
def test_a_task_that_is_cancelled_before_it_begins_has_awaited_its_coroutine(calls: int) -> None:
    """Nobody has forgotten it."""

    async def main() -> None:
        tasks = [asyncio.create_task(save()) for _ in range(calls)]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    assert not explore(main, seeds=20)
