"""What a person sees of an error: the line that called run(), and the hook that failed."""

import asyncio
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from kaygraph import Graph, Node, ParallelBatchNode, Pipeline, UnknownActionError, settle


class Fails(Node[Any, Any]):
    def exec(self, _: Any) -> float:
        return 1 / 0


class FailsAsync(Node[Any, Any]):
    async def exec(self, _: Any) -> float:
        await asyncio.sleep(0)
        return 1 / 0


class Batch(ParallelBatchNode[Any, Any]):
    max_workers = 3

    def prep(self, shared: Any) -> Any:
        return range(1)

    def exec(self, item: int) -> float:
        return 1 / item


class Chained(Node[Any, Any]):
    async def exec(self, _: Any) -> None:
        try:
            await Graph(FailsAsync()).run_async()
        except ZeroDivisionError as error:
            raise ValueError("broken") from error


def files_of(error: BaseException) -> list[str]:
    """The functions in the traceback of an error, from the outermost."""
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


GRAPHS: list[Callable[[], Any]] = [
    lambda: Graph(Fails()),
    lambda: Graph(FailsAsync()),
    lambda: Graph(Node() >> Graph(Batch())),
    lambda: Graph([FailsAsync(), Node()]),
    lambda: Graph(FailsAsync(timeout=100, max_retries=2)),
    lambda: Pipeline(Batch(), Node()),
]


@pytest.mark.parametrize("graph", GRAPHS)
def test_an_error_shows_who_called_and_what_failed(graph: Callable[[], Any]) -> None:
    """And none of what lies between."""
    with pytest.raises(ZeroDivisionError) as caught:
        graph().run()
    assert files_of(caught.value)[1:] in (["exec"], ["run", "exec"])


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.anyio
async def test_where_a_run_is_awaited_it_is_as_short(graph: Callable[[], Any]) -> None:
    """But for the frame in which the run ends."""
    with pytest.raises(ZeroDivisionError) as caught:
        await graph().run_async()
    assert files_of(caught.value)[1:] in (["exec"], ["launched", "exec"])


def test_causes_and_parts_are_as_short() -> None:
    """Of an error that was raised from another, and of a group of them."""
    with pytest.raises(ValueError, match="broken") as caught:
        Chained().run()
    cause = caught.value.__cause__
    assert cause is not None
    assert "gather" not in files_of(cause)
    assert files_of(cause)[-1] == "exec"
    with pytest.raises(ExceptionGroup) as group:
        Graph([FailsAsync(), FailsAsync(name="other")]).run()
    assert [files_of(error) for error in group.value.exceptions] == [["exec"], ["exec"]]


def test_an_error_of_the_engine_shows_who_called() -> None:
    """The message says the rest."""

    class Lost(Node[Any, Any]):
        def post(self, shared: Any, _: Any, __: Any) -> str:
            return "nowhere"

    lost = Lost()
    lost >> Node()
    with pytest.raises(UnknownActionError) as caught:
        Graph(lost).run()
    assert len(files_of(caught.value)) == 1


def test_all_of_it_is_there_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """For developers of the engine."""
    monkeypatch.setenv("KAYGRAPH_TRACEBACK", "full")
    with pytest.raises(ZeroDivisionError) as caught:
        Graph(Fails()).run()
    assert {"along", "call_here", "exec"} <= set(files_of(caught.value))


def test_an_error_that_a_group_has_settled_is_not_touched() -> None:
    """It does not leave the run."""
    Graph(settle(Fails()) >> Node()).run()
