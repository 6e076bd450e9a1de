"""Errors that come at once in a graph and in one within it."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from kaygraph import Graph, Node


class Fails(Node[Any, Any]):
    """Fails after some turns of the loop."""

    def __init__(self, turns: int, raised: list[BaseException]) -> None:
        super().__init__()
        self.turns, self.raised = turns, raised

    async def exec(self, _: Any) -> None:
        for _turn in range(self.turns):
            await asyncio.sleep(0)
        self.raised.append(ValueError(len(self.raised)))
        raise self.raised[-1]


def leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


@pytest.mark.parametrize("turns", range(4))
def test_errors_of_a_graph_within_are_kept_when_one_around_it_fails_too(turns: int) -> None:
    """What was raised before the cancellation came is raised with its cause."""
    raised: list[BaseException] = []
    within = Graph([Fails(0, raised), Fails(0, raised)])
    with pytest.raises((ValueError, ExceptionGroup)) as caught:
        Graph([Fails(turns, raised), within]).run({})
    found = [str(error) for error in leaves(caught.value)]
    assert sorted(found) == sorted(map(str, raised))
