"""How a run begins and ends."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import copy_context
from typing import Any, TypeVar

from ._frame import FRAME, Frame, add_note
from .events import RunFinished, RunStarted

T = TypeVar("T")


async def launched(
    name: str, frame: Frame, work: Callable[[Any, Frame], Awaitable[T]], shared: Any
) -> T:
    """Do the work of a run of its own, and close whatever the run has opened."""
    run, error, action = frame.run, None, None
    token = FRAME.set(frame)
    started = 0.0
    if run.emit is not None:
        started = asyncio.get_running_loop().time()
        run.emit(RunStarted(name, started))
    try:
        result = await work(shared, frame)
        action = result if isinstance(result, str) else None
        return result
    except BaseException as failure:
        error = failure
        if isinstance(failure, Exception):
            add_note(failure, repr(name))
        raise
    finally:
        try:
            if run.opened:
                await run.close(error)
        except BaseException as failure:
            error = error or failure
            raise
        finally:
            FRAME.reset(token)
            if run.emit is not None:
                now = asyncio.get_running_loop().time()
                run.emit(RunFinished(name, now, now - started, action, error))
            del error  # it holds this frame: no cycle may keep them alive


def run_in_new_loop(launch: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run to the end in this thread, or in another where a loop runs here already."""
    if sys.modules["asyncio.events"]._get_running_loop() is None:
        return asyncio.run(launch())
    from concurrent.futures import ThreadPoolExecutor

    started: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None]] = []

    async def begin() -> T:
        started.append((asyncio.get_running_loop(), asyncio.current_task()))
        return await launch()

    with ThreadPoolExecutor(1, thread_name_prefix="kaygraph-run") as thread:
        future = thread.submit(copy_context().run, lambda: asyncio.run(begin()))
        try:
            return future.result()
        except BaseException:
            for loop, task in started:
                if task is not None and not future.done():  # interrupted while it ran
                    loop.call_soon_threadsafe(task.cancel)
            raise
