"""E3: what showing the progress of a run costs, in a terminal and in a file."""

import asyncio
import os
from collections.abc import Iterator
from functools import partial
from typing import TextIO

from benchmarks.harness import Benchmark, Case
from kaygraph import Graph, ParallelBatchNode, Progress
from kaygraph.progress.displays import Bars, Lines
from kaygraph.progress.screen import Screen
from kaygraph.progress.text import Style

LIMIT = 100


def cases(size: int) -> Iterator[Benchmark]:
    stream = open(os.devnull, "w")  # noqa: SIM115 - open until the end
    bars = Progress(display=partial(_bars, stream))
    lines = Progress(display=partial(Lines, stream, 0.5))
    yield shown("E3-progress", "bars: items that do nothing", 1_000_000 // size, False, bars)
    yield shown("E3-progress-suspends", "bars: items that suspend", 500_000 // size, True, bars)
    yield shown(
        "E3-progress-lines", "lines: items that do nothing", 1_000_000 // size, False, lines
    )


def _bars(stream: TextIO) -> Bars:
    return Bars(Screen(stream, Style(color=True, unicode=True)), leave=True)


def shown(name: str, what: str, count: int, suspends: bool, progress: Progress) -> Case:
    """Return a run with a display against the same without one."""
    graph = Graph((Suspends if suspends else Items)(), name="items")

    def run() -> None:
        graph.run(count)

    def watched() -> None:
        graph.run(count, observers=[progress])

    return Case(name=name, what=what, operations=count, floor=run, ours=watched, target=1.02)


class Items(ParallelBatchNode[int, int]):
    """Processes ``range(shared)``, 100 at once."""

    max_workers = LIMIT

    def prep(self, shared: int) -> range:
        return range(shared)

    async def exec(self, item: int) -> int:
        return item

    def post(self, shared: int, prep_res: range, exec_res: list[int]) -> None:
        assert exec_res[-1] == len(exec_res) - 1 == shared - 1


class Suspends(Items):
    """Lets others have a turn once per item."""

    async def exec(self, item: int) -> int:
        await asyncio.sleep(0)
        return item
