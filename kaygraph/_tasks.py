"""Structured concurrency in one page: tasks that end together."""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


async def outlast(futures: Iterable["asyncio.Future[Any]"]) -> None:
    """Wait until all are done, however often the waiter is cancelled; then let that through."""
    cancelled: asyncio.CancelledError | None = None
    while pending := [future for future in futures if not future.done()]:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


def heard(future: "asyncio.Future[Any]") -> None:
    """A callback that takes note of an error which nobody is left to hear of."""
    if not future.cancelled():
        future.exception()


def errors_of(tasks: Iterable["asyncio.Future[Any]"]) -> list[BaseException]:
    """Return the errors of finished tasks, in the tasks' order, without the cancellations."""
    return [e for t in tasks if not t.cancelled() and (e := t.exception()) is not None]


async def stop(tasks: Sequence["asyncio.Task[Any]"]) -> None:
    """Cancel the tasks and wait until every ``finally`` in them has run."""
    for task in tasks:
        task.cancel()
    await outlast(tasks)


def is_cancelled() -> bool:
    """Whether this task was cancelled, whatever the code within has made of it."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def raise_if_cancelled() -> None:
    """End a task of ``gather`` that was cancelled, even where the code within has swallowed it."""
    if is_cancelled():
        raise asyncio.CancelledError


async def gather(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """``asyncio.gather`` that leaves nothing behind and drops no error.

    The first failure cancels the siblings and waits for them. One error is raised as itself,
    several as an ``ExceptionGroup`` in the coroutines' order. A cancellation stays one.
    """
    loop = asyncio.get_running_loop()
    current = asyncio.current_task()
    before = 0 if current is None else current.cancelling()
    tasks = [loop.create_task(coroutine) for coroutine in coroutines]
    gathering = asyncio.gather(*tasks)
    gathering.add_done_callback(heard)  # what it raises is raised below, once all have ended
    errors: list[BaseException] | None = None
    try:
        # Shielded: a cancellation of ours is passed on by stop(), and once; a second one would cut
        # short what the tasks do in their `finally`.
        return await asyncio.shield(gathering)
    except BaseException as first:
        await stop(tasks)
        errors = errors_of(tasks)
        cancelled = isinstance(first, asyncio.CancelledError)
        if cancelled or (current is not None and current.cancelling() > before):
            cancellation = first if cancelled else asyncio.CancelledError()
            if errors:
                raise cancellation from BaseExceptionGroup("failed while cancelled", errors)
            raise cancellation from None
        if len(errors) == 1:
            raise
        raise BaseExceptionGroup(f"{len(errors)} branches failed", errors) from None
    finally:
        del (
            tasks,
            errors,
            gathering,
        )  # they hold errors, an error holds this frame: no cycle may stay
