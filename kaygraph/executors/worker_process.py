"""One worker process, as seen by its run: what is sent to it, and how it ends."""

import errno
import pickle
import threading
import time
from collections.abc import Callable
from functools import partial
from itertools import accumulate, islice, takewhile
from multiprocessing.process import BaseProcess
from sys import getsizeof
from typing import Any

from .._validation import human
from ..aio.timeouts import late_error
from ..errors import AttemptTimeoutError, MemoryLimitError, WorkerDiedError, WorkerStartError
from ..limits.slots import Slot
from ..run.saying import Receiver
from .child import Child, PastLimit, how_it_ended, kill_group, received, start
from .chunk import Chunk
from .chunked import Plan
from .memory import resident
from .pickling import PLAIN, dumps
from .rebuilding import note
from .results import BYTES, FAILED, MORE, TOTAL
from .sending import Answer, Facts, given_pickled, result_of
from .speech import Incoming
from .stepping import goes_on
from .worker import STOP, receive, send

SOON_S = 0.5  # for a process that has closed its end of the pipe, as it ends

LEAVE_S = 5.0  # for a process that was asked to end; then it is killed

CHUNK_BYTES = 1 << 20  # that items of a chunk have at most, but for the last


class WorkerProcess:
    """One process, and the pipe to it. Its methods block and run in a thread."""

    _running: Child | None = None

    def __init__(self) -> None:
        self.dead = self.cancelled = False
        self._lock, self._sending = threading.Lock(), threading.Lock()
        self._stopping = False
        self._known: set[bytes] = set()
        self.used = 0.0, 0  # by the last call: processor time, and the most bytes held so far
        self._incoming = Incoming(None)
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
        receiver: Receiver | None,
    ) -> Any:
        incoming = Incoming(receiver)
        self.used, self.start_s, called = (0.0, 0), 0.0, time.monotonic()
        given = given_pickled(item, facts)
        if limit is not None and self._is_full(limit) and not goes_on(item):
            self.close()
        has_begun = node in self._known
        sent = None if has_begun else node
        notifies = begun is not None or not has_begun
        is_fresh = self._running is None
        child = self._running or self._start()
        pid, connection = child.process.pid, child.connection
        try:
            if is_fresh:  # a pipe takes no large message before it is read
                received(pid, connection, limit, start_timeout)
            send(
                connection,
                (hash(node), sent, notifies, measures, limit, receiver is not None),
                given,
            )
            if notifies:
                received(pid, connection, limit, None if has_begun else start_timeout)
            if not has_begun:
                self.start_s = time.monotonic() - called
            if begun is not None:
                begun()
            has_begun = True
            # Both ends are ours: what comes back was pickled by the process that we started.
            message = received(pid, connection, limit)
            while incoming.takes(message):
                message = received(pid, connection, limit)
            (trace, knows, self._own, self.used), pickled = receive(
                partial(received, pid, connection, limit), message
            )
        except PastLimit as past:
            raise self._past(past.limit, f"grew to {human(past.held)}, past") from None
        except TimeoutError:
            raise self._slow_start(start_timeout) from None
        except (EOFError, OSError):
            raise self._death(has_begun) from None
        if knows:
            self._known.add(node)
        answer = Answer(pickled, trace)
        if trace is None:
            for failure in incoming.failed.values():
                raise failure
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

    def run(
        self,
        chunk: Chunk,
        node: bytes,
        facts: Facts,
        limit_s: float | None,
        start_timeout: float,
        share_s: float,
        receiver: Receiver | None,
    ) -> None:
        """Have the process run items of a chunk, and note there what has ended.

        An error of the process is that of the item that it worked on, and ends the chunk.
        """
        self.used, self.start_s, called = (0.0, 0), 0.0, time.monotonic()
        try:
            sizes, given = _pickled(chunk)
            if not given:
                return
            has_begun = node in self._known
            number = sizes if isinstance(sizes, int) else len(sizes)
            places = [index for index, _ in islice(chunk.entries, number)]
            plan = Plan(
                hash(node), None if has_begun else node, dumps(facts),
                sizes if isinstance(sizes, list) else None, places,
                chunk.goes_on, share_s, receiver is not None,
            )  # fmt: skip
            self._incoming = Incoming(receiver)
            if self._converse(chunk, plan, given, start_timeout, limit_s):
                self._known.add(node)
        except BaseException as error:
            if not self.cancelled:
                chunk.blame(error)
        finally:
            chunk.seconds = time.monotonic() - called - self.start_s

    def _converse(
        self, chunk: Chunk, plan: Plan, given: bytes, start_timeout: float, limit_s: float | None
    ) -> bool:
        """Send items, note what they have come to, and return whether the node is known now."""
        has_begun, called = plan.sent is None, time.monotonic()
        is_fresh = self._running is None
        child = self._running or self._start()
        pid, connection = child.process.pid, child.connection
        try:
            try:
                if is_fresh:
                    received(pid, connection, None, start_timeout)
                with self._sending:
                    send(connection, plan, given)
                if self._stopping:
                    self.stop()
                received(pid, connection, None, None if has_begun else start_timeout)
            except TimeoutError:
                raise self._slow_start(start_timeout) from None
            if not has_begun:
                self.start_s = time.monotonic() - called
            has_begun = True
            return self._collect(chunk, len(plan.places), child, limit_s)
        except (WorkerStartError, AttemptTimeoutError):
            raise
        except (EOFError, OSError):
            if has_begun and child.results is not None:
                child.results.available(_Noting(chunk, self._incoming))
            raise self._death(has_begun) from None

    def _collect(self, chunk: Chunk, number: int, child: Child, limit_s: float | None) -> bool:
        """Note what the items have come to, up to the end of the chunk."""
        connection, results = child.connection, child.results
        assert results is not None
        incoming = self._incoming
        note, before = _Noting(chunk, incoming), len(chunk.done)
        while True:
            limited = limit_s is not None and len(chunk.done) - before < number
            left_s = note.since + (limit_s or 0.0) - time.monotonic()
            if limited and limit_s and (left_s <= 0 or not connection.poll(left_s)):
                results.available(note)
                if time.monotonic() >= note.since + limit_s:
                    self.kill()
                    self.close()
                    raise late_error(f"exec of {chunk.node.name!r}", "timeout", limit_s, 0.0, None)
                continue
            message = connection.recv_bytes()
            if incoming.takes(message):
                continue
            if message.startswith(MORE):
                (total,) = TOTAL.unpack(message[len(MORE) :])
                results.read(total, note)
                continue
            total, knows, self._own, self.used = pickle.loads(message)
            results.read(total, note)
            return bool(knows)

    def stop(self) -> None:
        """Have the process begin no more items of its chunk; it may have ended."""
        self._stopping = True
        running = self._running
        if running is not None and self._sending.acquire(blocking=False):  # else it comes after
            try:
                running.connection.send_bytes(STOP)
            except OSError:
                pass
            finally:
                self._sending.release()

    def _slow_start(self, start_timeout: float) -> WorkerStartError:
        """End the process and return the error that says why."""
        pid = self._running.process.pid if self._running else None
        self.kill()
        self.close()
        return WorkerStartError(
            f"the worker process {pid} had not begun after start_timeout={start_timeout:g} s, "
            "and was killed: its imports take longer, or never end. Import less, or raise "
            "start_timeout"
        )

    def _past(self, limit: int, what: str) -> MemoryLimitError:
        """End the process and return the error that says why."""
        pid = self._running.process.pid if self._running else None
        self.kill()
        self.close()
        return MemoryLimitError(
            f"the worker process {pid} {what} memory_limit={human(limit)}, and was killed. Raise "
            "memory_limit, or give exec smaller items"
        )

    def _death(self, has_begun: bool) -> WorkerDiedError:
        """Take leave of a process that has ended by itself and return the error that says how."""
        assert self._running is not None
        process = self._running.process
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
        return resident(self._running.process.pid) - self._own > (limit - self._own) / 2

    def _start(self) -> Child:
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
        return self._running is not None and self._running.process.is_alive()

    def cancel(self) -> None:
        """End the process now: nothing waits for the results of its items."""
        self.cancelled = True
        self.kill()

    def kill(self) -> None:
        """End the process now; the call that waits for it gets a WorkerDiedError."""
        with self._lock:
            self.dead = True
            if self._running is not None:
                _kill(self._running.process)

    def close(self) -> int | None:
        """Let the process leave, wait for its end and return its exit code."""
        if self._running is None:
            return None
        process, connection, results = self._running
        connection.close()  # the process reads the end of its input and leaves
        process.join(LEAVE_S)
        _kill(process)  # a thread that exec has left behind would keep it for ever
        process.join()
        code = process.exitcode
        if results is not None:
            results.close()
        with self._lock:
            self._running = None
            process.close()
        self._known.clear()
        return code


def _pickled(chunk: Chunk) -> tuple[list[int] | int, bytes]:
    """Return items of a chunk pickled, and the size of each, or how many are one list.

    One that cannot be pickled has failed. No more are sent than are a megabyte together.
    """
    plain = [item for _, item in chunk.entries if type(item) in PLAIN]
    if len(plain) == len(chunk.entries):
        ends = accumulate(map(getsizeof, plain))
        del plain[1 + sum(1 for _ in takewhile(CHUNK_BYTES.__gt__, ends)) :]
        return len(plain), pickle.dumps(plain)
    sent, total = list[bytes](), 0
    for _, item in tuple(chunk.entries):
        try:
            sent.append(dumps(item))
        except BaseException as error:
            if sent:  # it is tried again as the first of another chunk
                break
            note(error, "while the item was pickled for a process")
            chunk.blame(error)
            if not chunk.goes_on:
                break
        else:
            total += len(sent[-1])
            if total >= CHUNK_BYTES:
                break
    return [len(one) for one in sent], b"".join(sent)


class _Noting:
    """Notes in a chunk what its items have come to, and when the last of them has ended."""

    def __init__(self, chunk: Chunk, incoming: Incoming) -> None:
        self._chunk, self._incoming, self.since = chunk, incoming, time.monotonic()

    def __call__(self, kind: int, ended: float, seconds: float, pickled: memoryview) -> None:
        value: Any = None
        error: BaseException | None = None
        try:
            if kind == BYTES:
                value = bytes(pickled)
            elif kind == FAILED:
                error = Answer(*pickle.loads(pickled)).error()
            else:
                value = result_of(pickled)
        except BaseException as failure:
            error = failure
        if self._incoming.failed:
            error = error or self._incoming.failed.get(self._chunk.at)
        self._chunk.ended(value, error, seconds)
        self.since = ended
        del error  # it holds this frame: no cycle may keep them alive


def _kill(process: BaseProcess) -> None:
    """End a process now, with those that exec has started, unless it has ended by itself."""
    if process.exitcode is None:
        kill_group(process.pid)
    process.kill()


def _is_refusal(error: BaseException) -> bool:
    """Whether it says that the system has no more memory to give."""
    return isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM
