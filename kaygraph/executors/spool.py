"""The results of a chunk's items so far, in a file next to the worker that runs them.

A process that is killed takes with it what it has not sent. What it has written to a file stays, so
that others on the same machine can see which items had ended, and which one it was running.
"""

import os
from contextlib import suppress
from struct import Struct
from typing import NamedTuple

RESULT, FAILED, LEFT, LOST = range(4)  # a result; an error; not run; a result that is not kept

HEADER = Struct("<BdQQ")

MOST_KEPT = 1 << 20  # bytes of a result; one that is larger has to be made again


class Record(NamedTuple):
    """What an item has come to.

    Attributes:
        kind: RESULT, FAILED, LEFT or LOST.
        seconds: How long ``exec`` took.
        data: The result pickled, or the error and its traceback.
        said: What ``exec`` has said, pickled, or nothing.
    """

    kind: int
    seconds: float
    data: bytes
    said: bytes = b""


class Spool:
    """The file of one chunk, to be written to; without one, if it cannot be had."""

    def __init__(self, path: str | None) -> None:
        self._file: int | None = None
        if path is not None:
            with suppress(OSError):
                self._file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)

    def write(self, record: Record, has_left: bool = False) -> None:
        """Write what the next item has come to, in one step.

        ``has_left``: it refers to what is on the worker, and would be lost with that.
        """
        if self._file is None:
            return
        kind, seconds, data, said = record
        if has_left or len(data) + len(said) > MOST_KEPT:
            kind, data, said = LOST, b"", b""
        line = HEADER.pack(kind, seconds, len(data), len(said)) + data + said
        try:
            written = os.write(self._file, line)
        except OSError:
            written = 0
        if written < len(line):  # the disk is full: what follows could not be separated
            self.close()

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def records_in(path: str) -> list[Record]:
    """Return what the first items have come to; the one behind them was being worked on.

    Raises:
        FileNotFoundError: The chunk had not begun.
    """
    with open(path, "rb") as file:
        written = file.read()
    records: list[Record] = []
    at, size = 0, HEADER.size
    while len(written) - at >= size:
        kind, seconds, length, of_said = HEADER.unpack_from(written, at)
        if len(written) - at - size < length + of_said:
            break
        begin, end = at + size, at + size + length
        at = end + of_said
        records.append(Record(kind, seconds, written[begin:end], written[end:at]))
    return records
