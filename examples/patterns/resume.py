"""A batch is killed twice, and each time it continues with the items that were in flight.

```mermaid
flowchart LR
    n0["urls"]
    n1["ask"]
    n2["total"]
    n0 --> n1
    n1 --> n2
```

The run is recorded in a file. Two processes that work on it are killed with SIGKILL, and a third
finishes it: what was answered and recorded is not requested again. The service counts.
"""

import asyncio
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from examples.inputs import many
from examples.patterns.world import World
from kaygraph import Graph, Journal
from kaygraph.nodes import ParallelHTTPNode, node

ROOT = Path(__file__).parents[2]
ITEMS, AT_ONCE = 200, 4
KILLED_AT = (60, 120)  # calls


def asking(url: str) -> Graph:
    listed = [f"{url}/reliable?number={number}" for number in range(ITEMS)]
    urls = node(lambda _: listed, name="urls", writes="urls")
    ask = ParallelHTTPNode(
        name="ask", reads="urls", writes="answers", max_workers=AT_ONCE, allow_private=True
    )
    total = node(len, name="total", reads="answers", writes="total")
    urls >> ask >> total
    return Graph(urls, name="asking")


def build(world: World) -> Graph:
    return asking(world.url)


async def run(world: World) -> Iterable[str]:
    before, db = world.calls["/reliable"], f"{mkdtemp(dir=world.folder)}/runs.db"
    for calls in KILLED_AT:
        await killed(world, db, before + calls)
    shared: dict[str, Any] = {}
    journal = Journal(db, run="asking")
    await build(world).run_async(shared, journal=journal)
    return [
        f"killed twice; {many(journal.replayed, 'result')} came from the journal",
        f"{shared['total']} answers took {world.calls['/reliable'] - before} calls",
    ]


async def killed(world: World, db: str, calls: int) -> None:
    """Let a process work on the run, and kill it when the service has had a number of calls."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "examples.patterns.resume", world.url, db, cwd=ROOT
    )
    while world.calls["/reliable"] < calls and program.returncode is None:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    program.kill()
    await program.wait()


if __name__ == "__main__":
    asking(sys.argv[1]).run(journal=Journal(sys.argv[2], run="asking"))
