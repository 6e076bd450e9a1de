"""Runs on a loop of uvloop, where that is installed."""

import asyncio
import os
import signal
import threading
from concurrent.futures import Future
from typing import Any

import pytest

from kaygraph import (
    BatchNode,
    DeadlineExceededError,
    Graph,
    Node,
    ParallelBatchNode,
    RunInterrupted,
)

uvloop = pytest.importorskip("uvloop")

LONGEST_S = 60


class Squares(ParallelBatchNode[int, int]):
    """Squares the numbers that are in the store, each after a turn of the loop."""

    def prep(self, shared: Any) -> Any:
        return shared["numbers"]

    async def exec(self, item: int) -> int:
        await asyncio.sleep(0)
        return item * item

    def post(self, shared: Any, prep_res: Any, exec_res: list[int]) -> None:
        shared["squares"] = exec_res
        shared["loop"] = asyncio.get_running_loop()


class Sums(Node):
    """Adds them up in the calling thread, or in another one."""

    def prep(self, shared: Any) -> Any:
        return shared["squares"]

    def exec(self, squares: list[int]) -> int:
        assert asyncio._get_running_loop() is None
        return sum(squares)

    def post(self, shared: Any, prep_res: Any, exec_res: int) -> None:
        shared["sums"] = [*shared.get("sums", []), exec_res]


def test_a_graph_runs_on_its_loop() -> None:
    """Batches, `def` nodes and threads; the loop is closed when the run has ended."""
    shared: dict[str, Any] = {"numbers": range(100)}
    graph = Graph(Squares() >> [Sums(), Sums(run_in="thread")], on_conflict="ignore")
    graph.run(shared, loop_factory=uvloop.new_event_loop)
    assert shared["sums"] == [sum(n * n for n in range(100))] * 2
    assert isinstance(shared["loop"], uvloop.Loop)
    with pytest.raises(RuntimeError, match="closed"):
        shared["loop"].call_soon(id, 0)


def test_a_deadline_ends_a_run_on_it() -> None:
    """With its own timers."""

    class Waits(Node):
        async def exec(self, prep_res: Any) -> None:
            await asyncio.sleep(LONGEST_S)

    with pytest.raises(DeadlineExceededError):
        Graph(Waits()).run(deadline=0.05, loop_factory=uvloop.new_event_loop)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains_a_run_on_it(number: signal.Signals) -> None:
    """Also while nothing but the loop waits."""
    begun = threading.Event()
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    ends = os.pipe()
    os.set_blocking(ends[1], False)
    signal.set_wakeup_fd(ends[1])

    class Waits(BatchNode[int, int]):
        def prep(self, shared: Any) -> Any:
            return range(1000)

        async def exec(self, item: int) -> int:
            begun.set()
            await asyncio.wrap_future(sent)
            return item

        def post(self, shared: Any, prep_res: Any, exec_res: list[int]) -> None:
            shared["done"] = exec_res

    def send() -> None:
        begun.wait(LONGEST_S)
        os.kill(os.getpid(), number)
        sent.set_result(None)

    sent: Future[None] = Future()
    thread = threading.Thread(target=send)
    thread.start()
    shared: dict[str, Any] = {}
    with pytest.raises(RunInterrupted) as caught:
        Waits().run(shared, loop_factory=uvloop.new_event_loop)
    thread.join()
    assert signal.set_wakeup_fd(-1) == ends[1]
    for end in ends:
        os.close(end)
    assert caught.value.drained
    assert len(shared["done"]) < 1000
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.filterwarnings("ignore:.*polic:DeprecationWarning")
def test_uvloop_that_was_installed_makes_the_loops() -> None:
    """As its policy is asked for each of them."""
    before = asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    try:
        shared: dict[str, Any] = {"numbers": [2]}
        Graph(Squares()).run(shared)
    finally:
        asyncio.set_event_loop_policy(before)
    assert isinstance(shared["loop"], uvloop.Loop)
    assert shared["squares"] == [4]
