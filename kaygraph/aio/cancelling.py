"""Cancellations that the engine requested, and those that nobody requested.

Before Python 3.13, a TaskGroup whose child fails while the block already waits for its end leaves a
cancellation behind in the task around: its count stays one too high, and nothing is cancelled.
"""

import asyncio
import sys
from collections.abc import Callable
from contextvars import ContextVar, Token
from types import FrameType
from typing import Any, NamedTuple
from weakref import WeakSet, ref

ARE_LEFT_BEHIND = sys.version_info < (3, 13)

# Tasks that the engine has cancelled.
CANCELLED: "WeakSet[asyncio.Task[Any]]" = WeakSet()


class Caller(NamedTuple):
    """The task that called ``run_async``, and how often it had been cancelled before."""

    task: "Callable[[], asyncio.Task[Any] | None]"
    cancellations: int


NO_CALLER = Caller(lambda: None, 0)  # of a run in a task of its own

CALLER: ContextVar[Caller] = ContextVar("kaygraph_caller")


def note_caller(task: "asyncio.Task[Any]", is_callers: bool) -> Token[Caller] | None:
    """Note in which task a run begins, and whether it is that of a caller, who may cancel it."""
    if is_callers or task.cancelling() or CALLER.get(None) is not None:
        return CALLER.set(Caller(ref(task), task.cancelling()))
    return CALLER.set(NO_CALLER) if ARE_LEFT_BEHIND else None


def cancel(task: "asyncio.Task[Any]", *message: Any) -> None:
    """Cancel a task that the engine has made, in which hooks may run."""
    CANCELLED.add(task)
    task.cancel(*message)


def forget(task: "asyncio.Task[Any]", earlier: int) -> bool:
    """Forget a task's cancellations that nobody requested; return whether there were any.

    Args:
        task: A task that nobody but the engine cancels, and what runs within it.
        earlier: How often it had been cancelled before.
    """
    if not ARE_LEFT_BEHIND or task in CANCELLED:
        return False
    if getattr(task, "_must_cancel", False) is True:  # one is still to be delivered
        return False
    left = max(0, task.cancelling() - earlier)
    for _ in range(left):
        task.uncancel()
    return bool(left)


def forget_groups(task: "asyncio.Task[Any]", earlier: int, error: BaseException) -> None:
    """Forget what the TaskGroups that ``error`` comes from have left behind in a caller's task.

    Args:
        task: A task that others may have cancelled as well: one cancellation is forgotten for each
            group at most.
        earlier: How often it had been cancelled before.
        error: What has been raised in it.
    """
    if not ARE_LEFT_BEHIND:
        return
    entry = error.__traceback__
    while entry is not None:
        if task.cancelling() > earlier and _is_end_of_group(entry.tb_frame, task):
            task.uncancel()
        entry = entry.tb_next


def _is_end_of_group(frame: FrameType, task: "asyncio.Task[Any]") -> bool:
    if frame.f_code is not asyncio.TaskGroup.__aexit__.__code__:
        return False
    return getattr(frame.f_locals["self"], "_parent_task", None) is task
