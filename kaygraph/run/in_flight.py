"""What is in flight when a signal comes: found by inspection, so that it costs nothing before."""

import asyncio
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

from ..aio.code import ENGINE, EXECUTORS, USER, kind_of


def in_flight(loop: asyncio.AbstractEventLoop | None, frame: FrameType | None) -> int:
    """Return how many hooks are running: in the tasks of a loop, in threads and in processes.

    A hook that runs nodes itself is not counted in addition to them.

    Args:
        loop: The loop of the run; None before there is one.
        frame: The frame of its thread, in which a task may be running.
    """
    count = int(is_held(frame) or _is_hook(_kinds_below(frame)))
    if loop is not None and not loop.is_closed():
        count += sum(_is_hook(_kinds_awaited(task.get_coro())) for task in asyncio.all_tasks(loop))
    return count


def is_held(frame: FrameType | None) -> bool:
    """Whether a thread is in the code of a hook, so that its loop is blocked."""
    hook = False
    while frame is not None:
        kind = kind_of(frame.f_code.co_filename)
        if kind in (ENGINE, EXECUTORS) and hook:
            return True
        hook = hook or kind == USER
        frame = frame.f_back
    return False


def _is_hook(kinds: Iterator[str]) -> bool:
    """Whether the engine's last call was of a hook, now in its own code or elsewhere."""
    inside = engine = False
    for kind in kinds:  # from the outermost in
        if kind in (ENGINE, EXECUTORS):
            engine, inside = True, kind == EXECUTORS
        elif kind == USER:
            inside = engine
    return inside


def _kinds_awaited(coroutine: Any) -> Iterator[str]:
    """Yield who owns the code of a coroutine, then of what it awaits, and so on."""
    while coroutine is not None:
        code = getattr(coroutine, "cr_code", None) or getattr(coroutine, "gi_code", None)
        if code is None:  # a future, for example
            return
        kind = kind_of(code.co_filename)
        yield kind
        waited = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
        if waited is None and kind == ENGINE and hasattr(coroutine, "gi_frame"):
            frame = coroutine.gi_frame  # observability's, which steps its work by hand
            waited = frame.f_locals.get("work") if frame is not None else None
        coroutine = waited


def _kinds_below(frame: FrameType | None) -> Iterator[str]:
    """Yield who owns the code that a thread is in, from the outermost frame."""
    kinds = []
    while frame is not None:
        kinds.append(kind_of(frame.f_code.co_filename))
        frame = frame.f_back
    return reversed(kinds)


def frame_of(thread: int) -> FrameType | None:
    """Return the current frame of a thread."""
    return sys._current_frames().get(thread)
