"""The one place that calls ``exec`` when more is asked for than a plain await.

Limits, attempts, time limits, the fallback, the place where it runs, and the events: for one item.
What later work adds stands here too: a journal is asked before the first attempt and told after
the last, an executor is what ``_once`` hands ``exec`` to.
"""

import asyncio
from collections.abc import Hashable
from contextvars import Context, Token, copy_context
from typing import Any

from ..aio.contexts import Apart
from ..aio.stopped import stopped_after, stopped_at
from ..aio.tasks import awaited_cancelled, is_cancelled
from ..aio.timeouts import within
from ..errors import CircuitOpenError, Drop, add_note, note_place
from ..events import (
    AttemptStarted,
    CircuitChanged,
    Event,
    ItemFailed,
    ItemFinished,
    ItemRetried,
    ItemStarted,
    LimitChanged,
)
from ..executors.choice import blocks, execute
from ..executors.kinds import YIELDING, result_of
from ..executors.yielding import substitutes
from ..limits.permits import KeyedPermits
from ..limits.slots import Slot
from ..outcome import status_of
from ..run.frame import FRAME, Frame
from ..run.place import PLACE, Place, Worker


async def call(node: Any, item: Any, index: int | None, frame: Frame, slot: Slot) -> Any:
    """Run a node's ``exec`` for one item and return its result, or what the fallback makes of it.

    ``index`` is the item's place in its batch, None for a node that has only one. The slot's caps
    are held while ``exec`` runs and may still be held afterwards; ``slot.attempts`` and
    ``slot.seconds`` are those of this item.
    """
    emit = frame.run.emit
    slot.attempts, slot.seconds, slot.waiting = 0, 0.0, False
    slot.timed = slot.timed or emit is not None
    if slot.outlet is not None:
        slot.outlet.begin(index or 0)
    keyed: KeyedPermits | None = None
    key: Hashable = None
    error: BaseException | None = None
    place = _placed(node, frame, slot) if slot.caps else None
    try:
        try:
            if node.limit_by is not None:
                key = _key(node, item, frame)
                by_key = frame.run.cap((node, "by key"), lambda: KeyedPermits(node.max_per_key))
                slot.item = (by_key.begin(key),)
                keyed = by_key
            if node.rate is not None:
                slot.item += tuple(rate.claim(item) for rate in node.rate)
            if node.deadline is None:
                value = await _attempts(node, item, index, frame, slot)
            else:
                value = await _in_time(node, item, index, frame, slot, keyed)
        except Drop:
            raise
        except Exception as failure:
            if not node._has_fallback or is_cancelled():
                raise
            value = await _substitute(node, item, failure, slot)
    except BaseException as raised:
        error = awaited_cancelled(raised) or raised
        _note(error, node, item, index, frame, slot)
        if emit is not None:
            emit(_end(node, index, frame, slot, error))
        if error is not raised:
            raise error from raised
        raise
    finally:
        del error  # it holds this frame: no cycle may keep them alive
        if place is not None:
            PLACE.reset(place)
        slot.end_item()
        if keyed is not None:
            keyed.end(key)
        if slot.attempts > 1:
            FRAME.set(frame)
    if emit is not None:
        emit(_end(node, index, frame, slot))
    return value


def _placed(node: Any, frame: Frame, slot: Slot) -> "Token[Place | None] | None":
    """Note what ``exec`` holds, for graphs that are run within it, unless the worker has noted it.

    Returns:
        What undoes it, or None.
    """
    here = PLACE.get()
    if here is not None and here.slot is slot:
        return None
    return PLACE.set(Worker(node, frame, slot))


async def _in_time(
    node: Any, item: Any, index: int | None, frame: Frame, slot: Slot, keyed: KeyedPermits | None
) -> Any:
    """Try within the deadline of the item."""
    if keyed is not None and slot.is_ahead(keyed.taken):
        # It was taken up early, to look past a full key. That is not to be to its harm: its time
        # begins with its first attempt.
        if node.breaker is not None:
            node.breaker.check()
        await slot.begin()
    slot.until = _now() + node.deadline
    attempts = _attempts(node, item, index, frame, slot)
    what = f"exec of {node.name!r}"
    return await within(node.deadline, "deadline", what, attempts, blocks(node), _put_off(slot))


def _key(node: Any, item: Any, frame: Frame) -> Hashable:
    key = node.limit_by(item)
    try:
        hash(key)
    except TypeError as error:
        raise TypeError(
            f"limit_by of {node.name!r} returned {_shown(key, frame)}, which cannot be a key: "
            "return a string, a number or a tuple of them"
        ) from error
    return key  # type: ignore[no-any-return]


async def _substitute(node: Any, item: Any, failure: Exception, slot: Slot) -> Any:
    """Return what ``exec_fallback`` gives in the place of a result."""
    returned = node.exec_fallback(item, failure)
    value = await result_of(node, "exec_fallback", returned, node._fallback_is_async)
    if node.exec_kind in YIELDING:
        return await substitutes(node, value, slot.outlet)
    return value


def _put_off(slot: Slot) -> "list[asyncio.Timeout] | None":
    """Return where the time limits stand that wait while what exec yields waits for room."""
    return None if slot.outlet is None else slot.outlet.limits


def _shown(value: Any, frame: Frame) -> str:
    return repr(value) if frame.rules.show_items else f"a {type(value).__name__}"


def _now() -> float:
    return asyncio.get_running_loop().time()


def _note(
    error: BaseException, node: Any, item: Any, index: int | None, frame: Frame, slot: Slot
) -> None:
    """Note where an error happened, or a cancellation: the node, the item and the attempt."""
    most = node.max_retries if node.retry is None else node.retry.attempts
    attempt = f", attempt {slot.attempts} of {most}" if most > 1 else ""
    name = frame.name_of(node)
    if isinstance(error, asyncio.CancelledError):  # of many at once: its item is not looked at
        place = repr(name) if index is None else f"{name!r}, item {index}"
        stopped_at(error, place + (attempt if slot.attempts else ", waiting to begin"))
        return
    from .._formatting import item_place  # only a failure pays for it

    shows = frame.rules.show_items
    place = repr(name) if index is None else item_place(name, index, item, shows)
    note_place(error, place + attempt)


async def _attempts(node: Any, item: Any, index: int | None, frame: Frame, slot: Slot) -> Any:
    """Try until an attempt works or the last has failed."""
    emit, outer, context = frame.run.emit, frame, copy_context()
    last: Exception | None = None  # what the attempt before has failed with
    try:
        while True:
            made = slot.attempts
            try:
                if made:
                    return await _again(node, item, index, frame, slot, context)
                return await _attempt(node, item, index, frame, slot)
            except Drop:
                raise
            except Exception as error:
                wait = _wait_after(node, error, slot, made)
                if wait is None:
                    if is_cancelled() and slot.until is not None and _now() >= slot.until:
                        raise asyncio.CancelledError from error  # as the deadline expects it
                    if isinstance(error, CircuitOpenError) and slot.attempts == made:
                        error.__cause__ = last
                    raise
                last = error
                if emit is not None:
                    emit(
                        ItemRetried(
                            outer.name_of(node), _now(), index or 0, slot.worker, slot.attempts,
                            error, wait,
                        )
                    )  # fmt: skip
            slot.give()  # somebody else may work while we wait
            slot.waiting = True
            await _waited(wait, slot)
            frame = outer.derive(attempt=slot.attempts + 1)
    except asyncio.CancelledError as cancellation:
        stopped_after(cancellation, last)
        raise
    finally:
        del last  # it holds this frame: no cycle may keep them alive


async def _again(
    node: Any, item: Any, index: int | None, frame: Frame, slot: Slot, context: Context
) -> Any:
    """Make another attempt, which does not see what those before have set in their context."""
    try:
        return await Apart(context.copy(), _attempt(node, item, index, frame, slot))
    finally:
        if slot.attempts == frame.attempt:  # else it has ended before it had begun
            FRAME.set(frame)


async def _waited(seconds: float, slot: Slot) -> None:
    """Wait between two attempts; the worker's place goes to another one meanwhile."""
    since = _now()
    if seconds:
        slot.pause()
    try:
        if slot.until is not None and since >= slot.until:
            await asyncio.Event().wait()  # the deadline's timer is due, and ends this
        await asyncio.sleep(seconds)
    finally:
        slot.resume(_now() - since)


def _wait_after(node: Any, error: Exception, slot: Slot, made: int) -> float | None:
    """Return how long to wait for the next attempt; None: there is to be none.

    ``made`` is how many attempts there were before the one that has failed.
    """
    retry = node.retry
    if is_cancelled() or isinstance(error, CircuitOpenError):
        return None  # exec has made an error of its cancellation, or was not called
    if slot.attempts == made:  # it failed before it began: no attempt would end this
        return None
    if slot.attempts >= (node.max_retries if retry is None else retry.attempts):
        return None
    if not (retry is None or retry.applies_to(error)):
        return None
    if slot.outlet is not None and slot.outlet.count:  # it would go on twice
        add_note(error, f"not tried again: exec had yielded {slot.outlet.count} values")
        return None
    return node.wait if retry is None else retry.wait_after(slot.attempts, error)  # type: ignore[no-any-return]


def _start(node: Any, index: int | None, frame: Frame, slot: Slot, at: float) -> Event:
    name, item, attempt = frame.name_of(node), index or 0, slot.attempts
    if attempt > 1:
        return AttemptStarted(name, at, item, slot.worker, attempt)
    return ItemStarted(name, at, item, slot.worker, node.composition.kind == "compound")


def _end(
    node: Any, index: int | None, frame: Frame, slot: Slot, error: BaseException | None = None
) -> Event:
    name, item = frame.name_of(node), index or 0
    ended = (name, _now(), item, slot.worker, slot.attempts, slot.seconds)
    if error is None:
        return ItemFinished(*ended, slot.used(), slot.waiting)
    status = status_of(error, getattr(node, "on_error", "raise"))
    return ItemFailed(*ended, status, error, slot.used(), slot.waiting)


async def _attempt(node: Any, item: Any, index: int | None, frame: Frame, slot: Slot) -> Any:
    """Call ``exec`` once, within its limits, and tell those that it feeds on how it went."""
    breaker, emit = node.breaker, frame.run.emit
    if breaker is not None and not slot.has_begun:
        breaker.check()  # an open one fails fast, and does not stand in a line first
    if slot.item:
        await slot.begin()
    elif not slot.held:
        await slot.take()
    ticket: Any = None
    error: BaseException | None = None
    if breaker is not None:
        try:
            ticket = breaker.admit()
        except CircuitOpenError:
            slot.undo()
            raise
    started, starts_s = _now() if slot.timed else 0.0, slot.usage.start_s
    try:
        if ticket is not None and ticket.moved and emit is not None:
            emit(CircuitChanged(frame.name_of(node), _now(), "half_open"))
        slot.attempts += 1
        slot.waiting = False
        if slot.attempts > 1:
            FRAME.set(frame)  # here and no earlier: an attempt may end before it has begun
        if emit is not None:
            emit(_start(node, index, frame, slot, started))
        timeout = frame.rules.timeout if node.timeout is None else node.timeout
        if timeout is None or node.run_in == "process":  # there it counts from when that begins
            return await execute(node, item, frame, slot, timeout)
        what, once = f"exec of {node.name!r}", execute(node, item, frame, slot)
        return await within(timeout, "timeout", what, once, blocks(node), _put_off(slot))
    except BaseException as failure:
        error = failure
        raise
    finally:
        ended = _now() if slot.timed else 0.0
        took = max(0.0, ended - started - slot.waited_s - (slot.usage.start_s - starts_s))
        slot.seconds += took
        if slot.item or slot.loan is not None:
            slot.end()
        if ticket is not None:
            state = breaker.leave(ticket, error)
            if state is not None and emit is not None:
                emit(CircuitChanged(frame.name_of(node), ended, state))
        if slot.auto is not None and slot.auto.sampled(took, ended, error) and emit:
            emit(LimitChanged(frame.name_of(node), ended, slot.auto.size))
        del error  # it holds this frame: no cycle may keep them alive
