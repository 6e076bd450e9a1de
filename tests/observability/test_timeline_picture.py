"""The picture of a timeline on the page about watching a run."""

import asyncio
import random
from pathlib import Path
from typing import Any

from kaygraph import Graph, Node, ParallelBatchNode, RateLimit
from kaygraph.testing import simulate

PICTURE = Path(__file__).parents[2] / "docs" / "pictures" / "timeline.svg"


class Work(ParallelBatchNode[Any, Any]):
    """Items that take some time, and fail at times; the same ones in every run."""

    wait = 0.1

    def __init__(self, items: int, seconds: float, fails: float = 0.0, **settings: Any) -> None:
        super().__init__(**settings)
        self.items, self.seconds, self.fails = items, seconds, fails

    def prep(self, _: Any) -> range:
        return range(self.items)

    async def exec(self, item: int) -> int:
        fate = random.Random(f"{self.name}, {item}, {self.attempt}")
        await asyncio.sleep(self.seconds * (0.5 + fate.random()))
        if fate.random() < self.fails or (self.fails and item % 97 == 96):
            raise ValueError(item)
        return item


class Once(Node[Any, Any]):
    async def exec(self, _: Any) -> None:
        await asyncio.sleep(0.3)


def drawn() -> str:
    fetch = Work(600, 0.05, 0.15, name="Fetch", max_workers=40, max_retries=4, on_error="skip")
    parse = Work(50, 0.05, 0.2, name="Parse", max_workers=4, max_retries=3, on_error="skip")
    ask = Work(40, 0.05, name="Ask a slow service", max_workers=6, rate=RateLimit(20, 1))
    stages = (
        Work(60, 0.01, name="Read")
        | Work(0, 0.05, name="Convert", max_workers=3)
        | Work(0, 0.01, name="Write")
    )
    graph = Graph(Once(name="Log in") >> [fetch, parse, ask] >> stages >> Once(name="Log out"))
    return simulate(graph, seed=1).report.to_svg()


def test_picture_is_what_the_run_draws() -> None:
    """To draw it anew: write what ``drawn`` returns, and a line end, to the file."""
    assert PICTURE.read_text(encoding="utf-8") == drawn() + "\n"
