"""Results on their way from a worker process: each is written when its item has ended.

They have a pipe of their own, which keeps them when the process is killed: only the item that it
worked on is lost. Nobody is woken for a result. The process rings, by a message, when there is much
to read.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from struct import Struct
from typing import Any

MORE = b"more"  # begins a message that so many bytes have been written, or are being written
TOTAL = Struct("<Q")
HEADER = Struct("<BddQ")

MOST_UNNOTIFIED = 1 << 18  # bytes in the pipe before the other side is notified, if it has room
AT_ONCE = 1 << 16  # bytes that are copied to be written in one step

ROOM = 1 << 20  # bytes of a pipe, where they can be asked for
READ = 1 << 18  # bytes that are read in one step, and kept room for
F_SETPIPE_SZ = 1031  # of Linux's fcntl(2)


PICKLED, BYTES, FAILED = range(3)  # what came of an item: a result, one of bytes, or an error

# Called for each item: with what came of it, when it ended by the clock of this machine, how many
# seconds it took, and the result as it is or pickled, or the error and its traceback, pickled.
Note = Callable[[int, float, float, memoryview], object]


class ResultWriter:
    """The end in the process.

    Args:
        pipe: To write to.
        ring: Called with the number of bytes that the other side is to read, in all.
    """

    def __init__(self, pipe: "Connection[Any, Any]", ring: Callable[[int], object]) -> None:
        self._pipe, self._descriptor, self._ring = pipe, pipe.fileno(), ring
        os.set_blocking(self._descriptor, False)
        self.total = self._notified = 0

    def write(self, kind: int, ended: float, seconds: float, pickled: bytes) -> None:
        """Write what came of an item."""
        header = HEADER.pack(kind, ended, seconds, len(pickled))
        self.total += len(header) + len(pickled)
        if self.total - self._notified > MOST_UNNOTIFIED:
            self._notify()
        if len(pickled) <= AT_ONCE:
            self._write(header + pickled)
        else:
            self._write(header)
            self._write(pickled)

    def _write(self, data: bytes) -> None:
        try:
            written = os.write(self._descriptor, data)
        except BlockingIOError:
            written = 0
        if written == len(data):
            return
        self._notify()
        rest = memoryview(data)[written:]
        os.set_blocking(self._descriptor, True)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        os.set_blocking(self._descriptor, False)

    def _notify(self) -> None:
        """Have the other side read what is written, and what is being written."""
        if self._notified < self.total:
            self._notified = self.total
            self._ring(self.total)


class ResultReader:
    """The end in the program. Its methods block; they pass on the whole results that have come."""

    def __init__(self, pipe: "Connection[Any, Any]", sentinel: int) -> None:
        self._pipe, self._descriptor, self._sentinel = pipe, pipe.fileno(), sentinel
        os.set_blocking(self._descriptor, False)
        _widen(self._descriptor)
        self._buffer, self._end = bytearray(READ), 0  # which holds what was read, up to its end
        self._total = 0

    def read(self, total: int, note: Note) -> None:
        """Wait until ``total`` bytes have been read since the start.

        Raises:
            EOFError: The process has ended.
        """
        while self._total < total:
            if not self._takes():
                ready = wait([self._pipe, self._sentinel])
                if self._pipe not in ready:
                    raise EOFError
        self._pass_on(note)

    def available(self, note: Note) -> None:
        """Read what there is."""
        with suppress(EOFError):
            while self._takes():
                pass
        self._pass_on(note)

    def close(self) -> None:
        self._pipe.close()

    def _takes(self) -> bool:
        """Whether there was something to read."""
        if self._end == len(self._buffer):
            self._buffer += bytes(self._end)
        with memoryview(self._buffer) as view, view[self._end :] as room:
            try:
                number = os.readv(self._descriptor, [room])
            except BlockingIOError:
                return False
        if not number:
            raise EOFError
        self._end += number
        self._total += number
        return True

    def _pass_on(self, note: Note) -> None:
        at, end, header = 0, self._end, HEADER.size
        with memoryview(self._buffer) as view:
            while end - at >= header:
                kind, ended, seconds, length = HEADER.unpack_from(view, at)
                behind = at + header + length
                if behind > end:
                    break
                with view[at + header : behind] as pickled:
                    note(kind, ended, seconds, pickled)
                at = behind
            view[: end - at] = bytes(view[at:end])
        self._end = end - at
        if not self._end:
            del self._buffer[READ:]


def _widen(descriptor: int) -> None:
    """Ask for more room in a pipe, so that who writes much has to wait less often."""
    try:
        import fcntl

        fcntl.fcntl(descriptor, F_SETPIPE_SZ, ROOM)
    except (ImportError, OSError):  # another system, or the user has many
        pass
