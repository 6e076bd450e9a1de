"""Worker processes of one run: an item at a time each, killed when the item is cancelled."""

import asyncio
import contextlib
import multiprocessing
import pickle
import signal
import threading
import traceback
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from .._tasks import heard, outlast
from ..errors import NodeDefinitionError, WorkerDiedError
from . import run_elsewhere

# A child is a fresh interpreter: a fork of a process with threads can deadlock.
CONTEXT = multiprocessing.get_context("spawn")


class ProcessPool:
    """As many processes as there are items at once; they are started as they are needed.

    A node is sent to a process once, an item for every call, both pickled. An error comes back
    with its class, its message and, as a note, its traceback in the process.
    """

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self._threads = threads
        self._idle: list[_Worker] = []
        self._pickled: dict[Any, bytes] = {}

    async def call(self, node: Any, item: Any, params: Mapping[str, Any], attempt: int) -> Any:
        """Run ``node.exec(item)`` in a process and return its result.

        Raises:
            WorkerDiedError: The process ended before it could answer.
            Exception: Whatever ``exec`` raised. A cancellation kills the process.
        """
        if node not in self._pickled:
            self._pickled[node] = _pickled(node)
        while self._idle and not self._idle[-1].alive:
            self._idle.pop().close()  # it died with no item in hand: nobody has to hear of it
        worker = self._idle.pop() if self._idle else _Worker()
        future = asyncio.get_running_loop().run_in_executor(
            self._threads, worker.call, self._pickled[node], item, dict(params), attempt
        )
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            future.add_done_callback(heard)
            worker.kill()
            await outlast([future])
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


class _Worker:
    """One process, and the pipe to it. Its methods block and run in a thread."""

    _process: BaseProcess | None = None
    _connection: "Connection[Any, Any]"

    def __init__(self) -> None:
        self.dead = False
        self._lock = threading.Lock()
        self._known: set[bytes] = set()

    def call(self, node: bytes, item: Any, params: dict[str, Any], attempt: int) -> Any:
        process = self._process or self._start()
        sent = None if node in self._known else node
        message = pickle.dumps((hash(node), sent, item, params, attempt))
        try:
            self._connection.send_bytes(message)
            # Both ends are ours: what comes back was pickled by the process that we started.
            worked, answer = pickle.loads(self._connection.recv_bytes())
        except (EOFError, OSError):
            killed, self.dead = self.dead, True
            self._connection.close()
            process.join()
            text = (
                f"the worker process {process.pid} ended with exit code {process.exitcode} while "
                "it worked on an item"
            )
            if (
                not self._known and not killed
            ):  # it has never answered: a common reason can be named
                text += ". A script starts its run under: if __name__ == '__main__':"
            raise WorkerDiedError(text) from None
        self._known.add(node)
        if worked:
            return answer
        error, where = answer
        error.add_note(f"in process {process.pid}:\n{where}")
        raise error

    def _start(self) -> BaseProcess:
        self._connection, theirs = CONTEXT.Pipe()
        process = CONTEXT.Process(target=_serve, args=(theirs,), daemon=True)
        try:
            with self._lock:
                if self.dead:
                    raise WorkerDiedError("cancelled before the process had started")
                process.start()
                self._process = process
        except BaseException:
            self.dead = True
            self._connection.close()
            raise
        finally:
            theirs.close()
        return process

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.is_alive()

    def kill(self) -> None:
        """End the process now; the call that waits for it gets a WorkerDiedError."""
        with self._lock:
            self.dead = True
            if self._process is not None:
                self._process.kill()

    def close(self) -> None:
        self._connection.close()  # the process reads the end of its input and leaves
        if self._process is not None:
            self._process.join()
            self._process.close()


def _serve(connection: "Connection[Any, Any]") -> None:
    """Answer calls until the other side hangs up. Runs in the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    nodes: dict[int, Any] = {}
    with contextlib.suppress(EOFError, OSError):
        while True:
            connection.send_bytes(_answer(nodes, connection.recv_bytes()))


def _answer(nodes: dict[int, Any], message: bytes) -> bytes:
    try:
        key, sent, item, params, attempt = pickle.loads(message)
        if sent is not None:
            nodes[key] = pickle.loads(sent)
        return pickle.dumps((True, run_elsewhere(nodes[key], item, params, attempt)))
    except BaseException as error:
        where = traceback.format_exc()
        try:
            answer = pickle.dumps((False, (error, where)))
            pickle.loads(answer)  # an error may pickle and yet not come back
            return answer
        except Exception:
            return pickle.dumps((False, (RuntimeError(f"{type(error).__name__}: {error}"), where)))
