"""Records in chunks: a free worker takes the next one, and their order is kept.

```mermaid
flowchart LR
    n0["Split"]
    n1["Check"]
    n2["Join"]
    n0 --> n1
    n1 --> n2
```

Chunks are not assigned beforehand: a worker pulls the next when it has finished one, so that a
slow chunk delays no other. A chunk that fails is an outcome in ``failures``, next to the results.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from examples import record_checks
from examples.patterns.world import World
from kaygraph import Graph, ItemStarted, ParallelBatchNode
from kaygraph.patterns import AggregationNode, BatchSplitterNode

RECORDS = Path(__file__).parents[1] / "data" / "records.jsonl"
Shared = dict[str, Any]


class Check(ParallelBatchNode[list[str], list[int]]):
    """Finds the records of a chunk that break a rule."""

    max_workers = 4
    on_error = "collect"

    def prep(self, shared: Shared, /) -> Iterable[list[str]]:
        chunks: Iterable[list[str]] = shared["chunks"]
        return chunks

    def exec(self, chunk: list[str], /) -> list[int]:
        records = [json.loads(line) for line in chunk]
        return [record["id"] for record in records if any(record_checks.rules(record))]

    def post(self, shared: Shared, prep_res: Any, found: list[list[int]], /) -> None:
        shared["found"] = found


def build(world: World) -> Graph:
    split = BatchSplitterNode(name="Split", reads="lines", writes="chunks", size=40)
    join = AggregationNode(name="Join", reads="found", writes=("ids", "failures"))
    return Graph(split >> Check() >> join)


async def run(world: World) -> Iterable[str]:
    pulled: Counter[int] = Counter()

    def watch(event: object) -> None:
        if isinstance(event, ItemStarted) and event.node == "Check":
            pulled[event.worker] += 1

    shared: Shared = {"lines": lines()}  # read as the chunks are pulled
    await build(world).run_async(shared, observers=[watch])
    return [
        f"{pulled.total()} chunks, by worker: {', '.join(map(str, sorted(pulled.values())))}",
        f"{len(shared['ids'])} records break a rule: {', '.join(map(str, shared['ids'][:8]))}, …",
        *(f"chunk {failed.index} failed: {failed.error}" for failed in shared["failures"]),
    ]


def lines() -> Iterator[str]:
    """Return the lines of the records, followed by an invalid one."""
    with RECORDS.open(encoding="utf-8") as file:
        yield from file
    yield "id: 1001"
