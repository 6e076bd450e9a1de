"""A PostgreSQL server, with a connection that is restored when it is lost."""

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

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 1.0  # between attempts to connect; each is twice the last

# By SQLSTATE; see the appendix "Error Codes" of PostgreSQL.
_KINDS = {
    "53100": JournalFullError,
    "55P03": JournalLockedError,
    "XX001": JournalCorruptError,
    "XX002": JournalCorruptError,
}
# The connection has ended, or the transaction was undone: the question may be asked again.
_LOST = {
    "25P03",  # idle in a transaction for too long
    "25P04",  # or in it
    "40001",  # could not be serialized
    "40P01",  # deadlock
    "53300",  # too many connections
    "57014",  # cancelled by someone
    "57P01",  # shutdown
    "57P02",  # crash
    "57P03",  # not ready yet
    "57P05",  # idle for too long
}
_ADVICE = {
    "25006": "Nothing was written. Connect to the primary, as by target_session_attrs=primary",
    "42501": "Have its owner GRANT the rights, or set search_path to a schema of your own",
    "53100": "The transaction was undone. Free some space, and resume the run",
    "55P03": "Nothing was written. Look for a process that has stopped in the middle of a "
    "transaction, or try again",
}
NO_BLOCKS = "transaction blocks not allowed"  # PgBouncer, with pool_mode = statement

# Unless the url has other settings: detect a peer that vanished silently.
_SETTINGS = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}


class Server:
    """A PostgreSQL server that answers one question after another.

    Nothing is assumed for longer than a transaction, so a pooler may be in between.

    Args:
        url: As libpq takes it.
        patience: Seconds to keep trying after a connection was lost. The lost question is asked
            again, and may have been executed before: callers must allow for that. The first attempt
            to connect is the only one: a wrong address is reported immediately.
        answer_timeout: Seconds that an answer may take before the connection counts as lost.

    Attributes:
        lost: How often a question was asked again.
    """

    def __init__(self, url: str, patience: float = 60.0, answer_timeout: float = 60.0) -> None:
        self._psycopg = extra("psycopg", "postgres")
        place = without_password(url)
        if place is None:
            raise ValueError(
                "a PostgreSQL url is like 'postgresql://user:password@host:port/name'; write the "
                "characters @ : / ? # in a user or a password as %40 %3A %2F %3F %23"
            )
        self.place = place
        self._url, self._patience, self._answer_timeout = url, patience, answer_timeout
        given = self._settings_in_url()
        self._settings = {name: value for name, value in _SETTINGS.items() if name not in given}
        self._connection: Connection[Record] | None = None
        self._was_there = False  # whether it has ever been reached
        self._process = os.getpid()
        self.lost = 0

    def ask(self, statement: str, values: Values = ()) -> list[Record]:
        """Run one statement, a transaction of its own, and return its rows."""
        return self.patiently(partial(run_on, statement=statement, values=values))

    def patiently(self, job: Callable[["Connection[Record]"], T]) -> T:
        """Do a job on a connection, repeating it if the connection is lost, and return its result.

        A connection that the job leaves in a transaction is closed, which undoes the transaction.
        """
        until, pause = 0.0, 0.0
        while True:
            try:
                return self._done(job)
            except self._psycopg.Error as error:
                failure = self._error_of(error)
                now = time.monotonic()
                until = until or now + self._patience
                # The last pause is not shortened: one attempt follows the end of the time.
                if not self._was_there or not self._is_lost(error) or now >= until:
                    raise failure from error
                self.lost += 1
                time.sleep(min(pause, until - now))
                pause = min(2 * pause or FIRST_PAUSE_S, LONGEST_PAUSE_S)

    def connected(self) -> "Connection[Record]":
        """Return a new connection, with a transaction per statement and none prepared."""
        connection: Connection[Record] = self._psycopg.connect(
            self._url,
            autocommit=True,
            prepare_threshold=None,
            client_encoding="UTF8",
            **self._settings,
        )
        # All of its methods wait with this one.
        wait: Any = partial(connection.wait, timeout=self._answer_timeout)
        connection.wait = wait  # type: ignore[method-assign]
        return connection

    def close(self) -> None:
        """Close the connection, if there is one; the next question opens a new one.

        In a forked child it is only forgotten: it belongs to the parent.
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

    def _settings_in_url(self) -> Mapping[str, Any]:
        try:
            return self._psycopg.conninfo.conninfo_to_dict(self._url)  # type: ignore[no-any-return]
        except self._psycopg.Error:
            pass  # its message quotes the url, and may quote a password
        raise ValueError(
            f"libpq cannot read the url of {self.place}: write a literal % as %25, and check the "
            "names of its settings"
        )

    def _is_lost(self, error: Any) -> bool:
        state = error.sqlstate
        if state is None:  # from the driver: there is no connection, or it broke
            return isinstance(error, self._psycopg.OperationalError)
        return state in _LOST or (state[:2] == "08" and NO_BLOCKS not in str(error))

    def _error_of(self, error: Any) -> JournalError:
        kind = _KINDS.get(error.sqlstate or "", JournalUnavailableError)
        # The details of an error may contain values of a row.
        what = str(error.diag.message_primary or error).strip() or "it did not answer in time"
        if NO_BLOCKS in what:
            what += " (pool_mode = statement): connect to the server itself for this"
        elif error.sqlstate in _ADVICE:
            what += f". {_ADVICE[error.sqlstate]}"
        return kind(f"{self.place}: {what}")


def run_on(connection: "Connection[Record]", statement: str, values: Values = ()) -> list[Record]:
    """Run a statement on a connection; return its rows, [] if it has none."""
    cursor = connection.execute(statement, values or None, binary=True)
    return cursor.fetchall() if cursor.description is not None else []
