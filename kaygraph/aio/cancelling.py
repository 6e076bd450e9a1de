"""Cancellations that the engine requested, and those that nobody requested.

Before Python 3.13, a TaskGroup whose child fails while the block already waits for its end leaves a
cancellation behind in the task around: its count stays one too high, and nothing is cancelled.
"""

import asyncio
import sys
from typing import Any
from weakref import WeakSet

ARE_LEFT_BEHIND = sys.version_info < (3, 13)

# Tasks that the engine has cancelled and that may belong to workers.
CANCELLED: "WeakSet[asyncio.Task[Any]]" = WeakSet()


def cancel(task: "asyncio.Task[Any]") -> None:
    """Cancel a task in which a worker may be running."""
    CANCELLED.add(task)
    task.cancel()


def forget(task: "asyncio.Task[Any]", earlier: int) -> bool:
    """Forget a task's cancellations that nobody requested; return whether there were any.

    Args:
        task: The task of a worker; only the engine and what runs within it know the task.
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
