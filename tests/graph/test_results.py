"""``graph.results``: what one node's items come to, read while the whole graph runs."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kaygraph import (
    BatchGraph,
    BatchNode,
    Drop,
    Graph,
    Journal,
    MapReduceNode,
    Node,
    Outcome,
    ParallelBatchNode,
    Pipeline,
    settle,
)
from kaygraph.run.frame import FRAME
from tests.blocks import OURS
from tests.clock import VIRTUAL

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


ITEMS = [1, 2, "fail", "drop", 5]


def ended(item: Any) -> Any:
    if item == "fail":
        raise ValueError(item)
    if item == "drop":
        raise Drop
    return (item, "done")


class Numbers:
    def prep(self, shared: Any) -> Any:
        return shared["items"]


class Batch(Numbers, ParallelBatchNode[Any, Any]):
    async def exec(self, item: Any) -> Any:
        return ended(item)


class InThreads(Numbers, ParallelBatchNode[Any, Any]):
    def exec(self, item: Any) -> Any:
        return ended(item)


class OneByOne(Numbers, BatchNode[Any, Any]):
    def exec(self, item: Any) -> Any:
        return ended(item)


class InBlocks(Batch):
    """Works on several items in one call, where nobody asks for each."""

    __module__ = OURS

    async def exec(self, item: Any) -> Any:
        return await super().exec(item)

    async def exec_block(self, items: list[Any]) -> Any:
        return map(ended, items)


class Yields(Numbers, ParallelBatchNode[Any, Any]):
    async def exec(self, item: Any) -> AsyncIterator[Any]:
        yield ended(item)
        yield "and more"


class Passes(Numbers, ParallelBatchNode[Any, Any]):
    """A stage without an exec."""


class One(Node[Any, Any]):
    """A node with one item, which fails if that says so."""

    def prep(self, shared: Any) -> Any:
        return shared["one"]

    async def exec(self, item: Any) -> Any:
        return ended(item)


async def read(graph: Any, shared: Any, node: Any, **settings: Any) -> list[Outcome[Any]]:
    async with graph.results(shared, node, **settings) as results:
        return [outcome async for outcome in results]


def shown(outcomes: list[Outcome[Any]]) -> list[tuple[Any, ...]]:
    found = [(one.index, one.status, one.value, one.item) for one in outcomes]
    return sorted(found, key=lambda one: (one[0], str(one)))


EXPECTED = [
    (0, "ok", (1, "done"), 1), (1, "ok", (2, "done"), 2), (2, "failed", None, "fail"),
    (3, "skipped", None, "drop"), (4, "ok", (5, "done"), 5),
]  # fmt: skip


@pytest.mark.parametrize("settings", [{}, {"max_workers": 1}, {"max_retries": 2}, {"timeout": 5}])
@pytest.mark.parametrize("kind", [Batch, InThreads, OneByOne, InBlocks])
async def test_a_batch_gives_an_outcome_for_each_item(kind: Any, settings: Any) -> None:
    """Also for those that failed or were dropped; ``post`` gets what it always gets."""
    if kind is OneByOne:
        settings = {name: value for name, value in settings.items() if name != "max_workers"}
    found: dict[str, Any] = {}

    class Keeps(kind):  # type: ignore[misc]
        if kind is InBlocks:
            __module__ = OURS

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            found["results"] = exec_res

    node = Keeps(on_error="skip", name="batch", **settings)
    node >> One(name="last")
    shared = {"items": ITEMS, "one": 1}
    outcomes = await read(Graph(node), shared, node)
    expected = [(*one[:1], "skipped", *one[2:]) if one[1] == "failed" else one for one in EXPECTED]
    assert shown(outcomes) == expected
    assert {one.name for one in outcomes} == {"batch"}
    assert [one.attempts for one in outcomes if one.index == 2] == [settings.get("max_retries", 1)]
    assert found["results"] == [(1, "done"), (2, "done"), (5, "done")]


@pytest.mark.parametrize("kind", [Batch, InThreads, InBlocks])
@pytest.mark.parametrize("workers", [1, 3])
async def test_a_stage_gives_an_outcome_for_each_item(kind: Any, workers: int) -> None:
    """The first, one in the middle, and the last, which a pipeline stands for."""
    for place in range(3):
        stages: list[Any] = [Passes(name=str(number)) for number in range(3)]
        stages[place] = kind(name=str(place), max_workers=workers, on_error="collect")
        pipeline = Pipeline(*stages, name="flow")
        wanted: list[Any] = [stages[place], f"flow/{place}"]
        if place == 2:
            wanted += [pipeline, "flow"]
        for node in wanted:
            assert shown(await read(Graph(pipeline), {"items": ITEMS}, node)) == EXPECTED


async def test_a_stage_that_yields_gives_an_outcome_for_each_value() -> None:
    """As they are yielded; and one for an item that has failed."""
    stage = Yields(on_error="collect", name="yields")
    outcomes = await read(Graph(stage | Passes()), {"items": [1, "fail"]}, stage)
    assert shown(outcomes) == [
        (0, "ok", "and more", None), (0, "ok", (1, "done"), None), (1, "failed", None, "fail"),
    ]  # fmt: skip


async def test_a_stage_without_exec_gives_what_goes_through_it() -> None:
    """So a pipeline may end in one."""
    outcomes = await read(Graph(Batch() | Passes()), {"items": [1, 2]}, "Pipeline")
    assert [one.value for one in outcomes] == [(1, "done"), (2, "done")]


async def test_any_other_node_gives_an_outcome_when_it_has_ended() -> None:
    """Each time that it runs; what fails on the way to a handler is one as well."""
    one, again = One(name="one"), Node[Any, Any](name="again")
    one - "error" >> again
    for item, expected in ((1, ("ok", (1, "done"))), ("fail", ("failed", None))):
        (outcome,) = await read(Graph(one), {"one": item}, "one")
        assert (outcome.status, outcome.value) == expected
        assert (outcome.name, outcome.index) == ("one", 0)


async def test_a_node_within_graphs_rounds_and_groups_is_found_by_its_name() -> None:
    """Or as an object, wherever it stands."""

    class Rounds(BatchGraph):
        def prep(self, shared: Any) -> Any:
            return [{}, {}]

    one = One(name="one")
    rounds = Rounds(Graph(one, name="inner"), name="rounds")
    for node in (one, "rounds/inner/one"):
        outcomes = await read(Graph(rounds), {"one": 1}, node)
        assert [out.name for out in outcomes] == ["rounds/inner/one"] * 2
    tax, batch = One(name="tax"), Batch(name="batch")
    group = settle(tax, batch >> One(name="behind"), name="group")
    for graph_node, name, number in (
        (tax, "group/tax", 1), ("group/batch/batch", "group/batch/batch", 2),
        (batch, "group/batch/batch", 2),
    ):  # fmt: skip
        outcomes = await read(Graph(group), {"one": 1, "items": [1, 2]}, graph_node)
        assert [out.name for out in outcomes] == [name] * number


async def test_graphs_groups_and_map_reduce_give_one_outcome() -> None:
    """What their ``exec`` comes to: of a graph, that of its last node."""

    class Count(MapReduceNode):
        def prep(self, shared: Any) -> Any:
            return ["a b", "b"]

        def map(self, item: str) -> Iterator[Any]:
            yield from ((word, 1) for word in item.split())

        def reduce(self, key: Any, values: list[int]) -> int:
            return sum(values)

    shared = {"one": 1, "items": [1]}
    for node, value in (
        (Count(name="x"), {"a": 1, "b": 2}),
        (settle(One(name="a"), One(name="b"), name="x"), [(1, "done"), (1, "done")]),
        (Graph(One(), name="x"), (1, "done")),
    ):
        assert [one.value for one in await read(Graph(node), shared, "x")] == [value]


async def test_the_others_run_as_if_nobody_looked() -> None:
    """``exec`` of a node that nobody asks about is awaited directly."""
    bare: dict[str, bool] = {}

    class Looks(Batch):
        async def exec(self, item: Any) -> Any:
            bare[self.name] = FRAME.get().bare

    looks = Looks(name="other")
    looks >> Looks(name="read")
    await read(Graph(looks), {"items": [1]}, "read")
    assert bare["other"]


async def test_results_come_while_the_graph_runs() -> None:
    """The first before the last item has begun."""
    gate, begun = asyncio.Event(), list[int]()

    class Waits(Numbers, ParallelBatchNode[Any, Any]):
        async def exec(self, item: int) -> int:
            begun.append(item)
            if item == 2:
                await gate.wait()
            return item

    async with Graph(Waits(max_workers=1)).results({"items": [1, 2, 3]}, "Waits") as results:
        async for outcome in results:
            if outcome.value == 1:
                assert 3 not in begun
                gate.set()
    assert results.dropped == 0


async def test_a_slow_reader_loses_the_oldest_and_slows_nobody() -> None:
    """They are counted."""
    found = []
    async with Graph(Batch()).results({"items": range(100)}, "Batch", size=10) as results:
        await asyncio.sleep(1)
        assert results.run.done()
        found = [outcome.index async for outcome in results]
    assert found == [*range(90, 100)]
    assert results.dropped == 90


async def test_a_failed_run_gives_what_there_was_and_raises() -> None:
    """As the events do."""
    found: list[Any] = []

    async def reads() -> None:
        async with Graph(Batch(max_workers=1)).results({"items": [1, "fail"]}, "Batch") as results:
            async for outcome in results:
                found.append(outcome.status)

    with pytest.raises(ValueError, match="fail"):
        await reads()
    assert found == ["ok", "failed"]


async def test_an_unknown_node_is_refused() -> None:
    """With the names that there are."""
    graph = Graph(Batch(name="Fetch") >> (Batch(name="Rank") | Batch(name="Store")))
    with pytest.raises(ValueError, match=r"no node 'Fetsh'; it has: Fetch, P.*mean 'Fetch'"):
        graph.results({}, "Fetsh")
    with pytest.raises(ValueError, match="no node <Batch>"):
        graph.results({}, Batch())
    with pytest.raises(TypeError, match="or the name of a node"):
        graph.results({}, 3)  # type: ignore[arg-type]


def test_results_of_a_recorded_run_are_those_that_are_replayed_too(tmp_path: Path) -> None:
    """A reader of a resumed run gets everything."""
    answers: Iterator[bool] = iter([False, True])

    class Answers(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            if not next(answers):
                raise ConnectionError

    async def main() -> int:
        batch = Batch()
        batch >> Answers()
        journal, number = Journal(tmp_path / "runs.db", run="one"), 0
        try:
            async with Graph(batch).results({"items": [1, 2]}, batch, journal=journal) as results:
                async for _ in results:
                    number += 1
        except ConnectionError:
            pass
        return number

    run: Callable[[], int] = lambda: asyncio.run(main())  # noqa: E731
    assert [run(), run()] == [2, 2]
