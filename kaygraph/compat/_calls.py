"""How hooks are called in a flow, with a loop or without one."""

from asyncio import CancelledError, _get_running_loop, sleep
from collections.abc import Callable
from inspect import isawaitable
from typing import Any

from ..aio.tasks import raise_if_awaited
from ..run.frame import FRAME
from ..run.run import Run


async def settled(value: Any) -> Any:
    """Return the result of a hook, sync or async."""
    return await value if isawaitable(value) else value


async def awaited(value: Any, run: Run) -> Any:
    """Return the result of something, sync or async, that may need a loop."""
    if not isawaitable(value):
        return value
    if run.by_hand:
        await sleep(0)  # it continues on a loop
    return await value


async def hooked(run: Run, hook: Callable[..., Any], *given: Any) -> Any:
    """Call a hook around the three steps; a cancellation that is not ours fails it."""
    try:
        return await awaited(hook(*given), run)
    except CancelledError as cancellation:
        raise_if_awaited(cancellation)
        raise


def nothing_around() -> bool:
    """Whether no loop runs in this thread, no run is in progress in it, and nobody is watching."""
    return _get_running_loop() is None and FRAME.get(None) is None and not Run.ambient


def plainness_of(owner: Any) -> tuple[str | None, bool]:
    """Return whether the ``exec`` of a node, or of a class, is simply "awaited", "called" or "left
    out", and whether all of its hooks are written ``def``."""
    if not owner._is_plain or not (owner.exec_is_plain or owner.exec_is_plain_def):
        return None, False
    simply = "called" if owner.exec_is_plain_def else "awaited" if owner.has_exec else "left out"
    return simply, simply != "awaited" and not any(owner.hook_kinds)
