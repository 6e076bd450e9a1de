"""A run whose result cannot be recorded ends with the error about that, in every shape."""

import asyncio
from typing import Any

import pytest

from kaygraph import AsyncNode, BatchNode, Graph, Journal, Node, settle
from kaygraph.errors import NotRecordableError
from kaygraph.nodes import node


class Opaque:
    pass


class One(Node):
    max_retries = 2

    def exec(self, prep_res: Any) -> Any:
        return Opaque()


class Awaited(AsyncNode):
    async def exec(self, prep_res: Any) -> Any:
        return Opaque()


class Several(BatchNode):
    def prep(self, shared: Any) -> list[int]:
        return [1, 2]

    def exec(self, item: Any) -> Any:
        return Opaque()


@node
def function() -> Any:
    return Opaque()


def routed() -> Graph:
    first = One()
    first - "error" >> Awaited()
    return Graph(first)


SHAPES: dict[str, Any] = {
    "node": One(),
    "awaited": Awaited(),
    "graph": Graph(One()),
    "nested": Graph(Graph(Awaited()) >> One()),
    "function": Graph(function),
    "batch": Several(),
    "collected": Graph(Several(on_error="collect")),
    "branches": Graph(settle(One(), Awaited())),
    "error route": routed(),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_run_ends_with_the_error_that_names_the_node(shape: Any) -> None:
    """No retry, error route or collected failure hides it, and no cancellation is visible."""
    with pytest.raises(NotRecordableError, match=r"What exec of .+ returned .*types=\[Opaque\]"):
        shape.run({}, journal=Journal(":memory:"))


@pytest.mark.anyio
async def test_a_task_that_ran_it_goes_on(anyio_backend: str) -> None:
    """The cancellation that ended the run is not left behind for the next await."""
    with pytest.raises(NotRecordableError):
        await Graph(Awaited()).run_async({}, journal=Journal(":memory:"))
    current = asyncio.current_task()
    assert current is not None
    assert current.cancelling() == 0
    await asyncio.sleep(0)
