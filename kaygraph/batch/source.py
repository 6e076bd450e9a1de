"""Where items come from: any iterable or async iterable, read until it ends or the run drains."""

import asyncio
import inspect
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from typing import Any

from ..aio.tasks import raise_if_awaited
from ..errors import NodeDefinitionError
from ..run.frame import Frame


class _NoItems(tuple[Any, ...]):
    __slots__ = ()


NO_ITEMS = _NoItems()  # what the inherited prep returns; later stages of a pipeline need none

Source = tuple[Iterator[Any] | None, "AsyncSource | None"]


def opened(items: Any, name: str, frame: Frame) -> Source:
    """Return an iterator or an async iterator over what ``prep`` returned."""
    if isinstance(items, AsyncIterable):
        return None, AsyncSource(items, frame)
    if items is NO_ITEMS:
        raise NodeDefinitionError(
            f"{name!r} has no items: define prep(self, shared), which returns them"
        )
    if isinstance(items, str | bytes | bytearray | Mapping):
        raise TypeError(f"prep of {name!r} returned a {type(items).__name__}: {_meant(items)}")
    if isinstance(items, Iterable) or hasattr(items, "__getitem__"):
        return iter(items), None
    raise TypeError(
        f"prep of {name!r} must return an iterable or async iterable of items, "
        f"got {type(items).__name__}"
    )


def _meant(items: Any) -> str:
    if isinstance(items, Mapping):
        return "for its pairs return items.items(), for its keys list(items); for one item [items]"
    return "for one item return [text], for its parts list(text) or text.split()"


async def close(items: Iterator[Any] | None, async_items: "AsyncSource | None") -> None:
    """Close a generator that was not read to its end, so that its ``finally`` runs now."""
    if inspect.isgenerator(items):
        items.close()
    if async_items is not None:
        await async_items.aclose()


class AsyncSource(AsyncIterator[Any]):
    """An async iterator that ends when the run drains, also in the middle of a wait for an item."""

    def __init__(self, items: AsyncIterable[Any], frame: Frame) -> None:
        self._items = aiter(items)
        self._frame = frame
        self._reader: asyncio.Task[Any] | None = None  # the task that waits for an item
        self._stopping = False
        frame.run.read(self._stop)

    async def __anext__(self) -> Any:
        if self._frame.drains:
            raise StopAsyncIteration
        self._reader = reader = asyncio.current_task()
        assert reader is not None
        cancelling = reader.cancelling()
        try:
            item = await anext(self._items)
        except asyncio.CancelledError as cancellation:
            # _stop cancels this wait only; any other cancellation is meant for the reader.
            if self._stopping and reader.cancelling() - 1 <= cancelling:
                raise StopAsyncIteration from None
            raise_if_awaited(cancellation)
            raise
        finally:
            self._reader = None
            if self._stopping:  # also when the iterator has swallowed it and given an item
                self._stopping = False
                self._frame.run.stopped = [r for r in self._frame.run.stopped if r is not reader]
                reader.uncancel()
        if reader.cancelling() > cancelling:  # the iterator has swallowed a cancellation
            raise asyncio.CancelledError
        return item

    def _stop(self) -> None:
        reader = self._reader
        if reader is None or reader is _current_task() or not self._frame.drains:
            return  # nobody waits, or the source itself drains the run: it gives its item first
        if not self._stopping:
            self._stopping = reader.cancel()
            self._frame.run.stopped = [*self._frame.run.stopped, reader]

    async def aclose(self) -> None:
        self._frame.run.read_out(self._stop)
        if hasattr(self._items, "aclose"):
            await self._items.aclose()


def _current_task() -> "asyncio.Task[Any] | None":
    try:
        return asyncio.current_task()
    except RuntimeError:  # called from a signal's callback, outside of any task
        return None
