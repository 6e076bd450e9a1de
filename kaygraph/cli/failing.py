"""What a person is told of a run, or a module, that has failed: their own frames, then one line."""

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

# How Python imports is of no interest where an import fails.
IMPORTING = (os.path.dirname(importlib.__file__) + os.sep, "<frozen ")


def tell_failure(error: BaseException, hint: str = "") -> None:
    """Say on standard error what has failed: where in the user's code, then in one line what.

    Secrets are hidden. ``KAYGRAPH_TRACEBACK=full`` shows all frames, as does a fault of the engine.
    """
    trim(error)
    if os.environ.get(VARIABLE) != "full":
        _leave_out(error, set())
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    text = f"error: {type(error).__name__}: {error}".removesuffix(": ")
    print(redacted(f"{_frames(error)}{text}{notes}") + hint, file=sys.stderr)


def is_of_user(error: BaseException) -> bool:
    """Whether the error has come out of code that is neither the engine's nor the command's."""
    return any(True for _ in _users(error.__traceback__))


def _frames(error: BaseException) -> str:
    """Return the frames of an error; with its causes and parts, where it has some."""
    context = None if error.__suppress_context__ else error.__context__
    if isinstance(error, BaseExceptionGroup | SyntaxError) or error.__cause__ or context:
        return "".join(traceback.format_exception(error))
    if error.__traceback__ is None:
        return ""
    return "Traceback (most recent call last):\n" + "".join(
        traceback.format_tb(error.__traceback__)
    )


def _leave_out(error: BaseException | None, seen: set[int]) -> None:
    """Take this command's frames, and those of Python's import, from an error and its causes."""
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
