"""Coroutines that run in their own context."""

from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context, copy_context
from typing import Any, Generic, TypeVar

from .stopped import stopped_at
from .tasks import cancelled_again, is_cancelled

T = TypeVar("T")


class Apart(Generic[T]):
    """Awaits a coroutine in its own context: context variables that it sets are not seen outside.

    It stays in its task, unlike a task with a context.
    """

    __slots__ = ("_context", "_coroutine")

    def __init__(self, context: Context, coroutine: Coroutine[Any, Any, T]) -> None:
        self._context, self._coroutine = context, coroutine

    def __await__(self) -> Generator[Any, Any, T]:
        run, coroutine = self._context.run, self._coroutine
        step: Callable[[Any], Any] = coroutine.send
        value: Any = None
        try:
            while True:
                try:
                    future = run(step, value)
                except StopIteration as ended:
                    return ended.value  # type: ignore[no-any-return]
                try:
                    value = yield future
                    step = coroutine.send
                except BaseException as error:
                    step, value = coroutine.throw, error
        finally:
            value = None  # an error holds this frame: avoid a reference cycle


async def settled(
    call: Callable[..., Awaitable[Any]],
    context: Context,
    cancelled: Callable[[], int],
    name: str,
    index: int,
) -> tuple[Callable[..., Awaitable[Any]], Context]:
    """Clean up after an item, and return how to go on: what to call, and where.

    The item may have swallowed its cancellation: then the current call ends with an error anyway,
    with a note of the node's ``name`` and the item's ``index``. It may have set context variables:
    from then on each call is made in a copy of the context before.
    """
    if cancelled() and is_cancelled():
        try:
            await cancelled_again()
        except CancelledError as error:
            stopped_at(error, f"{name!r}, item {index}")
            raise

    async def called(*args: Any) -> Any:
        return await call(*args)

    return lambda *args: Apart(context.copy(), called(*args)), copy_context()
