"""Structured concurrency in one page: tasks that end together."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from contextvars import Context
from math import inf
from typing import Any, Generic, NoReturn, TypeVar

from ..errors import AwaitedCancelledError
from .cancelling import CALLER, cancel, forget, forget_groups
from .stopped import WHILE_CANCELLED, merge
from .timeouts import LIMIT
from .tracebacks import let_go, trim

T = TypeVar("T")

if sys.version_info >= (3, 12):
    current_task = asyncio.current_task

    def made_tasks(
        works: Iterable[Coroutine[Any, Any, T]], loop: asyncio.AbstractEventLoop, at_once: bool
    ) -> "list[asyncio.Task[T]]":
        """Return a task for each work, in their order.

        ``at_once``: each takes its first step here, before the next is made; a task that does not
        suspend is done then, and costs half as much. Not on a loop that has its own task factory,
        such as that of a simulation. What ends the program is not raised here: it is the error of
        its task, the last one that is made.
        """
        if not at_once or loop.get_task_factory() is not None:
            return list(map(loop.create_task, works))
        tasks: list[asyncio.Task[T]] = []
        task: asyncio.Task[T]
        for work in works:
            task = asyncio.Task.__new__(asyncio.Task)
            tasks.append(task)
            try:
                asyncio.Task.__init__(task, work, loop=loop, eager_start=True)
            except (KeyboardInterrupt, SystemExit):
                break
        return tasks

else:

    def made_tasks(
        works: Iterable[Coroutine[Any, Any, T]], loop: asyncio.AbstractEventLoop, at_once: bool
    ) -> "list[asyncio.Task[T]]":
        """Return a task for each work, in their order."""
        return list(map(loop.create_task, works))

    _current = asyncio.tasks._current_tasks  # type: ignore[attr-defined]

    def current_task() -> "asyncio.Task[Any] | None":
        """Return the running task: ``asyncio.current_task``, which takes 0.5 us before 3.12.

        Most of it goes into asking the system for the id of the process.
        """
        try:
            (task,) = _current.values()
        except (ValueError, RuntimeError):  # other threads run tasks as well
            return asyncio.current_task()
        return task  # type: ignore[no-any-return]


async def outlast(futures: Iterable["asyncio.Future[Any]"]) -> None:
    """Wait until all are done, however often the waiter is cancelled; then raise that."""
    cancelled: asyncio.CancelledError | None = None
    shield: AbstractContextManager[object] = nullcontext()
    while pending := [future for future in futures if not future.done()]:
        try:
            with shield:
                await asyncio.wait(pending)
        except asyncio.CancelledError as error:
            cancelled = error
            shield = _anyio_shield()
    if cancelled is not None:
        raise cancelled


def _anyio_shield() -> AbstractContextManager[object]:
    """Return a guard that keeps the cancellations of anyio's scopes, and no others, from a wait.

    A scope that was cancelled cancels its task at every turn of the loop until the task has left
    it: a wait that goes on anyway would keep a processor busy. Where anyio is not loaded,
    there are no scopes.
    """
    if "anyio" not in sys.modules:
        return nullcontext()
    from anyio import CancelScope

    return CancelScope(shield=True)


async def in_own_task(work: Coroutine[Any, Any, T]) -> T:
    """Await ``work`` in a task, which has its own stack; a cancellation is passed on once."""
    task = asyncio.get_running_loop().create_task(work)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError as error:
        cancel(task, *error.args)  # by which an anyio scope recognises its own
        with suppress(asyncio.CancelledError):
            await outlast([task])
        if not task.cancelled() and task.exception() is None:
            raise
    return task.result()


def retrieve_exception(future: "asyncio.Future[Any]") -> None:
    """A callback that retrieves an error that nobody is left to receive."""
    if not future.cancelled():
        future.exception()


def errors_of(tasks: Iterable["asyncio.Future[Any]"]) -> list[BaseException]:
    """Return the errors of finished tasks, in the tasks' order, without the cancellations.

    What had failed within a task before it was cancelled is among them.
    """
    return _ends_of(tasks)[0]


def _ends_of(
    tasks: Iterable["asyncio.Future[Any]"],
) -> tuple[list[BaseException], list[asyncio.CancelledError]]:
    """Return the errors of finished tasks, and their cancellations, which a task gives once."""
    errors: dict[int, BaseException] = {}
    cancellations: list[asyncio.CancelledError] = []
    for task in tasks:
        found: Sequence[BaseException] = ()
        try:
            error = task.exception() if task.done() else None
        except asyncio.CancelledError as cancellation:
            error = cancellation
        if isinstance(error, asyncio.CancelledError):
            cancellations.append(error)
            within = error.__cause__
            if isinstance(within, BaseExceptionGroup) and within.message == WHILE_CANCELLED:
                found = within.exceptions
        elif error is not None:
            let_go(task, error)
            found = (error,)
        errors.update((id(one), one) for one in found)
    for one in (*errors.values(), *cancellations):
        trim(one)
    return list(errors.values()), cancellations


def with_errors(
    cancellation: asyncio.CancelledError, tasks: Iterable["asyncio.Future[Any]"]
) -> asyncio.CancelledError:
    """Return the cancellation with what failed at the same time as its cause."""
    errors, cancellations = _ends_of(tasks)
    merge(cancellation, cancellations)
    if errors:
        cancellation.__cause__ = BaseExceptionGroup(WHILE_CANCELLED, errors)
    return cancellation


async def stop(tasks: Sequence["asyncio.Task[Any]"]) -> None:
    """Cancel the tasks and wait until every ``finally`` in them has run."""
    for task in tasks:
        cancel(task)
    await outlast(tasks)


def is_cancelled(error: BaseException | None = None) -> bool:
    """Whether this task was cancelled during its run, even if user code swallowed that.

    What a TaskGroup has left behind is not a cancellation. It is known for that where nobody else
    can have cancelled the task: the engine has made it, has not cancelled it, and no time limit has
    passed; in the task of a caller only if the group's own ``error`` has come out of a hook.
    """
    if not is_cancelling():
        return False
    task, caller = current_task(), CALLER.get(None)
    if task is None or caller is None or LIMIT.get().first.end <= task.get_loop().time():
        return True
    if caller.task() is not task:
        return not forget(task, 0)
    if error is not None:
        forget_groups(task, caller.cancellations, error)
    return task.cancelling() > caller.cancellations


def is_cancelling() -> bool:
    """Whether this task counts a cancellation that it had not when its run began.

    A run may be part of a clean-up, in a task that was cancelled before: that is not the run's
    cancellation. The engine's own tasks begin with none.
    """
    try:
        task = current_task()
    except RuntimeError:  # no loop is running
        return False
    if task is None:
        return False
    caller = CALLER.get(None)
    is_callers = caller is not None and caller.task() is task
    return task.cancelling() > (caller.cancellations if caller and is_callers else 0)


def cancellation_check() -> Callable[[], int]:
    """Return a cheap check whether the current task was cancelled; see above."""
    task = current_task()
    assert task is not None
    cancelling = task.cancelling
    caller = CALLER.get(None)
    if caller is None or not caller.cancellations or caller.task() is not task:
        return cancelling
    before = caller.cancellations
    return lambda: cancelling() > before


def awaited_cancelled(error: BaseException) -> AwaitedCancelledError | None:
    """Return the error of a hook that ended with a cancellation that is not ours.

    None: this task was cancelled, or the error is a different one. Used wherever user code is
    called: any wait for something that was cancelled raises a CancelledError.
    """
    if isinstance(error, BaseExceptionGroup):
        is_cancelled(error)  # what it has left behind is forgotten
    if not isinstance(error, asyncio.CancelledError) or is_cancelling() or _scope_is_cancelled():
        return None
    if isinstance(error, KeyboardInterrupt):  # a hook that blocked the loop was interrupted
        return None
    failure = AwaitedCancelledError(
        "what was awaited here (a task, a future) had been cancelled by other code, while this run "
        "was not cancelled: catch asyncio.CancelledError around that await if it may happen"
    )
    failure.__cause__ = error
    return failure


def raise_if_awaited(cancellation: asyncio.CancelledError) -> None:
    """Raise the error of a hook, or the cancellation if it is ours."""
    failure = awaited_cancelled(cancellation)
    try:
        if failure is not None:
            raise failure
    finally:
        del failure  # it holds this frame: avoid a reference cycle


def _scope_is_cancelled() -> bool:
    """Whether an anyio scope was cancelled and has not delivered its cancellation yet."""
    if "anyio" not in sys.modules:
        return False
    from anyio import current_effective_deadline

    return current_effective_deadline() == -inf


async def raise_if_cancelled() -> None:
    """End a task that was cancelled, even if user code swallowed or converted that.

    Called before every wait whose other side may have been cancelled too: nobody is left to
    end such a wait.
    """
    if is_cancelled():
        await cancelled_again()


async def cancelled_again() -> NoReturn:
    """Raise the cancellation that user code has swallowed."""
    for _ in range(2):  # an anyio scope delivers its own again, and accepts no other
        await asyncio.sleep(0)
    raise asyncio.CancelledError


class Gathering(Generic[T]):
    """Like ``asyncio.gather``, but leaves no task behind, drops no error, and takes more tasks.

    The first failure cancels the other tasks and waits for them. One error is raised as itself,
    several as an ``ExceptionGroup`` in the order in which the tasks were added. A cancellation
    stays a cancellation. ``what``: the name of the tasks in the message of a group.
    """

    def __init__(self, what: str = "branches") -> None:
        self._what = what
        self._loop = asyncio.get_running_loop()
        self._over = self._loop.create_future()  # all have ended, or one has failed
        self._tasks: dict[asyncio.Task[T], None] = {}  # all but those that ended well
        # The positions of some errors, in place of the order in which they were added.
        self.places: dict[asyncio.Task[T], int] = {}
        self.is_ending = False  # they are being stopped: nothing may be added now

    def add(
        self, coroutine: Coroutine[Any, Any, T], context: Context | None = None
    ) -> "asyncio.Task[T]":
        """Start a task; once ``ended`` is awaited, only from within another one."""
        task = self._loop.create_task(coroutine, context=context)
        self._tasks[task] = None
        task.add_done_callback(self._one_ended)
        return task

    def add_all(
        self, coroutines: Iterable[Coroutine[Any, Any, T]], at_once: bool = False
    ) -> "list[asyncio.Task[T]]":
        """Start a task for each, in their order.

        ``at_once``: here and now, from Python 3.12 on; see ``made_tasks``.
        """
        tasks, one_ended = made_tasks(coroutines, self._loop, at_once), self._one_ended
        for task in tasks:
            if task.done() and not task.cancelled() and task.exception() is None:
                continue
            self._tasks[task] = None
            task.add_done_callback(one_ended)
        if tasks and not self._tasks:  # the loop gets its turn anyway
            self._tasks[tasks[-1]] = None
            tasks[-1].add_done_callback(one_ended)
        return tasks

    def _one_ended(self, task: "asyncio.Task[T]") -> None:
        if not task.cancelled() and task.exception() is None:
            self._tasks.pop(task, None)
            if self._tasks:
                return
        if not self._over.done():
            self._over.set_result(None)

    async def ended(self) -> None:
        """Wait until all tasks have ended."""
        current = current_task()
        before = 0 if current is None else current.cancelling()
        cancellation: asyncio.CancelledError | None = None
        tasks: list[asyncio.Task[T]] = []
        errors: list[BaseException] = []
        cancellations: list[asyncio.CancelledError] = []
        try:
            if self._tasks:
                # Not the tasks themselves: a cancellation of ours is passed on by stop(), and once;
                # a second one would cut short what they do in their `finally`.
                await self._over
            if not self._tasks:
                return
        except asyncio.CancelledError as error:
            cancellation = error
        try:
            self.is_ending = True
            tasks = list(self._tasks)
            try:
                await stop(tasks)
            except asyncio.CancelledError as late:  # while we waited for them
                raise with_errors(late, tasks) from late.__cause__
            tasks.sort(key=lambda task: self.places.get(task, -1))
            errors, cancellations = _ends_of(tasks)
            if current is not None and current.cancelling() > before and cancellation is None:
                cancellation = asyncio.CancelledError()
            if cancellation is None and not errors:  # one was cancelled by itself
                cancellation = cancellations[0]
            if cancellation is not None:
                merge(cancellation, cancellations)
                cause = BaseExceptionGroup(WHILE_CANCELLED, errors) if errors else None
                raise cancellation from cause
            if len(errors) == 1:
                raise errors[0]
            raise BaseExceptionGroup(f"{len(errors)} {self._what} failed", errors)
        finally:
            # They hold errors, and an error holds this frame: avoid a reference cycle.
            self._tasks, self.places = {}, {}
            del tasks, errors, cancellation, cancellations


async def gather(coroutines: Iterable[Coroutine[Any, Any, T]], what: str = "branches") -> list[T]:
    """Run coroutines concurrently and return their results in order; see ``Gathering``."""
    gathering = Gathering[T](what)
    tasks = gathering.add_all(coroutines)
    try:
        await gathering.ended()
        return [task.result() for task in tasks]
    finally:
        del tasks


# How many items that never suspend run, by all workers together, between two checks of the
# loop for timers and sockets.
TURN = 2048

# And where events are read: so many fit into a buffer.
READ_TURN = 128
