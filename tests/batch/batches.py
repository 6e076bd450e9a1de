"""A batch whose items say what becomes of them, and its results."""

import asyncio
from typing import Any

from kaygraph import Drop, ParallelBatchNode


class Batch(ParallelBatchNode[Any, Any]):
    """Takes its items from the shared store; fails on negative ones, drops the zeros."""

    def prep(self, shared: Any) -> Any:
        return shared["items"]

    async def exec(self, item: int) -> int:
        await asyncio.sleep(10 - item)  # later items end earlier
        if item < 0:
            raise ValueError(item)
        if item == 0:
            raise Drop
        return item * 10

    def post(self, shared: Any, items: Any, results: Any) -> None:
        shared["results"] = results


class InProcess(ParallelBatchNode[Any, Any]):
    """Doubles the items of the shared store in worker processes."""

    run_in = "process"

    def prep(self, shared: Any) -> Any:
        return shared["items"]

    def exec(self, item: int) -> int:
        return item * 2

    def post(self, shared: Any, items: Any, results: Any) -> None:
        shared["results"] = results


async def results_of(items: Any, **settings: Any) -> Any:
    shared = {"items": items}
    await Batch(**settings).run_async(shared)
    return shared["results"]
