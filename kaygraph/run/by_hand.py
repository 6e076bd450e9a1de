"""A run from synchronous code without a loop, until something has to wait."""

from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any, TypeVar

from ..aio.contexts import Apart
from ..aio.tasks import current_task
from .new_loop import run_in_new_loop
from .run import Run

T = TypeVar("T")


def run_by_hand(launch: Callable[[], Coroutine[Any, Any, T]], run: Run, grace: float | None) -> T:
    """Run to the end in this thread.

    No loop runs, no signal is handled and there is no task. Code that needs one of them first
    suspends the coroutine with ``sleep(0)``: it goes on in a task, on a loop.
    """
    context, work = copy_context(), launch()
    run.by_hand = True
    try:
        context.run(work.send, None)
    except StopIteration as ended:
        return ended.value  # type: ignore[no-any-return]
    finally:
        run.by_hand = False

    async def rest() -> T:
        run.task = current_task()
        return await Apart(context, work)

    return run_in_new_loop(rest, run, grace, True, None)
