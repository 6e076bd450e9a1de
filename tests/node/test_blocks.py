"""Which nodes work on many items at once, and what gives them."""

from typing import Any

import pytest

from kaygraph import Node
from kaygraph.errors import NodeDefinitionError
from kaygraph.node.blocks import Blocks, exec_block_of
from tests.blocks import OURS, Lists, Work

pytestmark = pytest.mark.anyio


class Inherits(Work):
    """Neither is changed."""


class Changed(Work):
    """Only exec is."""

    async def exec(self, item: Any) -> Any:
        return item


class Both(Changed):
    """They belong together again."""

    __module__ = OURS

    async def exec(self, item: Any) -> Any:
        return item

    async def exec_block(self, items: list[Any]) -> Any:
        return items


@pytest.mark.parametrize(
    ("cls", "together"), [(Work, True), (Inherits, True), (Changed, False), (Both, True)]
)
def test_a_block_stands_for_the_exec_of_the_same_class(cls: type[Work], together: bool) -> None:
    """A subclass with an exec of its own has it called."""
    assert (exec_block_of(cls(str)) is not None) is together
    assert exec_block_of(Node()) is None


def test_an_exec_that_was_replaced_on_a_node_is_called() -> None:
    """As a test does."""
    node = Work(str)
    node.exec = Changed(str).exec  # type: ignore[method-assign]
    assert exec_block_of(node) is None


def test_only_nodes_of_the_engine_have_it() -> None:
    """Elsewhere the name would stand for something else."""
    with pytest.raises(NodeDefinitionError, match="exec_block, which is a name that the engine"):
        type("Own", (Node,), {"exec_block": lambda self, items: items})


async def test_lists_are_closed_by_code_that_stops_reading_items() -> None:
    """Also before the first was asked for."""
    for items in (0, 1, 3):
        source = Lists([1, 2], [3])
        given: Blocks[Any] = source.prep({})
        read = [await anext(given) for _ in range(items)]
        assert read == [1, 2, 3][:items]
        await given.aclose()
        assert [item async for item in given] == []
        assert source.closed is bool(items)


async def test_lists_take_what_a_generator_takes() -> None:
    """A value that is sent, and an error that is raised where it stands, which ends it."""
    source = Lists([1, 2], [3])
    given: Blocks[Any] = source.prep({})
    assert await given.asend(None) == 1
    with pytest.raises(KeyError):
        await given.athrow(KeyError("stop"))
    assert [item async for item in given] == []
