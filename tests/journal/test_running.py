"""A recorded run from its opening to its end."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kaygraph import AsyncNode, Graph, Node, NotRecordableError, ParallelBatchNode
from kaygraph.journal.journal import Journal


class Unrecordable(Node):
    def exec(self, _: Any) -> object:
        return object()


class UnrecordableLater(AsyncNode):
    async def exec(self, _: Any) -> object:
        await asyncio.sleep(0)
        return object()


@pytest.mark.parametrize("node", [Unrecordable, UnrecordableLater])
def test_a_value_that_cannot_be_recorded_is_told_as_that(tmp_path: Path, node: Any) -> None:
    """And not as the cancellation with which the journal ends the run."""
    journal = Journal(tmp_path / "runs.db", run="a")
    for run in (lambda: asyncio.run(Graph(node()).run_async({}, journal=journal)),
                lambda: Graph(node()).run({}, journal=journal)):  # fmt: skip
        with pytest.raises(NotRecordableError, match=f"exec of '{node.__name__}'"):
            run()


class Doubled(ParallelBatchNode[int, int]):
    """Negative items fail."""

    def prep(self, shared: Any) -> list[int]:
        return list(shared["items"])

    async def exec(self, item: int) -> int:
        if item < 0:
            raise LookupError(item)
        return 2 * item


def test_an_item_that_was_added_to_a_batch_which_has_ended_may_fail(tmp_path: Path) -> None:
    """The run fails with its error, and goes on when that is mended."""

    class Last(Node[Any, int]):
        def exec(self, _: Any) -> int:
            raise ConnectionError("down")

    graph = Graph(Doubled(name="Doubled") >> Unshown() >> Last())
    for items, error in [
        ([1, 2], ConnectionError),
        ([1, -1, 2], LookupError),
        ([1, 2], ConnectionError),
    ]:
        with pytest.raises(error):
            graph.run({"items": items}, journal=Journal(tmp_path / "runs.db", run="a"))


class Unshown(Node[Any, int]):
    def exec(self, _: Any) -> int:
        return 1


def test_old_results_are_not_mixed_with_those_that_were_made_again(tmp_path: Path) -> None:
    """Also where a later process is not told to make them again."""
    factor, broken = [1], [False]

    class Times(ParallelBatchNode[int, int]):
        def prep(self, _: Any) -> list[int]:
            return [1, 2, 3]

        async def exec(self, item: int) -> int:
            if broken[0] and item == 2:
                raise LookupError(item)
            return factor[0] * item

        def post(self, shared: Any, _: Any, results: list[int]) -> None:
            shared["results"] = results

    def run(**settings: Any) -> Any:
        shared: dict[str, Any] = {}
        Graph(Times()).run(shared, journal=Journal(tmp_path / "runs.db", run="a", **settings))
        return shared["results"]

    assert run() == [1, 2, 3]
    factor[0], broken[0] = 10, True
    with pytest.raises(LookupError):
        run(redo=["Times"])
    broken[0] = False
    assert run() == [10, 20, 30]


def test_a_node_that_is_run_again_and_fails_ends_its_run(tmp_path: Path) -> None:
    """Also where what was recorded of it before is not asked for any more."""
    path = tmp_path / "runs.db"
    graph = Graph(Doubled(name="Doubled"))
    graph.run({"items": [1, 2]}, journal=Journal(path, run="a"))
    with pytest.raises(LookupError):
        graph.run({"items": [-1]}, journal=Journal(path, run="a", redo=["Doubled"]))


NAMED = [{"redo": ["Dubled"]}, {"accept": ["Dubled"]}, {"key": {"Dubled": int}}]


@pytest.mark.parametrize("settings", NAMED)
def test_a_name_that_no_node_has_is_told(tmp_path: Path, settings: Any) -> None:
    """When the run is done: until then, one may still be made."""
    journal = Journal(tmp_path / "runs.db", run="a", **settings)
    with pytest.warns(UserWarning, match=r"names 'Dubled', and no .* Did you mean 'Doubled'\?"):
        Graph(Doubled(name="Doubled")).run({"items": [1]}, journal=journal)
    settings = {"redo": ["Doubled"], "accept": ["Doubled"], "key": {"Doubled": int}}
    again = Journal(tmp_path / "runs.db", run="a", **settings)
    Graph(Doubled(name="Doubled")).run({"items": [1]}, journal=again)
