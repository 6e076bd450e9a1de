"""Where one call of ``exec`` runs: on the loop, in a thread, in a process, in an executor."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from types import CoroutineType
from typing import Any

from ..aio.tasks import outlast, raise_if_awaited, retrieve_exception
from ..limits.slots import Slot
from ..run.frame import Frame
from ..run.place import place_of
from ..run.run import Run, WorkerProcesses
from .elsewhere import run_elsewhere, run_to_end
from .kinds import not_async
from .meter import Meter


def blocks(node: Any) -> bool:
    return node.exec_kind in ("sync", "generator") and node.run_in in (None, "loop", "thread")


async def execute(node: Any, item: Any, frame: Frame, slot: Slot) -> Any:
    """Call ``exec`` once, where it belongs; where a run is observed, a ``def`` is measured."""
    meter = Meter() if frame.run.measures and blocks(node) else None
    try:
        return await _executed(node, item, frame, meter.run_to_end if meter else run_to_end)
    except asyncio.CancelledError as cancellation:
        raise_if_awaited(cancellation)
        raise
    finally:
        if meter is not None:
            meter.add_to(slot)


async def _executed(node: Any, item: Any, frame: Frame, run: Callable[[Any, Any], Any]) -> Any:
    place = node.run_in
    kind = node.exec_kind
    if place is None:
        place = "loop" if frame.run.alone or kind in ("async", "async_generator") else "thread"
    if node.run_in is None and place == "loop" and kind in ("sync", "generator"):
        # In the calling thread of run(), where code that brings a loop of its own may run.
        loop = asyncio._get_running_loop()
        asyncio._set_running_loop(None)
        try:
            result = run(node, item)
        finally:
            asyncio._set_running_loop(loop)
        await asyncio.sleep(0)  # a deadline that has passed meanwhile is heard
    elif place == "loop":
        result = node.exec(item)
        if kind == "async":
            return await result
        if kind == "async_generator":
            return [value async for value in result]
        result = list(result) if kind == "generator" else result
    elif place == "thread":
        threads = frame.run.threads
        result = await _submitted(threads.submit(copy_context().run, run, node, item))
    elif place == "process":
        limit = frame.rules.memory_limit if node.memory_limit is None else node.memory_limit
        facts = (frame.params, frame.attempt, limit, place_of(node))
        return await _processes(frame.run).call(node, item, *facts)
    else:
        told = (dict(frame.params), frame.attempt, place_of(node))
        return await _submitted(place.submit(run_elsewhere, node, item, *told))
    if type(result) is CoroutineType:
        raise not_async(node, "exec", result)
    return result


def _processes(run: Run) -> WorkerProcesses:
    """Return the run's own worker processes."""
    if run.processes is None:
        from .process import ProcessPool  # multiprocessing loads where it is used

        run.processes = ProcessPool(run.threads)
    return run.processes


async def _submitted(future: "Future[Any]") -> Any:
    """Wait for what an executor does; a call that has begun is waited for when cancelled."""
    waiting = asyncio.wrap_future(future)
    try:
        await asyncio.wait([waiting])
    except asyncio.CancelledError:
        waiting.add_done_callback(retrieve_exception)
        if not future.cancel():
            await outlast([waiting])
        raise
    retrieve_exception(waiting)
    return future.result()  # as it is: asyncio would make another error of some
