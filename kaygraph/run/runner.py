"""The event loop of ``run()``: a thread keeps one, from one run to the next.

To create a loop and to close it takes longer than many runs. A loop is kept if a run has left it
as it was. If something was left on it (a task, a timer, a socket, an asynchronous generator, a
thread, a handler), that ends with the loop, as with ``asyncio.run``; the next run gets a new one.
"""

import asyncio
import os
import selectors
import sys
import threading
from collections import deque
from collections.abc import Callable, Sized
from contextvars import Context
from weakref import finalize

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

FORKS = [0]  # the number of forks since the first process: quicker than to ask the system
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: FORKS.append(FORKS.pop() + 1))


class KeptLoop(asyncio.SelectorEventLoop):
    """A loop that knows whether it holds anything that was not there when it was created."""

    # What asyncio keeps here on every Python that we support.
    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]
    _timer_cancelled_count: int
    _asyncgens: Sized
    _signal_handlers: Sized
    _default_executor: object
    _task_factory: object
    _exception_handler: object
    _selector: selectors.BaseSelector

    def __init__(self) -> None:
        super().__init__()
        self._settings = self._current_settings()
        self.descriptors = 1  # those it waits for: its own pipe, for calls from other threads

    def _current_settings(self) -> tuple[object, ...]:
        return (
            self._exception_handler, self._task_factory, self.get_debug(),
            self.slow_callback_duration,
        )  # fmt: skip

    def is_as_it_was(self) -> bool:
        """Whether nothing is left here and no setting was changed."""
        if self._scheduled and all(timer.cancelled() for timer in self._scheduled):
            # Each knows the context in which it was set, and so the run.
            self._scheduled.clear()
            self._timer_cancelled_count = 0
        return not (
            self.is_closed()
            or self._ready
            or self._scheduled
            or self._default_executor is not None
            or self._current_settings() != self._settings
            or self._signal_handlers
            or len(self._selector.get_map()) != self.descriptors
            or len(self._asyncgens)
            or asyncio.all_tasks(self)
        )

    @property
    def is_called(self) -> bool:
        """Whether calls are pending: between two runs, what a thread sent too late."""
        return bool(self._ready)

    def let_go(self) -> None:
        """Forget what it waits for, in a forked process: the parent still waits."""
        self._selector.close()
        self._selector = selectors.SelectSelector()


class _Held:
    """What is closed with a runner, and what its loop calls; it does not know the runner."""

    __slots__ = ("call", "forks", "is_waited_for", "loop", "pipe")

    def __init__(self) -> None:
        self.forks = FORKS[0]
        self.loop: asyncio.AbstractEventLoop | None = None
        self.pipe: list[int] = []
        self.is_waited_for = False  # the loop waits for it
        self.call: Callable[[], None] | None = None

    def on_readable(self) -> None:
        if self.call is not None:
            self.call()

    def close(self) -> None:
        """Close a loop in which nothing is left, and its pipe."""
        loop = self.loop
        if loop is not None and loop.is_running():  # in a process that a hook forked, for example
            return
        if isinstance(loop, KeptLoop) and self.forks != FORKS[0]:
            loop.let_go()
        if loop is not None:
            loop.close()
        while self.pipe:
            os.close(self.pipe.pop())


class Runner:
    """A loop for one run at a time, and the pipe to which signals are written while it runs.

    Args:
        loop_factory: Makes the loop; None: the event-loop policy does.
    """

    def __init__(self, loop_factory: LoopFactory | None = None) -> None:
        self._asyncio_runner = asyncio.Runner(loop_factory=loop_factory)
        self._held = _Held()
        self._closed = finalize(self, self._held.close)  # where its thread or the program ends

    @property
    def is_running(self) -> bool:
        return self._held.loop is not None and self._held.loop.is_running()

    @property
    def is_over(self) -> bool:
        """Whether it is no longer usable: it was closed, or this is a forked process."""
        held = self._held
        return held.forks != FORKS[0] or held.loop is None or held.loop.is_closed()

    def listen(self, call: Callable[[], None]) -> list[int]:
        """Call a function on the loop when the pipe is written to; return the pipe's ends.

        Neither end blocks.
        """
        held = self._held
        held.call = call
        if not held.pipe:
            held.pipe += os.pipe()
            for end in held.pipe:
                os.set_blocking(end, False)
        return held.pipe

    def open(self) -> asyncio.AbstractEventLoop:
        """Return the loop; create it if there is none yet."""
        held = self._held
        if held.loop is None:
            held.loop = self._asyncio_runner.get_loop()
        if held.pipe and not held.is_waited_for:
            held.is_waited_for = True
            held.loop.add_reader(held.pipe[0], held.on_readable)
            if isinstance(held.loop, KeptLoop):
                held.loop.descriptors += 1
        return held.loop

    def settle(self) -> None:
        """End what the run left behind, and the loop with it."""
        if self._held.forks == FORKS[0]:  # else the loop is that of the parent
            self._asyncio_runner.close()

    def leave(self) -> None:
        """Stop calling; close the pipe of a closed loop."""
        self._held.call = None
        if self.is_over:
            self._closed()


class KeptRunner(Runner):
    """Serves one run after another, as long as each leaves the loop as it was."""

    def __init__(self) -> None:
        super().__init__(KeptLoop)

    def open(self) -> asyncio.AbstractEventLoop:
        # Not in the context of a run, which would live as long as the loop.
        return Context().run(super().open)

    def settle(self) -> None:
        loop = self._held.loop
        if not (isinstance(loop, KeptLoop) and loop.is_as_it_was()):
            super().settle()

    def is_ready(self) -> bool:
        """Whether another run may take place; if not, it is closed."""
        loop = self._held.loop
        if isinstance(loop, KeptLoop) and loop.is_called:
            self._closed()
        return not self.is_over


class _Kept(threading.local):
    """What each thread keeps; it is closed when the thread ends."""

    runner: KeptRunner | None = None


KEPT = _Kept()


def check_loop_factory(loop_factory: object) -> None:
    """Check that it is a loop factory, before anything of a run has started."""
    if loop_factory is not None and not callable(loop_factory):
        raise TypeError(
            "loop_factory must be a function that returns a new event loop, such as "
            f"uvloop.new_event_loop; got {loop_factory!r}"
        )


def runner_here(loop_factory: LoopFactory | None) -> Runner:
    """Return the runner for a run in this thread; the caller calls ``leave`` at its end."""
    if loop_factory is not None or sys.platform == "win32" or not _is_default_policy():
        return Runner(loop_factory)
    runner = KEPT.runner
    if runner is not None and runner.is_running:  # this is a run inside a run
        return Runner()
    if runner is None or not runner.is_ready():
        runner = KEPT.runner = KeptRunner()
    return runner


def _is_default_policy() -> bool:
    """Whether loops are those of asyncio, and not, for example, of ``uvloop.install()``."""
    policy = getattr(asyncio.events, "_event_loop_policy", None)
    return policy is None or type(policy).__module__ == "asyncio.unix_events"
