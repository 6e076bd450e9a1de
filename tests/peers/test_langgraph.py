"""What the README says of LangGraph, where it is installed (seen in langgraph 1.2.24)."""

import asyncio
import operator
import warnings
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypedDict

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of libraries that it imports
    pytest.importorskip("langgraph")
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.errors import InvalidUpdateError
    from langgraph.graph import START, StateGraph
    from langgraph.types import Send

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("default")]

Body = Callable[[Any], Awaitable[dict[str, Any]]]


class State(TypedDict, total=False):
    """One key that holds a value, and one that collects values."""

    key: str
    done: Annotated[list[Any], operator.add]


def graph(*edges: tuple[Any, Any], **nodes: Body) -> "StateGraph[Any]":
    """Wire nodes."""
    made = StateGraph(State)
    for name, body in nodes.items():
        made.add_node(name, body)
    for source, target in edges:
        made.add_edge(source, target)
    return made


def step(name: str, log: list[str], waits_for: asyncio.Event | None = None) -> Body:
    """Make a node that logs its begin and its end."""

    async def body(_: Any) -> dict[str, Any]:
        log.append(name)
        if waits_for is not None:
            await waits_for.wait()
        log.append(f"{name} ended")
        return {"done": [name]}

    return body


async def test_two_branches_that_write_a_key_are_refused() -> None:
    """It says so, in the step in which both write."""

    async def write(_: Any) -> dict[str, Any]:
        return {"key": "mine"}

    built = graph((START, "a"), (START, "b"), a=write, b=write).compile()
    with pytest.raises(InvalidUpdateError, match="only one value per step"):
        await built.ainvoke({})


async def test_a_fast_branch_waits_for_a_slow_one() -> None:
    """Its second node begins when the slow node of the step has ended."""
    log: list[str] = []
    gate = asyncio.Event()
    edges = (START, "slow"), (START, "fast"), ("fast", "next")
    built = graph(
        *edges, slow=step("slow", log, gate), fast=step("fast", log), next=step("next", log)
    ).compile()
    run = asyncio.create_task(built.ainvoke({}))
    for _ in range(200):
        await asyncio.sleep(0)
    assert "fast ended" in log
    assert "next" not in log
    gate.set()
    await run
    assert log.index("slow ended") < log.index("next")


async def test_a_join_of_branches_of_other_lengths_runs_twice() -> None:
    """Each arrival runs it, without ``defer=True``."""
    log: list[str] = []
    nodes = {name: step(name, log) for name in ("a", "b", "c", "join")}
    edges = (START, "a"), (START, "b"), ("b", "c"), ("a", "join"), ("c", "join")
    await graph(*edges, **nodes).compile().ainvoke({})
    assert log.count("join") == 2


async def test_a_join_of_a_list_never_runs_when_a_branch_takes_another_path() -> None:
    """The run ends without it, and without an error."""
    log: list[str] = []
    nodes = {name: step(name, log) for name in ("a", "b", "c", "join")}
    built = graph((START, "a"), (["a", "b", "c"], "join"), **nodes)
    built.add_conditional_edges(START, lambda _: "b", ["b", "c"])
    await built.compile().ainvoke({})
    assert {"a", "b"} <= set(log)
    assert "join" not in log


async def test_one_of_two_errors_is_lost() -> None:
    """Two nodes fail in the same step; the error that comes out says nothing of the other."""
    both = asyncio.Barrier(2)

    def fails(text: str) -> Body:
        async def body(_: Any) -> dict[str, Any]:
            await both.wait()
            raise ConnectionError(text)

        return body

    built = graph((START, "a"), (START, "b"), a=fails("one"), b=fails("two")).compile()
    with pytest.raises(ConnectionError) as raised:
        await built.ainvoke({})
    assert str(raised.value) in {"one", "two"}
    assert raised.value.__context__ is None


async def test_a_batch_within_a_node_begins_again() -> None:
    """A checkpoint is written behind a node, not behind an item."""
    calls: list[int] = []

    async def batch(_: Any) -> dict[str, Any]:
        for number in range(4):
            calls.append(number)
            if calls == [0, 1, 2]:
                raise ConnectionError
        return {"done": []}

    built = graph((START, "batch"), batch=batch).compile(checkpointer=InMemorySaver())
    thread: Any = {"configurable": {"thread_id": "1"}}
    with pytest.raises(ConnectionError):
        await built.ainvoke({}, thread)
    await built.ainvoke(None, thread)
    assert calls == [0, 1, 2, 0, 1, 2, 3]


async def test_tasks_that_were_sent_go_on() -> None:
    """With ``Send``, those that had ended are not run again."""
    calls: list[int] = []
    ended = asyncio.Event()

    async def one(state: Any) -> dict[str, Any]:
        calls.append(state["number"])
        if state["number"] == 0:
            return {"done": [0]}
        await asyncio.sleep(0.05)  # until the result of the other is stored
        if not ended.is_set():
            raise ConnectionError
        return {"done": [1]}

    built = graph(one=one)
    built.add_conditional_edges(
        START, lambda _: [Send("one", {"number": n}) for n in range(2)], ["one"]
    )
    compiled = built.compile(checkpointer=InMemorySaver())
    thread: Any = {"configurable": {"thread_id": "1"}}
    with pytest.raises(ConnectionError):
        await compiled.ainvoke({}, thread)
    ended.set()
    assert (await compiled.ainvoke(None, thread))["done"] == [0, 1]
    assert sorted(calls) == [0, 1, 1]
