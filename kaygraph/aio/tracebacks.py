"""Tracebacks without the engine's own frames: those between the caller and the hook that failed.

The engine's frames hold the tasks, the results and the shared store of a run. An error that keeps
them keeps all that alive, in a reference cycle, until the garbage collector runs.
"""

import os
from asyncio import CancelledError, Future
from collections.abc import Iterator
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

from ..errors import KayGraphError
from .code import ENGINE, EXECUTORS, USER, kind_of

# Errors that explain themselves, as do those that the engine raises by a statement. Any other
# error that comes out of the engine's code, and not of a hook, shows a fault of the engine.
EXPLICIT = (KayGraphError, BaseExceptionGroup, KeyboardInterrupt, CancelledError)
# The instructions of ``raise`` and ``await``; Python 3.12 points after the latter.
_STATEMENTS = ("RAISE_VARARGS", "SEND", "CACHE")
VARIABLE = "KAYGRAPH_TRACEBACK"  # "full": leave them as they are


def trim(error: BaseException, trimmed: bool = False) -> bool:
    """Remove the engine's frames from the traceback of an error, its causes and its parts.

    A fault of the engine keeps all of them. ``KAYGRAPH_TRACEBACK=full`` keeps them for any error.

    Args:
        error: The error.
        trimmed: Whether it has been trimmed before, and nothing was left.

    Returns:
        Whether nothing is left.
    """
    if os.environ.get(VARIABLE) != "full":
        for one in _related(error):
            explicit = isinstance(one, EXPLICIT) or (trimmed and one is error)
            short = _shortened(one.__traceback__, explicit or _is_explicit(one))
            # Not by an assignment, which a frozen dataclass refuses.
            BaseException.with_traceback(one, short)
    return error.__traceback__ is None


def _related(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, then its causes, contexts and parts, each once."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions


def _is_explicit(error: BaseException) -> bool:
    """Whether the innermost frame raises by a statement, or awaits something trimmed."""
    one = error.__traceback__
    if one is None or isinstance(error, AssertionError):
        return False
    while one.tb_next is not None:
        one = one.tb_next
    from opcode import opname  # imported only when needed

    code = one.tb_frame.f_code.co_code
    return 0 <= one.tb_lasti < len(code) and opname[code[one.tb_lasti]] in _STATEMENTS


def _shortened(traceback: TracebackType | None, explicit: bool) -> TracebackType | None:
    kept: list[TracebackType] = []
    one, kind = traceback, ENGINE
    while one is not None:
        kind = kind_of(one.tb_frame.f_code.co_filename)
        if kind == USER or (kept and not explicit and one.tb_next is None):
            kept.append(one)
        one = one.tb_next
    _empty(kept)
    if not kept:
        # What comes from a process has its own traceback in a note.
        return None if explicit or kind == EXECUTORS else traceback
    following = None
    for one in reversed(kept):
        if one.tb_next is not following:
            one.tb_next = following
        following = one
    return following


def _empty(kept: list[TracebackType]) -> None:
    """Clear the variables of the engine's frames that called these and have returned.

    From Python 3.12 on the frame of a coroutine that has ended knows its caller's, as that of a
    function does: ``f_back`` leads from a hook to the engine, whatever a traceback leaves out.
    """
    seen: set[FrameType] = set()
    for one in kept:
        frame = one.tb_frame.f_back
        # One without a caller may be that of a coroutine that is suspended.
        while frame is not None and frame.f_back is not None and frame not in seen:
            seen.add(frame)
            if kind_of(frame.f_code.co_filename) != USER:
                try:
                    frame.clear()
                except RuntimeError:  # it runs, and so do its callers
                    break
            frame = frame.f_back


def let_go(task: "Future[Any]", error: BaseException) -> None:
    """Have a failed task forget the traceback of its error, which it keeps itself."""
    shown, context = error.__traceback__, error.__context__
    with suppress(BaseException):
        task.result()  # which raises it: while a cancellation is handled, that is its context then
    BaseException.with_traceback(error, shown)
    BaseException.__setattr__(error, "__context__", context)
