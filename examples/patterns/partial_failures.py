"""Two of five sources fail: the run continues with the others, and says what is missing.

```mermaid
flowchart LR
    subgraph n0["sources"]
        n0_0["places"]
        n0_1["companies"]
        n0_2["flaky"]
        n0_3["broken"]
        n0_4["slow"]
    end
    n1["MergeNode"]
    n0 --> n1
```

``settle`` lets all run to their end, and none stops another. ``required_inputs`` is how many are
enough: with fewer the run fails, and its error says why each of the others is missing.
"""

from collections.abc import Iterable
from typing import Any

from examples.patterns.world import World
from kaygraph import Graph, settle
from kaygraph.nodes import HTTPNode, MergeNode


class Source(HTTPNode):
    """Anything but a success is a failure, after up to three attempts."""

    result = "data"
    timeout = 0.5
    max_retries = 3
    wait = 0.01


def build(world: World, required_inputs: int = 2) -> Graph:
    sources = settle(
        Source(f"{world.services}/places/Oslo", name="places"),
        Source(f"{world.services}/companies/mossystone.example", name="companies"),
        Source(f"{world.url}/flaky", name="flaky"),
        Source(f"{world.url}/broken", name="broken"),
        Source(f"{world.url}/slow", name="slow"),
        name="sources",
    )
    merge = MergeNode(
        "collect_available", required_inputs=required_inputs, writes=("found", "missing")
    )
    return Graph(sources >> merge)


async def run(world: World) -> Iterable[str]:
    shared: dict[str, Any] = {}
    await build(world).run_async(shared)
    return [
        f"found: {', '.join(shared['found'])}",
        *(f"missing: {name}, {why}" for name, why in shared["missing"].items()),
    ]
