"""D1–D5: what recording and replaying a run costs."""

import asyncio
import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, TypedDict

from kaygraph import Graph, Journal, Node, ParallelBatchNode, RunReport
from kaygraph.nodes import SQLExecute, SQLWrite

from .harness import Benchmark, Case

IDS = itertools.count()
POSTGRES = os.environ.get("KAYGRAPH_TEST_POSTGRES")
GROUP = 1_000  # records in one transaction


class Fetch(ParallelBatchNode[dict[str, Any], dict[str, Any]]):
    """Items that suspend once, 100 at a time."""

    max_workers = 100

    def __init__(self, items: int) -> None:
        super().__init__()
        self.items = [{"id": number, "name": f"item {number}"} for number in range(items)]

    def prep(self, shared: Any) -> list[dict[str, Any]]:
        return self.items

    async def exec(self, item: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"id": item["id"], "ok": True}

    def post(self, shared: Any, prep_res: Any, exec_res: list[dict[str, Any]]) -> str | None:
        assert len(exec_res) == len(self.items)
        return None


class Step(Node[int, int]):
    """A step of a loop."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def prep(self, shared: dict[str, int]) -> int:
        return shared["count"]

    async def exec(self, count: int) -> int:
        return count + 1

    def post(self, shared: dict[str, int], prep_res: int, exec_res: int) -> str | None:
        shared["count"] = exec_res
        return "again" if exec_res < self.steps else None


class Unfinished(Node[None, None]):
    """Fails, so that the run can be resumed."""

    async def exec(self, _: None) -> None:
        raise ConnectionError


def looping(steps: int) -> Graph:
    step = Step(steps)
    step - "again" >> step
    return Graph(step, name="loop")


def with_langgraph(steps: int, path: Callable[[], Path]) -> Callable[[], None]:
    """Return the same loop in LangGraph, with a checkpoint in SQLite after every step."""

    def run() -> None:
        saver_of: Any = import_module("langgraph.checkpoint.sqlite").SqliteSaver
        library: Any = import_module("langgraph.graph")

        class State(TypedDict):
            count: int

        builder = library.StateGraph(State)
        builder.add_node("step", lambda state: {"count": state["count"] + 1})
        builder.set_entry_point("step")
        builder.add_conditional_edges(
            "step", lambda state: "step" if state["count"] < steps else library.END
        )
        with saver_of.from_conn_string(str(path())) as saver:
            graph = builder.compile(checkpointer=saver)
            config = {"configurable": {"thread_id": str(next(IDS))}, "recursion_limit": steps + 2}
            state = graph.invoke({"count": 0}, config, durability="sync")
        assert state["count"] == steps

    return run


def cases(size: int) -> Iterator[Benchmark]:
    folder = tempfile.TemporaryDirectory(prefix="kaygraph-")

    def at(name: str) -> Path:
        return Path(folder.name) / name  # removed with the last reference

    items = 20_000 // size
    graph = Graph(Fetch(items), name="crawl")

    def observed() -> None:
        graph.run({}, observers=[RunReport()])

    def recorded(durable: bool) -> None:
        name = at("durable.db" if durable else "runs.db")
        graph.run({}, journal=Journal(name, run=str(next(IDS)), durable=durable))

    yield Case(
        name="D1",
        what="an item that is recorded in SQLite, 100 at a time; against one with RunReport",
        operations=items,
        floor=observed,
        ours=lambda: recorded(False),
        target=3.0,
    )
    yield Case(
        name="D1-time",
        what="the same, in all",
        operations=items,
        floor=observed,
        ours=lambda: recorded(False),
        target=20.0,
        unit="µs",
    )
    yield Case(
        name="D1-durable",
        what="the same with durable=True",
        operations=items,
        floor=observed,
        ours=lambda: recorded(True),
        target=25.0,
        unit="µs",
    )

    steps = 1_000 // size
    loop = looping(steps)

    def looped() -> None:
        loop.run({"count": 0}, observers=[RunReport()])

    def loop_recorded() -> None:
        loop.run({"count": 0}, journal=Journal(at("loop.db"), run=str(next(IDS))))

    yield Case(
        name="D2",
        what="a step of a loop that is recorded",
        operations=steps,
        floor=looped,
        ours=loop_recorded,
        target=60.0,
        unit="µs",
        peers={"LangGraph, SQLite, sync": with_langgraph(steps, partial(at, "langgraph.db"))},
    )

    fetch = Fetch(items)
    fetch >> Unfinished()
    unfinished = Graph(fetch, name="crawl")

    def replayed() -> None:
        journal = Journal(at("replay.db"), run="first")
        with suppress(ConnectionError):
            unfinished.run({}, journal=journal)
        assert journal.replayed in (0, items)  # none in the very first run

    yield Case(
        name="D3",
        what="an item that is replayed",
        operations=items,
        floor=observed,
        ours=replayed,
        target=4.0,
        unit="µs",
    )
    if POSTGRES is not None:
        yield from in_postgres(200_000 // size, POSTGRES)
        yield from once(20_000 // size, at, POSTGRES)
    else:
        yield from once(20_000 // size, at)


def in_postgres(items: int, url: str) -> Iterator[Benchmark]:
    from kaygraph.journal.log import RESULT, packed
    from kaygraph.journal.postgres import PostgresStore

    payload = packed([[{"id": 1, "ok": True}]])
    groups = [
        [[RESULT, n.to_bytes(16, "big"), 1, payload, 1, 0.001] for n in range(begin, begin + GROUP)]
        for begin in range(0, items, GROUP)
    ]

    def packing() -> None:
        assert sum(map(len, map(packed, groups))) > items

    def written() -> None:
        store = PostgresStore(url)
        run = f"benchmark {os.getpid()} {next(IDS)}"
        epoch = store.claim(run, "benchmark").epoch
        for group in groups:
            store.append(run, epoch, packed(group))
        assert store.info(run).rows == len(groups)
        store.remove([run])
        store.close()

    yield Case(
        name="D4",
        what=f"a record in PostgreSQL, {GROUP} at a time",
        operations=items,
        floor=packing,
        ours=written,
        target=5.0,
        unit="µs",
    )


def once(items: int, at: Callable[[str], Path], postgres: str = "") -> Iterator[Benchmark]:
    """Yield the cases of rows that are recorded in the same transaction."""

    def writing(database: str, journal: str, mark: str) -> Callable[[], None]:
        def url() -> str:  # it keeps the folder alive
            return database or f"sqlite:///{at('rows.db')}"

        rows = [{"id": number} for number in range(items)]
        node = SQLWrite(url(), f"INSERT INTO kaygraph_benchmark VALUES ({mark})", reads="rows")
        graph = Graph(node, name="writing")

        async def write() -> None:
            prepare = SQLExecute(
                url(),
                "DROP TABLE IF EXISTS kaygraph_benchmark",
                "CREATE TABLE kaygraph_benchmark (id INTEGER)",
            )
            await prepare.run_async({})
            await graph.run_async({"rows": rows}, journal=Journal(journal or url(), run=new_id()))
            count = SQLExecute(url(), "SELECT count(*) AS n FROM kaygraph_benchmark", writes="n")
            shared: dict[str, Any] = {}
            await count.run_async(shared)
            assert shared["n"] == [{"n": items}]

        return lambda: asyncio.run(write())

    def new_id() -> str:
        return f"benchmark {os.getpid()} {next(IDS)}"

    yield Case(
        name="D5",
        what="a row of SQLWrite with the journal in its database; against one elsewhere",
        operations=items,
        floor=writing("", str(at("other.db")), ":id"),
        ours=writing("", "", ":id"),
        target=1.5,
    )
    if postgres:
        yield Case(
            name="D5-postgres",
            what="the same in PostgreSQL",
            operations=items,
            floor=writing(postgres, str(at("other.db")), "%(id)s"),
            ours=writing(postgres, "", "%(id)s"),
            target=1.5,
        )
