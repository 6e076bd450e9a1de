"""Errors show the code of a user, and not what called it."""

import asyncio
import traceback
from dataclasses import dataclass
from typing import Any

import pytest

from kaygraph import (
    AsyncNode,
    DeadlineExceededError,
    Graph,
    Node,
    Outcome,
    ParallelBatchNode,
    settle,
)
from kaygraph.aio.code import kind_of
from kaygraph.aio.tracebacks import trim

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class FrozenError(Exception):
    code: int = 1


def divide(number: int) -> float:
    return 1 / number


class Divides(Node[Any, Any]):
    async def exec(self, _: Any) -> float:
        return divide(0)


class DividesInThread(Node[Any, Any]):
    def exec(self, _: Any) -> float:
        return divide(0)


class DividesAll(ParallelBatchNode[Any, Any]):
    def prep(self, shared: Any) -> range:
        return range(3)

    async def exec(self, number: int) -> float:
        await asyncio.sleep(0)
        return divide(number)

    def post(self, shared: Any, _: Any, results: Any) -> None:
        shared["results"] = results


def functions_of(error: BaseException) -> list[str]:
    """Return the functions that an error's traceback shows, from the outermost."""
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


@pytest.mark.parametrize(
    "node",
    [
        Divides(),
        Divides(max_retries=2, timeout=9, deadline=9),
        Graph(AsyncNode() >> Graph([Divides(), AsyncNode()])),
        DividesAll(),
        DividesAll() | AsyncNode(),
    ],
    ids=repr,
)
async def test_the_traceback_leads_from_the_run_to_the_hook(node: Any) -> None:
    """What the engine has called in between is left out."""
    with pytest.raises(ZeroDivisionError) as caught:
        await node.run_async({})
    assert functions_of(caught.value)[1:] == ["exec", "divide"]


async def test_of_a_thread_it_does_so_as_well() -> None:
    """The thread's own functions are left out."""
    with pytest.raises(ZeroDivisionError) as caught:
        await DividesInThread().run_async({})
    assert functions_of(caught.value)[1:] == ["exec", "divide"]


async def test_an_outcome_has_the_hooks_alone() -> None:
    """In a batch and in a group."""
    shared: dict[str, Any] = {}
    await DividesAll(on_error="collect").run_async(shared)
    outcome = shared["results"][0]
    assert isinstance(outcome, Outcome)
    assert outcome.error is not None
    assert functions_of(outcome.error) == ["exec", "divide"]

    group = settle(Divides(), AsyncNode())
    group.post = lambda shared, *_: shared.update(outcomes=group.outcomes)  # type: ignore[method-assign]
    await group.run_async(shared)
    assert functions_of(shared["outcomes"][0].error) == ["exec", "divide"]


async def test_causes_are_trimmed_too() -> None:
    """Also what a time limit has cut short."""

    class Stuck(AsyncNode[Any, Any]):
        async def exec(self, _: Any) -> None:
            try:
                divide(0)
            except ZeroDivisionError as error:
                raise OSError("no") from error

    with pytest.raises(OSError, match="no") as caught:
        await Graph(Stuck(max_retries=2)).run_async({})
    assert caught.value.__cause__ is not None
    assert functions_of(caught.value.__cause__) == ["exec", "divide"]


async def test_a_frozen_error_is_trimmed_as_well() -> None:
    """Its traceback can be set, though not as an attribute."""

    class Refuses(AsyncNode[Any, Any]):
        async def exec(self, _: Any) -> None:
            raise FrozenError

    with pytest.raises(FrozenError) as caught:
        await Graph([Refuses(), AsyncNode()]).run_async({})
    assert functions_of(caught.value)[1:] == ["exec"]


async def test_what_the_engine_raises_itself_shows_where_it_was_run() -> None:
    """The message says the rest."""

    class Stuck(AsyncNode[Any, Any]):
        async def exec(self, _: Any) -> None:
            await asyncio.Event().wait()

    with pytest.raises(DeadlineExceededError) as caught:
        await Graph(Stuck(), deadline=0.01).run_async({})
    assert functions_of(caught.value)[1:] == []


class Ahead(ParallelBatchNode[Any, Any]):
    """Items of which a process takes many at a time."""

    run_in = "process"

    def prep(self, _: Any) -> list[int]:
        return [1, 0]

    def exec(self, number: int) -> float:
        return 1 / number


class Apart(Node[Any, Any]):
    run_in = "process"

    def exec(self, _: Any) -> float:
        return divide(0)


class NoItems(ParallelBatchNode[Any, Any]):
    def prep(self, _: Any) -> None:
        return None


async def launched(node: Any) -> None:
    await node.launch()


async def streamed(node: Any) -> None:
    async for _ in node.stream():
        pass


async def test_of_a_launched_run_it_does_so_as_well() -> None:
    """And of one whose results are streamed."""
    with pytest.raises(ZeroDivisionError) as caught:
        await launched(Graph(Divides()))
    assert functions_of(caught.value)[1:] == ["launched", "exec", "divide"]
    with pytest.raises(ZeroDivisionError) as caught:
        await streamed(DividesAll())
    assert functions_of(caught.value)[1:] == ["streamed", "exec", "divide"]


@pytest.mark.parametrize("node", [Apart(), Ahead(), Graph([Apart(), AsyncNode()])], ids=repr)
def test_what_a_process_raises_shows_where_it_was_run(node: Any) -> None:
    """A note has the traceback of the process."""
    with pytest.raises(ZeroDivisionError) as caught:
        Graph(node).run()
    assert len(functions_of(caught.value)) == 1
    assert any("in exec" in note for note in caught.value.__notes__)


async def test_what_the_engine_refuses_shows_where_it_was_run() -> None:
    """It is raised by a statement, with a message that says what to do."""
    with pytest.raises(TypeError, match="prep of 'Graph/NoItems' must return") as caught:
        await Graph(Graph([NoItems(), AsyncNode()])).run_async({})
    assert functions_of(caught.value)[1:] == []
    with pytest.raises(TypeError, match="observers is a list") as caught:
        Graph(AsyncNode()).run(observers=3)  # type: ignore[arg-type]
    assert functions_of(caught.value)[1:] == []


async def test_a_fault_of_the_engine_keeps_all_its_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """It contains no user code, and a developer who fixes it needs to see where it was."""
    monkeypatch.setattr("kaygraph.batch.fan_out.Slot", None)
    with pytest.raises(TypeError, match="NoneType") as caught:
        await Graph(DividesAll()).run_async({})
    assert {"along", "_worker"} <= set(functions_of(caught.value))

    with pytest.raises(AttributeError) as of_module:
        kind_of(3)  # type: ignore[arg-type]
    assert of_module.value.__traceback__ is not None
    fault = of_module.value.with_traceback(of_module.value.__traceback__.tb_next)
    trim(fault)
    assert functions_of(fault) == ["kind_of"]


def test_errors_that_know_each_other_end() -> None:
    """A circle of causes is walked once."""
    one, other = ValueError(), KeyError()
    one.__cause__, other.__context__ = other, one
    trim(one)


KEPT = ValueError("raised again and again")


class RaisesTheSame(ParallelBatchNode[Any, Any]):
    """Item 1 raises what item 0 has raised, while the worker of item 0 waits with item 2."""

    max_workers = 2
    on_error = "collect"

    def prep(self, shared: Any) -> range:
        self.waits, self.raised = asyncio.Event(), asyncio.Event()
        return range(3)

    async def exec(self, number: int) -> str:
        await asyncio.sleep(0)  # each worker takes one
        if number == 1:
            await self.waits.wait()
            self.raised.set()
        if number < 2:
            raise KEPT
        self.waits.set()
        await self.raised.wait()
        await asyncio.sleep(0)
        return "done"

    def post(self, shared: Any, _: Any, results: Any) -> None:
        shared["results"] = results


async def test_a_worker_that_waits_outlives_an_error_that_knows_its_frame() -> None:
    """Only what has ended forgets its variables."""
    shared: dict[str, Any] = {}
    try:
        await Graph(RaisesTheSame()).run_async(shared)
        first, second, last = shared["results"]
    finally:
        KEPT.__traceback__ = None
    assert first.error is second.error is KEPT
    assert last == "done"
