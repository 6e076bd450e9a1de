"""Where one call of ``exec`` runs: on the loop, in a thread, in a process, in an executor."""

import asyncio
from contextvars import copy_context
from types import CoroutineType
from typing import Any

from ..aio.outlet import ItemOutlet, hand_on_all
from ..aio.tasks import raise_if_awaited
from ..limits.slots import Slot
from ..run.frame import Frame
from ..run.place import place_of
from ..run.run import Run, WorkerProcesses
from .elsewhere import run_elsewhere, run_to_end, submitted
from .kinds import YIELDING, not_async
from .meter import Meter
from .yielding import taken_up, threaded


def blocks(node: Any) -> bool:
    return node.exec_kind in ("sync", "generator") and node.run_in in (None, "loop", "thread")


async def execute(node: Any, item: Any, frame: Frame, slot: Slot) -> Any:
    """Call ``exec`` once, where it belongs; where a run is observed, a ``def`` is measured.

    What a generator yields goes to the slot's outlet as it comes, or is returned as a list if it
    has none.
    """
    meter = Meter() if frame.run.measures and blocks(node) else None
    try:
        return await _executed(node, item, frame, slot.outlet, meter)
    except asyncio.CancelledError as cancellation:
        raise_if_awaited(cancellation)
        raise
    finally:
        if meter is not None:
            meter.add_to(slot)


async def _executed(
    node: Any, item: Any, frame: Frame, outlet: ItemOutlet[Any] | None, meter: Meter | None
) -> Any:
    run = meter.run_to_end if meter else run_to_end
    place = node.run_in
    kind = node.exec_kind
    yields = kind in YIELDING
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
        if yields:
            return await taken_up(result, outlet)
    elif place == "thread":
        threads = frame.run.threads
        if yields and outlet is not None:
            return await threaded(node, item, threads, outlet, meter)
        result = await submitted(threads.submit(copy_context().run, run, node, item))
    elif place == "process":
        limit = frame.rules.memory_limit if node.memory_limit is None else node.memory_limit
        facts = (frame.params, frame.attempt, limit, place_of(node))
        result = await _processes(frame.run).call(node, item, *facts)
    else:
        told = (dict(frame.params), frame.attempt, place_of(node))
        result = await submitted(place.submit(run_elsewhere, node, item, *told))
    if yields and outlet is not None:
        return await hand_on_all(result, outlet)
    if type(result) is CoroutineType:
        raise not_async(node, "exec", result)
    return result


def _processes(run: Run) -> WorkerProcesses:
    """Return the run's own worker processes."""
    if run.processes is None:
        from .process import ProcessPool  # multiprocessing loads where it is used

        run.processes = ProcessPool(run.threads)
    return run.processes
