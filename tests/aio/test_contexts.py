"""Coroutines in a context of their own."""

import asyncio
import gc
import weakref
from contextlib import suppress
from contextvars import ContextVar, copy_context
from typing import Any

import pytest

from kaygraph.aio.contexts import Apart, settled

pytestmark = pytest.mark.anyio

VAR = ContextVar("var", default="unset")


async def work(result: Any = None) -> Any:
    """Set a variable, wait, and return what it is then."""
    VAR.set("inside")
    await asyncio.sleep(0)
    return VAR.get() if result is None else result


async def test_what_is_set_apart_is_not_seen_outside() -> None:
    """It is seen within, before and after a wait, in the same task."""
    VAR.set("outside")
    assert await Apart(copy_context(), work()) == "inside"
    assert VAR.get() == "outside"


@pytest.mark.parametrize("result", [(1, 2), StopIteration(3), KeyError("no failure")])
async def test_any_result_comes_back(result: Any) -> None:
    """Tuples and exceptions are results as well."""
    assert await Apart(copy_context(), work(result)) is result


async def test_what_it_raises_is_raised() -> None:
    """The error itself, with nothing that holds what has failed."""

    class Held:
        pass

    async def fails(held: Held) -> None:
        await asyncio.sleep(0)
        raise LookupError(held)

    held = Held()
    gone = weakref.ref(held)
    gc.disable()
    try:
        with pytest.raises(LookupError) as caught:
            await Apart(copy_context(), fails(held))
        assert caught.value.__context__ is None
        del held, caught
        assert gone() is None
    finally:
        gc.enable()


async def test_a_cancellation_reaches_it_and_may_be_dealt_with() -> None:
    """It is thrown in where it waits; what follows is up to it, as without it."""

    async def forgives() -> str:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
        return VAR.get()

    task = asyncio.create_task(_awaited(Apart(copy_context(), forgives())))
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "unset"


async def test_time_limits_of_its_task_hold() -> None:
    """Both outside and within."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await Apart(copy_context(), asyncio.sleep(3600))

    async def limited() -> None:
        async with asyncio.timeout(0.001):
            await asyncio.sleep(3600)

    with pytest.raises(TimeoutError):
        await Apart(copy_context(), limited())


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


async def test_calls_are_made_apart_once_something_was_set() -> None:
    """Each in a copy of the context before."""
    context = copy_context()
    VAR.set("left behind")
    call, now = await settled(work, context, lambda: 0, "node", 3)
    assert now == copy_context()
    assert await call() == "inside"

    async def look() -> str:
        return VAR.get()

    call, _ = await settled(look, context, lambda: 0, "node", 3)
    assert (await call(), await call()) == ("unset", "unset")
    assert VAR.get() == "left behind"


async def test_a_cancellation_that_was_swallowed_ends_what_is_in_flight() -> None:
    """The task has gone on after it."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(0)
    try:
        with pytest.raises(asyncio.CancelledError):
            await settled(work, copy_context(), task.cancelling, "node", 3)
    finally:
        task.uncancel()
