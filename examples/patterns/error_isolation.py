"""Three services, one good, one flaky, one slow: each reports once, whatever happens.

```mermaid
flowchart LR
    subgraph n0["reliable"]
        n0_0["HTTPNode"]
        n0_1["fallback"]
    end
    subgraph n1["flaky"]
        n1_0["HTTPNode"]
        n1_1["fallback"]
    end
    subgraph n2["slow"]
        n2_0["HTTPNode"]
        n2_1["fallback"]
    end
    n3{{"reports"}}
    n0 --> n3
    n1 --> n3
    n2 --> n3
```

A branch calls a service, and retries if that helps; when it fails for good it falls back to
yesterday's data, and its result says so. A failure in one does not affect the others, and
the node after them, which waits for all, always finds three reports.
"""

from collections.abc import Iterable
from typing import Any

from examples.inputs import many
from examples.patterns.world import World
from kaygraph import Graph
from kaygraph.nodes import HTTPNode, MergeNode
from kaygraph.patterns import ResilientBranch, ResilientResult

SERVICES = ("reliable", "flaky", "slow")
YESTERDAY = {name: {"service": name, "calls": 0} for name in SERVICES}


class Service(ResilientBranch[Any]):
    """Calls one service, three times at most."""

    def __init__(self, world: World, name: str) -> None:
        ask = HTTPNode(
            f"{world.url}/{name}", raise_for_status=True, timeout=0.5, max_retries=3, wait=0.01
        )
        super().__init__(ask, name=name, writes=name)

    def fallback(self, request: Any, /) -> dict[str, Any]:
        return {"data": YESTERDAY[self.name]}


def build(world: World) -> Graph:
    services = [Service(world, name) for name in SERVICES]
    return Graph(services >> MergeNode(name="reports", inputs=SERVICES, writes="reports"))


async def run(world: World) -> Iterable[str]:
    shared: dict[str, Any] = {}
    await build(world).run_async(shared)
    return [f"{name}: {summary_of(report)}" for name, report in shared["reports"].items()]


def summary_of(report: ResilientResult[Any]) -> str:
    why = "" if report.error is None else f", {type(report.error).__name__}"
    data = report.value and report.value["data"]
    return f"{report.status} after {many(report.attempts, 'attempt')}{why}: {data}"
