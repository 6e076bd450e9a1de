"""Items that are recorded."""

import asyncio
import time
from pathlib import Path
from typing import Any

from kaygraph import BatchNode, Graph, Node, ParallelBatchNode
from kaygraph.journal.journal import Journal
from kaygraph.journal.position import POSITION


def test_another_attempt_stands_where_the_first_one_stood(tmp_path: Path) -> None:
    """What hooks ask for is recorded under the place of their item, in every attempt."""
    places: dict[int, set[str]] = {}

    class Fails(ParallelBatchNode[int, int]):
        max_retries = 3

        def prep(self, shared: Any) -> list[int]:
            return [1, 2, 3]

        async def exec(self, item: int) -> int:
            places.setdefault(item, set()).add(POSITION.get().path)
            if self.attempt < 3:
                raise ConnectionError
            return item

    journal = Journal(tmp_path / "runs.db", run="a")
    asyncio.run(Graph(Fails(max_workers=2)).run_async({}, journal=journal))
    assert all(len(paths) == 1 for paths in places.values())
    assert len(set.union(*places.values())) == 3


def test_the_seconds_of_a_node_are_recorded_without_an_observer(tmp_path: Path) -> None:
    """`kaygraph runs show` prints them: those of items, of single calls and of plain functions."""

    class Items(ParallelBatchNode[int, None]):
        def prep(self, shared: Any) -> list[int]:
            return [1, 2]

        async def exec(self, item: int) -> None:
            await asyncio.sleep(0.01)

    class Plain(BatchNode[int, None]):
        def prep(self, shared: Any) -> list[int]:
            return [1, 2]

        def exec(self, item: int) -> None:
            time.sleep(0.01)

    class Single(Node[Any, None]):
        async def exec(self, prep_res: Any) -> None:
            await asyncio.sleep(0.01)

    journal = Journal(tmp_path / "runs.db", run="a")
    Graph(Items() >> Plain() >> Single()).run({}, journal=journal)
    assert [node.seconds > 0.005 for node in journal.show().nodes] == [True, True, True]
