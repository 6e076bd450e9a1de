"""An error that takes no notes, a frozen dataclass, is raised as itself wherever it comes from."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from kaygraph import AsyncNode, Graph, Node, ParallelBatchNode, Pipeline, settle
from kaygraph.nodes import TransformNode
from kaygraph.testing import simulate


@dataclass(frozen=True)
class Refused(Exception):  # noqa: N818 - named as users name theirs
    code: int


class Refuses(Node):
    def exec(self, _: Any) -> None:
        raise Refused(402)


class RefusesAll(ParallelBatchNode):
    def prep(self, shared: Any) -> list[int]:
        return [1]

    async def exec(self, _: Any) -> None:
        raise Refused(402)


class Holding(Refuses):
    @asynccontextmanager
    async def lifespan(self, shared: Any) -> AsyncIterator[None]:
        yield


NODES = {
    "node": lambda: Refuses(),
    "retried": lambda: Refuses(max_retries=2),
    "thread": lambda: Refuses(run_in="thread"),
    "batch": lambda: RefusesAll(),
    "too many": lambda: Graph(RefusesAll(timeout=5)),
    "pipeline": lambda: Pipeline(RefusesAll()),
    "lifespan": lambda: Holding(),
    "graph": lambda: Graph(Refuses()),
}


@pytest.mark.parametrize("node", NODES)
def test_a_frozen_error_is_raised_as_itself(node: str) -> None:
    """Not as the error that notes and tracebacks cannot be put on it."""
    with pytest.raises(Refused) as caught:
        NODES[node]().run({})
    assert caught.value.code == 402


def test_a_frozen_error_is_raised_as_itself_by_a_simulation() -> None:
    """The seed that repeats the run cannot be noted on it."""
    with pytest.raises(Refused):
        simulate(Graph(RefusesAll()), {})


def test_a_frozen_error_of_a_record_is_raised_as_itself() -> None:
    """The record's number cannot be noted on it."""

    def refuse(_: Any) -> None:
        raise Refused(402)

    node = TransformNode(compute={"b": refuse}, reads="records", writes="changed")
    with pytest.raises(Refused):
        node.run({"records": [{"a": 1}]})


def test_a_frozen_error_stands_in_its_outcome() -> None:
    """Of an item and of a branch."""
    kept: list[Any] = []

    class Collects(RefusesAll):
        def post(self, shared: Any, prep_res: Any, results: Any) -> None:
            kept.extend(results)

    class After(Node):
        def post(self, *_: Any) -> None:
            kept.extend(self.outcomes)

    Collects(on_error="collect").run({})
    Graph(settle(Refuses()) >> After()).run({})
    assert [outcome.error for outcome in kept] == [Refused(402), Refused(402)]


def test_a_frozen_error_is_on_its_error_route() -> None:
    """As the node that handles it sees it."""
    seen: list[Any] = []

    class Handles(AsyncNode):
        async def exec(self, _: Any) -> None:
            seen.append(self.error)

    node = Refuses()
    node - "error" >> Handles()
    Graph(node).run({})
    assert seen == [Refused(402)]
