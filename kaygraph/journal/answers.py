"""Looks for answers from other processes while something waits for one."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from contextvars import Context

from ..aio.tasks import stop
from .store import Answer

# A look takes the writer's thread about 50 µs; answers come from people, or from programs that have
# just done so.
FIRST_S, GROWTH, MOST_S = 0.001, 1.5, 0.05
NOTIFIED_S = 0.25  # how long to listen at a time to a store that notifies


class Answers:
    """The answers to a run, as they arrive.

    Args:
        read: Returns all answers that exist.
        failed: Called if they cannot be read.
        notified: For a store that notifies: returns when there are more answers than a number, or
            after a number of seconds. A server should not be polled twenty times a second for days.

    Attributes:
        found: Answers by name, as of the last look.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[list[Answer]]],
        failed: Callable[[Exception], object],
        notified: Callable[[int, float], Awaitable[object]] | None = None,
    ) -> None:
        self._read, self._failed, self._notified = read, failed, notified
        self.found: Mapping[str, Answer] = {}
        self._looks = 0  # how many have started
        self._seen = 0  # the number of the last one that ended
        self._waiting: dict[asyncio.Future[None], None] = {}
        self._asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def number(self) -> int:
        """Return the number of the next look, which finds everything there is now."""
        return self._looks + 1

    def has_looked(self, number: int) -> bool:
        """Whether the look with this number has ended."""
        return self._seen >= number

    async def look(self) -> None:
        """Wait for the next look."""
        loop = asyncio.get_running_loop()
        if self._task is None or self._task.done():
            # In its own context, to keep none of the waiter's alive.
            self._task = loop.create_task(self._look_on(), context=Context())
        future = loop.create_future()
        self._waiting[future] = None
        try:
            await future
        finally:
            self._waiting.pop(future, None)

    def hurry(self) -> None:
        """Look soon, because there is a new wait."""
        self._asked.set()

    async def close(self) -> None:
        """Stop looking."""
        if self._task is not None:
            await stop([self._task])

    async def _look_on(self) -> None:
        pause = FIRST_S
        while self._waiting:
            self._looks = number = self._looks + 1
            try:
                self.found = {answer.name: answer for answer in await self._read()}
                self._seen = number
                for future in tuple(self._waiting):
                    if not future.done():
                        future.set_result(None)
                await self._pause(pause)
            except Exception as error:
                self._failed(error)
                return
            pause = FIRST_S if self._asked.is_set() else min(pause * GROWTH, MOST_S)
            self._asked.clear()

    async def _pause(self, seconds: float) -> None:
        if self._notified is not None and seconds == MOST_S:
            await self._notified(len(self.found), NOTIFIED_S)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._asked.wait()
