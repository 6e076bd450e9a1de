"""An order is checked in four ways at once, and their combined result decides.

```mermaid
flowchart LR
    subgraph n0["Orders"]
        n0_0["schema"]
        n0_1["business_rules"]
        n0_2["security"]
        n0_3["Compliance"]
    end
    n1["accept"]
    n2["refuse"]
    n0 -->|valid| n1
    n0 -->|invalid| n2
```

Every check runs to its end, whatever the others find, with its own time limit and attempts. It
returns problems, or nothing. What could not be checked has not passed: see ``summary.errors``.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from examples import record_checks
from examples.patterns.world import World
from kaygraph import Graph
from kaygraph.nodes import RESTNode, node
from kaygraph.patterns import ParallelValidationNode, ValidationSummary, check

RECORDS = Path(__file__).parents[1] / "data" / "records.jsonl"
Order = dict[str, Any]


class Compliance(RESTNode):  # a disposable address is not accepted
    async def exec(self, order: Order, /) -> Any:
        judged = await super().exec(order["email"])
        return [("email", "disposable", "is disposable")] if judged["disposable"] else None


class Orders(ParallelValidationNode[Order]):
    @check
    async def schema(self, order: Order) -> list[record_checks.Fault]:
        return list(record_checks.format(order))

    @check
    async def business_rules(self, order: Order) -> list[record_checks.Fault]:
        return list(record_checks.rules(order))

    @check(timeout=5)
    def security(self, order: Order) -> list[record_checks.Fault]:
        return list(record_checks.security(order))


@node(reads="summary", writes="said")
def accept(summary: ValidationSummary[Order]) -> list[str]:
    return [f"passes {check}" for check in summary.passed]


@node(reads="summary", writes="said")
def refuse(summary: ValidationSummary[Order]) -> list[str]:
    return [f"{check}: {field} {reason}" for check, (field, _, reason) in summary.problems]


def build(world: World) -> Graph:
    compliance = Compliance(world.services, "check/{email}", result="data", timeout=2)
    orders = Orders({"compliance": compliance}, reads="order", writes="summary")
    orders - "valid" >> accept
    orders - "invalid" >> refuse
    return Graph(orders)


async def run(world: World) -> Iterable[str]:
    orders = map(json.loads, RECORDS.read_text("utf-8").splitlines())
    runs: list[dict[str, Any]] = [{"order": o} for o in orders if o["id"] in (1, 36, 37, 54, 103)]
    for shared in runs:
        await build(world).run_async(shared)
    return [f"{shared['order']['id']}: {'; '.join(shared['said'])}" for shared in runs]
