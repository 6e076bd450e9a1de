"""Worker processes of one run: an item at a time each, killed when the item is cancelled."""

import asyncio
import contextlib
import errno
import multiprocessing
import pickle
import signal
import threading
import traceback
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from .._validation import human
from ..aio.tasks import outlast, retrieve_exception
from ..errors import MemoryLimitError, NodeDefinitionError, WorkerDiedError
from .elsewhere import run_elsewhere
from .exceptions import pack
from .memory import GrowthLimit, require_measurable, resident
from .rebuilding import note, unpack

# A child is a fresh interpreter: a fork of a process with threads can deadlock.
CONTEXT = multiprocessing.get_context("spawn")

# The memory of a process is looked at again before it can have reached its limit.
FASTEST_GROWTH = 4e9  # bytes per second, more than one thread can fill

SHORTEST_LOOK_S, LONGEST_LOOK_S = 0.002, 0.05

NOWHERE: Mapping[str, Any] = {}

LEAVE_S = 5.0  # for a process that has been told to leave; then it is killed

# Sent to a whole group of processes, they are the parent's to handle.
NUMBERS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Start a process that hears no signal until it can ignore it: its mask is this thread's."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # on its way it lets signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, NUMBERS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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
    ) -> Any:
        """Run ``node.exec(item)`` in a process and return its result.

        ``memory_limit`` is in bytes, for the whole process: the interpreter and the imported
        modules (some 20 MB without any), the item, the result, and what earlier items have left,
        which is never more than half of the room. The memory of processes that ``exec`` starts
        does not count.

        Raises:
            MemoryLimitError: The process grew past ``memory_limit``, or asked at once for more
                than that. It is killed, and another takes the next item.
            WorkerDiedError: The process ended before it could answer.
            NodeDefinitionError: The node cannot be pickled, or there is a ``memory_limit`` and no
                ``/proc`` to see by (only Linux has it).
            Exception: Whatever ``exec`` raised. A cancellation kills the process.
        """
        if memory_limit is not None:
            require_measurable()
        if node not in self._pickled:
            self._pickled[node] = _pickled(node)
        while self._idle and not self._idle[-1].alive:
            self._idle.pop().close()  # it died with no item in hand: nobody has to hear of it
        worker = self._idle.pop() if self._idle else _Worker()
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(
            self._threads, worker.call, self._pickled[node], item,
            (dict(params), attempt, dict(place)), memory_limit,
        )  # fmt: skip
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            future.add_done_callback(retrieve_exception)
            worker.kill()
            try:
                await outlast([future])
            finally:  # it may have answered in this very step: then nobody has waited for its end
                await outlast([loop.run_in_executor(self._threads, worker.close)])
            raise
        if not worker.dead:
            self._idle.append(worker)
        return future.result()

    async def close(self) -> None:
        """End the processes and wait for them."""
        loop = asyncio.get_running_loop()
        await outlast([loop.run_in_executor(self._threads, w.close) for w in self._idle])
        self._idle.clear()


def _pickled(node: Any) -> bytes:
    try:
        return pickle.dumps(node)
    except Exception as error:
        raise NodeDefinitionError(
            f"{node!r} cannot be sent to a process: {error}. Define its class at the top level of "
            "a module, and make what cannot be pickled in exec()"
        ) from error


def _item_pickled(item: Any) -> bytes:
    try:
        return pickle.dumps(item)
    except BaseException as error:
        note(error, "while the item was pickled for a worker process")
        raise


def _facts_pickled(facts: tuple[Any, ...]) -> bytes:
    try:
        return pickle.dumps(facts)
    except BaseException as error:
        note(error, "while params were pickled for a worker process")
        raise


def _result_of(answer: bytes) -> Any:
    try:
        return pickle.loads(answer)
    except BaseException as error:
        note(error, "while the result of exec was unpickled, as it came from a worker process")
        raise


class _Worker:
    """One process, and the pipe to it. Its methods block and run in a thread."""

    _running: "tuple[BaseProcess, Connection[Any, Any]] | None" = None

    def __init__(self) -> None:
        self.dead = False
        self._lock = threading.Lock()
        self._known: set[bytes] = set()
        self._own = 0  # bytes that the process holds before any item: its code and its nodes

    def call(self, node: bytes, item: Any, facts: tuple[Any, ...], limit: int | None) -> Any:
        if limit is not None and self._is_full(limit):
            self.close()
        process, connection = self._running or self._start()
        pid = process.pid
        sent = None if node in self._known else node
        pickled = _item_pickled(item)
        message = pickle.dumps((hash(node), sent, pickled, _facts_pickled(facts), limit))
        try:
            connection.send_bytes(message)
            held = 0 if limit is None else _watched(pid, connection, limit)
            if limit is not None and held > limit:
                raise self._past(limit, f"grew to {human(held)}, past")
            # Both ends are ours: what comes back was pickled by the process that we started.
            answer, told, knows, self._own = pickle.loads(connection.recv_bytes())
        except (EOFError, OSError):
            answered, killed = bool(self._known), self.dead
            self.dead = True
            text = (
                f"the worker process {pid} ended with exit code {self.close()} while it worked on "
                "an item"
            )
            if not answered and not killed:  # a common reason can be named
                text += ". A script starts its run under: if __name__ == '__main__':"
            raise WorkerDiedError(text) from None
        if knows:
            self._known.add(node)
        if told is None:
            return _result_of(answer)
        error = unpack(answer)
        note(error, f"in process {pid}:\n{told}")
        if limit is not None and _is_refusal(error):
            what = f"holds {human(resident(pid))} and asked for more than fits into"
            raise self._past(limit, what) from error
        raise error

    def _past(self, limit: int, what: str) -> MemoryLimitError:
        """End the process and return the error that says why."""
        pid = self._running[0].pid if self._running else None
        self.kill()
        self.close()
        return MemoryLimitError(
            f"the worker process {pid} {what} memory_limit={human(limit)}, and was killed. Raise "
            "memory_limit, or give exec smaller items"
        )

    def _is_full(self, limit: int) -> bool:
        """Whether earlier items have left more than half of the room that a fresh process has."""
        if self._running is None:
            return False
        return resident(self._running[0].pid) - self._own > (limit - self._own) / 2

    def _start(self) -> "tuple[BaseProcess, Connection[Any, Any]]":
        connection, theirs = CONTEXT.Pipe()
        process = CONTEXT.Process(target=_serve, args=(theirs,), daemon=True)
        try:
            with self._lock:
                if self.dead:
                    raise WorkerDiedError("cancelled before the process had started")
                with _signals_held():
                    process.start()
                self._running = process, connection
        except BaseException:
            self.dead = True
            connection.close()
            raise
        finally:
            theirs.close()
        return process, connection

    @property
    def alive(self) -> bool:
        return self._running is not None and self._running[0].is_alive()

    def kill(self) -> None:
        """End the process now; the call that waits for it gets a WorkerDiedError."""
        with self._lock:
            self.dead = True
            if self._running is not None:
                self._running[0].kill()

    def close(self) -> int | None:
        """Let the process leave, wait for its end and return its exit code."""
        if self._running is None:
            return None
        process, connection = self._running
        connection.close()  # the process reads the end of its input and leaves
        process.join(LEAVE_S)
        process.kill()  # a thread that exec has left behind would keep it for ever
        process.join()
        code = process.exitcode
        with self._lock:
            self._running = None
            process.close()
        self._known.clear()
        return code


def _watched(pid: int | None, connection: "Connection[Any, Any]", limit: int) -> int:
    """Wait until a process answers, ends or has grown past the limit; return what it then holds."""
    held, look_s = 0, SHORTEST_LOOK_S
    while held <= limit and not connection.poll(look_s):
        held = resident(pid)
        look_s = min(max((limit - held) / FASTEST_GROWTH, SHORTEST_LOOK_S), LONGEST_LOOK_S)
    return held


def _is_refusal(error: BaseException) -> bool:
    """Whether it says that the system has no more memory to give."""
    return isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM


def _serve(connection: "Connection[Any, Any]") -> None:
    """Answer calls until the other side hangs up. Runs in the process."""
    for number in NUMBERS:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, NUMBERS)
    server = _Server()
    with contextlib.suppress(EOFError, OSError):
        while True:
            connection.send_bytes(server.answer(connection.recv_bytes()))


class _Server:
    """What a worker process knows."""

    def __init__(self) -> None:
        self._nodes: dict[int, Any] = {}
        self._own = resident()

    def answer(self, message: bytes) -> bytes:
        """Return, pickled: the result or the error, each pickled; of an error, its traceback;
        whether the node is known now; and the bytes held before the item."""
        key, sent, item, facts, limit = pickle.loads(message)  # plain data, and pickled data in it
        doing = "while the node was unpickled in the process"
        try:
            if sent is not None:
                before = resident()
                self._nodes[key] = pickle.loads(sent)
                self._own += resident() - before
            node = self._nodes[key]
            doing = "while the item was unpickled in the process"
            item, facts = pickle.loads(item), pickle.loads(facts)
            doing = ""
            with GrowthLimit(limit):
                result = run_elsewhere(node, item, *facts)
                doing = "while the result of exec was pickled in the process"
                return pickle.dumps((pickle.dumps(result), None, True, self._own))
        except BaseException as error:
            if doing:
                note(error, doing)
            told = traceback.format_exc()
            return pickle.dumps((pack(error), told, key in self._nodes, self._own))
