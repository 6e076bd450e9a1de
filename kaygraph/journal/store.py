"""Where runs are recorded: what every store does.

The log of a run is a sequence of rows: 1, 2, 3, … without a gap. A row contains everything that was
recorded at once, and a checksum. A log that ends early is a valid beginning of what was written;
one with a gap, or with a changed row, is refused.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal, NamedTuple, Protocol, get_args

from ..errors import (
    AlreadyAnsweredError,
    JournalCorruptError,
    RunExistsError,
    RunTakenOverError,
    closest,
)

RunStatus = Literal["running", "done", "failed", "interrupted", "waits"]
SMALL = 4096  # bytes that are copied rather than hashed in parts
STATUSES: tuple[str, ...] = get_args(RunStatus)


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What a journal knows about a run, without its rows.

    Attributes:
        run: Its id.
        graph: The name of the graph that it ran.
        status: ``"running"`` (also if its process was killed), ``"done"``, ``"failed"``,
            ``"interrupted"`` (it can be resumed) or ``"waits"`` (for an answer).
        created: When it was created, in seconds since 1970.
        updated: When it was last written to, in seconds since 1970.
        epoch: The number of the claim that owns it, 0 for none. A store never repeats one, and each
            is larger than those before.
        action: The action that it ended with, if it is done.
        error: The text of the error that it failed with.
        rows: The number of the last row of its log; 0 for none.
        input: What it began with, encoded; None if that was not recorded. ``Store.runs`` leaves it
            out: it may be large.
        seed: 16 random bytes that stay the same for the life of the run.
    """

    run: str
    graph: str
    status: str
    created: float
    updated: float
    epoch: int
    action: str | None
    error: str | None
    rows: int
    input: bytes | None
    seed: bytes


class Row(NamedTuple):
    """One row of a log: its number, when it was written (seconds since 1970), and its data."""

    number: int
    at: float
    blob: bytes


class Answer(NamedTuple):
    """Another process's answer to a wait, encoded, and its time (seconds since 1970)."""

    name: str
    data: bytes
    at: float


class Store(Protocol):
    """Where runs are recorded. Every method is one transaction, blocks, and is durable on return.

    A store is used by one thread at a time, in the process that opened it; it may be opened in
    several processes. A run belongs to its latest claimant.

    Raises:
        JournalUnavailableError: It cannot be read or written.
        JournalLockedError: Another process has held its lock for too long.
        JournalFullError: There is no space left; nothing of the transaction was written.
        JournalCorruptError: What it holds is not what was written.
    """

    def claim(self, run: str, graph: str) -> RunInfo:
        """Become the owner of a run, creating it if there is none; return what is known about it.

        It gets a new epoch, and is "running" unless it is done. Its previous owner can no longer
        write to it.
        """

    def rows(self, run: str) -> Iterator[Row]:
        """Yield the rows of a run in order, each checked.

        Raises:
            RunUnknownError: There is no such run.
            JournalCorruptError: A row is missing, or has changed.
        """

    def append(self, run: str, epoch: int, blob: bytes) -> int:
        """Write the next row of a run and return its number.

        Raises:
            RunTakenOverError: The run has another epoch, or is gone; nothing was written.
        """

    def finish(
        self, run: str, epoch: int, status: str, action: str | None, error: str | None
    ) -> None:
        """Write how a run ended, or that it continues (``"running"``).

        Raises:
            RunTakenOverError: As for ``append``.
        """

    def set_input(self, run: str, epoch: int, data: bytes) -> None:
        """Write what a run begins with, encoded.

        Raises:
            RunTakenOverError: As for ``append``.
        """

    def answer(self, run: str, name: str, data: bytes) -> None:
        """Write the answer to a wait, whichever process owns the run.

        Raises:
            RunUnknownError: There is no such run.
            AlreadyAnsweredError: It has been answered before; that answer stands.
        """

    def answers(self, run: str) -> list[Answer]:
        """Return the answers to a run, in the order in which they were written."""

    def info(self, run: str) -> RunInfo:
        """Return what is known about a run.

        Raises:
            RunUnknownError: There is no such run.
        """

    def find(self, run: str) -> RunInfo | None:
        """Return what is known about a run, or None if there is no such run."""

    def runs(self) -> list[RunInfo]:
        """Return what is known about all runs, newest first, without their inputs."""

    def copy(self, run: str, new: str, through: int) -> None:
        """Make a run with another one's graph, input and seed, its first rows and their answers.

        It is "interrupted", and has no owner.

        Args:
            run: The run to copy.
            new: The id of the new one.
            through: The number of the last row to copy. Answers that existed when it was written
                are copied, too.

        Raises:
            RunUnknownError: There is no such run.
            RunExistsError: There is already a run with the new id.
            ValueError: The run has no row of that number.
        """

    def forget(self, run: str, before: int) -> None:
        """Remove the rows before one, with which the log then begins. Numbers stay the same.

        Raises:
            RunUnknownError: There is no such run.
            ValueError: The run has no row of that number.
        """

    def remove(self, runs: Iterable[str]) -> None:
        """Remove runs and everything that belongs to them. Unknown runs are skipped."""

    def compact(self) -> None:
        """Give freed space back to the file system, now or when nobody is reading."""

    def cache_get(self, key: bytes) -> tuple[bytes, float] | None:
        """Return the cached value of a key, and when it expires (``math.inf``: never), or None.

        Expired values remain until they are pruned: callers have the clock.
        """

    def cache_get_all(self, keys: Iterable[bytes]) -> dict[bytes, tuple[bytes, float]]:
        """Return the cached values of several keys, for those that exist."""

    def cache_set(self, key: bytes, data: bytes, expires: float | None) -> None:
        """Cache a value, replacing an earlier one, until a time in seconds since 1970."""

    def cache_set_all(self, entries: Mapping[bytes, tuple[bytes, float | None]]) -> None:
        """Cache several values by their keys, as ``cache_set`` does, in one transaction."""

    def cache_prune(self, now: float) -> None:
        """Remove what has expired by a time in seconds since 1970."""

    def close(self) -> None:
        """Close the file or the connections. It may be called twice."""


def checksum(run: str, number: int, at: float, blob: bytes) -> bytes:
    """Return the checksum of a row: 16 bytes of BLAKE2b."""
    head = struct.pack("<qd", number, at) + run.encode() + b"\0"
    if len(blob) < SMALL:
        return blake2b(head + blob, digest_size=16).digest()
    digest = blake2b(head, digest_size=16)
    digest.update(blob)
    return digest.digest()


def digest_of(*values: str | int | float | bytes | None) -> bytes:
    """Return the checksum of several values and their types: 16 bytes of BLAKE2b."""
    digest = blake2b(digest_size=16)
    for value in values:
        if value is None:
            data = b""
        elif isinstance(value, str):
            data = value.encode()
        elif isinstance(value, bytes):
            data = value
        elif isinstance(value, int):
            data = b"%d" % value
        else:
            data = struct.pack("<d", value)
        digest.update(b"%s %d " % (type(value).__name__.encode(), len(data)))
        digest.update(data)
    return digest.digest()


def plain(text: str) -> str:
    """Return a text that every database accepts: without NUL and lone surrogates."""
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\x00")


def checked(
    run: str, first: int, rows: Iterable[tuple[int, float, bytes, bytes]], place: str
) -> Iterator[Row]:
    """Yield the rows of a log that begins with ``first``, and refuse it if one is wrong.

    Args:
        rows: Number, time, checksum and blob of each, in order.
        place: The name of the store in an error.
    """
    expected = first
    for number, at, known, blob in rows:
        if number != expected:
            raise corrupt(place, f"row {expected} of run {run!r} is missing")
        as_typed = isinstance(at, float) and isinstance(blob, bytes)
        if not as_typed or known != checksum(run, number, at, blob):
            raise corrupt(place, f"row {number} of run {run!r} was changed")
        yield Row(number, at, blob)
        expected += 1
    if first > 1 and expected == first:
        raise corrupt(place, f"row {first} of run {run!r}, the first of its log, is missing")


def corrupt(place: str, what: str) -> JournalCorruptError:
    """Return the error that says what is wrong, and what to do."""
    return JournalCorruptError(
        f"{place} is damaged: {what}. Nothing was run. Restore a backup, or begin again "
        "with another file"
    )


def taken_over(run: str, gone: bool = False) -> RunTakenOverError:
    """Return the error for a process that no longer owns a run."""
    what = "was removed from the journal" if gone else "has been resumed elsewhere since"
    return RunTakenOverError(
        f"run {run!r} {what}, perhaps by another process. Nothing more is recorded for it here. "
        "Resume a run in one process at a time"
    )


def exists(run: str) -> RunExistsError:
    """Return the error for an id that is in use."""
    return RunExistsError(
        f"the journal has a run {run!r} already. Type another id, or remove that run"
    )


def answered(run: str, name: str) -> AlreadyAnsweredError:
    """Return the error for an answer that comes too late."""
    return AlreadyAnsweredError(
        f"{name!r} of run {run!r} has already been answered, and the first answer stands"
    )


def check_row(run: str, number: int, least: int, last: int) -> None:
    """Refuse a number that is not one of these rows."""
    if not least <= number <= last:
        there = f"its rows are {max(least, 1)} to {last}" if last else "it has no rows"
        raise ValueError(f"run {run!r} has no row {number}: {there}")


def check_status(status: str) -> str:
    """Return a status if it is valid."""
    if status not in STATUSES:
        known = ", ".join(map(repr, STATUSES))
        meant = closest(status, STATUSES)
        raise ValueError(f"status must be one of {known}; got {status!r}.{meant}")
    return status


def check_run(run: str) -> str:
    """Return the id of a run if it is valid: a text that is not empty, without control codes."""
    if not isinstance(run, str):
        raise TypeError(f"the id of a run must be a string, got {type(run).__name__}")
    if not run or not run.isprintable():
        raise ValueError(f"the id of a run must be a text of printable characters, got {run!r}")
    return run
