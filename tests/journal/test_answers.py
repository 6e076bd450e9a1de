"""Looking for answers: while something waits, and no longer."""

import asyncio
from typing import Any

import pytest

from kaygraph.journal.answers import Answers
from kaygraph.journal.store import Answer

pytestmark = pytest.mark.anyio


def failed(error: Exception) -> None:
    raise AssertionError from error


async def test_it_looks_while_something_waits_and_stops_then() -> None:
    """Each look finds what is there; without a waiter there is no look."""
    there: list[Answer] = []
    looks = 0

    async def read() -> list[Answer]:
        nonlocal looks
        looks += 1
        return [*there]

    answers = Answers(read, failed)
    number = answers.number()
    assert not answers.has_looked(number)
    await answers.look()
    assert answers.has_looked(number)
    assert answers.found == {}
    there.append(Answer("a", b"1", 0.0))
    await answers.look()
    assert answers.found == {"a": there[0]}
    await asyncio.sleep(0.1)
    assert looks == 2
    await answers.close()


async def test_what_cannot_be_read_is_reported_once() -> None:
    """The run ends with it, which cancels its waiters."""
    errors: list[Exception] = []

    async def read() -> list[Answer]:
        raise OSError("the disk is gone")

    answers = Answers(read, errors.append)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await answers.look()
    assert [str(error) for error in errors] == ["the disk is gone"]
    await answers.close()


async def test_a_store_that_notifies_is_listened_to() -> None:
    """When nothing has come for a moment; with how many answers are known."""
    asked: list[int] = []
    listened = asyncio.Event()

    async def read() -> list[Answer]:
        return [Answer("a", b"1", 0.0)]

    async def notified(known: int, seconds: float) -> None:
        assert seconds > 0
        asked.append(known)
        listened.set()
        await asyncio.sleep(0)

    answers = Answers(read, failed, notified)

    async def wait() -> Any:
        while True:
            await answers.look()

    waiting = asyncio.ensure_future(wait())
    await listened.wait()
    waiting.cancel()
    await answers.close()
    assert asked[0] == 1


async def test_it_is_closed_in_the_middle_of_a_look() -> None:
    """And leaves no task behind."""
    before, begun = asyncio.all_tasks(), asyncio.Event()

    async def read() -> list[Answer]:
        begun.set()
        await asyncio.Event().wait()
        return []

    answers = Answers(read, failed)
    waiting = asyncio.ensure_future(answers.look())
    await begun.wait()
    waiting.cancel()
    await answers.close()
    assert asyncio.all_tasks() == before
