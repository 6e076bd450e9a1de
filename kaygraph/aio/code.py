"""Who owns the code in a file: the engine, asyncio or the user."""

import asyncio
import os
import selectors
import threading
from functools import cache

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NODES = ("nodes", "patterns")  # packages whose hooks are like a user's
WAITS = (
    os.path.dirname(asyncio.__file__),
    selectors.__file__,
    threading.__file__,
    os.path.join(os.path.dirname(os.__file__), "concurrent"),
)

ENGINE, EXECUTORS, WAIT, USER = "engine", "executors", "wait", "user"


@cache
def kind_of(path: str) -> str:
    """Return who owns the code in a file: the engine, asyncio or a hook."""
    if path.startswith(ROOT + os.sep):
        package = path[len(ROOT) + 1 :].split(os.sep)[0]
        if package in NODES:
            return USER
        return EXECUTORS if package == EXECUTORS else ENGINE
    return WAIT if path.startswith(WAITS) else USER
