"""Branches that are not independent: the race shown, found, and fixed.

```mermaid
flowchart LR
    n0["Orders"]
    n1["Refunds"]
    n2{{"Balance"}}
    n0 --> n2
    n1 --> n2
```

Both branches read the balance, work, and write it back: one of the two is lost, in any order.
``on_conflict="raise"`` names them in any run. The fixed ones write keys of their own, and the node
after them, which runs when both are done, is the only one that writes the balance.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

from examples.patterns.world import World
from kaygraph import AsyncNode, Graph, WriteConflictError

Shared = dict[str, Any]


class Book(AsyncNode[Any, int]):
    """Adds up some entries; ``into`` is where the sum goes."""

    def __init__(self, entries: str, into: str) -> None:
        super().__init__(name=entries.capitalize())
        self.entries, self.into = entries, into

    def prep(self, shared: Shared, /) -> tuple[int, list[int]]:
        return shared.get(self.into, 0), shared[self.entries]

    async def exec(self, found: tuple[int, list[int]], /) -> int:
        before, entries = found
        await asyncio.sleep(0)  # anything that takes time: another branch runs meanwhile
        return before + sum(entries)

    def post(self, shared: Shared, prep_res: Any, total: int, /) -> None:
        shared[self.into] = total


class Balance(AsyncNode[Any, Any]):
    def post(self, shared: Shared, prep_res: Any, exec_res: Any, /) -> None:
        shared["balance"] += shared.get("income", 0) + shared.get("costs", 0)


def build(world: World) -> Graph:
    return Graph([Book("orders", "income"), Book("refunds", "costs")] >> Balance())


def racing(on_conflict: Any) -> Graph:
    books = [Book("orders", "balance"), Book("refunds", "balance")]
    return Graph([books[0], books[1]] >> Balance(), on_conflict=on_conflict)


async def run(world: World) -> Iterable[str]:
    entries: Shared = {"balance": 100, "orders": [30, 20], "refunds": [-10]}
    await racing("ignore").run_async(wrong := dict(entries))
    try:
        await racing("raise").run_async(dict(entries))
        found = "nothing"
    except WriteConflictError as error:
        found = str(error)
    await build(world).run_async(right := dict(entries))
    return [f"raced: {wrong['balance']}", f"found: {found}", f"mended: {right['balance']}"]
