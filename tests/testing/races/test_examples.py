"""The documented examples of public packages, and how they are explored."""

from typing import Any

import pytest

from benchmarks.races.examples.__main__ import explored, line_of
from benchmarks.races.examples.corpus import EXAMPLES, Example
from benchmarks.races.packages import PACKAGES


def example_of(play: Any) -> Example:
    return Example("program", "CPython", "asyncio", "It holds.", play)


def test_every_package_has_examples_that_state_a_promise() -> None:
    """No package need be installed to see that."""
    assert {each.package for each in EXAMPLES} == {package.name for package in PACKAGES}
    assert all(each.promise for each in EXAMPLES)
    assert len({(each.package, each.name) for each in EXAMPLES}) == len(EXAMPLES)


def test_a_broken_promise_is_counted_in_each_order() -> None:
    """The result says how many seeds of an order break it, and by which error."""

    async def program(asyncio: Any) -> None:
        done = []

        async def note(name: str) -> None:
            done.append(name)

        await asyncio.gather(note("first"), note("second"))
        if done != ["first", "second"]:
            raise ExceptionGroup("of a task group", [ValueError("in another order")])

    result = explored(example_of(program), seeds=40)
    assert list(result["broken"]) == ["any"]
    assert 10 < result["broken"]["any"]["seeds"] < 40
    assert result["broken"]["any"]["error"] == "ValueError: in another order"
    assert result["schedules"] == 80
    assert "order any" in line_of(result)


def test_a_promise_that_holds_passes() -> None:
    async def program(asyncio: Any) -> None:
        await asyncio.sleep(1)

    result = explored(example_of(program), seeds=10)
    assert line_of(result) == "CPython: program: passes"


def test_a_program_that_polls_a_clock_that_stands_still_is_not_simulated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is not counted as broken, and does not run under all seeds."""
    monkeypatch.setattr("benchmarks.races.examples.__main__.MAX_STEPS", 1_000)

    async def program(asyncio: Any) -> None:
        began = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() == began:
            await asyncio.sleep(0)

    result = explored(example_of(program), seeds=10)
    assert (result["schedules"], result["broken"]) == (0, {})
    assert line_of(result) == "CPython: program: not simulated"
