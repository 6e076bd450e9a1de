"""What runs in a worker process: calls of ``exec``, one after another, as long as the run lives."""

import contextlib
import gc
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from time import process_time
from typing import Any

from .chunked import Plan, run_items
from .elsewhere import run_elsewhere
from .memory import GrowthLimit, peak_resident, resident
from .pickling import dumps, loads, noting
from .results import MORE, TOTAL, ResultWriter
from .sending import Answer, failed, given_unpickled
from .speech import Speech
from .stepping import goes_on

READY = b"ready"  # what a process says when it has started
BEGUN = b"begun"  # and when it has an item, if it is to say so
STOP = b"stop"  # sent to a worker that should begin no more items of its chunk

INLINE = 1 << 16  # bytes of a value that are sent with the message about it, and not after it

# Sent to a whole group of processes, they are the parent's to handle.
NUMBERS = (signal.SIGINT, signal.SIGTERM)

PR_SET_PDEATHSIG = 1  # of Linux's prctl(2)


def serve(
    connection: "Connection[Any, Any]", results: "Connection[Any, Any] | None" = None
) -> None:
    """Answer calls until the other side hangs up; ``results`` is for those of chunks."""
    _end_with_parent()
    if hasattr(os, "setsid"):
        os.setsid()  # what exec starts can be ended with this process, as it is of its group
        os.register_at_fork(after_in_child=_hear)
    for number in NUMBERS:
        # Not SIG_IGN: programs that exec starts would inherit that, and not end at SIGTERM.
        signal.signal(number, _ignore)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, NUMBERS)
    multiprocessing.current_process().daemon = False  # exec may start processes of its own
    server, own = _Server(connection, results), os.getpid()
    with contextlib.suppress(EOFError, OSError):
        connection.send_bytes(READY)
        while True:
            message = connection.recv_bytes()
            if message == STOP:  # it came when the chunk had ended
                continue
            call, given = receive(connection.recv_bytes, message)
            if type(call) is Plan:
                total = server.run(given, call)
                connection.send_bytes(pickle.dumps((total, *server.facts)))
                del given
                continue
            answer = server.answer(given, *call)
            del given
            end_if_forked(own)
            send(connection, (answer.trace, *server.facts), answer.pickled)
            del answer


def end_if_forked(own: int) -> None:
    """End a copy of this process that ``exec`` has made, and that has come this far."""
    if os.getpid() != own:
        os._exit(0)


def send(connection: "Connection[Any, Any]", about: tuple[Any, ...], value: bytes) -> None:
    """Send plain facts and a pickled value, which is not copied if it is large."""
    inline = value if len(value) <= INLINE else None
    connection.send_bytes(pickle.dumps((about, inline)))
    if inline is None:
        connection.send_bytes(value)


def receive(
    receive_bytes: Callable[[], bytes], message: bytes | None = None
) -> tuple[tuple[Any, ...], bytes]:
    """Return what was sent; ``message``: its beginning, where that has been received."""
    about, inline = pickle.loads(receive_bytes() if message is None else message)
    return about, receive_bytes() if inline is None else inline


def _ignore(*_: object) -> None: ...


def _hear() -> None:
    """Let the signals through in a process that exec has forked."""
    for number in NUMBERS:
        signal.signal(number, signal.SIG_DFL)


def _end_with_parent() -> None:
    """Let this process end when its parent does, however that ends, and whatever runs here."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    if sys.platform == "linux" and _kernel_ends_it():
        if os.getppid() != parent.pid:  # it was too late for that
            os._exit(1)
        return
    threading.Thread(target=_watch, args=(parent,), name="kaygraph-parent", daemon=True).start()


def _kernel_ends_it() -> bool:
    """Ask the kernel for a SIGKILL at the end of the thread that has started this process.

    That thread belongs to the run, which outlives its processes. A thread here that waits for the
    parent would not run while exec holds the interpreter's lock.
    """
    try:
        import ctypes

        return bool(ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0)
    except (ImportError, AttributeError, OSError):
        return False


def _watch(parent: Any) -> None:
    parent.join()
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


class _Server:
    """What a worker process knows."""

    def __init__(
        self, connection: "Connection[Any, Any]", results: "Connection[Any, Any] | None"
    ) -> None:
        self._connection = connection
        self._speech = Speech(connection)
        self._results = None if results is None else ResultWriter(results, self._ring)
        self._nodes: dict[int, Any] = {}
        self._own = resident()
        self._knows, self._used = False, (0.0, 0)

    @property
    def facts(self) -> tuple[bool, int, tuple[float, int]]:
        """Whether the node of the last call is known; the bytes held before its item; what it used.

        That is the processor time of all threads, and the most bytes that were held so far.
        """
        return self._knows, self._own, self._used

    def answer(
        self,
        given: bytes,
        key: int,
        sent: bytes | None,
        notifies: bool,
        measures: bool,
        limit: int | None,
        is_received: bool,
    ) -> Answer:
        """Make a call: of the node that is sent, or was sent before."""
        before = process_time()
        try:
            try:
                node = self._node(key, sent)
                item, facts = given_unpickled(given)
            finally:
                self._knows = key in self._nodes
                if notifies:
                    self._connection.send_bytes(BEGUN)
            before = process_time()
            self._speech.begin(goes_on(item))
            with GrowthLimit(limit):
                result = run_elsewhere(
                    node, item, *facts, self._speech.send if is_received else None
                )
                with noting("the result of exec was pickled in the process"):
                    return Answer(dumps(result))
        except BaseException as error:
            return failed(error)
        finally:
            self._speech.end()
            if measures:
                self._used = process_time() - before, peak_resident()

    def run(self, given: bytes, plan: Plan) -> int:
        """Run the items of a chunk, and return how many bytes its results have come to so far."""
        assert self._results is not None
        try:
            node = self._node(plan.key, plan.sent)
        except BaseException as error:
            node = error
        self._knows = plan.key in self._nodes
        self._speech.begin()
        receiver = self._speech.send if plan.is_received else None
        try:
            run_items(node, given, plan, self._results, self._begins, self._is_stopped, receiver)
        finally:
            self._speech.end()
        return self._results.total

    def _begins(self) -> None:
        self._connection.send_bytes(BEGUN)

    def _ring(self, total: int) -> None:
        with self._speech.lock:
            self._connection.send_bytes(MORE + TOTAL.pack(total))

    def _is_stopped(self) -> bool:
        """Whether no more items should begin."""
        return self._connection.poll() and self._connection.recv_bytes() == STOP

    def _node(self, key: int, sent: bytes | None) -> Any:
        if sent is not None:
            before = resident()
            node = loads(sent, "the node was unpickled in the process")
            if not self._nodes:
                gc.freeze()  # imports are not garbage: the collector skips them
            self._nodes[key] = node
            self._own += resident() - before
        return self._nodes[key]
