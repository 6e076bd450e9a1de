"""Reports of a failed run or module: the frames of the user's code, then one line."""

import importlib
import os
import sys
import traceback
from collections.abc import Iterator
from types import TracebackType

from .._formatting import redacted
from ..aio.code import USER, kind_of
from ..aio.tracebacks import VARIABLE, trim
from ..errors import KayGraphError

# When an import fails, the frames of Python's import system say nothing.
IMPORTING = (os.path.dirname(importlib.__file__) + os.sep, "<frozen ")


def report_failure(error: BaseException, hint: str = "") -> None:
    """Print a failure on standard error: the frames of the user's code, then the error in one line.

    Secrets are hidden. ``KAYGRAPH_TRACEBACK=full`` shows all frames; so does an engine fault.
    """
    trim(error)
    if os.environ.get(VARIABLE) != "full":
        _leave_out(error, set())
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    text = f"error: {type(error).__name__}: {error}".removesuffix(": ")
    print(redacted(f"{_frames(error)}{text}{notes}") + hint, file=sys.stderr)


def is_of_user(error: BaseException) -> bool:
    """Whether the error was raised in code outside the engine and the command."""
    return any(True for _ in _users(error.__traceback__))


def _frames(error: BaseException) -> str:
    """Return the frames of an error, with its causes and parts if it has any."""
    context = None if error.__suppress_context__ else error.__context__
    if isinstance(error, BaseExceptionGroup | SyntaxError) or error.__cause__ or context:
        return "".join(traceback.format_exception(error))
    if error.__traceback__ is None:
        return ""
    return "Traceback (most recent call last):\n" + "".join(
        traceback.format_tb(error.__traceback__)
    )


def _leave_out(error: BaseException | None, seen: set[int]) -> None:
    """Remove this command's and the import system's frames from an error and its causes."""
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    kept = [*_users(error.__traceback__)]
    following: TracebackType | None = None
    for one in reversed(kept):
        one.tb_next = following
        following = one
    if kept or isinstance(error, KayGraphError | BaseExceptionGroup | SyntaxError | ImportError):
        BaseException.with_traceback(error, following)
    _leave_out(error.__cause__, seen)
    _leave_out(error.__context__, seen)
    for part in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        _leave_out(part, seen)


def _users(found: TracebackType | None) -> Iterator[TracebackType]:
    while found is not None:
        path = found.tb_frame.f_code.co_filename
        if kind_of(path) == USER and not path.startswith(IMPORTING):
            yield found
        found = found.tb_next
