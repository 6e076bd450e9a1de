"""Where tasks are: in whose code, on which line, and at which node."""

import asyncio
import linecache
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from os import getcwd
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Protocol

from ..node.node import BaseNode

# The modules of these packages show how a task waits, and not whose work it is.
OURS = {"asyncio", "anyio", "kaygraph"}


class Loop(Protocol):
    """A loop that knows its tasks."""

    def unfinished(self) -> "Iterable[asyncio.Task[Any]]": ...


def tasks_of(loop: Loop) -> list["asyncio.Task[Any]"]:
    """Return the tasks that have not ended, in the order of their numbers."""
    return sorted(loop.unfinished(), key=lambda task: (len(task.get_name()), task.get_name()))


def called(task: "asyncio.Task[Any]") -> str:
    """Return the name of a task; in a simulation, the same one in any process."""
    name_of = getattr(task.get_loop(), "name_of", None)
    return task.get_name() if name_of is None else str(name_of(task))


def place_of(task: "asyncio.Task[Any]") -> str:
    """Return a task's name and where it waits: at which node, and in whose code."""
    found, best, node = None, 0, None
    for frame in frames_of(task.get_coro()):
        module = frame.f_globals.get("__name__", "").split(".")[0]
        rank = 1 if module == "asyncio" else 2 if module == "kaygraph" else 3
        if rank >= best:  # the innermost of the user's own, if there is one
            found, best = frame, rank
        owner = frame.f_locals.get("self")
        node = owner if isinstance(owner, BaseNode) else node
    if found is None:
        return f"{task.get_name()}, which has not begun"
    code = found.f_code
    named = "" if node is None else f" of {node.name!r}"
    where = f"{code.co_qualname} ({path_of(code.co_filename)}:{found.f_lineno})"
    return f"{task.get_name()}, in {where}{named}"


def frames_of(awaited: Any) -> Iterator[Any]:
    """Yield the frames of a suspended coroutine, from the outermost to where it waits."""
    for one in awaitables_of(awaited):
        yield getattr(one, f"{_kind_of(one)}_frame")


def awaitables_of(awaited: Any) -> Iterator[Any]:
    """Yield a suspended coroutine and what it waits for in turn, as far as these have frames."""
    while awaited is not None:
        kind = _kind_of(awaited)
        frame = getattr(awaited, f"{kind}_frame", None)
        if frame is None:
            return
        yield awaited
        # It drives a coroutine by hand.
        if frame.f_globals.get("__name__") == "kaygraph.observability.steps":
            awaited = frame.f_locals.get("work")
        else:
            awaited = getattr(awaited, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")


def _kind_of(awaited: Any) -> str:
    return next((kind for kind in ("cr", "gi", "ag") if hasattr(awaited, f"{kind}_frame")), "")


def waits_in(task: "asyncio.Task[Any]") -> str:
    """Return the function and the line of the user's own code in which a task waits.

    Unlike ``place_of`` it does not look at variables, which a frame would keep from then on.
    """
    own = [frame for frame in frames_of(task.get_coro()) if _package_of(frame) not in OURS]
    if not own:
        return "no code of yours"
    code = own[-1].f_code
    return f"{code.co_qualname} ({path_of(code.co_filename)}:{own[-1].f_lineno})"


def stack_of(task: "asyncio.Task[Any]") -> list[str]:
    """Return where a task goes on, from the outermost call in: a line for each, with its source.

    Frames of asyncio, anyio and kaygraph are left out.
    """
    return [
        line_of(frame) for frame in frames_of(task.get_coro()) if _package_of(frame) not in OURS
    ]


def line_of(frame: FrameType) -> str:
    """Return the function, the file, the line and its text."""
    return source_line(frame.f_code, frame.f_lineno)


def source_line(code: CodeType, number: int) -> str:
    """Return the function, the file, the line and its text."""
    text = linecache.getline(code.co_filename, number).strip()
    return f"{code.co_qualname} ({path_of(code.co_filename)}:{number})  {text}".rstrip()


def users_frame() -> FrameType:
    """Return the innermost frame of the user's own code that runs now."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        by_hand = frame.f_code.co_filename != "<string>"  # and not by dataclass()
        if by_hand and _package_of(frame) not in OURS:
            break
        frame = frame.f_back
    return frame


def path_of(name: str) -> str:
    """Return the name of a file as seen from the current directory, if it is in there."""
    return _path_from(getcwd(), name)


@lru_cache(maxsize=1024)  # many locks are taken on the same lines
def _path_from(here: str, name: str) -> str:
    path = Path(name)
    return str(path.relative_to(here)) if path.is_relative_to(here) else name


def _package_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def woken_by(timer: asyncio.Handle) -> "asyncio.Task[Any] | None":
    """Return the task that goes on when a timer fires, if that can be seen."""
    callback: Any = timer._callback  # type: ignore[attr-defined]
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        return owner  # call_later(1, task.cancel)
    task = getattr(owner, "_task", None)  # that of asyncio.timeout()
    if isinstance(task, asyncio.Task):
        return task
    for argument in timer._args or ():
        if isinstance(argument, asyncio.Future):
            return waiter_of(argument)
    return None


def waiter_of(future: "asyncio.Future[Any]") -> "asyncio.Task[Any] | None":
    """Return the first task that waits for a future, if there is one."""
    for callback, _ in getattr(future, "_callbacks", None) or ():
        owner = getattr(callback, "__self__", None)
        if isinstance(owner, asyncio.Task):
            return owner
    return None
