"""Values passed on one by one, no faster than they are consumed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from .tasks import cancellation_check, cancelled_again, raise_if_cancelled

T = TypeVar("T")
V = TypeVar("V", contravariant=True)


class Outlet(Protocol[V]):
    """Where values are passed on to."""

    def put(self, value: V, /) -> bool:
        """Pass a value on; return False when ``ready`` must be awaited before the next."""

    async def ready(self, chunk: bool = False, /) -> None:
        """Wait until there is room for a value, or for a chunk of them; let other tasks run."""


class ItemOutlet(Outlet[V], Protocol[V]):
    """Where the values of one item after another are passed on to."""

    # The worker's permits, given back while `ready` waits, and the time limits, which stand still.
    slot: Any
    count: int  # how many values of the current item were passed on
    waited_s: float  # how long the current item has waited in `ready`

    def begin(self, index: int, /) -> None:
        """Start with the values of another item."""

    @property
    def is_late(self) -> bool:
        """Whether the time of the item or its attempt is over."""

    @property
    def free(self) -> int:
        """How many values to put at most before awaiting ``ready`` again; at least 1."""


class ListOutlet:
    """Where the lists of a source go: to ``take_up``, before the next one is requested.

    Args:
        take_up: Removes the items that it has taken up, also when it is cancelled.

    Attributes:
        takes_up: Whether it is running, or has failed.
    """

    def __init__(self, take_up: Callable[[list[Any]], Awaitable[None]]) -> None:
        self._take_up = take_up
        self._items: list[Any] = []
        self.takes_up = False

    def put(self, items: Sequence[Any], /) -> bool:
        """Add items; ``ready`` must be awaited before the next list."""
        self._items += items
        return False

    async def ready(self, chunk: bool = False, /) -> None:
        """Have the items taken up."""
        self.takes_up = True
        await self._take_up(self._items)
        self.takes_up = False


async def hand_on(values: AsyncIterator[T], outlet: Outlet[T]) -> None:
    """Put each value into the outlet as it comes, and close the iterator at the end.

    This task makes every step of the iterator, but only once there is room for its value.
    A cancellation that comes while it waits for room is raised in the generator, at its yield: it
    may be the cancellation of a scope that the generator holds, which then deals with it.
    """
    put, cancelled = outlet.put, cancellation_check()
    try:
        async for value in values:
            if cancelled() and getattr(outlet, "is_late", False):
                await cancelled_again()  # it comes after the item's time was over
            if not put(value) or cancelled():
                try:
                    if cancelled():
                        await cancelled_again()
                    await outlet.ready()
                except asyncio.CancelledError as error:
                    await _throw(error, values, outlet)
    except StopAsyncIteration:  # it has ended when a cancellation was raised in it
        pass
    finally:
        await close(values)


async def close(values: AsyncIterator[Any]) -> None:
    """Close an async iterator that can be closed, wherever it stands.

    A task group that a generator holds turns the GeneratorExit that closes it into an error group:
    that is not an error.
    """
    if not hasattr(values, "aclose"):
        return
    try:
        await values.aclose()
    except BaseExceptionGroup as group:
        _raise_errors(group)


def _raise_errors(group: BaseExceptionGroup[BaseException]) -> None:
    """Raise what failed when a generator was closed, if it was more than the closing itself."""
    if errors := group.split(GeneratorExit)[1]:
        try:
            raise errors from None
        finally:
            del errors  # they hold this frame: avoid a reference cycle


async def _throw(cancellation: asyncio.CancelledError, values: Any, outlet: Outlet[Any]) -> None:
    """Raise in the generator what has cancelled the wait for room; if it goes on, wait again."""
    while True:
        if not hasattr(values, "athrow"):
            raise cancellation
        try:
            value = await values.athrow(cancellation)
        except BaseExceptionGroup as group:  # it has closed another one inside
            _raise_errors(group)
            raise cancellation from None
        await raise_if_cancelled()  # the generator has swallowed it
        outlet.put(value)
        try:
            return await outlet.ready()
        except asyncio.CancelledError as error:
            cancellation = error


async def hand_on_all(values: Iterable[T], outlet: Outlet[T]) -> None:
    """Put each value into the outlet, and close the iterator at the end if it is a generator."""
    put, cancelled = outlet.put, cancellation_check()
    iterator: Iterator[T] | Any = iter(values)
    try:
        for value in iterator:
            if not put(value) or cancelled():
                await raise_if_cancelled()
                await outlet.ready()
    finally:
        if hasattr(iterator, "close"):
            iterator.close()
