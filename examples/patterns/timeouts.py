"""A service that does not answer costs only its own time limit.

```mermaid
flowchart LR
    n0["Ask"]
```

An attempt has ``timeout``, an item with its retries and waits has ``deadline``, and so has the
graph. What ran out of time has an outcome in its place; the connection is closed, not left behind.
"""

from collections.abc import Iterable

from examples.inputs import many
from examples.patterns.world import World
from kaygraph import Graph, Outcome
from kaygraph.nodes import ParallelHTTPNode


def build(world: World) -> Graph:
    ask = ParallelHTTPNode(
        world.url,
        name="Ask",
        reads="services",
        writes="answers",
        max_workers=4,
        max_retries=2,
        timeout=0.5,
        deadline=5.0,
        on_error="collect",
    )
    return Graph(ask, deadline=10)


async def run(world: World) -> Iterable[str]:
    shared = {"services": ["reliable", "slow", "reliable"]}
    await build(world).run_async(shared)
    return [
        f"{service}: {summary_of(answer)}"
        for service, answer in zip(shared["services"], shared["answers"], strict=True)
    ]


def summary_of(answer: object) -> str:
    if isinstance(answer, Outcome):
        return f"{answer.status} after {many(answer.attempts, 'attempt')}"
    return str(answer["status_code"]) if isinstance(answer, dict) else "?"
