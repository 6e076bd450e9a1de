"""A run from synchronous code: on its own loop, in this thread or in a second one."""

import signal
import sys
import warnings
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import RunInterrupted
from .joining import frame_around
from .run import Run
from .runner import LoopFactory, runner_here

if TYPE_CHECKING:
    from .in_cell import InCell

T = TypeVar("T")


def run_in_new_loop(
    launch: Callable[[], Coroutine[Any, Any, T]],
    run: Run,
    grace: float | None,
    at_once: bool,
    loop_factory: LoopFactory | None,
    in_cell: "InCell | None" = None,
) -> T:
    """Run to the end in this thread, or in another one if a loop already runs here.

    Also in another one if nested runs have used up half of this thread's stack.
    """
    notebook = False
    run.blocks = sys.modules["asyncio.events"]._get_running_loop()
    if run.blocks is None:
        around = frame_around()
        if around is None or not _is_deep():
            return _run_here(launch, run, grace, at_once, loop_factory)
        task = around.run.task
        run.blocks = None if task is None else task.get_loop()
    else:
        from .in_cell import shell

        notebook = shell() is not None
        if not notebook:
            warnings.warn(
                "run() blocks the event loop of this thread until the run has ended: write "
                "'await graph.run_async(shared)'",
                RuntimeWarning,
                stacklevel=3,
            )
    from .in_thread import RunInThread

    run_in_thread: RunInThread[T] = RunInThread(run, grace, notebook, loop_factory, in_cell)
    return run_in_thread.result(launch)


def _run_here(
    launch: Callable[[], Coroutine[Any, Any, T]],
    run: Run,
    grace: float | None,
    at_once: bool,
    loop_factory: LoopFactory | None,
) -> T:
    # Only here are signals handled, so the code that handles them is imported here.
    try:
        from .signals import Signals

        signals = Signals(run, runner_here(loop_factory), grace, at_once)
    except KeyboardInterrupt:  # it has come by now
        raise RunInterrupted(signal.SIGINT, drained=True) from None
    return signals.run(launch())


def _is_deep() -> bool:
    """Whether half of the nested calls that Python allows are in use in this thread."""
    frame: FrameType | None = sys._getframe()
    for _ in range(sys.getrecursionlimit() // 2):
        if frame is None:
            return False
        frame = frame.f_back
    return True
