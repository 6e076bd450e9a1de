"""A graph limits parallelism, time and memory; its nodes keep to it.

```mermaid
flowchart LR
    n0["Digest"]
    n1["Ask"]
    n0 --> n1
```

``task_timeout`` is for each call of ``exec``, ``memory_limit`` for the worker processes: a process
that exceeds it is killed, its item says why, and the others continue in a new one. ``rate`` is how
often ``exec`` may be called. If a limit was not seen to hold, the pattern fails.
"""

import asyncio
import hashlib
from collections.abc import Iterable
from typing import Any

from examples.patterns.world import World
from kaygraph import AttemptTimeoutError, Graph, MemoryLimitError, Outcome, ParallelBatchNode
from kaygraph.limits import RateLimit

MEBIBYTE = 1024 * 1024
PROMISED = [str, MemoryLimitError, str, AttemptTimeoutError, str]  # of the sizes below


class Digest(ParallelBatchNode[int, str]):
    """Hashes a number of mebibytes, which it keeps in memory; with a negative number, endlessly."""

    run_in = "process"
    on_error = "collect"

    def prep(self, shared: dict[str, list[int]], /) -> list[int]:
        return shared["sizes"]

    def exec(self, size: int, /) -> str:
        while size < 0:
            pass
        return hashlib.sha256(bytes(size * MEBIBYTE)).hexdigest()[:12]

    def post(self, shared: dict[str, Any], prep_res: object, digests: list[Any], /) -> None:
        shared["digests"] = [d.error if isinstance(d, Outcome) else d for d in digests]


class Ask(ParallelBatchNode[float, float]):
    """Is called 15 times, and notes how many seconds after the start."""

    rate = RateLimit(5, per=0.25)

    def prep(self, shared: object, /) -> list[float]:
        return [asyncio.get_running_loop().time()] * 15

    async def exec(self, began: float, /) -> float:
        return asyncio.get_running_loop().time() - began

    def post(self, shared: dict[str, Any], prep_res: object, times: list[float], /) -> None:
        shared["last"] = max(times)


def build(world: World) -> Graph:
    limits: dict[str, Any] = {"task_timeout": 3.0, "memory_limit": "400 MB"}
    return Graph(Digest() >> Ask(), max_parallel_tasks=2, **limits)


async def run(world: World) -> Iterable[str]:
    shared: dict[str, Any] = {"sizes": [1, 2000, 2, -1, 3]}
    await build(world).run_async(shared)
    if [*map(type, shared["digests"])] != PROMISED or shared["last"] < 0.5:
        raise RuntimeError(f"the limits were not seen to hold: {shared}")
    found = zip(shared["sizes"], shared["digests"], strict=True)
    lines = [f"{size_text(size)}: {digest!r}" for size, digest in found]
    return [*lines, f"15 calls, 5 in any 0.25 s at most: in {shared['last']:.2f} s"]


def size_text(size: int) -> str:
    return f"{size:,} MiB" if size >= 0 else "endless"
