"""Stages to build pipelines from."""

import asyncio
from typing import Any

from kaygraph import Graph, Node, ParallelBatchNode, Pipeline
from kaygraph.types import StageReport


class Read(Node[Any, Any]):
    """A source: prep gives the items, there is no exec."""

    def __init__(self, items: Any, **settings: Any) -> None:
        super().__init__(**settings)
        self.items = items

    def prep(self, _: Any) -> Any:
        return self.items


class Stage(ParallelBatchNode[Any, Any]):
    """Takes so many seconds an item, notes begin and end, and keeps its report."""

    max_workers = 1

    def __init__(self, seconds: Any = 0.0, **settings: Any) -> None:
        super().__init__(**settings)
        self.seconds = seconds
        self.begun: list[Any] = []
        self.ended: list[Any] = []
        self.report: StageReport | None = None

    async def exec(self, item: Any) -> Any:
        self.begun.append(item)
        await asyncio.sleep(self.seconds(item) if callable(self.seconds) else self.seconds)
        self.ended.append(item)
        return item

    def post(self, shared: Any, _: Any, report: Any) -> None:
        self.report = report
        shared.setdefault("posts", []).append(self.name)


async def results_of(pipeline: Any) -> Any:
    """Run a pipeline in a graph and return what it hands on."""

    class Keeps(Pipeline):
        def post(self, shared: Any, _: Any, results: Any) -> None:
            shared["results"] = results

    shared: dict[str, Any] = {}
    kept = Keeps(*pipeline.stages, buffer=pipeline.buffer, collect=pipeline.collect)
    await Graph(kept >> Node()).run_async(shared)
    return shared["results"]


class Picky(Stage):
    """Fails on every third item."""

    async def exec(self, item: int) -> int:
        await asyncio.sleep(item % 2)
        if item % 3 == 0:
            raise ValueError(item)
        return item * 10
