"""What a run is at when a signal comes: found by looking, so that it costs nothing until then."""

import asyncio
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

from ..aio.code import ENGINE, EXECUTORS, USER, kind_of


def in_flight(loop: asyncio.AbstractEventLoop | None, frame: FrameType | None) -> int:
    """Return how many hooks are being run: by the tasks of a loop, in threads and processes.

    A hook that runs nodes of its own is not counted beside them.

    Args:
        loop: The loop of the run; None before there is one.
        frame: Where its thread is, in which a task may be running.
    """
    count = int(is_held(frame) or _is_hook(_kinds_below(frame)))
    if loop is not None and not loop.is_closed():
        count += sum(_is_hook(_kinds_awaited(task.get_coro())) for task in asyncio.all_tasks(loop))
    return count


def is_held(frame: FrameType | None) -> bool:
    """Whether a thread is in the code of a hook, and its loop has no turn."""
    hook = False
    while frame is not None:
        kind = kind_of(frame.f_code.co_filename)
        if kind in (ENGINE, EXECUTORS) and hook:
            return True
        hook = hook or kind == USER
        frame = frame.f_back
    return False


def _is_hook(kinds: Iterator[str]) -> bool:
    """Whether what the engine called last is a hook, in its own code or somewhere else."""
    inside = engine = False
    for kind in kinds:  # from the outermost
        if kind in (ENGINE, EXECUTORS):
            engine, inside = True, kind == EXECUTORS
        elif kind == USER:
            inside = engine
    return inside


def _kinds_awaited(coroutine: Any) -> Iterator[str]:
    """Yield whose code a coroutine is, then what it waits for, and so on."""
    while coroutine is not None:
        code = getattr(coroutine, "cr_code", None) or getattr(coroutine, "gi_code", None)
        if code is None:  # a future, say
            return
        kind = kind_of(code.co_filename)
        yield kind
        waited = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
        if waited is None and kind == ENGINE and hasattr(coroutine, "gi_frame"):
            frame = coroutine.gi_frame  # observability's, which sends to its work by hand
            waited = frame.f_locals.get("work") if frame is not None else None
        coroutine = waited


def _kinds_below(frame: FrameType | None) -> Iterator[str]:
    """Yield whose code a thread is in, from the outermost."""
    kinds = []
    while frame is not None:
        kinds.append(kind_of(frame.f_code.co_filename))
        frame = frame.f_back
    return reversed(kinds)


def frame_of(thread: int) -> FrameType | None:
    """Return where a thread is."""
    return sys._current_frames().get(thread)
