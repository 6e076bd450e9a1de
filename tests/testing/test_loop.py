"""The loop with a virtual clock: it jumps, waits for threads, and tells of deadlocks."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from kaygraph import Graph, Node
from kaygraph.testing import DeadlockError, VirtualClockLoop, _loop, run_virtually
from tests.testing.graphs import Sleep


def loop_time() -> float:
    return asyncio.get_running_loop().time()


def test_the_clock_jumps_to_the_next_timer() -> None:
    """A day passes in no time, and the clock says that it has passed."""

    async def day() -> float:
        await asyncio.sleep(86_400)
        return loop_time()

    began = time.monotonic()
    assert run_virtually(day()) == 86_400
    assert time.monotonic() - began < 5


def test_a_thousand_years_pass_as_well() -> None:
    """Where a nanosecond is less than what a float can tell apart."""

    async def years() -> float:
        for _ in range(3):
            await asyncio.sleep(1e10)
        await asyncio.sleep(1)
        return loop_time()

    assert run_virtually(years()) == 3e10 + 1


def test_timers_fire_in_the_order_of_their_times() -> None:
    """Whatever the order in which they were set."""

    async def play() -> None:
        async def note(seconds: float) -> None:
            await asyncio.sleep(seconds)
            ended.append((seconds, loop_time()))

        async with asyncio.TaskGroup() as group:
            for seconds in (3, 1, 2, 0):
                group.create_task(note(seconds))

    ended: list[tuple[float, float]] = []
    run_virtually(play())
    assert ended == [(0, 0), (1, 1), (2, 2), (3, 3)]


def test_a_cancelled_timer_does_not_move_the_clock() -> None:
    """Nor is it left where many of them would pile up."""

    async def play() -> int:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualClockLoop)
        for _ in range(1000):
            async with asyncio.timeout(500):
                await asyncio.sleep(1)
        await asyncio.sleep(1)
        assert loop.time() == 1001
        return len(loop._scheduled)

    assert run_virtually(play()) < 250


def test_advance_moves_the_clock_without_waiting() -> None:
    """Timers that came due meanwhile fire at the next turn."""

    async def play() -> float:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualClockLoop)
        sleeping = asyncio.create_task(asyncio.sleep(5))
        await asyncio.sleep(0)
        loop.advance(7)
        await sleeping
        return loop.time()

    assert run_virtually(play()) == 7


def test_a_thread_is_waited_for() -> None:
    """With no timer set, the loop waits for the thread to call."""

    async def play() -> str:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str] = loop.create_future()
        asked = threading.Event()

        def reply() -> None:
            asked.wait()
            loop.call_soon_threadsafe(answer.set_result, "hello")

        thread = threading.Thread(target=reply)
        thread.start()
        loop.call_soon(asked.set)
        try:
            return await answer
        finally:
            thread.join()

    assert run_virtually(play()) == "hello"


def test_an_idle_thread_of_a_pool_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has nothing to do that could call the loop."""
    monkeypatch.setattr(_loop, "LONGEST_SILENCE_S", 1000.0)

    async def play() -> None:
        await asyncio.Event().wait()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()
        with pytest.raises(DeadlockError):
            run_virtually(play())


def test_a_call_that_an_idle_thread_of_a_pool_takes_is_waited_for() -> None:
    """It may have been idle when the call was submitted."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()

        async def play() -> int:
            answers = [await asyncio.wrap_future(pool.submit(abs, -n)) for n in range(100)]
            answers.append(await asyncio.wrap_future(pool.submit(threading.Event().wait, 0.05)))
            return sum(answers)

        assert run_virtually(play()) == sum(range(100))


@pytest.mark.parametrize("daemon", [False, True])
def test_a_thread_that_the_program_has_started_is_waited_for(daemon: bool) -> None:
    """That of a journal is a daemon, and says when something is committed."""

    async def play() -> str:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str] = loop.create_future()

        def reply() -> None:
            time.sleep(0.05)  # the loop has nothing to do by then
            loop.call_soon_threadsafe(answer.set_result, "hello")

        threading.Thread(target=reply, daemon=daemon).start()
        return await answer

    assert run_virtually(play()) == "hello"


def test_work_in_a_real_thread_comes_back() -> None:
    """A node written `def` runs in a thread of its own on this loop."""

    class InThread(Node[Any, Any]):
        def exec(self, _: Any) -> str:
            return threading.current_thread().name

        def post(self, shared: Any, _: Any, name: str) -> None:
            shared["thread"] = name

    shared: dict[str, Any] = {}
    run_virtually(Graph(InThread()).run_async(shared))
    assert shared["thread"].startswith("kaygraph")


def test_a_deadlock_is_told_at_once_with_who_waits_where() -> None:
    """Each task that waits is named, with the line of the user's code where it does."""

    class Waits(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            await asyncio.Event().wait()

    began = time.monotonic()
    with pytest.raises(DeadlockError) as caught:
        run_virtually(Graph([Waits(name="one"), Waits(name="two"), Sleep()]).run_async({}))
    assert time.monotonic() - began < 30  # nothing is waited for: this is for a loaded machine
    text = str(caught.value)
    assert "deadlock" in text
    assert text.count("Waits.exec (") == 2
    assert "of 'one'" in text
    assert "of 'two'" in text
    assert "test_loop.py:" in text
    assert "Sleep" not in text  # it has ended


def test_a_task_that_waits_for_another_is_told_of_too() -> None:
    """The place is the innermost of the user's own code, through everything awaited in between."""

    async def inner() -> None:
        await asyncio.get_running_loop().create_future()

    async def outer() -> None:
        await inner()

    async def play() -> None:
        await asyncio.create_task(outer(), name="mine")

    with pytest.raises(DeadlockError, match=r"mine, in .*inner \("):
        run_virtually(play())


@pytest.mark.parametrize("kind", ["connection", "server", "process", "address"])
def test_the_network_is_refused_with_what_to_do(kind: str) -> None:
    """A socket on a clock that jumps would time out at once: nobody gets one."""

    async def play() -> None:
        loop = asyncio.get_running_loop()
        match kind:
            case "connection":
                await asyncio.open_connection("127.0.0.1", 9)
            case "server":
                await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
            case "process":
                await asyncio.create_subprocess_exec("true")
            case _:
                await loop.getaddrinfo("localhost", 80)

    with pytest.raises(NotImplementedError, match="no network"):
        run_virtually(play())


def test_the_loop_can_be_stopped_and_run_again() -> None:
    """stop() returns at once even where the next timer is far off."""
    loop = VirtualClockLoop()
    try:
        task = loop.create_task(asyncio.sleep(10))
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.stop()  # now nothing is ready, and it must not go to the timer for that
        loop.run_forever()
        assert loop.time() == 0
        loop.run_until_complete(task)
        assert loop.time() == 10
    finally:
        loop.close()
