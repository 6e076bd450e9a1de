"""Items that are recorded."""

import asyncio
from pathlib import Path
from typing import Any

from kaygraph import Graph, ParallelBatchNode
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
