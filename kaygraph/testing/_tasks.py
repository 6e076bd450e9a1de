"""The tasks of a simulation."""

import asyncio
from typing import Any


class Task(asyncio.Task[Any]):
    """A task whose class may be changed, as that of asyncio may not."""

    __slots__ = ()
