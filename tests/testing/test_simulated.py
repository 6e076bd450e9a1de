"""Threads, sleeps and chance in a simulation."""

import asyncio
import random
import threading
import time
from typing import Any

import pytest

from kaygraph import (
    Graph,
    Node,
    Retry,
)
from kaygraph.testing import simulate
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
