"""``stepped`` and ``rest``: driving a coroutine by hand is the same as awaiting it."""

import asyncio
import contextvars
import gc
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, suppress
from types import coroutine
from typing import Any

import pytest

from kaygraph.observability.steps import rest, stepped

pytestmark = pytest.mark.anyio

Work = Coroutine[Any, Any, Any]
Awaits = Callable[[Work], Work]


async def plain(work: Work) -> Any:
    return await work  # what the others are compared with


async def by_steps(work: Work) -> Any:
    return await stepped(work, nothing, nothing)


async def by_rest(work: Work) -> Any:
    try:  # as the walk does: the first step is taken before
        waited = work.send(None)
    except StopIteration as end:
        return end.value
    return await rest(work, waited, nothing, nothing)


async def twice(work: Work) -> Any:
    """One within the other, as graphs in graphs are."""
    return await stepped(by_steps(work), nothing)


def nothing() -> None:
    pass


WAYS: list[Awaits] = [plain, by_steps, by_rest, twice]
every_way = pytest.mark.parametrize("awaits", WAYS)


@coroutine
def turn(sent: Any = None) -> Generator[Any, Any, Any]:
    """Wait once; return what was sent in."""
    return (yield sent)


async def fails_at_once() -> None:
    raise ZeroDivisionError


async def give_turns(turns: int) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


# --- values ---------------------------------------------------------------------------------------


@every_way
@pytest.mark.parametrize("turns", [0, 1, 3])
@pytest.mark.parametrize(
    "value", [None, 1, (), (1, 2), ValueError("a value"), StopIteration(3), StopAsyncIteration()]
)
async def test_value_comes_back_whatever_it_is(awaits: Awaits, turns: int, value: Any) -> None:
    """Also a tuple or an exception, which a StopIteration treats in its own way."""

    async def work() -> Any:
        await give_turns(turns)
        return value

    assert await awaits(work()) is value


@every_way
async def test_result_of_what_is_waited_for_comes_in(awaits: Awaits) -> None:
    """Futures, tasks and other coroutines give their results to the one who waits."""
    future = asyncio.get_running_loop().create_future()

    async def work() -> Any:
        task = asyncio.create_task(asyncio.sleep(0, "task"))
        return [await future, await task, await asyncio.sleep(0, "sleep")]

    asyncio.get_running_loop().call_soon(future.set_result, "future")
    assert await awaits(work()) == ["future", "task", "sleep"]


@every_way
def test_what_goes_in_and_out_is_handed_on(awaits: Awaits) -> None:
    """The driver of the coroutine sees what it waits for, and may send something in."""

    async def work() -> list[str]:
        return [await turn("first"), await turn("second")]

    driven = awaits(work())
    assert driven.send(None) == "first"
    assert driven.send("one") == "second"
    with pytest.raises(StopIteration) as caught:
        driven.send("two")
    assert caught.value.value == ["one", "two"]


# --- errors ---------------------------------------------------------------------------------------


@every_way
@pytest.mark.parametrize("turns", [0, 1, 3])
@pytest.mark.parametrize("error", [ValueError("x"), asyncio.CancelledError(), KeyError(1)])
async def test_error_is_raised_as_it_is(awaits: Awaits, turns: int, error: Any) -> None:
    """The same object, with the place where it was raised, and no other error around it."""

    async def fails() -> None:
        await give_turns(turns)
        raise error

    error.__context__ = None
    with pytest.raises(type(error)) as caught:
        await awaits(fails())
    assert caught.value is error
    assert error.__context__ is None
    assert error.__cause__ is None
    assert traceback.extract_tb(error.__traceback__)[-1].name == "fails"


@every_way
async def test_error_in_a_handler_keeps_its_context(awaits: Awaits) -> None:
    """What is raised while another error is handled, within or around, knows of it."""

    async def work(turns: int) -> None:
        await give_turns(turns)
        try:
            await asyncio.sleep(0)
            raise KeyError("within")
        except KeyError as error:
            await asyncio.sleep(0)
            raise ValueError("second") from error

    with pytest.raises(ValueError, match="second") as caught:
        await awaits(work(1))
    assert isinstance(caught.value.__cause__, KeyError)
    outer = LookupError("around")

    async def handles() -> None:
        try:
            raise outer
        except LookupError:
            await awaits(asyncio.sleep(0))
            await awaits(fails_at_once())

    with pytest.raises(ZeroDivisionError) as context:
        await handles()
    assert context.value.__context__ is outer


@every_way
@pytest.mark.parametrize("turns", [0, 2])
async def test_stop_iteration_is_not_the_end(awaits: Awaits, turns: int) -> None:
    """A coroutine that raises one has made a mistake, and gets an error."""

    async def work() -> None:
        await give_turns(turns)
        raise StopIteration("no value")

    with pytest.raises(RuntimeError, match="raised StopIteration"):
        await awaits(work())


@every_way
def test_error_thrown_in_is_raised_where_it_waits(awaits: Awaits) -> None:
    """It may be handled there, as often as it comes, and the coroutine goes on."""

    async def work() -> None:
        for number in range(2):
            try:
                await turn(number)
            except ValueError:
                await turn("handled")
        await turn("last")

    driven = awaits(work())
    for number in range(2):
        assert driven.send(None) == number
        assert driven.throw(ValueError()) == "handled"
    assert driven.send(None) == "last"
    last = KeyError()
    with pytest.raises(KeyError) as caught:
        driven.throw(last)
    assert caught.value is last


# --- cancellation, and the end before the end -----------------------------------------------------


@every_way
@pytest.mark.parametrize("after", [1, 2, 3])
async def test_cancellation_runs_what_is_in_finally_in_order(awaits: Awaits, after: int) -> None:
    """From within outwards, and waits in ``finally`` are waited for."""
    order: list[str] = []

    @asynccontextmanager
    async def held(name: str) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await asyncio.sleep(0)
            order.append(name)

    async def work() -> None:
        async with held("outer"), held("inner"):
            await give_turns(50)

    task = asyncio.create_task(awaits(work()))
    await give_turns(after)
    task.cancel("stop")
    with pytest.raises(asyncio.CancelledError, match="stop"):
        await task
    assert order == ["inner", "outer"]
    assert task.cancelled()


@every_way
async def test_cancellation_that_is_swallowed_is_swallowed(awaits: Awaits) -> None:
    """The coroutine goes on, and the caller knows that it was asked to end."""

    async def work() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
        return "still here"

    task = asyncio.create_task(awaits(work()))
    await give_turns(2)
    task.cancel()
    assert await task == "still here"
    assert task.cancelling() == 1
    assert not task.cancelled()


@every_way
def test_close_runs_what_is_in_finally(awaits: Awaits) -> None:
    """A coroutine that is closed where it waits is closed from within outwards."""
    order: list[str] = []

    async def work(name: str) -> None:
        try:
            await (turn() if name == "inner" else work("inner"))
        finally:
            order.append(name)

    driven = awaits(work("outer"))
    driven.send(None)
    driven.close()
    assert order == ["inner", "outer"]


@every_way
def test_close_that_is_answered_ends_it_all_the_same(awaits: Awaits) -> None:
    """One that returns instead has ended; one that waits again gets an error."""

    async def returns() -> str:
        try:
            await turn()
        except GeneratorExit:
            return "value"
        return "not reached"

    async def waits() -> None:
        try:
            await turn()
        finally:
            await turn()

    driven = awaits(returns())
    driven.send(None)
    driven.close()
    driven = awaits(waits())
    driven.send(None)
    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        driven.close()


# --- context and time limits ----------------------------------------------------------------------

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


@every_way
async def test_context_variables_are_those_of_the_task(awaits: Awaits) -> None:
    """What is set within is seen around, before and after a wait, and the other way round."""

    async def work() -> list[str]:
        seen = [variable.get()]
        token = variable.set("first")
        await asyncio.sleep(0)
        seen.append(variable.get())
        variable.reset(token)
        variable.set("last")
        return seen

    variable.set("around")
    assert await awaits(work()) == ["around", "first"]
    assert variable.get() == "last"


@every_way
async def test_timeouts_within_and_around_end_where_they_should(awaits: Awaits) -> None:
    """A limit within is the coroutine's own; one around ends it, and knows that it was the one."""

    async def limited() -> str:
        try:
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        except TimeoutError:
            await asyncio.sleep(0)
            return "its own"
        return "not reached"

    assert await awaits(limited()) == "its own"
    ended: list[str] = []

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("endless")

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001) as scope:
            await awaits(endless())
    assert scope.expired()
    assert ended == ["endless"]
    assert (task := asyncio.current_task()) is not None
    assert task.cancelling() == 0


# --- what is called around the steps --------------------------------------------------------------


async def test_each_step_is_between_before_and_after() -> None:
    """Once each, whether a step ends in a wait, a value or an error, and never while others run."""
    log: list[str] = []

    async def work(end: Any) -> None:
        log.append("1")
        await asyncio.sleep(0)
        log.append("2")
        if end is not None:
            raise end

    for end in (None, ValueError()):
        log.clear()
        asyncio.get_running_loop().call_soon(log.append, "other")
        try:
            await stepped(work(end), lambda: log.append(">"), lambda: log.append("<"))
        except ValueError:
            log.append("raised")
        assert "".join(log) == "<1>other<2>" + ("raised" if end else "")
    log.clear()
    with pytest.raises(ZeroDivisionError):
        await stepped(fails_at_once(), lambda: log.append(">"), lambda: log.append("<"))
    assert log == ["<", ">"]


@every_way
def test_nothing_is_kept_when_it_is_over(awaits: Awaits) -> None:
    """No cycle keeps an error that is raised or thrown in, or what it holds, alive."""

    class Held:
        pass

    async def work() -> None:
        held = Held()
        await turn()
        await fails_at_once()
        del held

    gc.collect()
    gc.disable()
    try:
        for error in (None, KeyError):
            driven = awaits(work())
            driven.send(None)
            with suppress(KeyError, ZeroDivisionError):
                driven.send(None) if error is None else driven.throw(error())
            del driven
        assert not [one for one in gc.get_objects() if isinstance(one, Held)]
    finally:
        gc.enable()
