"""Observing what a coroutine does between two of its waits, when nothing else can run."""

from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any

Look = Callable[[], None]


async def stepped(work: Coroutine[Any, Any, Any], after: Look, before: Look | None = None) -> Any:
    """Await ``work``; call ``before`` and ``after`` around everything it does between two waits."""
    if before is not None:
        before()
    try:
        waited = work.send(None)
    except StopIteration as end:  # it has not waited for anything
        after()
        return end.value
    except BaseException:
        after()
        raise
    after()
    return await rest(work, waited, after, before)


@coroutine
def rest(
    work: Coroutine[Any, Any, Any], waited: Any, after: Look, before: Look | None = None
) -> Generator[Any, None, Any]:
    """Continue a coroutine that waits for something."""
    while True:
        value: Any = None
        error: BaseException | None = None
        try:
            value = yield waited
        except BaseException as failure:  # a cancellation, or the end of the generator
            error = failure
        if before is not None:
            before()
        try:
            waited = work.send(value) if error is None else work.throw(error)
        except StopIteration as end:
            return end.value
        finally:
            del error
            after()
