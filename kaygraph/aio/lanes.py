"""Calls in threads: passed on in one queue, with their results returned in batches."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any

from .tasks import outlast

IDLE_S = 0.05  # how long a thread waits for another call before it goes back to its pool


class Ended:
    """The result of a call."""

    __slots__ = ("error", "value")

    def __init__(self) -> None:
        self.value: Any = None
        self.error: BaseException | None = None

    def result(self) -> Any:
        """Return what the call returned, or raise what it raised; once."""
        if self.error is None:
            return self.value
        error, self.error = self.error, None
        try:
            raise error
        finally:
            del error, self  # they hold this frame: avoid a reference cycle


class Call(Ended):
    """One call. Its future only signals that there is an answer; it does not hold the answer.

    Attributes:
        answered: Done, on the loop, once the call has ended or its caller was cancelled.
        ended: The loop knows that the call has ended, or was not made.
    """

    __slots__ = ("answered", "args", "ended", "untaken", "work")

    def __init__(
        self, answered: "asyncio.Future[None]", work: Callable[..., Any], args: tuple[Any, ...]
    ) -> None:
        super().__init__()
        self.answered, self.work, self.args = answered, work, args
        self.untaken = [True]  # popping it, which is atomic, decides whether the call is made
        self.ended = False

    def take(self) -> bool:
        """Whether the caller is the first to take the call."""
        try:
            return self.untaken.pop()
        except IndexError:
            return False


class Lanes(ThreadPoolExecutor):
    """Threads, some of which take calls from one queue: as many as there are unanswered calls.

    The main cost of a thread is to wake it and to be woken by it. A thread that has made its
    call takes the next one, and the loop is woken once for all answers that have come in between.

    Create it on the loop that receives the answers. ``submit`` works as usual.
    """

    def __init__(self, most: int, name: str) -> None:
        super().__init__(most, thread_name_prefix=name)
        self._loop = asyncio.get_running_loop()
        # A loop may have its own: in a simulation, calls are made at once, in the loop's thread.
        self._inline: Executor | None = getattr(self._loop, "threads", None)
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._answers: deque[Call] = deque()
        self._is_notified = False  # the loop will look at the answers
        self._open = 0  # calls without an answer
        self._lock, self._lanes = Lock(), 0

    def begin(self, work: Callable[..., Any], *args: Any) -> Call:
        """Have a thread call ``work(*args)``; from the loop only."""
        call = Call(self._loop.create_future(), work, args)
        if self._inline is not None:
            self._open += 1
            made = asyncio.wrap_future(self._inline.submit(_make, call), loop=self._loop)
            made.add_done_callback(lambda _: self._end(call))
            return call
        with self._lock:
            starts = self._open >= self._lanes
            self._lanes += starts
            self._calls.put(call)
        self._open += 1
        if starts:
            try:
                self.submit(self._serve)
            except BaseException:  # no more threads can be started
                call.take()
                with self._lock:
                    self._lanes -= 1
                raise
        return call

    async def take_back(self, call: Call, stop: Callable[[], object]) -> None:
        """End a call whose caller was cancelled.

        A call that no thread has begun is not made. Any other is stopped (``stop``) and awaited.
        """
        if call.take():
            return
        if not call.ended:
            call.answered = self._loop.create_future()
            stop()
            await outlast([call.answered])

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads; no calls are left."""
        with self._lock:
            for _ in range(self._lanes):
                self._calls.put(None)
            self._lanes = 0
        super().shutdown(wait, cancel_futures=cancel_futures)

    def _serve(self) -> None:
        """Make calls, in a thread, until there are none left."""
        get, answers = self._calls.get, self._answers
        while True:
            try:
                call = get(timeout=IDLE_S)
            except Empty:
                with self._lock:
                    if self._calls.empty():
                        self._lanes -= 1
                        return
                continue
            if call is None:
                return
            _make(call)
            answers.append(call)
            del call  # it holds an error that holds this frame
            if not self._is_notified:
                self._is_notified = True
                try:
                    self._loop.call_soon_threadsafe(self._deliver)
                except RuntimeError:  # the loop is closed: nobody is waiting
                    return

    def _deliver(self) -> None:
        self._is_notified = False
        answers = self._answers
        while answers:
            self._end(answers.popleft())

    def _end(self, call: Call) -> None:
        self._open -= 1
        call.ended = True
        if not call.answered.done():
            call.answered.set_result(None)


def _make(call: Call) -> None:
    if call.take():
        try:
            call.value = call.work(*call.args)
        except BaseException as error:
            call.error = error
