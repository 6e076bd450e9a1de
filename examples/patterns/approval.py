"""A run waits for a person, is killed meanwhile, and continues with the answer.

```mermaid
flowchart LR
    n0["draft"]
    n1["approval"]
    n2["publish"]
    n0 --> n1
    n1 --> n2
```

The run is recorded in a file. Its process is killed while it waits, ``kaygraph runs answer`` gives
the answer from another one, and a third resumes it: the draft is not written again. Publishing
needs a second attempt, which has the idempotency key of the first: it is published once.
"""

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from examples.inputs import many
from examples.patterns.world import World
from kaygraph import Graph, Journal
from kaygraph.nodes import HTTPNode, WaitFor

ROOT = Path(__file__).parents[2]
LETTER = {"json": {"text": "Dear Ada"}, "repeatable": True}


def letter(url: str) -> Graph:
    draft = HTTPNode(f"{url}/reliable", name="draft", writes="draft", result="data")
    approval = WaitFor("approval", ask=lambda shared: {"publish?": shared["draft"]}, schema=bool)
    publish = HTTPNode(f"{url}/hook", name="publish", method="POST", reads="letter", wait=0.01)
    draft >> approval >> publish
    return Graph(draft, name="letter")


def build(world: World) -> Graph:
    return letter(world.url)


async def run(world: World) -> Iterable[str]:
    drafted, published = world.calls["/reliable"], world.calls["/hook"]
    db, name = str(world.folder / "runs.db"), f"letter-{drafted + 1}"
    journal = Journal(db, run=name)

    program = "examples.patterns.approval", world.url, db, name
    await python(*program, until=b"waits for an answer")
    (wait,) = journal.waits()
    await python("kaygraph", "runs", "answer", "--journal", db, name, wait.id, "true")
    shared: dict[str, Any] = {"letter": LETTER}
    await build(world).run_async(shared, journal=journal)
    return [
        f"killed while it waited for {wait.id!r}, and answered from outside: {shared['approval']}",
        f"drafted {many(world.calls['/reliable'] - drafted, 'time')} in three processes",
        f"the publisher received it {world.calls['/hook'] - published} times and kept it once",
    ]


async def python(*arguments: str, until: bytes | None = None) -> None:
    """Run a program to its end, or kill it after a given line on standard error."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *arguments, cwd=ROOT, stderr=PIPE, stdout=DEVNULL
    )
    try:
        await (program.wait() if until is None else program.stderr.readuntil(until))  # type: ignore[union-attr]
    finally:
        if program.returncode is None:
            program.kill()
        await program.communicate()


if __name__ == "__main__":
    url, db, name = sys.argv[1:]
    letter(url).run({"letter": LETTER}, journal=Journal(db, run=name, on_wait="stay"))
