"""Three databases are read at once, and their rows joined by the customer.

```mermaid
flowchart LR
    n0["customers"]
    n1["invoices"]
    n2["tickets"]
    n3{{"MergeNode"}}
    n0 --> n3
    n1 --> n3
    n2 --> n3
```

Each query runs in its own thread, in a read-only transaction. The join takes time in
proportion to the rows. ``how="left"`` keeps a customer who has bought nothing; ``"inner"`` would
leave out everyone who is missing in any database, and ``"outer"`` nobody.
"""

from collections.abc import Iterable
from typing import Any

from examples.inputs import many
from examples.patterns.world import World
from kaygraph import Graph
from kaygraph.nodes import MergeNode, SQLExecute, SQLRead, SQLWrite

# For each database, the content of its only table, and the query.
ROWS: dict[str, list[tuple[int, Any]]] = {
    "customers": [(1, "Ada"), (2, "Ben"), (3, "Chloé"), (4, "Dev")],
    "invoices": [(1, 120), (3, 80), (1, 30), (4, 15), (3, 5), (9, 1)],
    "tickets": [(3, "late"), (1, "broken"), (3, "lost")],
}
QUERIES = {
    "customers": "SELECT customer, value AS name FROM entries ORDER BY customer",
    "invoices": "SELECT customer, sum(value) AS billed FROM entries GROUP BY customer",
    "tickets": "SELECT customer, count(*) AS tickets FROM entries GROUP BY customer",
}
EMPTY = ("DROP TABLE IF EXISTS entries", "CREATE TABLE entries (customer INTEGER, value)")
FILL = "INSERT INTO entries VALUES (?, ?)"


def build(world: World) -> Graph:
    reading = [
        SQLRead(url, QUERIES[name], name=name, writes=name) for name, url in urls(world).items()
    ]
    join = MergeNode("join", inputs=tuple(QUERIES), key="customer", how="left", writes="rows")
    return Graph(reading >> join)


def filling(world: World) -> Graph:
    """Return a graph that creates the three databases, also at once."""
    making = [
        SQLExecute(url, *EMPTY) >> SQLWrite(url, FILL, reads=name)
        for name, url in urls(world).items()
    ]
    return Graph(making)


def urls(world: World) -> dict[str, str]:
    return {name: f"sqlite:///{world.folder}/{name}.db" for name in ROWS}


async def run(world: World) -> Iterable[str]:
    shared: dict[str, Any] = dict(ROWS)
    await filling(world).run_async(shared)
    await build(world).run_async(shared)
    return [
        f"{row['name']}: billed {row.get('billed', 0)}, {many(row.get('tickets', 0), 'ticket')}"
        for row in shared["rows"]
    ]
