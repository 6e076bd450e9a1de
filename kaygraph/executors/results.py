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
HEADER = Struct("<?ddQ")

UNTOLD = 1 << 15  # bytes that may wait in the pipe; the least room that systems give is 64 KiB
AT_ONCE = 1 << 16  # bytes that are read, or copied to be written, in one step

ROOM = 1 << 20  # bytes of a pipe, where they can be asked for
F_SETPIPE_SZ = 1031  # of Linux's fcntl(2)


# Told of each item: whether it has failed, when it has ended by the clock of this machine, how many
# seconds it took, and the result, or the error with its traceback, pickled.
Note = Callable[[bool, float, float, memoryview], object]


class ResultWriter:
    """The end in the process.

    Args:
        pipe: To write to.
        ring: Called with the number of bytes that the other side is to read, in all.
    """

    def __init__(self, pipe: "Connection[Any, Any]", ring: Callable[[int], object]) -> None:
        self._pipe, self._descriptor, self._ring = pipe, pipe.fileno(), ring
        os.set_blocking(self._descriptor, False)
        self.total = self._told = 0

    def write(self, failed: bool, ended: float, seconds: float, pickled: bytes) -> None:
        """Write what came of an item."""
        header = HEADER.pack(failed, ended, seconds, len(pickled))
        self.total += len(header) + len(pickled)
        if self.total - self._told > UNTOLD:
            self._tell()
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
        self._tell()
        rest = memoryview(data)[written:]
        os.set_blocking(self._descriptor, True)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        os.set_blocking(self._descriptor, False)

    def _tell(self) -> None:
        """Have the other side read what is written, and what is being written."""
        if self._told < self.total:
            self._told = self.total
            self._ring(self.total)


class ResultReader:
    """The end in the program. Its methods block; they pass on the whole results that have come."""

    def __init__(self, pipe: "Connection[Any, Any]", sentinel: int) -> None:
        self._pipe, self._descriptor, self._sentinel = pipe, pipe.fileno(), sentinel
        os.set_blocking(self._descriptor, False)
        _widen(self._descriptor)
        self._buffer = bytearray()
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
        try:
            data = os.read(self._descriptor, AT_ONCE)
        except BlockingIOError:
            return False
        if not data:
            raise EOFError
        self._buffer += data
        self._total += len(data)
        return True

    def _pass_on(self, note: Note) -> None:
        buffer, self._buffer = self._buffer, bytearray()
        at, size, header = 0, len(buffer), HEADER.size
        with memoryview(buffer) as view:
            while size - at >= header:
                failed, ended, seconds, length = HEADER.unpack_from(view, at)
                end = at + header + length
                if end > size:
                    break
                with view[at + header : end] as pickled:
                    note(failed, ended, seconds, pickled)
                at = end
            self._buffer += view[at:]


def _widen(descriptor: int) -> None:
    """Ask for more room in a pipe, so that who writes much has to wait less often."""
    try:
        import fcntl

        fcntl.fcntl(descriptor, F_SETPIPE_SZ, ROOM)
    except (ImportError, OSError):  # another system, or the user has many
        pass
