"""How many hooks a run is at, wherever they run."""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kaygraph import AsyncNode, Graph, Node, ParallelBatchNode, Pipeline
from kaygraph.run.in_flight import in_flight


class Batch(ParallelBatchNode[Any, Any]):
    """Five workers; each item reports its start, and waits for the end."""

    max_workers = 5

    def prep(self, shared: Any) -> Any:
        return ((number, shared) for number in range(9))

    async def exec(self, item: Any) -> None:
        item[1]["begun"].release()
        await item[1]["end"].wait()


class Threads(Batch):
    def exec(self, item: Any) -> None:  # type: ignore[override]
        item[1]["begun"].release()
        item[1]["thread_end"].wait()


class Retries(Batch):
    """Waits between two attempts, and for nothing else."""

    max_retries, wait = 2, 1000

    async def exec(self, item: Any) -> None:
        item[1]["begun"].release()
        raise ValueError("broken")


class Source(Batch):
    """Its items are waited for."""

    async def prep(self, shared: Any) -> Any:
        async def items() -> AsyncIterator[Any]:
            shared["begun"].release()
            await shared["end"].wait()
            yield (1, shared)

        return items()


class Inner(AsyncNode[Any, Any]):
    """Its own work is that of the graph in it."""

    def prep(self, shared: Any) -> Any:
        return shared

    async def exec(self, shared: Any) -> None:
        await Graph([Batch(), Batch(max_workers=2)]).run_async(shared)


class Pipe(Pipeline):
    def __init__(self) -> None:
        super().__init__(Batch(), Batch(max_workers=1))


async def counted(node: Any, begun: int) -> int:
    """Run a node until so many items have begun, and count what is in flight."""
    shared: dict[str, Any] = {
        "begun": asyncio.Semaphore(0),
        "end": asyncio.Event(),
        "thread_end": threading.Event(),
    }
    if isinstance(node, Threads):
        loop, semaphore = asyncio.get_running_loop(), shared["begun"]
        shared["begun"] = type("", (), {})()
        shared["begun"].release = lambda: loop.call_soon_threadsafe(semaphore.release)
    else:
        semaphore = shared["begun"]
    run = Graph(node).launch(shared)
    try:
        for _ in range(begun):
            await semaphore.acquire()
        await asyncio.sleep(0)
        return in_flight(asyncio.get_running_loop(), None)
    finally:
        shared["end"].set()
        shared["thread_end"].set()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run


@pytest.mark.parametrize(
    ("node", "begun", "count"),
    [
        (Batch(), 5, 5),
        (Threads(), 5, 5),
        (Graph(Batch(), max_workers=2), 2, 2),
        (Graph(Batch(), task_timeout=1000), 5, 5),
        (Graph(Batch(), slow_hook_s=1000), 5, 5),
        (Batch(deadline=1000, retry=None), 5, 5),
        (Retries(), 5, 0),
        (Source(), 1, 0),
        (Inner(), 7, 7),
        (Pipe(), 5, 5),
    ],
    ids=[
        "loop", "threads", "capped", "timed", "observed", "deadline", "between attempts",
        "waits for its source", "nested", "pipeline",
    ],
)  # fmt: skip
@pytest.mark.anyio
async def test_what_is_in_flight_is_counted(node: Any, begun: int, count: int) -> None:
    """Neither who stands in a line nor who waits for the next attempt is."""
    assert await counted(node, begun) == count


def test_a_hook_that_holds_the_thread_is_counted() -> None:
    """It is not a task that waits; without a hook there is nothing."""

    class Here(Node[Any, Any]):
        def exec(self, _: Any) -> int:
            return in_flight(None, sys._getframe())

        def post(self, shared: Any, _: Any, count: int) -> None:
            shared["count"] = count

    shared: dict[str, Any] = {}
    Here().run(shared)
    assert shared["count"] == 1
    assert in_flight(None, sys._getframe()) == 0
