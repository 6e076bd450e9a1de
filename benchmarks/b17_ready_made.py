"""Ready-made nodes: functions, switches, joins and transforms."""

from collections.abc import Iterator
from typing import Any

from benchmarks.harness import Case
from kaygraph import Graph
from kaygraph.nodes import Case as When
from kaygraph.nodes import MergeNode, SwitchNode, TransformNode, node

LINE = 1_000
JOINS = 5


def cases(size: int) -> Iterator[Case]:
    yield in_a_line("B17-function", "a FunctionNode in a line", plus_one, 20_000 // size, 1.0)
    yield a_run_each("B17-function-run", "a FunctionNode, a run each", 5_000 // size, 2.3)
    yield in_a_line("B17-switch", "a SwitchNode in a line", switch, 20_000 // size, 1.2)
    yield join("B17-join", 10_000 // size, 1.2)
    yield transform("B17-transform", 10_000 // size, 0.6)


async def add_one(number: int) -> int:
    return number + 1


def plus_one() -> Any:
    return node(add_one, reads="number", writes="number")


def switch() -> Any:
    return SwitchNode(When("many", "count", ">", 1_000), reads="record", writes="action")


def in_a_line(name: str, what: str, make: Any, operations: int, target: float) -> Case:
    """One operation is one node; the floor does its work without a node."""
    line = first = make()
    for _ in range(LINE - 1):
        line = line >> make()
    graph, runs = Graph(first), operations // LINE

    async def floor() -> None:
        for _ in range(runs):
            shared: dict[str, Any] = {"number": 0, "record": {"count": 1}}
            for _ in range(LINE):
                if make is plus_one:
                    shared["number"] = await add_one(shared["number"])
                else:
                    shared["action"] = "many" if shared["record"]["count"] > 1_000 else "default"

    async def ours() -> None:
        for _ in range(runs):
            shared: dict[str, Any] = {"number": 0, "record": {"count": 1}}
            await graph.run_async(shared)
            assert shared["number"] == LINE if make is plus_one else shared["action"] == "default"

    return Case(
        name=name, what=what, operations=operations, floor=floor, ours=ours, target=target,
        unit="µs",
    )  # fmt: skip


def a_run_each(name: str, what: str, operations: int, target: float) -> Case:
    """One operation is one run of one node."""
    alone = plus_one()

    async def floor() -> None:
        shared = {"number": 0}
        for _ in range(operations):
            shared["number"] = await add_one(shared["number"])

    async def ours() -> None:
        shared = {"number": 0}
        for _ in range(operations):
            await alone.run_async(shared)
        assert shared["number"] == operations

    return Case(
        name=name, what=what, operations=operations, floor=floor, ours=ours, target=target,
        unit="µs",
    )  # fmt: skip


def join(name: str, many: int, target: float) -> Case:
    """One operation is one record that comes out."""
    people = [{"id": number, "name": f"name {number}", "city": "Porto"} for number in range(many)]
    orders = [{"id": n * 7919 % many, "total": n * 1.5, "currency": "EUR"} for n in range(many)]
    merge = MergeNode("join", inputs=("people", "orders"), key="id", writes="joined")

    def floor() -> None:
        for _ in range(JOINS):
            by_id = {order["id"]: order for order in orders}
            joined = [
                {**person, **by_id[person["id"]]} for person in people if person["id"] in by_id
            ]
            assert len(joined) == many

    def ours() -> None:
        for _ in range(JOINS):
            shared: dict[str, Any] = {"people": people, "orders": orders}
            merge.run(shared)
            assert len(shared["joined"]) == many

    what = f"a join of {many:,} by {many:,} records"
    return Case(
        name=name, what=what, operations=many * JOINS, floor=floor, ours=ours, target=target,
        rehearsed=True,
    )  # fmt: skip


def transform(name: str, count: int, target: float) -> Case:
    """One operation is one record; the floor makes a dict and calls the same functions."""
    records: list[dict[str, Any]] = [
        {"id": n, "name": f" Ann {n} ", "city": "Oslo", "price": "1.5", "count": 3}
        for n in range(count)
    ]
    strip = TransformNode(
        fields={"name": str.strip, "price": float}, reads="records", writes="stripped"
    )
    first = {**records[0], "name": "Ann 0", "price": 1.5}

    def floor() -> None:
        stripped = []
        for record in records:
            made = dict(record)
            made["name"] = str.strip(made["name"])
            made["price"] = float(made["price"])
            stripped.append(made)
        assert stripped[0] == first

    async def ours() -> None:
        shared: dict[str, Any] = {"records": records}
        await strip.run_async(shared)
        assert shared["stripped"][0] == first

    return Case(name=name, what="a TransformNode that changes two fields, a list of records",
                operations=count, floor=floor, ours=ours, target=target, unit="µs")  # fmt: skip
