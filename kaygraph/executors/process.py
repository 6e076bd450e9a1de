"""Worker processes of one run: an item at a time each, killed when the item is cancelled."""

import asyncio
import errno
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from .._validation import human
from ..aio.tasks import outlast, retrieve_exception
from ..aio.timeouts import within
from ..errors import AttemptTimeoutError, MemoryLimitError, WorkerDiedError, WorkerStartError
from ..limits.slots import Slot
from .child import PastLimit, how_it_ended, kill_group, received, start
from .memory import require_measurable, resident
from .sending import Answer, Facts, given_pickled, node_pickled
from .stepping import goes_on
from .worker import receive, send

NOWHERE: Mapping[str, Any] = {}

START_S = 60.0  # for a process that starts and imports what a node needs; then it is killed

SOON_S = 0.5  # for a process that has closed its end of the pipe, as it ends

LEAVE_S = 5.0  # for a process that has been told to leave; then it is killed


class ProcessPool:
    """As many processes as there are items at once; they are started as they are needed.

    A node is sent to a process once, an item for every call, both pickled. An error comes back as
    it was raised, with its attributes, notes, cause and context; a note has its traceback in the
    process.
    """

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self._threads = threads
        self._idle: list[_Worker] = []
        self._pickled: dict[Any, bytes] = {}

    async def call(
        self,
        node: Any,
        item: Any,
        params: Mapping[str, Any],
        attempt: int,
        memory_limit: int | None = None,
        place: Mapping[str, Any] = NOWHERE,
        limit_s: float | None = None,
        start_timeout: float | None = None,
        slot: Slot | None = None,
        measures: bool = False,
        held: "list[_Worker] | None" = None,
    ) -> Any:
        """Run ``node.exec(item)`` in a process and return its result.

        ``memory_limit`` is in bytes, for the whole process: the interpreter and the imported
        modules (some 20 MB without any), the item, the result, and what earlier items have left,
        which is never more than half of the room. The memory of processes that ``exec`` starts
        does not count.

        ``limit_s`` is in seconds, from when the process has the item and calls ``exec``;
        ``start_timeout`` is how long it may take to be there: to start, and to import what the
        node and the item need. What the call takes is added to the usage of ``slot``. A call
        takes the process that is in ``held``, if there is one, and puts it there at its end.

        Raises:
            AttemptTimeoutError: ``exec`` ran past ``limit_s``. The process is killed.
            MemoryLimitError: The process grew past ``memory_limit``, or asked at once for more
                than that. It is killed, and another takes the next item.
            WorkerStartError: The process ended before it had begun, or took too long to begin.
            WorkerDiedError: The process ended before it could answer.
            NodeDefinitionError: The node cannot be pickled, or there is a ``memory_limit`` and no
                ``/proc`` to see by (only Linux has it).
            Exception: Whatever ``exec`` raised. A cancellation kills the process.
        """
        if memory_limit is not None:
            require_measurable()
        if node not in self._pickled:
            self._pickled[node] = node_pickled(node)
        worker = held.pop() if held else self._free()
        loop = asyncio.get_running_loop()
        begun: asyncio.Future[None] | None = None if limit_s is None else loop.create_future()
        submitted = self._threads.submit(
            worker.call, self._pickled[node], item, (dict(params), attempt, dict(place)),
            memory_limit, measures,
            START_S if start_timeout is None else start_timeout,
            None if begun is None else partial(loop.call_soon_threadsafe, _set, begun),
        )  # fmt: skip
        future = asyncio.wrap_future(submitted)
        try:
            await _in_time(future, begun, limit_s, node)
        except (asyncio.CancelledError, AttemptTimeoutError):
            await self._give_up(worker, future)
            raise
        finally:
            if slot is not None:
                worker.add_to(slot)
        if not worker.dead:
            (self._idle if held is None else held).append(worker)
        retrieve_exception(future)
        try:
            return submitted.result()  # as it is: asyncio would make another error of some
        finally:
            del submitted, future  # they hold an error that holds this frame

    def _free(self) -> "_Worker":
        """Return a process that has nothing to do, or one that is still to be started."""
        while self._idle and not self._idle[-1].alive:
            self._idle.pop().close()  # it died with no item in hand: nobody has to hear of it
        return self._idle.pop() if self._idle else _Worker()

    async def _give_up(self, worker: "_Worker", future: "asyncio.Future[Any]") -> None:
        """Kill a process, and wait until the call that was made of it has ended."""
        future.add_done_callback(retrieve_exception)
        worker.kill()
        try:
            await outlast([future])
        finally:  # it may have answered in this very step: then nobody has waited for its end
            loop = asyncio.get_running_loop()
            await outlast([loop.run_in_executor(self._threads, worker.close)])

    async def let_go(self, held: "list[_Worker]", whole: bool) -> None:
        """Take back a process that was held; unless its item came to its end, kill it."""
        if whole:
            self._idle += held
            return
        loop = asyncio.get_running_loop()
        for worker in held:
            worker.kill()
            await outlast([loop.run_in_executor(self._threads, worker.close)])

    async def close(self) -> None:
        """End the processes and wait for them."""
        loop = asyncio.get_running_loop()
        await outlast([loop.run_in_executor(self._threads, w.close) for w in self._idle])
        self._idle.clear()


async def _in_time(
    answer: "asyncio.Future[Any]",
    begun: "asyncio.Future[None] | None",
    limit_s: float | None,
    node: Any,
) -> None:
    """Wait for an answer; a time limit holds from when ``exec`` has begun."""
    if limit_s is None or begun is None:
        await asyncio.wait([answer])
        return
    await asyncio.wait([answer, begun], return_when=asyncio.FIRST_COMPLETED)
    await within(limit_s, "timeout", f"exec of {node.name!r}", asyncio.wait([answer]))


def _set(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


class _Worker:
    """One process, and the pipe to it. Its methods block and run in a thread."""

    _running: "tuple[BaseProcess, Connection[Any, Any]] | None" = None

    def __init__(self) -> None:
        self.dead = False
        self._lock = threading.Lock()
        self._known: set[bytes] = set()
        self.used = 0.0, 0  # by the last call: processor time, and the most bytes held so far
        self.start_s = 0.0  # until the last call could begin, where that took a start
        self._own = 0  # bytes that the process holds before any item: its code and its nodes

    def call(
        self,
        node: bytes,
        item: Any,
        facts: Facts,
        limit: int | None,
        measures: bool,
        start_timeout: float,
        begun: Callable[[], object] | None,
    ) -> Any:
        self.used, self.start_s, called = (0.0, 0), 0.0, time.monotonic()
        given = given_pickled(item, facts)
        if limit is not None and self._is_full(limit) and not goes_on(item):
            self.close()
        has_begun = node in self._known
        sent = None if has_begun else node
        tells = begun is not None or not has_begun
        is_fresh = self._running is None
        process, connection = self._running or self._start()
        pid = process.pid
        try:
            if is_fresh:  # a pipe takes no large message before somebody reads it
                received(pid, connection, limit, start_timeout)
            send(connection, (hash(node), sent, tells, measures, limit), given)
            if tells:
                received(pid, connection, limit, None if has_begun else start_timeout)
            if not has_begun:
                self.start_s = time.monotonic() - called
            if begun is not None:
                begun()
            has_begun = True
            # Both ends are ours: what comes back was pickled by the process that we started.
            (trace, knows, self._own, self.used), pickled = receive(
                partial(received, pid, connection, limit)
            )
        except PastLimit as past:
            raise self._past(past.limit, f"grew to {human(past.held)}, past") from None
        except TimeoutError:
            self.kill()
            self.close()
            raise WorkerStartError(
                f"the worker process {pid} had not begun after start_timeout={start_timeout:g} s, "
                "and was killed: what it imports takes longer, or never ends"
            ) from None
        except (EOFError, OSError):
            raise self._death(has_begun) from None
        if knows:
            self._known.add(node)
        answer = Answer(pickled, trace)
        if trace is None:
            return answer.value()
        error = answer.error()
        try:
            if limit is not None and _is_refusal(error):
                what = f"holds {human(resident(pid))} and asked for more than fits into"
                raise self._past(limit, what) from error
            raise error
        finally:
            del error, answer  # they hold this frame: no cycle may keep them alive

    def add_to(self, slot: Slot) -> None:
        """Add what the last call took to the usage of its item."""
        used, (cpu_s, memory) = slot.usage, self.used
        if cpu_s or memory or self.start_s:
            slot.usage = used._replace(
                cpu_s=used.cpu_s + cpu_s,
                memory=max(used.memory, memory),
                start_s=used.start_s + self.start_s,
            )

    def _past(self, limit: int, what: str) -> MemoryLimitError:
        """End the process and return the error that says why."""
        pid = self._running[0].pid if self._running else None
        self.kill()
        self.close()
        return MemoryLimitError(
            f"the worker process {pid} {what} memory_limit={human(limit)}, and was killed. Raise "
            "memory_limit, or give exec smaller items"
        )

    def _death(self, has_begun: bool) -> WorkerDiedError:
        """Take leave of a process that has ended by itself and return the error that says how."""
        assert self._running is not None
        process = self._running[0]
        pid, is_ours = process.pid, self.dead
        self.dead = True
        process.join(SOON_S)
        kill_group(pid)  # what exec has started
        code = self.close()
        text = f"the worker process {pid} {how_it_ended(code)} "
        error = WorkerDiedError(f"{text}while it worked on an item")
        if not has_begun and not is_ours:
            hint = ""
            if code == 1:  # an error while it imported what it needs
                hint = (
                    "; what it wrote to stderr says why. A script starts its run under: "
                    "if __name__ == '__main__':"
                )
            error = WorkerStartError(f"{text}before it had begun{hint}")
        error.exit_code = code
        return error

    def _is_full(self, limit: int) -> bool:
        """Whether earlier items have left more than half of the room that a fresh process has."""
        if self._running is None:
            return False
        return resident(self._running[0].pid) - self._own > (limit - self._own) / 2

    def _start(self) -> "tuple[BaseProcess, Connection[Any, Any]]":
        try:
            with self._lock:
                if self.dead:
                    raise WorkerDiedError("cancelled before the process had started")
                self._running = start()
        except BaseException:
            self.dead = True
            raise
        return self._running

    @property
    def alive(self) -> bool:
        return self._running is not None and self._running[0].is_alive()

    def kill(self) -> None:
        """End the process now; the call that waits for it gets a WorkerDiedError."""
        with self._lock:
            self.dead = True
            if self._running is not None:
                _kill(self._running[0])

    def close(self) -> int | None:
        """Let the process leave, wait for its end and return its exit code."""
        if self._running is None:
            return None
        process, connection = self._running
        connection.close()  # the process reads the end of its input and leaves
        process.join(LEAVE_S)
        _kill(process)  # a thread that exec has left behind would keep it for ever
        process.join()
        code = process.exitcode
        with self._lock:
            self._running = None
            process.close()
        self._known.clear()
        return code


def _kill(process: BaseProcess) -> None:
    """End a process now, with those that exec has started, unless it has ended by itself."""
    if process.exitcode is None:
        kill_group(process.pid)
    process.kill()


def _is_refusal(error: BaseException) -> bool:
    """Whether it says that the system has no more memory to give."""
    return isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM
