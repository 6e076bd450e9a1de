"""``self.say(value)``: messages from a hook to the observers, from anywhere."""

import asyncio
from asyncio import _get_running_loop, _set_running_loop
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from threading import get_ident
from typing import Any

from ..events import Said
from .frame import FRAME, Frame
from .observers import Pending
from .place import PLACE, SENT
from .run import Run

# Takes an item, or None, and the value said about it; in any thread.
Receiver = Callable[[int | None, Any], None]

# Where the context of a run is not available: receives the values said there, if observed.
RECEIVER: ContextVar[Receiver | None] = ContextVar("kaygraph_receiver", default=None)


def say(node: Any, value: Any) -> None:
    """Send a value to the observers of the run in which a node's hook is called here."""
    frame = FRAME.get(None)
    if frame is None:
        return
    if frame.run.emit is None:
        receive = RECEIVER.get()
        if receive is not None:
            sent_node, place = SENT.get((None, {}))
            if _is(node, sent_node):
                receive(place.get("item"), value)
        return
    here, item = PLACE.get(), None
    if here is not None and here.slot is not None and _is(node, here.node):
        node = here.node  # a phase stands for its owner
        item = here.slot.index if here.several else None
    emit, loop = frame.run.emit, _loop_of(frame.run)
    if loop is None:  # the run has ended
        return
    said = Said(frame.name_of(node), loop.time(), item, value)
    running = _get_running_loop()
    if running is loop:
        emit(said)
    elif running is None and frame.run.inline and frame.run.thread == get_ident():
        _set_running_loop(loop)  # which is hidden from a ``def`` in its thread
        try:
            emit(said)
        finally:
            _set_running_loop(None)
    else:
        emit.later(loop, Pending(said, copy_context()))


def receiver_of(node: Any, frame: Frame) -> Receiver | None:
    """Return the receiver of what a node's ``exec`` says elsewhere; None without observers."""
    emit = frame.run.emit
    if emit is None:
        return None
    loop, name, context = asyncio.get_running_loop(), frame.name_of(node), copy_context()

    def receive(item: int | None, value: Any) -> None:
        emit.later(loop, Pending(Said(name, loop.time(), item, value), context.copy()))

    return receive


def _is(node: Any, known: Any) -> bool:
    return known is not None and (node is known or node is getattr(known, "owner", None))


def _loop_of(run: Run) -> asyncio.AbstractEventLoop | None:
    task = run.task
    return None if task is None else task.get_loop()
