"""A PostgreSQL server, and a connection to it that is made anew where it was lost."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from .._addresses import without_password
from .._extras import extra
from ..errors import (
    JournalCorruptError,
    JournalError,
    JournalFullError,
    JournalLockedError,
    JournalUnavailableError,
)

if TYPE_CHECKING:
    from psycopg import Connection

T = TypeVar("T")
Record = tuple[Any, ...]
Values = Sequence[object] | Mapping[str, object]

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 1.0  # between tries to connect; each is twice the last

# By SQLSTATE; see the appendix "Error Codes" of PostgreSQL.
_KINDS = {
    "53100": JournalFullError,
    "55P03": JournalLockedError,
    "XX001": JournalCorruptError,
    "XX002": JournalCorruptError,
}
# The connection has ended, or the transaction was undone: what was asked may be asked again.
_LOST = {
    "25P03",  # idle in a transaction for too long
    "25P04",  # or in it
    "40001",  # could not be serialized
    "40P01",  # deadlock
    "53300",  # too many connections
    "57014",  # cancelled by somebody
    "57P01",  # shutdown
    "57P02",  # crash
    "57P03",  # not ready yet
    "57P05",  # idle for too long
}
_ADVICE = {
    "25006": "Nothing was written. Connect to the primary, by target_session_attrs=primary perhaps",
    "42501": "Let its owner GRANT the rights, or name a schema of yours by search_path",
    "53100": "The transaction was undone. Make room, and resume the run",
    "55P03": "Nothing was written. Look for a process that has stopped in the middle of a "
    "transaction, or try again",
}
NO_BLOCKS = "transaction blocks not allowed"  # PgBouncer, with pool_mode = statement

# Where the url says nothing else: a peer that is gone without a word is noticed.
_SETTINGS = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}


class Server:
    """A PostgreSQL server that is asked one thing after another.

    Nothing is relied on for longer than a transaction, so that a pooler may stand in between.

    Args:
        url: As libpq takes it.
        patience: Seconds to go on trying when a connection was lost. What was asked then is asked
            again, and may have been done before: whoever asks sees to that. The first try to
            connect is the only one: a wrong address is told at once.
        answer_timeout: Seconds that an answer may take before the connection counts as lost.

    Attributes:
        lost: How often something was asked again.
    """

    def __init__(self, url: str, patience: float = 60.0, answer_timeout: float = 60.0) -> None:
        self._psycopg = extra("psycopg", "postgres")
        place = without_password(url)
        if place is None:
            raise ValueError(
                "a PostgreSQL url is 'postgresql://user:password@host:port/name'; write the "
                "characters @ : / ? # in a user or a password as %40 %3A %2F %3F %23"
            )
        self.place = place
        self._url, self._patience, self._answer_timeout = url, patience, answer_timeout
        told = self._told_in_url()
        self._settings = {name: value for name, value in _SETTINGS.items() if name not in told}
        self._connection: Connection[Record] | None = None
        self._was_there = False  # whether it has ever been reached
        self._process = os.getpid()
        self.lost = 0

    def ask(self, statement: str, values: Values = ()) -> list[Record]:
        """Run one statement, a transaction of its own, and return its rows."""
        return self.patiently(partial(run_on, statement=statement, values=values))

    def patiently(self, job: Callable[["Connection[Record]"], T]) -> T:
        """Do a job on a connection, again and again where that is lost, and return its result.

        A connection that the job leaves in the middle of a transaction is closed, which undoes it.
        """
        until, pause = 0.0, 0.0
        while True:
            try:
                return self._done(job)
            except self._psycopg.Error as error:
                told = self._told(error)
                now = time.monotonic()
                until = until or now + self._patience
                # The last pause may not be cut short: there is one try after the time is over.
                if not self._was_there or not self._is_lost(error) or now >= until:
                    raise told from error
                self.lost += 1
                time.sleep(min(pause, until - now))
                pause = min(2 * pause or FIRST_PAUSE_S, LONGEST_PAUSE_S)

    def connected(self) -> "Connection[Record]":
        """Return a new connection, where each statement is a transaction and none is prepared."""
        connection: Connection[Record] = self._psycopg.connect(
            self._url,
            autocommit=True,
            prepare_threshold=None,
            client_encoding="UTF8",
            **self._settings,
        )
        # All of its methods wait by this one.
        wait: Any = partial(connection.wait, timeout=self._answer_timeout)
        connection.wait = wait  # type: ignore[method-assign]
        return connection

    def close(self) -> None:
        """Close the connection, if there is one; the next question opens another.

        In a child of the process that opened it, it is only forgotten: it is the parent's.
        """
        connection, self._connection = self._connection, None
        if connection is not None and os.getpid() == self._process:
            with suppress(self._psycopg.Error):
                connection.close()

    def _done(self, job: Callable[["Connection[Record]"], T]) -> T:
        if os.getpid() != self._process:
            raise JournalError(
                f"{self.place} was opened by process {self._process}, and this is its child, "
                f"{os.getpid()}: a connection must not be used after fork(). Make the Journal in "
                "the process that uses it"
            )
        connection = self._connection
        if connection is None or connection.closed:
            connection = self._connection = self.connected()
            self._was_there = True
        idle = self._psycopg.pq.TransactionStatus.IDLE
        try:
            return job(connection)
        finally:
            if connection.pgconn.transaction_status != idle:
                self.close()

    def _told_in_url(self) -> Mapping[str, Any]:
        try:
            return self._psycopg.conninfo.conninfo_to_dict(self._url)  # type: ignore[no-any-return]
        except self._psycopg.Error:
            pass  # what it says quotes the url, and may quote a password
        raise ValueError(
            f"libpq cannot read the url of {self.place}: does a % in it stand for itself (write "
            "%25), or is there a setting that it does not know?"
        )

    def _is_lost(self, error: Any) -> bool:
        state = error.sqlstate
        if state is None:  # the driver's own: there is no connection, or it broke
            return isinstance(error, self._psycopg.OperationalError)
        return state in _LOST or (state[:2] == "08" and NO_BLOCKS not in str(error))

    def _told(self, error: Any) -> JournalError:
        kind = _KINDS.get(error.sqlstate or "", JournalUnavailableError)
        # The details of an error may hold what is in a row.
        what = str(error.diag.message_primary or error).strip() or "it did not answer in time"
        if NO_BLOCKS in what:
            what += " (pool_mode = statement): connect to the server itself for this"
        elif error.sqlstate in _ADVICE:
            what += f". {_ADVICE[error.sqlstate]}"
        return kind(f"{self.place}: {what}")


def run_on(connection: "Connection[Record]", statement: str, values: Values = ()) -> list[Record]:
    """Run a statement on a connection and return its rows, [] for one that gives none."""
    cursor = connection.execute(statement, values or None, binary=True)
    return cursor.fetchall() if cursor.description is not None else []
