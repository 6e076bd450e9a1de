"""Time limits of requests, with few timers for many requests."""

import asyncio
from math import inf
from types import TracebackType
from typing import Any

from aiohttp.client_proto import ResponseHandler
from yarl import URL

from ...aio.tasks import current_task
from .messages import HTTPTimeoutError, Request


class Timer:
    """One timer for the total timeouts of all requests in flight in a session."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.now = loop.time
        self._waiting: dict[TotalTimeout, None] = {}  # in the order in which they began to wait
        self._handle: asyncio.TimerHandle | None = None
        self._at = inf  # when it fires: no later than the first timeout

    def add(self, limit: "TotalTimeout") -> None:
        self._waiting[limit] = None
        if limit.end < self._at:
            self._arm(limit.end)

    def discard(self, limit: "TotalTimeout") -> None:
        # The timer stays: the next request needs it again, and it may fire for nothing.
        self._waiting.pop(limit, None)

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle, self._at = None, inf

    def _arm(self, at: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle, self._at = self._loop.call_at(at, self._ring), at

    def _ring(self) -> None:
        rung, self._handle, self._at = self._at, None, inf
        for limit in [limit for limit in self._waiting if limit.end <= rung]:
            del self._waiting[limit]
            limit.expire()
        if self._waiting:
            self._arm(min(limit.end for limit in self._waiting))


class TotalTimeout:
    """The ``total_timeout`` of a request: inside ``with``, the task waits for the server.

    It may be entered several times, for one wait after another. When it expires it cancels the
    task inside, as ``asyncio.timeout_at`` does.

    Raises:
        HTTPTimeoutError: The request took longer.
    """

    __slots__ = (
        "_cancelling", "_expired", "_request", "_seconds", "_task", "_timer", "_url", "end",
    )  # fmt: skip

    _task: "asyncio.Task[Any]"

    def __init__(self, timer: Timer, seconds: float | None, request: Request, url: URL) -> None:
        self._timer, self._seconds, self._request, self._url = timer, seconds, request, url
        self.end = inf if seconds is None else timer.now() + seconds
        self._expired = False

    def expire(self) -> None:
        self._expired = True
        self._task.cancel()

    def __enter__(self) -> None:
        if self._seconds is not None:
            task = current_task()
            assert task is not None
            self._task, self._cancelling, self._expired = task, task.cancelling(), False
            self._timer.add(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._seconds is None:
            return
        self._timer.discard(self)
        task = self._task
        del self._task  # its error's frames reference this object: no cycle may stay
        # If something else has cancelled the task, too, it ends with that.
        ours = self._expired and task.uncancel() <= self._cancelling
        if ours and kind is asyncio.CancelledError:
            request = self._request
            text = f"{request.asking(self._url)} took longer than total_timeout={self._seconds}"
            raise HTTPTimeoutError(text, request.may_be_repeated) from None


# What is replaced in aiohttp's connections; it is private (aiohttp 3.14). If a later version uses
# other names, its own timers do the same at a higher cost. A test reports when that happens.
FACTORY = "_factory"
REPLACED = ("_reschedule_timeout", "_drop_timeout", "_on_read_timeout")
IS_REPLACED = all(hasattr(ResponseHandler, name) for name in REPLACED)


class Connection(ResponseHandler):
    """A connection whose read timeout is a point in time, checked by one timer.

    aiohttp makes a timer when a request has been sent, and another one for each piece that arrives.
    """

    _until: float | None = None  # when the next piece is late; None: none is expected

    def _reschedule_timeout(self) -> None:
        seconds = self._read_timeout
        if not seconds:
            self._until = None
            return
        self._until = until = self._loop.time() + seconds
        handle = self._read_timeout_handle
        if handle is None or handle.when() > until:
            self._watch(until)

    def _drop_timeout(self) -> None:
        self._until = None

    def _watch(self, at: float | None) -> None:
        if self._read_timeout_handle is not None:
            self._read_timeout_handle.cancel()
        handle = None if at is None else self._loop.call_at(at, self._look)
        self._read_timeout_handle = handle

    def _look(self) -> None:
        rung = self._read_timeout_handle.when() if self._read_timeout_handle else inf
        self._read_timeout_handle = None
        if self._until is not None and self._until > rung:
            self._watch(self._until)
        elif self._until is not None:
            self._on_read_timeout()

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._watch(None)
