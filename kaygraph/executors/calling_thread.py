"""A ``def exec`` in the calling thread of ``run()``, while the run has no other work."""

from asyncio import _get_running_loop, _set_running_loop, sleep
from collections.abc import Callable
from contextvars import copy_context
from time import monotonic
from typing import Any

from ..errors import RAISED_STOP
from ..run.run import TURN_S, Run


def call_here(call: Callable[[Any], Any], item: Any) -> Any:
    """Call ``exec`` as a thread would: in a copy of the context, and where no loop is seen to run.

    So code that brings a loop of its own may run.
    """
    loop = _get_running_loop()  # None: a run by hand
    if loop is not None:
        _set_running_loop(None)
    try:
        return copy_context().run(call, item)
    except StopIteration as error:  # no coroutine can carry it
        raise RuntimeError(RAISED_STOP) from error
    finally:
        if loop is not None:
            _set_running_loop(loop)


def is_due(run: Run) -> bool:
    """Whether the loop should have a turn, which handles deadlines, signals and tasks."""
    return monotonic() >= run.next_turn


async def turn(run: Run) -> None:
    """Give the loop a turn."""
    await sleep(0)
    run.next_turn = monotonic() + TURN_S
