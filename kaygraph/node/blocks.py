"""Items in blocks: how a node yields or takes many at once. Internal to the engine.

A row of a file costs less than the coroutine that would carry it. So a source may give its items in
lists (``Blocks``), and a node may process a list of items as its ``exec`` processes one
(``exec_block``). Users see neither: their ``exec`` gets one item, a buffer counts items, errors
name the item that failed, and an ``exec`` of a subclass is called for each item.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")

DROPPED: Final[Any] = object()  # in place of the result of an item that is left out

# ``exec_block(items)`` of a node, which returns one result for each item, in their order.
#
# - A list, when all are there. Or an iterator that makes each result on request: an error that it
#   raises belongs to this item, and it goes on with the next, as ``map`` does. (A generator has
#   ended after an error.) What it does for an item may set context variables: from then on, the
#   engine calls ``exec`` for each item.
# - If it ends early, it is called again with the rest. A ``map`` has a result for every item:
#   if it ends early, its function has raised StopIteration.
# - DROPPED marks an item that is left out; ``raise Drop`` does the same and costs more.
# - An error of the call itself, or of awaiting it, is the error of the first item; it is
#   called again with the rest. Cancelled while it is awaited, all items were cancelled.
# - There is at least one item, and no Outcome of an earlier stage among them.
ExecBlock = Callable[[list[Any]], Awaitable[Iterator[Any] | list[Any]]]


def exec_block_of(node: Any) -> ExecBlock | None:
    """Return the function for a list of a node's items, if it does the same as the node's ``exec``.

    If a subclass or an object replaces ``exec``, that is called for each item: the two belong
    together only if one class defines both.
    """
    if node.exec_block is None or "exec" in vars(node):
        return None
    both = ("exec", "exec_block")
    first = next(cls for cls in type(node).__mro__ if not vars(cls).keys().isdisjoint(both))
    return node.exec_block if "exec_block" in vars(first) else None


class Blocks(AsyncGenerator[T, None], Generic[T]):
    """What ``prep`` of a source returns if it reads many items at once: a file reader, a query.

    The engine takes the lists as they come. For any other code, such as a subclass that reads
    ``super().prep(shared)``, it is an asynchronous generator of single items.

    Args:
        lists: An asynchronous generator of lists of items, in order; empty ones are skipped.
            One task reads and closes it, and requests no list before the previous one is processed
            or waits in a buffer.
    """

    def __init__(self, lists: AsyncGenerator[Sequence[T], None]) -> None:
        self.lists = lists
        self._items = _each(lists)

    def __anext__(self) -> Any:
        return self._items.__anext__()

    def asend(self, value: None, /) -> Any:
        return self._items.asend(value)

    def athrow(self, *error: Any) -> Any:
        return self._items.athrow(*error)

    async def aclose(self) -> None:
        await self._items.aclose()
        await self.lists.aclose()  # also if no item was requested


async def _each(lists: AsyncGenerator[Sequence[T], None]) -> AsyncGenerator[T, None]:
    try:
        async for items in lists:
            for item in items:
                yield item
    finally:
        await lists.aclose()
