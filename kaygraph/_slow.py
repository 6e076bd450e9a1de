"""Hooks that hold the event loop: found by how long a node runs between two of its waits."""

import asyncio
import time
import warnings
from collections.abc import Coroutine
from typing import Any

from ._frame import Frame
from ._steps import stepped
from .errors import SlowHookWarning


def timed(work: Coroutine[Any, Any, Any], name: str, frame: Frame) -> Coroutine[Any, Any, Any]:
    """Return ``work`` with a warning, once a node and run, when it holds the loop for too long.

    Measured by the machine's clock. Where the frame is alone nothing else waits for the loop, and
    nobody has to hear of it.
    """
    limit, run = frame.rules.slow_hook_s, frame.run
    if limit is None or frame.alone:
        return work
    most = limit
    began = 0.0

    def before() -> None:
        nonlocal began
        began = time.monotonic()

    def after() -> None:
        now = time.monotonic()
        # A node within has told already of a step that was too long for it.
        if now - began <= most or run.slow_at >= began:
            return
        run.slow_at = now
        if name in run.slow_nodes:
            return
        run.slow_nodes = {*run.slow_nodes, name}
        loop = asyncio.get_running_loop()
        message = (
            f"node {name!r} held the event loop for {now - began:.2f} s "
            f"(slow_hook_s={most:g}): nothing else could run. Await what waits, or write exec as "
            "'def', which runs in a thread"
        )
        loop.call_soon(warnings.warn, message, SlowHookWarning)

    return stepped(work, after, before)
