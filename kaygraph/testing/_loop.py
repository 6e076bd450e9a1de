"""Event loops whose clock jumps: waits cost nothing and can be asserted exactly."""

import asyncio
import sys
import threading
from collections import deque
from collections.abc import Coroutine, Iterable
from concurrent.futures import thread as pools
from heapq import heapify, heappop
from time import sleep
from typing import Any, NoReturn, TypeVar

from ..errors import KayGraphError
from ._waits import waiting_tasks

T = TypeVar("T")

LONGEST_SILENCE_S = 5.0  # of threads, in real seconds, where no timer is set
IDLE_S = 0.002  # in which a thread of a pool has begun what it has taken from its queue

# Timers closer to each other than this are due together, as on a real clock.
RESOLUTION_S = 1e-9

# Cancelled timers are thrown away when there are more than these, and more than of the others.
CANCELLED_TIMERS = 100

_NETWORK = (
    "add_reader", "add_writer", "connect_read_pipe", "connect_write_pipe", "create_connection",
    "create_datagram_endpoint", "create_server", "create_unix_connection", "create_unix_server",
    "getaddrinfo", "getnameinfo", "sock_accept", "sock_connect", "sock_recv", "sock_sendall",
    "subprocess_exec", "subprocess_shell",
)  # fmt: skip


class SimulationError(KayGraphError, RuntimeError):
    """A run on a virtual clock cannot go on."""


class DeadlockError(SimulationError):
    """Every task waits, no timer is set, and nothing will ever wake one."""


class EndlessRunError(SimulationError):
    """A run has taken more steps of the loop, or more virtual seconds, than it may."""


class VirtualClockLoop(asyncio.BaseEventLoop):
    """A loop that starts at 0 seconds and jumps to the next timer when nothing is ready.

    Where no timer is set it waits for threads, as any loop does. Threads do not hold the clock:
    use it for coroutines. There is no network and there are no child processes.

    Raises:
        DeadlockError: Nothing is ready, no timer is set and no thread calls. It says which tasks
            wait, and where.
    """

    # What asyncio keeps here on every Python that we run on.
    own_clock = True
    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]
    _stopping: bool
    _timer_cancelled_count: int

    def __init__(self) -> None:
        super().__init__()
        self._seconds = 0.0
        self._called = threading.Event()  # by another thread
        self._older_threads = frozenset(threading.enumerate())

    def time(self) -> float:
        return self._seconds

    def advance(self, seconds: float) -> None:
        """Move the clock without waiting for anything, as a call that blocks the loop would."""
        self._seconds += seconds

    # --- what asyncio calls ---------------------------------------------------------------------

    def _run_once(self) -> None:
        """Run all that is ready now; where nothing is, go to the next timer first."""
        ready = self._ready
        if not ready and not self._stopping:
            self._wait()
        self._let_threads_run()
        if self._scheduled:
            ready.extend(self._due())
        self._arrange(ready)
        for _ in range(len(ready)):
            if not ready[0]._cancelled:
                self._step()  # which may raise: what is ready stays so
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

    def _write_to_self(self) -> None:
        self._called.set()

    def _process_events(self, _: Any) -> None:
        pass

    # --- what simulations do in another way -----------------------------------------------------

    def _let_threads_run(self) -> None:
        """Give up the interpreter for a moment, as a loop does that asks for its sockets."""
        sleep(0)

    def _step(self) -> None:
        """Called before each callback."""

    def _arrange(self, ready: deque[asyncio.Handle]) -> None:
        """Put what is ready into the order in which it runs."""

    def _jump(self, seconds: float) -> None:
        """Nothing is ready: move the clock to the next timer."""
        self._seconds = seconds

    def _due(self) -> list[asyncio.TimerHandle]:
        """Take out the timers that are due, the earliest first."""
        timers = self._scheduled
        due = []
        while timers and timers[0].when() <= self._seconds + RESOLUTION_S:
            timer = heappop(timers)
            timer._scheduled = False  # type: ignore[attr-defined]
            if timer.cancelled():
                self._timer_cancelled_count -= 1
            else:
                due.append(timer)
        return due

    def unfinished(self) -> "Iterable[asyncio.Task[Any]]":
        """Return the tasks that have not ended."""
        return asyncio.all_tasks(self)

    # --- waiting --------------------------------------------------------------------------------

    def _wait(self) -> None:
        self._forget_cancelled_timers()
        if self._scheduled:
            if self._scheduled[0].when() > self._seconds:
                self._jump(self._scheduled[0].when())
            return
        self._called.clear()
        if not self._ready and not self._is_called():
            raise DeadlockError(f"deadlock: nothing will ever wake {waiting_tasks(self)}")

    def _is_called(self) -> bool:
        """Wait for a thread to call, while there is one that may."""
        threads = self._threads()
        if threads and all(map(_is_idle, threads)):
            if self._called.wait(IDLE_S):
                return True
            threads = [thread for thread in threads if not _is_idle(thread)]
        return bool(threads) and self._called.wait(LONGEST_SILENCE_S)

    def _threads(self) -> list[threading.Thread]:
        """Return the threads that may call: of older daemons, which serve others, none does."""
        ours = (threading.current_thread(), threading.main_thread())
        return [
            each
            for each in threading.enumerate()
            if each not in ours and not (each.daemon and each in self._older_threads)
        ]

    def _forget_cancelled_timers(self) -> None:
        timers = self._scheduled
        cancelled = self._timer_cancelled_count
        if cancelled > CANCELLED_TIMERS and cancelled * 2 > len(timers):
            kept = [timer for timer in timers if not timer.cancelled()]
            for timer in timers:
                timer._scheduled = not timer.cancelled()  # type: ignore[attr-defined]
            timers[:] = kept
            heapify(timers)
            self._timer_cancelled_count = 0
        while timers and timers[0].cancelled():
            self._timer_cancelled_count -= 1
            heappop(timers)._scheduled = False  # type: ignore[attr-defined]


def _no_network(*_: Any, **__: Any) -> NoReturn:
    raise NotImplementedError(
        "a virtual clock has no network and no child processes: give the node a stand-in for its "
        "service, or run the graph on a real loop"
    )


for _name in _NETWORK:
    setattr(VirtualClockLoop, _name, _no_network)


def run_virtually(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a loop of its own whose clock jumps, and return its result."""
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        return runner.run(work)


def _is_idle(thread: threading.Thread) -> bool:
    """Return whether a thread is that of a ``ThreadPoolExecutor``, and waits for its next call."""
    queue = vars(pools)["_threads_queues"].get(thread)
    frame = sys._current_frames().get(thread.ident or 0)
    waits = frame is not None and frame.f_code is vars(pools)["_worker"].__code__
    return waits and queue is not None and queue.empty()


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that runs in this thread, or None."""
    return sys.modules["asyncio.events"]._get_running_loop()  # type: ignore[no-any-return]
