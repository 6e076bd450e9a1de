"""Hooks that block the event loop: found by how long a node runs between two of its waits."""

import asyncio
import time
import warnings
from collections.abc import Callable, Coroutine
from typing import Any

from ..errors import SlowHookWarning
from ..run.frame import Frame
from .steps import stepped


def timed(
    begin: Callable[[], Coroutine[Any, Any, Any]], name: str, frame: Frame
) -> Coroutine[Any, Any, Any]:
    """Return the work that ``begin`` starts, with a warning when it blocks the loop for too long.

    The warning comes once per node and run, measured by the machine's clock. If the run is
    alone, nothing else waits for the loop, and there is no warning.
    """
    most, run = frame.rules.slow_hook_s, frame.run.root
    if most is None or frame.run.alone:
        return begin()
    limit = most
    began = others = 0.0

    def before() -> None:
        nonlocal began, others
        began, others = time.monotonic(), run.looked_after_s

    def after() -> None:
        took = time.monotonic() - began
        own = took - (run.looked_after_s - others)  # inner nodes are measured themselves
        run.looked_after_s = others + took
        if own <= limit or name in run.slow_nodes:
            return
        run.slow_nodes = {*run.slow_nodes, name}
        message = (
            f"node {name!r} blocked the event loop for {own:.2f} s (slow_hook_s={limit:g}), so "
            "nothing else could run. Await slow calls, or write exec as 'def' to run it in a thread"
        )
        asyncio.get_running_loop().call_soon(warnings.warn, message, SlowHookWarning)

    async def work() -> Any:  # started when awaited: it may be cancelled before
        return await stepped(begin(), after, before)

    return work()
