"""A log in PostgreSQL that is written in a transaction of another connection, together with the
rest of that transaction."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .._extras import extra
from ..errors import JournalFullError
from . import tables
from .server import Record
from .store import checksum, taken_over

if TYPE_CHECKING:
    from psycopg import AsyncConnection

LARGEST = 2**30 - 2**20  # the server's limit, less room for the rest of a message


class Within:
    """What is done in a transaction begun on another connection to a store's database.

    Args:
        place: The store's name in errors.
        clock: Returns the time, in seconds since 1970.
    """

    def __init__(self, place: str, clock: Callable[[], float]) -> None:
        self._place, self._clock = place, clock

    async def append(
        self, connection: "AsyncConnection[Any]", run: str, epoch: int, blob: bytes
    ) -> int:
        """Write the next row and return its number; it is recorded on commit.

        Raises:
            RunTakenOverError: The run has another epoch, or is gone.
        """
        check_size(self._place, blob)
        if not await _found(connection, tables.LOCK, (run, epoch)):
            raise taken_over(run)
        number = int((await _found(connection, tables.LAST, (run,)))[0][0]) + 1
        at = self._clock()
        digest = checksum(run, number, at, blob)
        await connection.execute(tables.PUT, (run, number, at, digest, blob))
        return number

    async def holds(
        self, connection: "AsyncConnection[Any]", run: str, number: int, blob: bytes
    ) -> bool:
        """Whether a row that ``append`` wrote was committed.

        It waits for the end of a transaction that may be about to commit it.
        """
        await _found(connection, tables.LOCK_ANY, (run,))
        return await _found(connection, tables.HOLDS, (blob, run, number)) == [(True,)]

    async def is_here(
        self, connection: "AsyncConnection[Any]", run: str, epoch: int, seed: bytes
    ) -> bool:
        """Whether the connection is to the database in which a run was claimed just now."""
        return bool(await _found(connection, tables.IS_HERE, (run, seed, epoch)))


def check_size(place: str, data: bytes) -> None:
    """Refuse what the server cannot store as one value."""
    if len(data) > LARGEST:
        raise JournalFullError(
            f"{place}: {len(data):,} bytes are more than PostgreSQL takes in one value, {LARGEST:,}"
        )


async def _found(
    connection: "AsyncConnection[Any]", statement: str, values: tuple[object, ...]
) -> list[Record]:
    rows = extra("psycopg", "postgres").rows
    async with connection.cursor(binary=True, row_factory=rows.tuple_row) as cursor:
        await cursor.execute(statement, values)
        found: list[Record] = await cursor.fetchall()
        return found
