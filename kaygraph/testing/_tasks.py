"""The tasks of a simulation."""

import asyncio
import sys
from typing import Any

# A group that fails cancels its own task, and sees to the rest. It does not always uncancel it.
FAILS_GROUP = asyncio.TaskGroup._on_task_done.__code__


class Task(asyncio.Task[Any]):
    """A task that tells its loop when it is cancelled.

    Its class may be changed, too, as that of asyncio may not.
    """

    __slots__ = ()

    def cancel(self, msg: Any | None = None) -> bool:
        if sys._getframe(1).f_code is not FAILS_GROUP:
            loop: Any = self.get_loop()
            loop.cancellations.ask(self)
        return super().cancel(msg)
