"""SIGINT and SIGTERM under ``run()``: the first one drains the run, the second one ends it."""

# Without the enums of signal, which are ten times slower to look up.
import _signal  # type: ignore[import-not-found]
import asyncio
import contextlib
import itertools
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, TypeVar

from ..aio.cancelling import cancel
from ..aio.tasks import retrieve_exception
from ..errors import RunInterrupted
from .in_flight import frame_of, in_flight, is_held
from .run import Run
from .runner import Runner

T = TypeVar("T")

NUMBERS = (signal.SIGINT, signal.SIGTERM)

DEFAULTS = (signal.default_int_handler, signal.SIG_DFL)

# How long a run has for its clean-up after a second signal; the process is gone within a second.
LAST_S = 0.7

FLUSH_S = 0.1

# How long the loop may be blocked before the code that blocks it is interrupted.
TURN_S = 0.1

AGAIN, OVER = "again", "over"  # a second signal has come; the run has ended


class HookInterrupted(KeyboardInterrupt, asyncio.CancelledError):
    """Raised in a hook that blocks the loop: Ctrl-C to the hook, the end to the run."""


class Signals:
    """Handles signals while a run goes on in the main thread; the user's own handlers stay.

    Each signal is written to a pipe the moment it comes, in any thread. The first of these to get
    there reads it: the handler, which the main thread calls between two steps of Python; the loop,
    which it wakes; or a separate thread, if the run has threads and the main one may never be
    interrupted. From the first signal on, another thread makes sure that the run ends in time.

    Args:
        run: The run.
        runner: The loop that it takes place on.
        grace: Seconds for the work in flight after the first signal; None: as long as it takes.
        at_once: A SIGINT raises KeyboardInterrupt in the hook that blocks the main thread, if there
            is one, and nothing else.
    """

    def __init__(
        self, run: Run, runner: Runner, grace: float | None, at_once: bool = False
    ) -> None:
        self._run, self._grace, self._at_once = run, grace, at_once
        self._runner = runner
        self._numbers: Sequence[int] = ()
        self._number: int | None = None
        self._again = False
        self._counts = itertools.count(1)
        self._words: SimpleQueue[str] = SimpleQueue()  # for the thread that ends the run
        self._ending: threading.Thread | None = None
        self._step: Callable[[], None] | None = None  # for the loop to take
        self._sent = False  # a signal is coming that the engine sent, not a person
        self._watcher: threading.Thread | None = None
        self._task: asyncio.Task[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to the end.

        Raises:
            RunInterrupted: A signal came.
        """
        error: BaseException | None = None
        restore = self._listen()
        try:
            return self._ended(work)
        except BaseException as failure:
            error = failure
            raise
        finally:
            try:
                restore()
                if self._number is not None:
                    self._runner.settle()  # a step for the loop may have come too late for it
                    cause = None if isinstance(error, asyncio.CancelledError) else error
                    raise self._interrupted(self._number) from cause
            finally:
                self._runner.leave()
                del error  # it holds this frame: avoid a reference cycle

    def _ended(self, work: Coroutine[Any, Any, T]) -> T:
        """Run the work on the loop, and end what it left behind."""
        task: asyncio.Task[T] | None = None
        try:
            loop = self._loop = self._runner.open()
            if self._numbers and not isinstance(loop, asyncio.BaseEventLoop):
                loop.call_soon(self._listen_again)  # before the work
            task = self._task = loop.create_task(work)
            if self._number is not None:  # it came before there was a loop
                self._run.drain()
            return loop.run_until_complete(task)
        except Exception as error:
            if self._number is not None and task is not None:
                # What is raised in its place shows no traceback.
                message = "the run failed while it was drained"
                loop.call_exception_handler({"message": message, "exception": error})
            raise
        finally:
            if task is not None and task.done():
                retrieve_exception(task)
            self._runner.settle()  # while signals are handled, since it may take a while
            del task

    def _interrupted(self, number: int) -> BaseException:
        interrupted = RunInterrupted(number, not self._again and not self._run.expired)
        if number == signal.SIGINT and hasattr(sys, "ps1"):  # a person types: no SystemExit here
            return KeyboardInterrupt(str(interrupted))
        return interrupted

    def _listen(self) -> Callable[[], None]:
        """Have the signals written to a pipe; return a function that restores everything."""
        numbers = []
        if threading.current_thread() is threading.main_thread():
            numbers = [n for n in NUMBERS if _signal.getsignal(n) in DEFAULTS]
        if not numbers:
            return self._forget
        self._numbers, self._main = numbers, threading.get_ident()
        self._pipe, end = self._runner.listen(self._take)
        self._end_of_pipe = end
        before = signal.set_wakeup_fd(end, warn_on_full_buffer=False)
        handlers = [_signal.signal(number, self._handle) for number in numbers]
        self._run.threaded = self._watch

        def restore() -> None:
            # The watcher first: it may be about to act on a signal. The end of the run next, since
            # it may send a signal itself.
            self._stop_watching()
            self._stop_ending()
            for number, handler in zip(numbers, handlers, strict=True):
                if _signal.getsignal(number) == self._handle:  # no hook has set another one
                    _signal.signal(number, handler)
            if (current := signal.set_wakeup_fd(before)) != end:
                signal.set_wakeup_fd(current)
            self._take()
            self._stop_ending()  # the first signal may have come by now
            self._forget()

        return restore

    def _forget(self) -> None:
        # The task holds an error that holds this object: avoid a reference cycle.
        self._task = self._run.threaded = None

    def _watch(self) -> None:
        """Read in a thread from now on."""
        stop, self._stop = os.pipe()

        def read() -> None:
            while stop not in select.select([self._pipe, stop], [], [])[0]:
                self._take()
            os.close(stop)

        self._watcher = threading.Thread(target=read, name="kaygraph-signals", daemon=True)
        self._watcher.start()

    def _stop_watching(self) -> None:
        if self._watcher is not None:
            os.close(self._stop)
            self._watcher.join()

    def _stop_ending(self) -> None:
        if self._ending is not None:  # nothing blocks it now
            self._words.put(OVER)
            self._ending.join()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Act on the signals that have come, in the main thread, which may be in a hook."""
        self._note(number)
        if self._at_once and number == signal.SIGINT and not self._sent and is_held(frame):
            with contextlib.suppress(BlockingIOError):
                os.read(self._pipe, 4096)
            raise KeyboardInterrupt
        self._take(frame)
        step = self._step
        if step is not None and is_held(frame):
            self._step = None
            step()
            task = None if self._loop is None else asyncio.current_task(self._loop)
            if task is not None and task is not self._task:  # it ends, and has not failed
                cancel(task)
            raise HookInterrupted

    def _listen_again(self) -> None:
        """Have signals written to the pipe: while it runs, uvloop has them written to its own."""
        signal.set_wakeup_fd(self._end_of_pipe, warn_on_full_buffer=False)

    def _note(self, number: int) -> None:
        """Write a signal to the pipe if other code has replaced it."""
        current = signal.set_wakeup_fd(self._end_of_pipe, warn_on_full_buffer=False)
        if current != self._end_of_pipe:
            signal.set_wakeup_fd(current, warn_on_full_buffer=False)
            os.write(self._end_of_pipe, bytes([number]))

    def _take(self, frame: FrameType | None = None) -> None:
        """Act on the signals that have come."""
        try:
            came = os.read(self._pipe, 4096)
        except BlockingIOError:
            return
        for number in came:
            if self._sent and number == self._number:
                self._sent = False
            elif number in self._numbers:
                self._came(number, next(self._counts), frame)

    def _came(self, number: int, count: int, frame: FrameType | None) -> None:
        if count == 1:
            self._number = number
            # At once, since code that blocks the loop may be followed by another node or item.
            self._run.halt()
            self._call(self._run.drain)
            self._announce(frame)
            self._ending = threading.Thread(target=self._end, name="kaygraph-ending", daemon=True)
            self._ending.start()
        elif count == 2:
            self._again = True
            self._words.put(AGAIN)

    def _call(self, step: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: there is nothing to stop
            if self._loop is not None:
                self._loop.call_soon_threadsafe(step)

    def _expire(self) -> None:
        if self._task is not None:
            self._run.expire(self._task)

    def _cancel(self) -> None:
        if self._task is not None:
            cancel(self._task)

    # --- the end of the run, in a thread of its own -------------------------------------------

    def _end(self) -> None:
        """Make sure that the run ends in time."""
        word = self._word(self._grace)
        if word is None:  # the grace has expired
            word = self._ended_by(self._expire, None)
        if word == AGAIN and self._ended_by(self._cancel, LAST_S) is None:
            self._exit()

    def _word(self, seconds: float | None) -> str | None:
        with contextlib.suppress(Empty):
            return self._words.get(timeout=seconds)
        return None

    def _ended_by(self, step: Callable[[], None], seconds: float | None) -> str | None:
        """Make the loop take a step; interrupt what blocks it. Return the next command, if any."""

        def take() -> None:
            if self._step is step:
                self._step = None
                step()

        end = time.monotonic() + (3600.0 if seconds is None else seconds)
        self._step = step
        self._call(take)
        while self._step is step and time.monotonic() < end:
            word = self._word(TURN_S)
            if word is not None:
                return word
            if self._step is step and not self._sent and self._number is not None:
                self._sent = True
                signal.pthread_kill(self._main, self._number)
        return self._word(None if seconds is None else max(0.0, end - time.monotonic()))

    def _exit(self) -> None:
        """What blocks it cannot be stopped, such as a thread. Leave no process behind."""
        if "multiprocessing" in sys.modules:
            for process in sys.modules["multiprocessing"].active_children():
                process.kill()
        assert self._number is not None
        code = 128 + self._number
        flushed = threading.Timer(FLUSH_S, os._exit, (code,))  # the code that blocks may hold it
        flushed.daemon = True
        flushed.start()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)

    # --- messages to a person ------------------------------------------------------------------

    def _announce(self, frame: FrameType | None) -> None:
        """Say what happens now, and what a second signal does."""
        if threading.get_ident() != self._main:
            frame = frame_of(self._main)
        write(stopping(in_flight(self._loop, frame), self._grace))


def stopping(count: int, grace: float | None) -> str:
    """Return the line to show after the first signal."""
    seconds = "for as long as it takes" if grace is None else f"{grace:g} s at most"
    waits = f"{count:,} in flight, {seconds}" if count else "nothing in flight"
    return f"stopping: {waits}; once more to stop now"


def write(line: str) -> None:
    """Write a line to standard error, in one piece and without ever waiting for it."""
    stream: Any = sys.stderr
    with contextlib.suppress(Exception):
        if stream is not sys.__stderr__ or stream is None:  # a notebook's, for example
            stream.write(f"{line}\n")
            return
        descriptor = stream.fileno()  # a print may be in progress: bypass its buffer
        if select.select([], [descriptor], [], 0)[1]:
            # A terminal has written ^C where the cursor is.
            begin = "\n" if os.isatty(descriptor) else ""
            os.write(descriptor, f"{begin}{line}\n".encode())
