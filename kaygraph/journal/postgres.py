"""A store in a PostgreSQL database: one journal for many processes and machines."""

import hashlib
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ..errors import (
    JournalCorruptError,
    JournalUnavailableError,
    JournalVersionError,
    RunUnknownError,
)
from . import tables
from .server import Record, Server, run_on
from .store import (
    Answer,
    Row,
    RunInfo,
    answered,
    check_row,
    check_run,
    check_status,
    checked,
    checksum,
    corrupt,
    exists,
    plain,
    taken_over,
)
from .within import Within, check_size

if TYPE_CHECKING:
    from psycopg import Connection

FETCHED = 64  # rows read at first; doubled each time while they are small
SMALL = 2**20  # bytes of rows read at once
POLL_S = 0.25  # between polls when no notification can arrive


class PostgresStore:
    """Runs in a PostgreSQL database; see Store. Missing tables are created.

    After a lost connection it connects again, and nothing is written twice.

    Args:
        url: ``postgresql://user:password@host/name``, as libpq takes it.
        durable: Refuse a server that acknowledges commits before they are on its disk.
        create: Create missing tables; otherwise they are a JournalUnavailableError.
        patience: Seconds to wait for a server that is gone.
        clock: Returns the time, in seconds since 1970.
        entropy: Returns a number of random bytes, for the seeds of runs.

    Attributes:
        within: Writes rows in transactions of other connections to the database.
    """

    def __init__(
        self,
        url: str,
        *,
        durable: bool = False,
        create: bool = True,
        patience: float = 60.0,
        clock: Callable[[], float] = time.time,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._server = Server(url, patience)
        self._ask = self._server.ask
        self._clock, self._entropy = clock, entropy
        self.within = Within(self._server.place, clock)
        self._next: dict[str, int] = {}  # the number of a run's next row, as far as known here
        self._waiting = Server(url, patience)  # a second connection, for another thread
        self._listening: Connection[Record] | None = None
        self._listens = False
        try:
            self._open(durable, create)
        except BaseException:
            self.close()
            raise

    def _open(self, durable: bool, create: bool) -> None:
        place = self._server.place
        if not self._ask(tables.IS_MADE)[0][0]:
            if not create:
                raise JournalUnavailableError(f"there is no journal at {place}")
            self._server.patiently(lambda connection: connection.execute(tables.MAKE))
        (version,) = self._ask(tables.READ_VERSION)[0]
        if version is None:
            raise corrupt(place, "the table kaygraph_journal is empty")
        if version > tables.VERSION:
            raise JournalVersionError(
                f"{place}: this journal was made by a newer kaygraph (version {version}, "
                f"and this one knows {tables.VERSION}). Update kaygraph"
            )
        if durable and self._ask(tables.SYNCHRONOUS) == [("off",)]:
            raise JournalUnavailableError(
                f"{place}: durable=True, but the server has synchronous_commit = off, so a "
                "crash may lose what it has acknowledged. Type, as its owner: ALTER ROLE … SET "
                "synchronous_commit = on"
            )

    def claim(self, run: str, graph: str) -> RunInfo:
        check_run(run)
        while not (claimed := self._ask(tables.CLAIM, (self._clock(), run))):
            now, seed = self._clock(), self._entropy(16)
            new = (run, _stored(plain(graph)), now, now, seed)
            if claimed := self._ask(tables.CLAIM_NEW, new):
                break
        info = replace(self.info(run), epoch=claimed[0][0])
        self._next[run] = info.rows + 1
        return info

    def rows(self, run: str) -> Iterator[Row]:
        return self._rows(run, self._first(run))

    def _rows(self, run: str, first: int) -> Iterator[Row]:
        try:
            yield from checked(run, first, self._read(run, first), self._server.place)
        except JournalCorruptError:
            if self._first(run) == first:
                raise
            raise JournalUnavailableError(
                f"{self._server.place}: rows of run {run!r} were removed while they were read; "
                "read them again"
            ) from None

    def append(self, run: str, epoch: int, blob: bytes) -> int:
        check_size(self._server.place, blob)
        at = self._clock()
        lost = self._server.lost
        number = self._next.get(run, 0)  # 0: not known here, and not the number of a row
        while True:
            digest = checksum(run, number, at, blob)
            values = {
                "run": run,
                "epoch": epoch,
                "number": number,
                "at": at,
                "checksum": digest,
                "blob": blob,
            }
            if self._ask(tables.APPEND, values):
                break
            found = self._ask(tables.WHY_NOT, (number, run))
            if not found:
                raise taken_over(run, gone=True)
            owner, last, there = found[0]
            # If the connection was lost during the commit, it may have been done.
            if there == digest and self._server.lost != lost:
                break
            if owner != epoch:
                raise taken_over(run)
            if (last or 0) < number - 1:
                gone = f"rows {(last or 0) + 1} to {number - 1} of run {run!r} are missing"
                raise corrupt(self._server.place, f"{gone}, although it had acknowledged them")
            number = (last or 0) + 1
        self._next[run] = number + 1
        return number

    def finish(
        self, run: str, epoch: int, status: str, action: str | None, error: str | None
    ) -> None:
        check_status(status)
        error = error if error is None else plain(error)
        ended = (status, _stored(action), _stored(error), self._clock(), run, epoch)
        self._of_owner(run, tables.FINISH, ended)

    def set_input(self, run: str, epoch: int, data: bytes) -> None:
        check_size(self._server.place, data)
        self._of_owner(run, tables.SET_INPUT, (data, self._clock(), run, epoch))

    def answer(self, run: str, name: str, data: bytes) -> None:
        check_size(self._server.place, data)
        key, at, lost = _stored(name), self._clock(), self._server.lost
        if self._ask(tables.ANSWER, {"run": run, "name": key, "data": data, "at": at}):
            return
        # It may have been done, if the connection was lost during the commit.
        found = (key, data, at) in self._answers(run)
        if not found or self._server.lost == lost:
            raise answered(run, name)

    def answers(self, run: str) -> list[Answer]:
        return [Answer(_read(name), data, at) for name, data, at in self._answers(run)]

    def wait_for_answer(self, run: str, known: int, timeout: float) -> bool:
        """Wait until a run has more answers than are known; return whether it has.

        It uses its own connection, so that it can be called in a different thread from the rest.

        Args:
            run: The run.
            known: The number of known answers.
            timeout: The most seconds to wait.
        """
        until = time.monotonic() + timeout
        while True:
            # A notification is a hint: it may be lost, or stand for two answers. The table counts.
            left = until - time.monotonic()
            count = self._waiting.patiently(partial(self._count_answers, run))
            if count > known or left <= 0:
                return count > known
            if self._listens:
                self._waiting.patiently(partial(_notified, run, left))
            else:
                time.sleep(min(left, POLL_S))

    def info(self, run: str) -> RunInfo:
        found = self.find(run)
        if found is None:
            raise self._unknown(run)
        return found

    def find(self, run: str) -> RunInfo | None:
        found = self._ask(tables.INFO, (run,))
        return _info(found[0]) if found else None

    def runs(self) -> list[RunInfo]:
        return [_info(record) for record in self._ask(tables.EVERY_INFO)]

    def copy(self, run: str, new: str, through: int) -> None:
        check_run(new)
        created, lost = self._clock(), self._server.lost
        self._server.patiently(lambda on: self._copy(on, run, new, through, created, lost))

    def forget(self, run: str, before: int) -> None:
        values = {"run": run, "before": before, "now": self._clock()}
        if self._ask(tables.FORGET, values) == [(0,)]:
            first, last = self._first(run), self.info(run).rows
            check_row(run, before, first, last)
            raise corrupt(self._server.place, f"row {before} of run {run!r} is missing")

    def remove(self, runs: Iterable[str]) -> None:
        ids = list(runs)
        self._ask(tables.REMOVE, (ids,))
        for run in ids:
            self._next.pop(run, None)

    def compact(self) -> None:
        """Let the server reuse the space of removed rows, and shrink its files
        if that space is at their ends."""
        self._ask(tables.COMPACT)

    def cache_get(self, key: bytes) -> tuple[bytes, float] | None:
        return self.cache_get_all((key,)).get(key)

    def cache_get_all(self, keys: Iterable[bytes]) -> dict[bytes, tuple[bytes, float]]:
        found = self._ask(tables.CACHE_GET, ([*keys],))
        return {key: (data, expires) for key, data, expires in found}

    def cache_set(self, key: bytes, data: bytes, expires: float | None) -> None:
        self.cache_set_all({key: (data, expires)})

    def cache_set_all(self, entries: Mapping[bytes, tuple[bytes, float | None]]) -> None:
        values = [data for data, _ in entries.values()]
        for data in values:
            check_size(self._server.place, data)
        times = [math.inf if until is None else float(until) for _, until in entries.values()]
        self._ask(tables.CACHE_SET, ([*entries], values, times))

    def cache_prune(self, now: float) -> None:
        self._ask(tables.CACHE_PRUNE, (now,))

    def close(self) -> None:
        self._server.close()
        self._waiting.close()

    def _count_answers(self, run: str, on: "Connection[Record]") -> int:
        """Return how many answers a run has, on a connection that listens for more if it can."""
        if self._listening is not on:
            self._listens = on.info.backend_pid == run_on(on, "SELECT pg_backend_pid()")[0][0]
            if self._listens:  # behind a pooler, other clients would receive it
                on.execute(f"LISTEN {tables.CHANNEL}")
            self._listening = on
        return int(run_on(on, tables.COUNT_ANSWERS, (run,))[0][0])

    def _first(self, run: str) -> int:
        found = self._ask(tables.FIRST, (run,))
        if not found:
            raise self._unknown(run)
        return int(found[0][0])

    def _read(self, run: str, first: int) -> Iterator[tuple[int, float, bytes, bytes]]:
        last, count = first - 1, FETCHED
        while found := self._ask(tables.ROWS, (run, last, count)):
            yield from found
            last = found[-1][0]
            if len(found) == count and sum(len(record[3]) for record in found) < SMALL:
                count *= 2

    def _answers(self, run: str) -> list[Record]:
        found = self._ask(tables.ANSWERS, (run,))
        if not found and not self._ask(tables.FIRST, (run,)):
            raise self._unknown(run)
        return found

    def _of_owner(self, run: str, statement: str, values: tuple[object, ...]) -> None:
        if not self._ask(statement, values):
            raise taken_over(run, gone=not self._ask(tables.FIRST, (run,)))

    def _copy(
        self, on: "Connection[Record]", run: str, new: str, through: int, created: float, lost: int
    ) -> None:
        on.execute(tables.BEGIN_COPY)
        found = run_on(on, tables.INFO, (run,))
        if not found:
            raise self._unknown(run)
        made = run_on(on, tables.COPY_RUN, (new, created, created, run))
        if not made:
            again = self._server.lost != lost
            if again and run_on(on, tables.INFO, (new,))[0][3] == created:
                return  # it was done, and the connection lost during its commit
            raise exists(new)
        ((first,),) = made
        check_row(run, through, 0 if first == 1 else first, _info(found[0]).rows)
        last, until = first - 1, -math.inf
        while last < through:
            count = min(FETCHED, through - last)
            records = run_on(on, tables.ROWS, (run, last, count))
            rows = list(checked(run, last + 1, iter(records), self._server.place))
            if not rows:
                raise corrupt(self._server.place, f"row {last + 1} of run {run!r} is missing")
            on.cursor().executemany(
                tables.PUT,
                [(new, n, at, checksum(new, n, at, blob), blob) for n, at, blob in rows],
            )
            last, until = rows[-1].number, rows[-1].at
        run_on(on, tables.COPY_ANSWERS, (new, run, until))
        on.execute("COMMIT")

    def _unknown(self, run: str) -> RunUnknownError:
        known = [record[0] for record in self._ask(tables.IDS)]
        return RunUnknownError(run, known, self._server.place)


def _notified(run: str, timeout: float, on: "Connection[Record]") -> None:
    """Wait for a notification about a run."""
    wanted = hashlib.md5(run.encode(), usedforsecurity=False).hexdigest()
    until = time.monotonic() + timeout
    while (left := until - time.monotonic()) > 0:
        if any(notice.payload == wanted for notice in on.notifies(timeout=left, stop_after=1)):
            return


def _stored(text: str | None) -> bytes | None:
    return None if text is None else text.encode("utf-8", "surrogatepass")


def _read(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _info(record: Record) -> RunInfo:
    run, graph, status, created, updated, epoch, action, error, rows, given, seed = record
    return RunInfo(
        run=run,
        graph=_read(graph),
        status=status,
        created=created,
        updated=updated,
        epoch=epoch,
        action=None if action is None else _read(action),
        error=None if error is None else _read(error),
        rows=rows,
        input=given,
        seed=seed,
    )
