"""What ``self.log`` is bound to: the run, the node, the item, the attempt, as far as known."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
import structlog

from kaygraph import (
    AsyncNode,
    BaseNode,
    BatchGraph,
    Graph,
    Node,
    ParallelBatchNode,
    RunReport,
    first_of,
)
from kaygraph.run.run import Run

Line = dict[str, Any]


def lines_of(node: BaseNode[Any, Any], **settings: Any) -> list[Line]:
    """Run a node and return what its hooks log, without what all lines have."""
    with structlog.testing.capture_logs() as lines:
        node.run({}, **settings)
    assert all(line.pop("log_level") == "info" for line in lines)
    return lines  # type: ignore[return-value]


def ids_in(lines: list[Line]) -> set[str]:
    """Take the id of the run from each line."""
    return {line.pop("run") for line in lines}


class Tells(AsyncNode[None, None]):
    """Logs in every hook."""

    def prep(self, shared: Any, /) -> None:
        self.log.info("prep")

    async def exec(self, prep_res: None, /) -> None:
        self.log.info("exec")

    def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> None:
        self.log.info("post")


class TellsMany(ParallelBatchNode[str, str]):
    """Logs in every hook, and waits in between."""

    def prep(self, shared: Any, /) -> list[str]:
        self.log.info("prep")
        return ["a", "b", "c"]

    async def exec(self, item: str, /) -> str:
        await asyncio.sleep(0)
        self.log.info(item)
        return item

    def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> None:
        self.log.info("post")


class ToldInAThread(TellsMany):
    def exec(self, item: str, /) -> str:  # type: ignore[override]
        self.log.info(item)
        return item


class ToldElsewhere(Node[None, Any]):
    """Returns what its log is bound to where ``exec`` runs."""

    def exec(self, prep_res: None, /) -> Any:
        return dict(structlog.get_context(self.log))

    def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> None:
        self.log.info("post", elsewhere=exec_res)


@pytest.mark.parametrize("observers", [(), (RunReport(),)])
def test_hooks_of_a_node_tell_the_run_and_the_node(observers: tuple[Any, ...]) -> None:
    """All hooks of a run have the same id, another run has another."""
    lines = lines_of(Graph(Tells(name="first") >> Tells(name="second")), observers=observers)
    run_ids = ids_in(lines)
    assert lines == [
        {"event": hook, "node": node}
        for node in ("first", "second")
        for hook in ("prep", "exec", "post")
    ]
    assert len(run_ids | ids_in(lines_of(Tells()))) == 2


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("settings", [{}, {"max_retries": 2}])
@pytest.mark.parametrize("kind", [TellsMany, ToldInAThread])
def test_an_item_tells_its_index(
    kind: type[TellsMany], settings: dict[str, Any], workers: int
) -> None:
    """Whichever worker has it; ``prep`` and ``post`` have no item."""
    lines = lines_of(Graph(kind(max_workers=workers, name="many", **settings)))
    assert len(ids_in(lines)) == 1
    assert sorted(lines[1:-1], key=lambda line: line["event"]) == [
        {"event": item, "node": "many", "item": index} for index, item in enumerate("abc")
    ]
    assert lines[0] == {"event": "prep", "node": "many"}
    assert lines[-1] == {"event": "post", "node": "many"}


@pytest.mark.parametrize("workers", [1, 2])
def test_an_item_of_a_stage_tells_its_index(workers: int) -> None:
    """Each stage counts those that come to it."""
    stages = TellsMany(name="one") | TellsMany(name="two", max_workers=workers)
    lines = [line for line in lines_of(Graph(stages)) if "item" in line]
    assert len(ids_in(lines)) == 1
    assert {(line["event"], line["item"]) for line in lines if line["node"].endswith("two")} == {
        ("a", 0),
        ("b", 1),
        ("c", 2),
    }


def test_an_attempt_is_reported_from_the_second_on() -> None:
    """The one that runs, in the hook and after it no more."""

    class Third(TellsMany):
        async def exec(self, item: str, /) -> str:
            self.log.info(item)
            if self.attempt < 3:
                raise OSError
            return item

    lines = lines_of(Third(max_retries=3, max_workers=1))
    assert [(line["event"], line.get("item"), line.get("attempt")) for line in lines] == [
        ("prep", None, None),
        *((item, index, n) for index, item in enumerate("abc") for n in (None, 2, 3)),
        ("post", None, None),
    ]


def test_a_run_within_an_item_tells_its_own_place() -> None:
    """It is not an item of the node around it, and part of the run around unless detached."""

    class Around(TellsMany):
        async def exec(self, item: str, /) -> str:
            self.log.info("around")
            await Tells(name=item).run_async(detached=item == "c")
            self.log.info("around")
            return item

    lines = lines_of(Around(max_workers=1))
    around = [line for line in lines if line["event"] == "around"]
    within = [line for line in lines if line["event"] == "exec"]
    assert [line["item"] for line in around] == [0, 0, 1, 1, 2, 2]
    assert all("item" not in line for line in within)
    assert [line["node"] for line in within] == ["Around/a", "Around/b", "c"]
    ids = [{line["run"] for line in lines} for lines in (around, within[:2], within[2:])]
    assert ids[0] == ids[1]
    assert len(ids[0] | ids[2]) == 2


def test_names_of_the_graphs_around_are_reported() -> None:
    """As in events: in a graph, a round and a branch."""

    class Rounds(BatchGraph):
        def prep(self, shared: Any, /) -> list[dict[str, int]]:
            return [{"n": 1}]

    inner = Graph(Tells(name="leaf"), name="inner")
    lines = lines_of(Graph(inner >> Rounds(Tells(name="leaf")) >> first_of(Tells(name="leaf"))))
    assert len(ids_in(lines)) == 1
    assert len({line["node"] for line in lines}) == 3
    assert all(line["node"].endswith("/leaf") for line in lines)


@pytest.mark.parametrize(
    "place", ["process", partial(ThreadPoolExecutor, 1)], ids=["process", "executor"]
)
def test_a_log_elsewhere_tells_the_same(place: Any) -> None:
    """Where the run's context does not reach it is sent along."""
    executor = None if place == "process" else place()
    lines = lines_of(Graph(ToldElsewhere(run_in=executor or place), name="graph"))
    if executor is not None:
        executor.shutdown()
    assert lines[0]["elsewhere"] == {"run": lines[0]["run"], "node": "ToldElsewhere"}


def test_outside_of_a_run_only_the_name_is_known() -> None:
    """A log may be written where nothing runs."""
    assert dict(structlog.get_context(Tells(name="n").log)) == {"node": "n"}


def test_nothing_is_looked_up_for_a_run_that_does_not_log() -> None:
    """Not even the id is made."""
    made = list[Run]()

    class Silent(AsyncNode[None, None]):
        def prep(self, shared: Any, /) -> None:
            from kaygraph.run.frame import FRAME

            made.append(FRAME.get().run)

    Graph(Silent() >> Silent()).run(observers=[RunReport()])
    assert len(made) == 2
    assert not any("id" in vars(run) for run in made)
