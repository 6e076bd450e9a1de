"""A graph says how much at once, for how long and in how much memory; its nodes keep to it.

```mermaid
flowchart LR
    n0["Digest"]
```

``max_parallel_tasks`` caps all calls of ``exec`` in the graph, ``task_timeout`` each of them, and
``memory_limit`` the worker processes. A process that goes beyond is killed: its item has failed and
says why, the others go on in a new one.
"""

import hashlib
from collections.abc import Iterable

from examples.patterns.world import World
from kaygraph import Graph, Outcome, ParallelBatchNode

MEBIBYTE = 1024 * 1024


class Digest(ParallelBatchNode[int, str]):
    """Hashes so many mebibytes, all of which it holds; a negative number never comes to an end."""

    run_in = "process"
    on_error = "collect"

    def prep(self, shared: dict[str, list[int]], /) -> list[int]:
        return shared["sizes"]

    def exec(self, size: int, /) -> str:
        while size < 0:
            pass
        return hashlib.sha256(bytes(size * MEBIBYTE)).hexdigest()[:12]

    def post(self, shared: dict[str, object], prep_res: object, digests: list[str], /) -> None:
        shared["digests"] = digests


def build(world: World) -> Graph:
    return Graph(Digest(), max_parallel_tasks=2, task_timeout=2.0, memory_limit="400 MB")


async def run(world: World) -> Iterable[str]:
    shared = {"sizes": [1, 2000, 2, -1, 3]}
    await build(world).run_async(shared)
    return [
        f"{said(size)}: {type(digest.error).__name__ if isinstance(digest, Outcome) else digest}"
        for size, digest in zip(shared["sizes"], shared["digests"], strict=True)
    ]


def said(size: int) -> str:
    return f"{size:,} MiB" if size >= 0 else "without an end"
