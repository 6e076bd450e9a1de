"""A task that was cancelled and waits on has swallowed it; one that cleans up and ends has not."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import pytest

from kaygraph import Graph, ParallelBatchNode
from kaygraph.testing import explore, simulate


async def cancelled(work: Any, after: float = 1) -> None:
    """Run some work in a task, cancel it, and wait until it has ended."""
    task = asyncio.create_task(work)
    await asyncio.sleep(after)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def swallowed_in(main: Any) -> list[str]:
    return [line for line in simulate(main).left if line.startswith("a cancellation of")]


async def goes_on() -> None:
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(10)
    await asyncio.sleep(20)


async def tries_again() -> None:
    for _ in range(3):
        try:
            await asyncio.sleep(10)
        except BaseException:
            continue


async def through_a_call() -> None:
    await goes_on()


async def after_a_handler_that_waits() -> None:
    try:
        await asyncio.sleep(10)
    except asyncio.CancelledError:
        await asyncio.sleep(1)
    await asyncio.sleep(1)


@pytest.mark.parametrize("work", [goes_on, tries_again, through_a_call, after_a_handler_that_waits])
def test_a_task_that_waits_for_something_else_has_swallowed_it(work: Any) -> None:
    """It is said where it was, and where it went on."""

    async def main() -> None:
        await cancelled(work())

    (line,) = swallowed_in(main)
    assert line.startswith("a cancellation of task-2, in ")
    assert line.count("test_cancellations.py:") == 2
    assert ": it went on to wait in " in line


def test_one_that_is_still_waiting_at_the_end_is_named_too() -> None:
    """And the exploration fails, unless what is left behind may be."""

    async def main() -> None:
        asyncio.create_task(cancelled(goes_on()))  # noqa: RUF006
        await asyncio.sleep(5)

    (line,) = swallowed_in(main)
    assert "it went on to wait in goes_on (" in line
    found = explore(main, seeds=10)
    assert len(found) == 10
    assert "a cancellation of" in str(found)
    assert not explore(main, seeds=10, leftovers=True)


# --- what is right --------------------------------------------------------------------------------

RIGHT: list[Callable[[], Awaitable[Any]]] = []


def right(program: Any) -> Any:
    """Add a program that handles cancellations as it should."""
    RIGHT.append(program)
    return program


async def sleeps(cleaning: float = 1) -> None:
    """Sleep, and clean up, which takes some time."""
    try:
        await asyncio.sleep(10)
    finally:
        await asyncio.sleep(cleaning)


@right
async def it_is_not_handled() -> None:
    await cancelled(asyncio.sleep(10))


@right
async def cleaning_up_takes_time() -> None:
    async def resource() -> None:
        async with asyncio.Lock(), asyncio.Condition():
            await sleeps()

    async def within() -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            await sleeps()
            raise

    await cancelled(resource())
    await cancelled(within())


@right
async def an_async_generator_cleans_up() -> None:
    @asynccontextmanager
    async def resource() -> AsyncIterator[None]:
        try:
            await asyncio.sleep(10)
            yield
        except asyncio.CancelledError:
            await sleeps()  # and swallows it, but does not wait any more after that
        yield

    async def worker() -> None:
        with suppress(RuntimeError):
            async with resource():
                pass

    await cancelled(worker())


@right
async def it_cleans_up_and_returns() -> None:
    async def worker() -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            await asyncio.sleep(1)

    await cancelled(worker())


@right
async def it_keeps_the_error_and_raises_it_in_the_end() -> None:
    async def worker() -> None:
        error = None
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError as caught:
            error = caught
        await asyncio.sleep(1)
        if error is not None:
            raise error

    await cancelled(worker())


@right
async def it_waits_for_a_lock_again_and_is_cancelled_then() -> None:
    condition = asyncio.Condition()

    async def waits() -> None:
        async with condition:
            await condition.wait()

    task = asyncio.create_task(waits())
    await asyncio.sleep(1)
    async with condition:
        condition.notify()
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.sleep(1)
    with suppress(asyncio.CancelledError):
        await task


@right
async def it_takes_the_cancellation_back() -> None:
    async def worker() -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
        await asyncio.sleep(1)

    await cancelled(worker())


@right
async def timeouts() -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(1):
            await sleeps()
    with suppress(TimeoutError):
        await asyncio.wait_for(sleeps(), 1)
    await asyncio.wait_for(asyncio.sleep(1), 2)
    with suppress(TimeoutError):
        async with asyncio.timeout(1):
            async with asyncio.timeout(1):
                await sleeps()
    await asyncio.sleep(1)


@right
async def task_groups() -> None:
    async def fails() -> None:
        await asyncio.sleep(1)
        raise ValueError

    async def group() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(sleeps())
            group.create_task(fails())
            await sleeps()

    async def waits() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(sleeps(2))

    async def gathers() -> None:
        await asyncio.gather(sleeps(), sleeps())

    async def waits_for_who_fails() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(sleeps(2))
            group.create_task(fails())

    for failing in (group, waits_for_who_fails):
        with suppress(BaseExceptionGroup):
            await failing()
        await asyncio.sleep(1)
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await sleeps()
        await asyncio.sleep(1)
    await cancelled(waits())
    await cancelled(gathers())
    await asyncio.sleep(2)  # the other one may end after that of the two that was first


@right
async def scopes_and_groups_of_anyio() -> None:
    async def shielded() -> None:
        try:
            await anyio.sleep(10)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(1)

    async def group() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(shielded)
            group.start_soon(shielded)

    with anyio.move_on_after(1):
        await shielded()
    await anyio.sleep(1)
    async with anyio.create_task_group() as outer:
        outer.start_soon(shielded)
        outer.start_soon(group)
        await anyio.sleep(1)
        outer.cancel_scope.cancel()
        with anyio.move_on_after(1):
            await anyio.sleep(2)
    await anyio.sleep(1)
    await cancelled(group())
    with suppress(TimeoutError):
        with anyio.fail_after(1):
            await asyncio.to_thread(int)
            await shielded()
    await anyio.sleep(1)


@right
async def batches_of_a_graph() -> None:
    class Items(ParallelBatchNode[Any, Any, Any]):
        async def prep(self, shared: Any) -> list[int]:
            return list(range(5))

        async def exec(self, item: int) -> None:
            await sleeps()

    await cancelled(Graph(Items(max_workers=2)).run_async({}))


@pytest.mark.parametrize("program", RIGHT, ids=lambda program: program.__name__)
def test_what_is_cancelled_and_ends_has_swallowed_nothing(program: Any) -> None:
    """In any order, however long it takes to end."""
    for order in ("any", "asyncio"):
        found = explore(program, seeds=40, order=order)
        assert not found, str(found)
