"""Where one call of ``exec`` runs: on the loop, in a thread, in a process, in an executor."""

import asyncio
from concurrent.futures import Future
from functools import partial
from types import CoroutineType
from typing import Any

from ..aio.outlet import ItemOutlet, hand_on_all
from ..aio.tasks import raise_if_awaited
from ..errors import NodeDefinitionError, add_note
from ..limits.clock import has_own_clock
from ..limits.slots import Slot
from ..run.frame import Frame
from ..run.run import Run
from ..run.saying import receiver_of
from ..run.worker_processes import WorkerProcesses
from .calling_thread import call_here, is_due, turn
from .chunk import IN_PROCESSES, Chunk
from .cluster import Cluster
from .elsewhere import in_thread, run_to_end, submitted
from .facts import facts_of
from .kinds import YIELDING, late
from .meter import Meter
from .places import place_for
from .sessions import session_of
from .stepping import Made, Steps
from .yielding import hand_on_from_process, taken_up, threaded

# For an error of something that belongs to one thread: a connection of sqlite3, say.
OTHER_THREAD = (
    "exec of {name!r} is written 'def' and ran in a thread, because the run had other work, too. "
    "run_in='loop' always calls it in the thread of the event loop, where prep, post and lifespan "
    "run; run_in='thread' always in another one"
)


def blocks(node: Any, place: Any) -> bool:
    return node.exec_kind in ("sync", "generator") and place in (None, "loop", "thread")


def begins_late(place: Any) -> bool:
    """Whether a call waits for its place, so that its time counts from when it gets there."""
    return place == "process" or isinstance(place, Cluster)


def in_threads(node: Any, frame: Frame) -> bool:
    """Whether ``exec`` runs in threads that may take the next item by themselves."""
    place = place_for(node, frame.rules)
    return (
        (place == "thread" or (place is None and not frame.run.alone))
        and node.exec_kind in ("sync", "generator")
        and node.timeout is None
        and frame.rules.timeout is None
        and not has_own_clock(asyncio.get_running_loop())
    )


async def run_in_thread(chunk: Chunk, slot: Slot) -> None:
    """Run the items of a chunk in a thread."""
    await in_thread(chunk.frame.run.threads, chunk.run, slot)


def in_chunks(node: Any, frame: Frame) -> bool:
    """Whether ``exec`` runs in worker processes that may take several items at a time."""
    return (
        IN_PROCESSES
        and place_for(node, frame.rules) == "process"
        and node.chunksize != 1
        and node.memory_limit is None  # which is that of each item
        and frame.rules.memory_limit is None
        and not has_own_clock(asyncio.get_running_loop())
    )


async def run_in_process(share_s: float, chunk: Chunk, slot: Slot) -> None:
    """Run items of a chunk in a process; after ``share_s`` seconds, those to come are left."""
    node, frame = chunk.node, chunk.frame
    limit_s = frame.rules.timeout if node.timeout is None else node.timeout
    await _processes(frame.run).run(chunk, limit_s, node.start_timeout, share_s)


async def execute(
    node: Any, item: Any, frame: Frame, slot: Slot, place: Any, limit_s: float | None = None
) -> Any:
    """Call ``exec`` once, in its place; where a run is observed, a ``def`` is measured.

    What a generator yields goes to the slot's outlet as it comes, or is returned as a list if it
    has none. ``limit_s`` is for a process: how many seconds ``exec`` may take there.
    """
    meter = Meter() if frame.run.measures and blocks(node, place) else None
    try:
        if slot.ready is not None:
            return await _made_ahead(node, slot)
        if place == "process":
            return await _in_process(node, item, frame, slot, limit_s)
        return await _executed(node, item, frame, slot.outlet, meter, place)
    except asyncio.CancelledError as cancellation:
        raise_if_awaited(cancellation)
        raise
    finally:
        if meter is not None:
            meter.add_to(slot)


async def _made_ahead(node: Any, slot: Slot) -> Any:
    """Return what ``exec`` came to when it was called in a chunk; once."""
    ready, slot.ready = slot.ready, None
    assert ready is not None
    slot.seconds += ready.seconds
    try:
        result = ready.result()
    except Exception as error:
        _note_thread(node, error)
        raise
    return await late(node, "exec", result) if type(result) is CoroutineType else result


def _note_thread(node: Any, error: Exception) -> None:
    if node.run_in is None and "thread" in str(error).lower():
        add_note(error, OTHER_THREAD.format(name=node.name))


async def _executed(
    node: Any,
    item: Any,
    frame: Frame,
    outlet: ItemOutlet[Any] | None,
    meter: Meter | None,
    chosen: Any,
) -> Any:
    run = meter.run_to_end if meter else run_to_end
    place = chosen
    kind = node.exec_kind
    yields = kind in YIELDING
    if place is None:
        place = "loop" if frame.run.alone or kind in ("async", "async_generator") else "thread"
    if chosen is None and place == "loop" and kind in ("sync", "generator"):
        result = call_here(partial(run, node), item)
        if is_due(frame.run):
            await turn(frame.run)
    elif place == "loop":
        result = node.exec(item)
        if kind == "async":
            return await result
        if yields:
            return await taken_up(result, outlet)
    elif place == "thread":
        result = await _in_thread(node, item, frame, outlet, meter)
    else:
        result = await _in_executor(place, node, item, frame)
    if yields and outlet is not None and result is not None:
        return await hand_on_all(result, outlet)
    if type(result) is CoroutineType:
        return await late(node, "exec", result)
    return result


async def _in_thread(
    node: Any, item: Any, frame: Frame, outlet: ItemOutlet[Any] | None, meter: Meter | None
) -> Any:
    threads = frame.run.threads
    try:
        if node.exec_kind in YIELDING and outlet is not None:
            return await threaded(node, item, threads, outlet, meter)
        return await in_thread(threads, meter.run_to_end if meter else run_to_end, node, item)
    except Exception as error:
        _note_thread(node, error)
        raise


async def _in_process(node: Any, item: Any, frame: Frame, slot: Slot, limit_s: float | None) -> Any:
    limit = frame.rules.memory_limit if node.memory_limit is None else node.memory_limit
    params, attempt, place = facts_of(node, frame)
    facts = params, attempt, limit, place
    pool = _processes(frame.run)
    settings = {
        "start_timeout": node.start_timeout, "slot": slot, "measures": frame.run.measures,
        "receive": receiver_of(node, frame),
    }  # fmt: skip
    if node.exec_kind not in YIELDING or slot.outlet is None:
        return await pool.call(node, item, *facts, limit_s=limit_s, **settings)
    held: list[Any] = []  # the process, between the calls

    async def call(steps: Steps, left_s: float | None) -> Made:
        made: Made = await pool.call(node, steps, *facts, limit_s=left_s, held=held, **settings)
        return made

    whole = False
    try:
        await hand_on_from_process(node, item, slot.outlet, limit_s, call)
        whole = True
    except Exception:
        whole = True  # exec has ended with it, or its process has
        raise
    finally:
        await pool.let_go(held, whole)
    return None


async def _in_executor(executor: Any, node: Any, item: Any, frame: Frame) -> Any:
    """Have an executor call ``exec``, in this process or in another one."""
    if isinstance(executor, Cluster):
        limit_s = frame.rules.timeout if node.timeout is None else node.timeout
        limit_s = None if node.times_itself else limit_s
        return await session_of(frame.run, executor).call(node, item, frame, limit_s)
    from .sending import Answer, Call, has_our_main, run_call  # pickle loads where it is used

    facts = facts_of(node, frame)
    if frame.run.pickled is None:
        frame.run.pickled = {}
    receive = receiver_of(node, frame)
    call = Call(node, item, facts, not has_our_main(executor), frame.run.pickled, receive)
    future = failure = None
    try:
        future = executor.submit(run_call, call)
        if not isinstance(future, Future):
            raise _no_executor(node, executor, future)
        returned = await submitted(future)
        failure, call.failure = call.failure, None
        if failure is not None:
            raise failure
        return returned.value(receive) if type(returned) is Answer else returned
    finally:
        del call, future, failure  # they hold errors that hold this frame: no cycle may stay


def _no_executor(node: Any, executor: Any, future: Any) -> NodeDefinitionError:
    if hasattr(future, "cancel"):
        future.cancel()
    return NodeDefinitionError(
        f"run_in of {node.name!r} takes an executor whose submit() returns a concurrent.futures."
        f"Future; that of {type(executor).__name__} returned a {type(future).__name__}"
    )


def _processes(run: Run) -> WorkerProcesses:
    """Return the worker processes of the run, or of the one around."""
    run = run.root
    if run.processes is None:
        from .process import ProcessPool  # multiprocessing loads where it is used

        run.processes = ProcessPool(run.threads)  # type: ignore[arg-type]
    return run.processes
