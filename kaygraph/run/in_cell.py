"""What a run does in a notebook: it shows its progress and reacts to Stop."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from importlib import import_module
from typing import Any, Protocol, TypeVar

from ..events import Event
from .joining import frame_around

T = TypeVar("T")

VARIABLE = "KAYGRAPH_PROGRESS"  # "off": runs show nothing by themselves
BEAT_S = 0.25


class InCell(Protocol):
    """An observer that shows a run in its cell."""

    def __call__(self, event: Event, /) -> object: ...

    def look(self) -> None:
        """Show the progress of the run, in the thread of the cell, when there is something new."""

    def close(self) -> None:
        """Show how it ended."""


def shell() -> Any:
    """Return IPython's shell if it runs what is typed, otherwise None."""
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()


def in_kernel() -> bool:
    """Whether the kernel of a notebook runs what is typed."""
    return getattr(shell(), "kernel", None) is not None


def shown_in_cell(observers: object, watch: object) -> InCell | None:
    """Return what shows a run in its cell.

    None if the run has observers or is part of another run, outside of notebooks, and if it is
    turned off.
    """
    if observers or watch or not in_kernel() or frame_around() is not None:
        return None
    if os.environ.get(VARIABLE, "").lower() in ("off", "0", "no", "false"):
        return None
    made: InCell = import_module("kaygraph.progress.cell").InCell()
    return made


def responsive(work: Callable[[Any, Any], Coroutine[Any, Any, T]]) -> Callable[..., Any]:
    """Return the work of a run, during which the loop of a kernel reacts to Stop at once.

    A signal's handler leaves a note to the loop, but does not wake it: without this, Stop would be
    noticed only when something else happens.
    """
    if not in_kernel():
        return work

    async def responsive_work(shared: Any, frame: Any) -> T:
        if threading.current_thread() is not threading.main_thread():
            return await work(shared, frame)  # Stop goes to the cell that waits
        beat = Beat(asyncio.get_running_loop())
        try:
            return await work(shared, frame)
        finally:
            beat.end()

    return responsive_work


class Beat:
    """Wakes a loop a few times a second."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer = loop.call_later(BEAT_S, self._again)

    def _again(self) -> None:
        self._timer = self._loop.call_later(BEAT_S, self._again)

    def end(self) -> None:
        self._timer.cancel()
