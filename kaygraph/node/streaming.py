"""Results as they come: a producer in a task of its own, and its reader."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from ..aio.buffer import Buffer
from ..aio.tasks import errors_of, is_cancelled, retrieve_exception, stop


async def drained(sink: Buffer[Any], producer: Any) -> AsyncGenerator[Any, None]:
    """Yield what a producer puts into a buffer, until it closes it; raise what it raised.

    The producer runs in a task of its own, which has ended when the generator has.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(_telling(producer))
    task.add_done_callback(retrieve_exception)
    try:
        while await sink.filled():
            yield sink.take()
        await task
    except (GeneratorExit, asyncio.CancelledError):  # left early
        try:
            await stop([task])
        finally:
            for error in errors_of([task]):  # nobody else can tell what failed meanwhile
                if not is_cancelled():
                    raise error from None
                # The reader's cancellation goes on, and must not be replaced.
                message = "a stream failed after its reader was cancelled"
                loop.call_exception_handler({"message": message, "exception": error})
        raise
    finally:
        await stop([task])


async def _telling(producer: Any) -> None:
    """Await a producer; what failed while it was cancelled is raised, not its cancellation."""
    try:
        await producer
    except asyncio.CancelledError as error:
        if error.__cause__ is not None:
            raise error.__cause__ from None
        raise
