"""Threads, sleeps and chance in a simulation."""

import asyncio
import random
import threading
import time
from typing import Any

import anyio
import anyio.to_thread
import pytest

from kaygraph import (
    Graph,
    Node,
    Retry,
)
from kaygraph.testing import explore, simulate
from tests.testing.graphs import Fails, Sleep, Work, beside


def block(seconds: float) -> None:
    """Hold up whoever calls."""
    time.sleep(seconds)


def test_def_runs_inline_and_its_sleep_takes_virtual_time() -> None:
    """time.sleep in a def takes as long as it says, beside others that do the same."""

    class Blocks(Work):
        def exec(self, item: int) -> str:  # type: ignore[override]
            time.sleep(100)
            return threading.current_thread().name

        def post(self, shared: Any, _: Any, names: list[str]) -> None:
            shared.setdefault("names", set()).update(names)

    began = time.monotonic()
    run = simulate(beside(Blocks(max_workers=3, name="a"), Blocks(max_workers=6, name="b")))
    assert time.monotonic() - began < 5
    assert run.seconds == 200
    assert run.report.peak_in_flight == 9
    assert run.shared["names"] == {threading.current_thread().name}


def test_a_def_that_overruns_is_waited_for_and_reported() -> None:
    """As a thread is, which cannot be stopped."""

    class Blocks(Node[Any, Any]):
        def exec(self, _: Any) -> None:
            time.sleep(10)

    with pytest.raises(TimeoutError, match=r"timeout=3 s.*ended 7\.00 s after it"):
        simulate(Graph(Blocks(timeout=3)))


def test_a_def_that_fails_raises_its_error() -> None:
    """Through the future that stands for the thread."""

    class Breaks(Node[Any, Any]):
        def exec(self, _: Any) -> None:
            time.sleep(1)
            raise KeyError("gone")

    with pytest.raises(KeyError, match="gone"):
        simulate(Graph(Breaks()))


def test_a_def_may_bring_a_loop_of_its_own() -> None:
    """It does not see the simulation's."""

    class Own(Node[Any, Any]):
        def exec(self, _: Any) -> int:
            return asyncio.run(asyncio.sleep(0, 7))

        def post(self, shared: Any, _: Any, value: int) -> None:
            shared["value"] = value

    assert simulate(Graph(Own())).shared == {"value": 7}


def test_to_thread_runs_inline_too() -> None:
    """Whatever asks the loop for a thread gets the simulation's."""

    async def work(noted: list[Any]) -> None:
        await asyncio.to_thread(time.sleep, 5)
        noted.append(await asyncio.to_thread(threading.current_thread))
        noted.append(asyncio.get_running_loop().time())

    noted: list[Any] = []
    simulate(work, noted)
    assert noted == [threading.current_thread(), 5]


def test_a_blocking_sleep_on_the_loop_stops_it() -> None:
    """It passes on the clock, and nothing else runs meanwhile."""

    async def work(noted: list[float]) -> None:
        block(30)
        noted.append(asyncio.get_running_loop().time())

    noted: list[float] = []
    simulate(work, noted)
    assert noted == [30]


def test_time_and_chance_are_as_before_afterwards() -> None:
    """time.sleep is the real one again, and random goes on where it was."""
    sleep, state = time.sleep, random.getstate()
    simulate(Graph(Sleep()), seed=5)
    with pytest.raises(ValueError, match="broken"):
        simulate(Graph(Fails()), seed=5)
    assert time.sleep is sleep
    assert random.getstate() == state


def test_other_threads_sleep_as_always() -> None:
    """What the simulation does to time.sleep is its own thread's."""

    class Starts(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            def sleeper() -> None:
                began = time.monotonic()
                time.sleep(0.02)
                took.append(time.monotonic() - began)

            thread = threading.Thread(target=sleeper)
            thread.start()
            thread.join()

    took: list[float] = []
    simulate(Graph(Starts()))
    assert took[0] >= 0.02


def test_jitter_follows_the_seed() -> None:
    """Random waits are the same for the same seed, and others for another."""
    node = Fails(0, retry=Retry(attempts=4, wait=10, jitter=1))

    def waits(seed: int) -> list[float]:
        events: list[Any] = []
        with pytest.raises(ValueError, match="broken"):
            simulate(Graph(node), seed=seed, observers=[events.append])
        return [event.wait_s for event in events if hasattr(event, "wait_s")]

    assert waits(3) == waits(3)
    assert len(waits(3)) == 3
    assert waits(3) != waits(4)


def test_a_call_in_a_thread_takes_its_turn() -> None:
    """It runs at once or after the steps of others, and so does what waits for its result."""

    async def work(noted: list[str]) -> None:
        async def other() -> None:
            for turn in range(3):
                await asyncio.sleep(0)
                noted.append(str(turn))

        async def calls() -> None:
            await asyncio.to_thread(noted.append, "call")
            noted.append("result")

        async with asyncio.TaskGroup() as group:
            group.create_task(calls())
            group.create_task(other())

    orders = set()
    for seed in range(100):
        noted: list[str] = []
        simulate(work, noted, seed=seed)
        assert noted.index("call") < noted.index("result")
        orders.add("".join(note[0] for note in noted))
    assert {"c012r", "012cr", "c0r12"} <= orders


def test_two_calls_in_threads_can_lose_an_update() -> None:
    """What each reads and writes is a step of its own."""

    async def main() -> int:
        def read() -> int:
            return total

        def write(value: int) -> None:
            nonlocal total
            total = value

        async def add() -> None:
            await asyncio.to_thread(write, 1 + await asyncio.to_thread(read))

        total = 0
        await asyncio.gather(add(), add())
        return total

    assert {simulate(main, seed=seed).action for seed in range(20)} == {1, 2}


def test_a_call_that_was_cancelled_before_it_began_does_not_run() -> None:
    """As in a pool whose threads are all busy."""

    async def main() -> list[str]:
        calling = asyncio.ensure_future(asyncio.to_thread(called.append, "call"))
        await asyncio.sleep(0)
        calling.cancel()
        await asyncio.wait([calling])
        await asyncio.sleep(1)
        return called

    found = set()
    for seed in range(40):
        called: list[str] = []
        found.add(len(simulate(main, seed=seed).action))
    assert found == {0, 1}


def test_threads_of_anyio_are_those_of_the_simulation() -> None:
    """`anyio.to_thread` runs in the thread of the loop, and its limiters hold."""

    async def main() -> Any:
        limiter = anyio.CapacityLimiter(1)
        name = await anyio.to_thread.run_sync(threading.current_thread, limiter=limiter)
        await anyio.to_thread.run_sync(time.sleep, 5)
        return name, asyncio.get_running_loop().time()

    for seed in range(10):
        run = simulate(main, seed=seed)
        thread, seconds = run.action
        assert thread is threading.current_thread()
        assert 5 <= seconds < 6


def test_the_clocks_of_time_are_those_of_the_loop() -> None:
    """All of them move with its timers, and are the real ones again afterwards."""

    async def main() -> tuple[float, ...]:
        before = [clock() for clock in clocks()]
        await asyncio.sleep(3600)
        return tuple(clock() - began for clock, began in zip(clocks(), before, strict=True))

    def clocks() -> list[Any]:
        return [time.time, time.monotonic, time.perf_counter, time.time_ns, time.monotonic_ns]

    real = clocks()
    assert simulate(main).action == (3600, 3600, 3600, 3600 * 10**9, 3600 * 10**9)
    assert clocks() == real


def test_a_timer_is_not_overtaken_for_ever() -> None:
    """A task that polls does not keep a timer of another from firing, whatever their priorities."""
    late = []

    async def main() -> None:
        fired = asyncio.Event()

        async def poll() -> None:
            while not fired.is_set():  # noqa: ASYNC110 - as some libraries do
                await asyncio.sleep(0.001)

        polling = asyncio.create_task(poll())
        await asyncio.sleep(0.001)
        late.append(asyncio.get_running_loop().time() - 0.001)
        fired.set()
        await polling

    found = explore(main, seeds=200)
    assert not found, str(found)
    assert max(late) < 0.01  # some times the jitter
