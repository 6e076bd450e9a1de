"""Threads of a simulation: each call is one step of the schedule."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, contextmanager
from contextvars import copy_context
from functools import partial
from importlib import import_module
from typing import Any, Protocol

from ._loop import running_loop


class Clocks(Protocol):
    """What knows which steps are ordered."""

    def thread(self, call: Any) -> AbstractContextManager[None]: ...


class Host(Protocol):
    """What calls in threads need of the loop of a simulation."""

    @property
    def ordering(self) -> Clocks | None: ...

    def later(self, what: str) -> float | None: ...

    def advance(self, seconds: float) -> None: ...

    def call_later(self, delay: float, callback: Callable[[], object]) -> object: ...


class InlineThreads(Executor):
    """Threads of a simulation: a call is one step, in the thread of the loop.

    It runs at once or later, as the seed decides; so does what waits for its result.
    The call is not told of the loop, as in a thread. What it sleeps with ``time.sleep`` is how
    long it takes: its result comes when that time has passed on the loop's clock.
    """

    def __init__(self, loop: Host) -> None:
        self._loop = loop
        self.slept: float | None = None  # by the call that runs now
        self.running: list[Future[Any]] = []

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call a function at once; what ``run_in_executor`` calls takes its turn, see ``call``."""
        future: Future[Any] = Future()
        self._call(future, partial(function, *args, **kwargs), may_be_late=False)
        return future

    def call(self, function: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """Call a function at once or later, as the seed decides."""
        future: Future[Any] = Future()
        call = partial(self._call_apart, future, partial(function, *args))
        self._later(future, self._loop.later("a call in a thread"), call)
        return future

    def _later(
        self, future: Future[Any], seconds: float | None, call: Callable[[], object]
    ) -> None:
        if seconds is None:
            call()
        else:
            self.running = [*(one for one in self.running if not one.done()), future]
            self._loop.call_later(seconds, call)

    def _call_apart(self, future: Future[Any], function: Callable[[], Any]) -> None:
        ordering = self._loop.ordering
        if ordering is None:
            self._call(future, function)
        else:
            with ordering.thread(future):
                self._call(future, function)

    def _call(
        self, future: Future[Any], function: Callable[[], Any], may_be_late: bool = True
    ) -> None:
        if not future.set_running_or_notify_cancel():
            return
        around, self.slept = self.slept, 0.0
        running = running_loop()
        asyncio._set_running_loop(None)
        try:
            finish = partial(future.set_result, function())
        except BaseException as error:
            finish = partial(future.set_exception, error)
        finally:
            asyncio._set_running_loop(running)
            seconds, self.slept = self.slept, around
        late = self._loop.later("the result of a call in a thread") if may_be_late else None
        if seconds:
            self._later(future, seconds + (late or 0), finish)
        elif late is None:
            finish()
        else:
            self._loop.call_later(late, finish)  # the call itself has ended

    def sleep(self, seconds: float) -> None:
        """Stand in for ``time.sleep``: a call takes longer, the loop stands still."""
        if self.slept is None:
            self._loop.advance(seconds)
        else:
            self.slept += seconds


@contextmanager
def threads_of_anyio(simulated: Callable[[], Any]) -> Iterator[None]:
    """Have ``anyio.to_thread`` ask the loop for its threads where ``simulated()`` is not None."""
    if "anyio" not in sys.modules:
        yield
        return
    # anyio loads it with the first call: that call, too, is to find our threads.
    backend: Any = import_module("anyio._backends._asyncio").AsyncIOBackend
    original = vars(backend)["run_sync_in_worker_thread"]

    async def run_sync_in_worker_thread(
        cls: Any, func: Any, args: Any, abandon_on_cancel: bool = False, limiter: Any = None
    ) -> Any:
        if simulated() is None:
            real = original.__get__(None, cls)
            return await real(func, args, abandon_on_cancel=abandon_on_cancel, limiter=limiter)
        await cls.checkpoint()
        async with limiter or cls.current_default_thread_limiter():
            with cls.create_cancel_scope(shield=not abandon_on_cancel):
                call = partial(copy_context().run, func, *args)
                return await asyncio.get_running_loop().run_in_executor(None, call)

    backend.run_sync_in_worker_thread = classmethod(run_sync_in_worker_thread)
    try:
        yield
    finally:
        backend.run_sync_in_worker_thread = original
