"""What each task of a loop is doing: its calls, from the first to the one that waits."""

import asyncio
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from types import CodeType, FrameType
from typing import Any

from ..aio.code import ENGINE, EXECUTORS, ROOT, USER, kind_of

ENGINES = (ENGINE, EXECUTORS)


class Called:
    """One call on the stack of a task, or of a thread.

    Attributes:
        name: For a function of the engine: ``"batch.fan_out:FanOut.run"``; "" for any other.
        kind: Who owns the code: see ``aio.code``.
        frame: The frame.
    """

    __slots__ = ("_locals", "frame", "kind", "name")

    def __init__(self, name: str, kind: str, frame: FrameType) -> None:
        self.name, self.kind, self.frame = name, kind, frame
        self._locals: Mapping[str, Any] | None = None

    def local(self, name: str) -> Any:
        """Return a local variable, as of the first request; None without it."""
        if self._locals is None:
            self._locals = self.frame.f_locals
        return self._locals.get(name)

    @property
    def place(self) -> str:
        """Where in the code it is: ``"app.py:12 in fetch"``."""
        code = self.frame.f_code
        return f"{os.path.basename(code.co_filename)}:{self.frame.f_lineno} in {code.co_name}"


@cache
def _known(code: CodeType) -> tuple[str, str]:
    """Return the name of a function, if it is the engine's, and who owns the code."""
    path = code.co_filename
    kind = kind_of(path)
    if not path.startswith(ROOT + os.sep):
        return "", kind
    module = path[len(ROOT) + 1 :].removesuffix(".py").replace(os.sep, ".")
    return f"{module}:{code.co_qualname}", kind


def called(frame: FrameType) -> Called:
    """Return the call of a frame."""
    return Called(*_known(frame.f_code), frame)


def stacks(loop: asyncio.AbstractEventLoop, thread: int | None) -> Iterator[list[Called]]:
    """Yield the calls of each task of a loop, the oldest task first.

    ``thread``: the thread of the loop; one of its tasks may be in the middle of a step there.
    """
    running: Sequence[FrameType] | None = None
    for task in sorted(asyncio.all_tasks(loop), key=_age):
        frames, is_running = frames_of(task.get_coro())
        if is_running:
            running = running or _below(thread)
            frames += _after(running, frames[-1] if frames else None)
        yield [called(frame) for frame in frames]


def _age(task: "asyncio.Task[Any]") -> tuple[int, str]:
    name = task.get_name()  # Task-12, by default
    number = name.rpartition("-")[2]
    return (int(number), "") if number.isdecimal() else (0, name)


def frames_of(coroutine: Any) -> tuple[list[FrameType], bool]:
    """Return the frames of a coroutine and of what it waits for, and whether it is running."""
    frames: list[FrameType] = []
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is None:  # it has ended, or is a future
            return frames, False
        frames.append(frame)
        if getattr(coroutine, "cr_running", False) or getattr(coroutine, "gi_running", False):
            return frames, True
        waited = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
        if waited is None and hasattr(coroutine, "gi_frame"):
            # One of the engine's generators that send to a coroutine by hand.
            local = frame.f_locals
            waited = local.get("work") or local.get("coroutine")
        coroutine = waited
    return frames, False


def _below(thread: int | None) -> list[FrameType]:
    """Return the frames of a thread, the outermost first."""
    frames: list[FrameType] = []
    frame = sys._current_frames().get(thread) if thread is not None else None
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    frames.reverse()
    return frames


def _after(frames: Sequence[FrameType], frame: FrameType | None) -> list[FrameType]:
    """Return the frames inside a frame, of a task that is in the middle of a step."""
    for index, one in enumerate(frames):
        if one is frame:
            return list(frames[index + 1 :])
    return []


def user_call(calls: Sequence[Called]) -> Called | None:
    """Return the innermost call of a user's code, or of a ready-made node's; None without one."""
    return next((call for call in reversed(calls) if call.kind == USER), None)


def thread_calls(thread: int) -> list[Called]:
    """Return the calls of a thread, the outermost first."""
    return [called(frame) for frame in _below(thread)]


def threads() -> list[int]:
    """Return the identifiers of all threads."""
    return list(sys._current_frames())
