"""The database of a node, and the interface of a connected one."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote

from ..._addresses import without_password
from ..._validation import check_count, check_flag, check_limit
from ...errors import closest
from ._statement import Bound, Statement
from ._unreadable import Row, UnreadableRow
from .errors import DatabaseError, DatabaseUnavailableError, StatementError

# The result of a row: the rows that its statement returned, None if it returns none, or the error
# why it was not written.
Written = list[Row] | None | DatabaseError

SCHEMES = ("sqlite", "postgresql", "postgres")
_FILE = re.compile(r"/(?:(?!%00)[^?#\0])+")


@dataclass(frozen=True, slots=True, repr=False)
class Database:
    """The database that a node uses, and its time limits.

    Its repr, and every error, omits the password.

    Args:
        url: ``sqlite:///relative.db``, ``sqlite:////absolute.db``, or
            ``postgresql://user:password@host:port/name?setting=...`` as libpq takes it.
        root: A folder that must contain the SQLite file, symlinks resolved. A relative path starts
            there.
        durable: Whether a row in SQLite counts as written only when it is on the disk
            (``synchronous=FULL``). If not, a loss of power may lose the last rows.
        pool_size: The most connections to PostgreSQL of a node in a run.
        connect_timeout: Seconds for one attempt to connect to PostgreSQL, 2 or more, for each
            address that the host has.
        lock_timeout: Seconds to wait for a lock that another transaction holds.
        timeout: Seconds for a transaction, or for the arrival of a batch of rows; None for
            no limit.
    """

    url: str
    root: str | Path | None = None
    durable: bool = True
    pool_size: int = 4
    connect_timeout: float = 10.0
    lock_timeout: float = 10.0
    timeout: float | None = 60.0

    def __post_init__(self) -> None:
        if not isinstance(self.url, str):
            raise TypeError(f"the url of a Database must be text, got {type(self.url).__name__}")
        scheme, colon, rest = self.url.partition("://")
        if not colon or scheme not in SCHEMES:
            known = (
                f"got {scheme + colon!r}.{closest(scheme, SCHEMES)}" if colon else "got no '://'"
            )
            raise ValueError(
                f"the url of a Database must begin with 'sqlite:///' or 'postgresql://', {known}"
            )
        if self.is_sqlite and (not _FILE.fullmatch(rest) or rest == "/:memory:"):
            raise ValueError(
                "a SQLite url must be only the path of a file, as in 'sqlite:///shop.db' or "
                "'sqlite:////srv/shop.db'; a database in memory would be gone with its connection"
            )
        if not self.is_sqlite and without_password(self.url) is None:
            raise ValueError(
                "a PostgreSQL url is like 'postgresql://user:password@host:port/name'; write the "
                "characters @ : / ? # in a user or a password as %40 %3A %2F %3F %23"
            )
        if self.root is not None and not isinstance(self.root, str | Path):
            raise TypeError(f"root must be the path of a folder, got {type(self.root).__name__}")
        if not self.is_sqlite and self.root is not None:
            raise ValueError("root= confines the file of a SQLite database, and this is PostgreSQL")
        check_count("pool_size", self.pool_size)
        for name in ("connect_timeout", "lock_timeout"):
            if check_limit(name, getattr(self, name)) is None:
                raise ValueError(f"{name} must be more than 0 seconds, got None")
        check_limit("timeout", self.timeout)
        check_flag("durable", self.durable)

    @property
    def is_sqlite(self) -> bool:
        return self.url.startswith("sqlite:")

    @property
    def path(self) -> Path:
        """The path of the SQLite file, as given."""
        return Path(self.root or "", unquote(self.url.removeprefix("sqlite:///")))

    def __str__(self) -> str:
        return self.url if self.is_sqlite else str(without_password(self.url))

    def __repr__(self) -> str:
        return f"Database({str(self)!r})"


def check_database(name: str, value: Any) -> Database:
    """Return the Database of a setting: one, or a url."""
    if isinstance(value, Database):
        return value
    if isinstance(value, str):
        return Database(value)
    raise ValueError(
        f"{name} must be a url, as in 'sqlite:///shop.db', or a Database; got "
        f"{type(value).__name__}"
    )


class Part(Protocol):
    """A part of a transaction that is added to the node's own.

    Both take the driver's connection and the results of the node's part: one per row, or one for
    all statements.
    """

    def in_sqlite(self, connection: Any, results: Sequence[Any], /) -> Any: ...

    async def in_postgres(self, connection: Any, results: Sequence[Any], /) -> Any: ...


class Together(Part, Protocol):
    """A part that comes last, for several rows."""

    def alone(self, place: int, /) -> "Together":
        """Return the part for one of the rows."""
        ...


class Connected(Protocol):
    """A database as a node's ``lifespan`` opens it for a run.

    A cancelled or timed-out transaction is rolled back before the error is raised,
    unless it was already committed.
    """

    def batches(
        self, statement: Statement, bound: Bound, batch: int
    ) -> AsyncGenerator[Sequence[Row | UnreadableRow], None]:
        """Yield the rows of a statement that only reads, at most ``batch`` at once."""

    async def execute(
        self,
        statements: Sequence[tuple[Statement, Bound]],
        max_rows: int,
        together: Together | None = None,
    ) -> list[Row] | int:
        """Run all in one transaction; return the last one's rows, or how many rows were changed.

        Args:
            together: What else to do in the transaction, at its end.
        """

    async def write(
        self, statement: Statement, rows: Sequence[Any], together: Together | None = None
    ) -> Sequence[Written]:
        """Run a statement once per row, all in one transaction, and return the result of each.

        Args:
            rows: The parameters of the statement, or items that it accepts unchanged.
            together: What else to do in the transaction, at its end.

        Raises:
            DatabaseUnavailableError: No row is written, unless it was lost while it committed.
            Exception: No row is written, and one of them may be the reason.
        """

    async def has_part(self, part: Part) -> bool:
        """Do a part in its own transaction and return whether it returned True.

        Returns:
            Also False if the database refuses it.

        Raises:
            DatabaseUnavailableError: The answer is unknown.
        """


@asynccontextmanager
async def in_time(database: Database) -> AsyncIterator[None]:
    """Cancel the block when the database's ``timeout`` is over.

    A driver may swallow a cancellation, as ``asyncio.wait_for`` does on Python 3.11; it is raised
    at the end then.
    """
    task = asyncio.current_task()
    assert task is not None
    cancelling = task.cancelling()
    try:
        async with asyncio.timeout(database.timeout) as limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise DatabaseUnavailableError(
            f"{database} was not done within timeout={database.timeout:g} s: look for a lock that "
            "another connection holds, or raise timeout"
        ) from error
    if task.cancelling() > cancelling:
        raise asyncio.CancelledError


def column_names(names: Sequence[str]) -> Sequence[str]:
    """Return the names of a result's columns, which must differ."""
    for name in names:
        if names.count(name) > 1:
            raise StatementError(
                f"the result has two columns {name!r}, but a row is a mapping of its columns: "
                f"rename one of them, as in SELECT ... AS other_{name}"
            )
    return names


def too_many(max_rows: int) -> StatementError:
    return StatementError(
        f"the statement returned more than max_rows={max_rows} rows, and was undone; SQLRead reads "
        "any number in batches"
    )
