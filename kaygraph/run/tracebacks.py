"""Tracebacks without the engine's own frames: those between the caller and the hook that failed."""

import os
from asyncio import CancelledError
from collections.abc import Iterator
from types import TracebackType

from .in_flight import USER, kind_of

INTERRUPTS = (KeyboardInterrupt, CancelledError)
VARIABLE = "KAYGRAPH_TRACEBACK"  # "full": leave them as they are


def trim(error: BaseException) -> None:
    """Leave the engine's frames out of the traceback of an error, its causes and its parts.

    The frame that raised an error stays, whosever it is; that of an interrupt says nothing.
    ``KAYGRAPH_TRACEBACK=full`` keeps all of them.
    """
    if os.environ.get(VARIABLE) != "full":
        for one in _related(error):
            short = _shortened(one.__traceback__, not isinstance(one, INTERRUPTS))
            # Not by an assignment, which a frozen dataclass refuses.
            BaseException.with_traceback(one, short)


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


def _shortened(traceback: TracebackType | None, with_last: bool) -> TracebackType | None:
    kept: list[TracebackType] = []
    while traceback is not None:
        following = traceback.tb_next
        is_last = with_last and following is None
        if is_last or kind_of(traceback.tb_frame.f_code.co_filename) == USER:
            kept.append(traceback)
        traceback = following
    following = None
    for one in reversed(kept):
        if one.tb_next is not following:
            one.tb_next = following
        following = one
    return following
