"""The source of items: any iterable or async iterable, read until it ends or the run drains."""

import asyncio
import inspect
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextvars import Context, copy_context
from functools import partial
from typing import Any

from ..aio.outlet import Outlet, close, hand_on
from ..aio.tasks import raise_if_awaited
from ..errors import NodeDefinitionError
from ..node.blocks import Blocks
from ..run.frame import Frame


class _NoItems(tuple[Any, ...]):
    __slots__ = ()


NO_ITEMS = _NoItems()  # what the inherited prep returns; later stages of a pipeline need none

END: Any = object()  # after the last item
LAST: tuple[int, Any] = (0, END)

# Iterators that run only their own code.
PLAIN = frozenset(type(iter(of)) for of in (list[Any](), (), range(0), range(2**70), set[Any]()))


class SyncSource:
    """An iterator that runs in its own context, whichever task requests the next item.

    A generator can reset the context variables that it sets, and its items do not see them.

    Attributes:
        next: Called as the function of that name, with ``iterator`` and a value for the end.
    """

    next: Callable[[Iterator[Any], Any], Any] = next

    def __init__(self, items: Iterable[Any], alone: bool) -> None:
        self.iterator = iter(items)
        self._context: Context | None = None
        if not alone and type(self.iterator) not in PLAIN:
            if not inspect.isgenerator(self.iterator):
                self.iterator = _read(self.iterator)
            self._context = copy_context()
            step: Any = next
            self.next = partial(self._context.run, step)

    def close(self) -> None:
        """Close a generator that was not read to its end, so that its ``finally`` runs now."""
        if not inspect.isgenerator(self.iterator):
            return
        if self._context is None:
            self.iterator.close()
        else:
            self._context.run(self.iterator.close)


def _read(items: Iterator[Any]) -> Iterator[Any]:
    """Read an iterator that may raise more than once, up to its first error.

    Workers that start together read it in turn, and each would raise that error, or the next.
    """
    for item in items:  # noqa: UP028 - `yield from` would close it too, for example a file
        yield item


def opened(items: Any, name: str, frame: Frame, alone: bool = False) -> "SyncSource | AsyncSource":
    """Return a reader of the items that ``prep`` returned.

    ``alone``: in its own task, which takes lists of items if there are any.
    """
    if isinstance(items, AsyncIterable):
        return AsyncSource(items.lists if alone and isinstance(items, Blocks) else items, frame)
    if items is NO_ITEMS:
        raise NodeDefinitionError(
            f"{name!r} has no items: define prep(self, shared), which returns them"
        )
    if isinstance(items, str | bytes | bytearray | Mapping):
        raise TypeError(f"prep of {name!r} returned a {type(items).__name__}: {_meant(items)}")
    if isinstance(items, Iterable) or hasattr(items, "__getitem__"):
        return SyncSource(items, alone)
    got = "None: end it with 'return items'" if items is None else type(items).__name__
    raise TypeError(
        f"prep of {name!r} must return an iterable or async iterable of items, got {got}"
    )


def _meant(items: Any) -> str:
    if isinstance(items, Mapping):
        return "return items.items() for its pairs, list(items) for its keys, [items] for one item"
    return "return [text] for one item, list(text) or text.split() for its parts"


class AsyncSource(AsyncIterator[Any]):
    """An async iterator that ends when the run drains, even while it waits for an item.

    One task reads it, from its first step to its close: what a generator holds over its yields (a
    task group, a time limit, a context variable) is that task's.
    """

    iterator = None
    next: Callable[[Any, Any], Any] = next

    def __init__(self, items: AsyncIterable[Any], frame: Frame) -> None:
        self._given = items
        self._items: AsyncIterator[Any] | None = None
        self.frame = frame
        self._reader: asyncio.Task[Any] | None = None  # while it waits for an item
        self._stopping = False
        self._asking: deque[asyncio.Future[tuple[int, Any]]] = deque()
        self._idle: asyncio.Future[None] | None = None  # the reader waits for a request
        self._ended = False
        self.given_out = 0
        # Items that came after their requester was cancelled, each with its place.
        self.left: deque[tuple[int, Any]] = deque()

    @property
    def reads_from(self) -> AsyncIterator[Any] | None:
        """The iterator that yields the items; None before it is read."""
        return self._items

    # --- for the task that reads ------------------------------------------------------------------

    async def read(self, outlet: Outlet[Any] | None = None) -> None:
        """Read to the end, and close: for an outlet, or for those that ``take`` one item each."""
        self._items = aiter(self._given)
        self.frame.run.read(self._stop, self._is_reading)
        try:
            if outlet is None:
                await self.ready()
            await hand_on(self, outlet or self)
        finally:
            self.frame.run.read_out(self._stop)
            self._ended = True
            for asked in self._asking:
                if not asked.done():
                    asked.set_result(LAST)

    async def __anext__(self) -> Any:
        if self.frame.drains:
            raise StopAsyncIteration
        self._reader = reader = asyncio.current_task()
        assert reader is not None
        assert self._items is not None
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
            if self._stopping:  # also when the iterator has swallowed it and yielded an item
                self._stopping = False
                reader.uncancel()
        if reader.cancelling() > cancelling:  # the iterator has swallowed a cancellation
            raise asyncio.CancelledError
        return item

    async def athrow(self, error: BaseException) -> Any:
        """Raise an error at a generator's yield, and return what it yields next."""
        throw = getattr(self._items, "athrow", None)
        if throw is None:
            raise error
        try:
            return await throw(error)
        except asyncio.CancelledError as cancellation:
            raise_if_awaited(cancellation)
            raise

    async def aclose(self) -> None:
        assert self._items is not None
        await close(self._items)

    def _is_reading(self) -> bool:
        return self._reader is not None

    def _stop(self) -> None:
        reader = self._reader
        if reader is None or reader is _current_task() or not self.frame.drains:
            return  # nothing waits, or the source itself drains the run: it yields its item first
        if not self._stopping:
            self._stopping = reader.cancel()

    # --- from the reader to the requesters
    # -----------------------------------------------------------

    def put(self, item: Any, /) -> bool:
        """Pass an item to the first requester; return whether there is another."""
        numbered = self.given_out, item
        self.given_out += 1
        if self._asked():
            self._asking.popleft().set_result(numbered)
        else:
            self.left.append(numbered)
        return self._asked()

    def _asked(self) -> bool:
        """Whether a request waits for an item; drop cancelled ones."""
        asking = self._asking
        while asking and asking[0].done():
            asking.popleft()
        return bool(asking)

    async def ready(self, chunk: bool = False, /) -> None:
        """Wait until an item is requested."""
        while not self._asked():
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle

    async def take(self) -> tuple[int, Any]:
        """Return the place of the next item and the item, read on request; or END."""
        if self.left:
            return self.left.popleft()
        if self._ended:
            return LAST
        asked: asyncio.Future[tuple[int, Any]] = asyncio.get_running_loop().create_future()
        self._asking.append(asked)
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)
        try:
            return await asked
        except asyncio.CancelledError:
            if not asked.cancelled() and asked.result() is not LAST:
                self.left.append(asked.result())
            raise


def _current_task() -> "asyncio.Task[Any] | None":
    try:
        return asyncio.current_task()
    except RuntimeError:  # called from a signal's callback, outside of any task
        return None
