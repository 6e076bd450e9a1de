"""B10: a CSV file becomes a file of JSON lines; one operation is one row."""

import csv
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Case
from kaygraph import Graph, Pipeline
from kaygraph.nodes import ReadCSV, TransformNode, WriteJSONLines

NAMES = ["id", "name", "city", "amount", "quantity"]
FILES = tempfile.TemporaryDirectory(prefix="kaygraph-benchmark-")


def cases(size: int) -> Iterator[Case]:
    rows = 200_000 // size
    given, by_hand, ours = (Path(FILES.name, name) for name in ("given.csv", "by-hand", "ours"))
    write_rows(given, rows)

    def floor() -> None:
        import msgspec

        encode = msgspec.json.Encoder().encode
        with given.open(newline="", encoding="utf-8") as source, by_hand.open("wb") as target:
            reader = csv.reader(source)
            names = next(reader)
            for values in reader:
                record: dict[str, object] = dict(zip(names, values, strict=True))
                record["amount"] = float(values[3])
                record["quantity"] = int(values[4])
                target.write(encode(record) + b"\n")

    graph = Graph(
        Pipeline(
            ReadCSV(given),
            TransformNode(fields={"amount": float, "quantity": int}),
            WriteJSONLines(ours),
            collect=False,
        )
    )

    async def written() -> None:
        await graph.run_async({})
        assert_same(ours, by_hand)

    yield Case(
        name="B10",
        what="ReadCSV | TransformNode | WriteJSONLines, against csv.reader and msgspec",
        operations=rows,
        floor=floor,
        ours=written,
        target=1.4,
    )


def assert_same(one: Path, other: Path) -> None:
    assert one.stat().st_size == other.stat().st_size


def write_rows(path: Path, rows: int) -> None:
    """Write a table of orders."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(NAMES)
        for number in range(rows):
            city = ("Berlin", "Paris", "Roma")[number % 3]
            writer.writerow([number, f"name {number}", city, f"{number * 0.37:.2f}", number % 17])
