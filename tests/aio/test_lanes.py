"""Calls in threads of one queue: how many threads, what is woken, and what a cancellation does."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator
from typing import Any
from weakref import ref

import pytest

from kaygraph import Node
from kaygraph.aio import lanes as module
from kaygraph.aio.lanes import Call, Lanes
from kaygraph.testing import simulate
from tests.turns import looking

pytestmark = pytest.mark.anyio


@pytest.fixture
async def lanes() -> AsyncIterator[Lanes]:
    lanes = Lanes(64, "lane")
    yield lanes
    lanes.shutdown()
    assert not lane_threads()


def lane_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("lane")]


async def answer_of(call: Call) -> Any:
    await call.answered
    return call.result()


async def test_calls_are_answered_with_what_they_return(lanes: Lanes) -> None:
    """Each call has its own answer."""
    calls = [lanes.begin(divmod, number, 7) for number in range(100)]
    assert [await answer_of(call) for call in calls] == [divmod(n, 7) for n in range(100)]


async def test_as_many_run_at_once_as_there_are_calls(lanes: Lanes) -> None:
    """No call stands behind one that takes long."""
    barrier = threading.Barrier(30)
    calls = [lanes.begin(barrier.wait, 30) for _ in range(30)]
    assert sorted([await answer_of(call) for call in calls]) == list(range(30))


async def test_calls_one_after_another_take_one_thread(lanes: Lanes) -> None:
    """A thread that has made its call takes the next one."""
    names = {await answer_of(lanes.begin(threading.get_ident)) for _ in range(50)}
    assert len(names) == 1
    assert len(lane_threads()) == 1


async def test_a_thread_that_had_nothing_to_do_takes_calls_again(
    lanes: Lanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes back to the pool after a while, and comes from there."""
    monkeypatch.setattr(module, "IDLE_S", 0.0)
    for number in range(200):
        assert await answer_of(lanes.begin(abs, -number)) == number


async def test_the_loop_is_woken_once_for_answers_that_come_together(
    lanes: Lanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many come before it looks."""
    loop, woken = asyncio.get_running_loop(), list[Any]()
    call_soon = loop.call_soon_threadsafe

    def counted(callback: Any, *args: Any) -> Any:
        woken.append(callback)
        return call_soon(callback, *args)

    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    calls = [lanes.begin(abs, -number) for number in range(8)]
    lanes.shutdown()  # holds the loop until all have given their answer
    assert not any(call.answered.done() for call in calls)
    assert [await answer_of(call) for call in calls] == list(range(8))
    assert len(woken) == 1


async def test_an_error_is_raised_as_itself_and_leaves_no_cycle(lanes: Lanes) -> None:
    """Also StopIteration, which no future can carry."""

    class HeldError(Exception):
        pass

    def fails(errors: list[BaseException]) -> None:
        raise errors.pop()

    for kind in (HeldError, StopIteration, KeyboardInterrupt):
        error: BaseException | None = kind("here")
        weak = ref(error) if kind is HeldError else None
        call = lanes.begin(fails, [error])
        await call.answered
        with pytest.raises(kind) as caught:
            call.result()
        assert caught.value is error
        gc.disable()
        try:
            del caught, call, error
            assert weak is None or weak() is None
        finally:
            gc.enable()


async def test_a_call_that_no_thread_has_begun_is_not_made() -> None:
    """It is taken back at once, and those behind it are made."""
    lanes, may_end, made = Lanes(1, "lane"), threading.Event(), list[int]()
    first = lanes.begin(may_end.wait, 30)
    calls = [lanes.begin(made.append, number) for number in range(3)]
    calls[1].answered.cancel()
    await lanes.take_back(calls[1], pytest.fail)
    may_end.set()
    for call in (first, calls[0], calls[2]):
        await answer_of(call)
    lanes.shutdown()
    assert made == [0, 2]


@pytest.mark.parametrize("has_ended", [False, True])
async def test_a_call_that_has_begun_is_stopped_and_waited_for(
    lanes: Lanes, has_ended: bool
) -> None:
    """Also when its answer came in the moment of the cancellation."""
    known = asyncio.Event()
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        may_end.wait(30)
        ended.set()

    call = lanes.begin(work)
    assert await asyncio.to_thread(begun.wait, 30)
    call.answered.cancel()
    if has_ended:
        may_end.set()
        async with looking(lambda: known.set() if call.ended else None):
            await known.wait()
    await lanes.take_back(call, may_end.set)
    assert ended.is_set()
    assert call.result() is None


async def test_where_no_thread_can_be_started_the_call_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error is the caller's, and the next call tries again."""
    lanes = Lanes(4, "lane")

    def start(_: Any) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError, match="start new thread"):
            lanes.begin(abs, -1)
    assert await answer_of(lanes.begin(abs, -2)) == 2
    lanes.shutdown()


def test_in_a_simulation_a_call_is_made_at_once_in_the_thread_of_the_loop() -> None:
    """What it returns or raises comes as ever, and a caller that is cancelled waits for it."""
    found: list[Any] = []

    class Calls(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            lanes = Lanes(1, "lane")
            assert await answer_of(lanes.begin(threading.get_ident)) == threading.get_ident()
            with pytest.raises(ValueError, match="invalid literal"):
                await answer_of(lanes.begin(int, "x"))
            call = lanes.begin(int, "7")
            call.answered.cancel()
            await lanes.take_back(call, lambda: None)
            found.append(call.result())
            lanes.shutdown()

    simulate(Calls())
    assert found == [7]
