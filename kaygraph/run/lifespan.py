"""What nodes hold open for a run: entered once, left when the run ends, however it ends."""

import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import FrozenInstanceError
from typing import Any

from ..aio.tasks import outlast, raise_if_awaited, retrieve_exception
from ..errors import note_place


class Lifespan:
    """One open ``lifespan``, entered and left in a task of its own.

    A context manager may hold a task group or a cancel scope, which must be left by the task that
    entered it; the token that comes to the node first need not be there any more at the end.
    """

    def __init__(self, manager: AbstractAsyncContextManager[Any], name: str) -> None:
        self._name = name  # of the node
        loop = asyncio.get_running_loop()
        self._entered: asyncio.Future[Any] = loop.create_future()
        self._leave: asyncio.Future[None] = loop.create_future()
        self._run_error: BaseException | None = None  # the run's error, which is not ours to raise
        # It may come when the task has ended already.
        self._leave.add_done_callback(retrieve_exception)
        self._task = loop.create_task(self._hold(manager))

    async def _hold(self, manager: AbstractAsyncContextManager[Any]) -> None:
        try:
            try:
                async with manager as resource:
                    if not self._entered.done():
                        self._entered.set_result(resource)
                    await self._leave  # raises the run's error, so that a transaction can roll back
            except asyncio.CancelledError as cancellation:
                raise_if_awaited(cancellation)
                raise
        except BaseException as error:
            if not self._entered.done():
                self._entered.set_exception(error)
                self._entered.exception()  # asked for by whoever waits; never "not retrieved"
            elif error is not self._run_error and not self._froze(error):
                note_place(error, f"{self._name!r}, as its lifespan ended")
                raise

    def _froze(self, error: BaseException) -> bool:
        """Whether it is contextlib's, which cannot put a traceback on a frozen dataclass."""
        return isinstance(error, FrozenInstanceError) and error.__context__ is self._run_error

    async def resource(self) -> Any:
        """Return what the manager yielded, or raise what entering it raised."""
        await asyncio.wait([self._entered])
        return self._entered.result()

    @property
    def yielded(self) -> Any:
        return self._entered.result()

    async def leave(self, error: BaseException | None) -> None:
        """Leave the manager; it sees the error with which the run ended, if there was one."""
        shown = None if error is None else error.__traceback__
        if not self._entered.done():  # cancelled while entering
            self._task.cancel()
            self._leave.set_result(None)  # what swallows it and goes in is to come out at once
        elif not self._leave.done():
            if error is None:
                self._leave.set_result(None)
            elif isinstance(error, asyncio.CancelledError):
                self._task.cancel()
            else:
                self._run_error = error
                self._leave.set_exception(error)
        try:
            await outlast([self._task])
            if not self._task.cancelled() and (failure := self._task.exception()) is not None:
                raise failure
        finally:
            failure = self._run_error = None
            if error is not None:  # where it was raised in the manager is no news
                BaseException.with_traceback(error, shown)
