"""Many files at once, each read in bounded memory; a bad row is reported by its line.

```mermaid
flowchart LR
    subgraph n0["Pipeline"]
        n0_0["Totals"]
        n0_1["WriteCSV"]
        n0_0 ==> n0_1
    end
```

``FileMap`` takes every file that matches, and stays within ``root``. ``ReadCSV`` reads one of them
row by row, and a bad row costs no other. The report appears as a whole or not at all.
"""

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from examples.patterns.world import World
from kaygraph import Graph
from kaygraph.nodes import FileMap, ReadCSV, WriteCSV

CITIES = ("Accra", "Bergen", "Cusco", "Delft", "Essen", "Fes", "Graz", "Hull")
Total = dict[str, Any]


class Totals(FileMap[Total]):
    """Adds up the sales of each file."""

    async def exec(self, path: Path, /) -> Total:
        total: Total = {"city": path.stem, "rows": 0, "sales": 0, "wrong": ""}
        async for row in ReadCSV(path, on_error="collect").stream():
            if row.value is None:
                total["wrong"] = str(row.error)
                continue
            total["rows"] += 1
            total["sales"] += int(row.value["amount"])
        return total


def build(world: World) -> Graph:
    totals = Totals("sales/*.csv", root=world.folder, max_workers=4)
    return Graph(totals | WriteCSV("report.csv", root=world.folder))


def fill(folder: Path) -> None:
    """Write a file for each city; the last one is cut short."""
    folder.mkdir(exist_ok=True)
    for city in CITIES:
        amounts = random.Random(city).choices(range(1, 100), k=500)
        text = "day,amount\n" + "".join(f"{day},{sold}\n" for day, sold in enumerate(amounts))
        if city == CITIES[-1]:
            text = text.rpartition(",")[0]
        (folder / f"{city}.csv").write_text(text, "utf-8")


async def run(world: World) -> Iterable[str]:
    fill(world.folder / "sales")
    await build(world).run_async({})
    return (world.folder / "report.csv").read_text("utf-8").splitlines()
