"""What nodes hold open for a run: entered once, left when the run ends, however it ends."""

import asyncio
from abc import abstractmethod
from collections.abc import AsyncGenerator, Callable, Hashable
from contextlib import AbstractAsyncContextManager
from dataclasses import FrozenInstanceError
from types import CoroutineType, TracebackType
from typing import Any, TypeVar

from ..aio.cancelling import cancel
from ..aio.tasks import outlast, raise_if_awaited, retrieve_exception
from ..errors import NodeDefinitionError, note_place

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Held(AbstractAsyncContextManager[T_co]):
    """A resource that opens without waiting, and that any task may close.

    A ``lifespan`` that returns one costs the run no task and no iteration of the loop.
    """

    @abstractmethod
    def open(self) -> T_co:
        """Open it and return what the nodes use."""

    async def close(self) -> None:
        """Close it."""

    async def __aenter__(self) -> T_co:
        return self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await self.close()


class HeldLifespan:
    """An open ``lifespan`` for which the run keeps no task.

    A generator holds it: a loop that ends closes those that are left. This happens when a program
    leaves a stream and ends, so that the task that closes the run is cancelled before it starts.
    """

    def __init__(self, held: Held[Any], name: str) -> None:
        self._name = name  # of the node
        self._generator = _holding(held)
        try:
            self._generator.__anext__().send(None)
        except StopIteration as opened:
            self.yielded = opened.value

    async def resource(self) -> Any:
        return self.yielded

    async def leave(self, _: BaseException | None) -> None:
        try:
            try:
                await self._generator.aclose()
            except asyncio.CancelledError as cancellation:
                raise_if_awaited(cancellation)
                raise
        except BaseException as error:
            _note(error, self._name)
            raise


async def _holding(held: Held[T]) -> AsyncGenerator[T, None]:
    resource = held.open()
    try:
        yield resource
    finally:
        await held.close()


class Lifespan:
    """One open ``lifespan``, entered and left in its own task.

    A context manager may hold a task group or a cancel scope, which must be left by the task that
    entered it; the task that reaches the node first may be gone at the end.
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
                self._entered.exception()  # retrieved by the waiter; never "not retrieved"
            elif error is not self._run_error and not self._froze(error):
                _note(error, self._name)
                raise

    def _froze(self, error: BaseException) -> bool:
        """Whether it is contextlib's, which cannot set the traceback of a frozen dataclass."""
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
            cancel(self._task)
            # A manager that swallows it and is entered must be left at once.
            self._leave.set_result(None)
        elif not self._leave.done():
            if error is None:
                self._leave.set_result(None)
            elif isinstance(error, asyncio.CancelledError):
                cancel(self._task)
            else:
                self._run_error = error
                self._leave.set_exception(error)
        try:
            await outlast([self._task])
            if not self._task.cancelled() and (failure := self._task.exception()) is not None:
                raise failure
        finally:
            failure = self._run_error = None
            if error is not None:  # its place in the manager is of no interest
                BaseException.with_traceback(error, shown)


class Lifespans:
    """What a run holds open: by node, and by key for what nodes share."""

    def __init__(self) -> None:
        self._open: dict[Any, Lifespan | HeldLifespan] = {}  # in the order they were entered

    def __contains__(self, node: Any) -> bool:
        return node in self._open

    def yielded(self, node: Any) -> Any:
        return self._open[node].yielded

    async def open(self, node: Any, shared: Any) -> None:
        """Enter a node's ``lifespan`` unless it is open already."""
        if node in self._open:
            await self._open[node].resource()
            return
        self._open[node] = lifespan_of(node, shared)
        await self._open[node].resource()
        self._open[node] = self._open.pop(node)  # it is left before what it opened itself

    def hold(self, key: Hashable, make: Callable[[], Held[T]]) -> T:
        """Return what is held open for a key; open it first if needed."""
        if key not in self._open:
            held = make()
            self._open[key] = HeldLifespan(held, type(held).__name__)
        return self._open[key].yielded  # type: ignore[no-any-return]

    async def leave(self, error: BaseException | None) -> list[BaseException]:
        """Leave all, last in, first out; return the errors."""
        failures: list[BaseException] = []
        while self._open:  # what is opened in between is left too
            key = next(reversed(self._open))
            try:
                await self._open[key].leave(error)
            except BaseException as failure:  # whatever it is, the others are left too
                failures.append(failure)
            del self._open[key]
        return failures


def lifespan_of(node: Any, shared: Any) -> Lifespan | HeldLifespan:
    """Start to enter a node's ``lifespan``."""
    manager = node.lifespan(shared)
    if isinstance(manager, Held):
        return HeldLifespan(manager, node.name)
    if not hasattr(manager, "__aenter__"):
        if type(manager) is CoroutineType:
            manager.close()  # nobody will await it
        raise NodeDefinitionError(
            f"lifespan of {node.name!r} must be an async context manager, got "
            f"{type(manager).__name__}: write @asynccontextmanager above it, and yield the resource"
        )
    return Lifespan(manager, node.name)


def _note(error: BaseException, name: str) -> None:
    note_place(error, f"{name!r}, when its lifespan ended")
