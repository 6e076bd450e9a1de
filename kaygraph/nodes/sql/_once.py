"""What a node writes once if its run is recorded in the same database; see ``journal.once``."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import JournalError
from ...run.frame import FRAME
from ._database import Connected, Written
from ._statement import Bound, Statement
from ._unreadable import Row
from .errors import DatabaseError, DatabaseUnavailableError

if TYPE_CHECKING:
    from ...journal.once import Once, Write


class Recorded(NamedTuple):
    """A row that is recorded in the transaction that writes it."""

    row: Any
    once: "Once"
    write: "Write"


class Commits:
    """Writes the rows of one statement in one transaction; see ``Connected.write``."""

    def __init__(self, database: Connected, statement: Statement) -> None:
        self.database, self._statement = database, statement

    def recorded(self, once: "Once", row: Bound) -> Recorded:
        """Return the row to write if the run is recorded in this database."""
        return Recorded(row, once, once.write([self._statement.text, row]))

    async def __call__(self, rows: Sequence[Any]) -> Sequence[Written]:
        """Write rows, all of which are recorded or none."""
        if type(rows[0]) is not Recorded:
            return await self.database.write(self._statement, rows)
        once = rows[0].once
        with _failing_the_run(once):
            await once.settle(self.database)
            known = [one.write.known for one in rows]
            new = [one for one, entry in zip(rows, known, strict=True) if entry is None]
            results = iter(await self._together(once, new) if new else ())
        return [next(results) if entry is None else once.result(entry) for entry in known]

    async def _together(self, once: "Once", rows: Sequence[Recorded]) -> Sequence[Written]:
        writes = [one.write for one in rows]
        together = once.together(writes)
        try:
            results = await self.database.write(
                self._statement, [one.row for one in rows], together
            )
        except BaseException:
            once.doubt(together, writes)
            raise
        unknown = []
        for write, result in zip(writes, results, strict=True):
            if not isinstance(result, DatabaseError):
                write.done()
            elif isinstance(result, DatabaseUnavailableError):
                unknown.append(write)
        once.doubt(together, unknown)
        return results


async def executed(
    once: "Once",
    database: Connected,
    statements: Sequence[tuple[Statement, Bound]],
    max_rows: int,
) -> list[Row] | int:
    """Run statements in one transaction, recorded; see ``Connected.execute``."""
    write = once.write([[statement.text, bound] for statement, bound in statements])
    with _failing_the_run(once):
        await once.settle(database)
        if write.known is not None:
            return once.result(write.known)  # type: ignore[no-any-return]
        together = once.together([write])
        try:
            result = await database.execute(statements, max_rows, together)
        except BaseException:
            once.doubt(together, [write])
            raise
    write.done()
    return result


def once_of(node: Any) -> "Once | None":
    """Return the recorder of rows together with a node's own, if its run has a journal."""
    frame = FRAME.get(None)
    if frame is None or frame.run.journal is None:
        return None
    once: Once = frame.run.journal.once(node, frame)
    return once


@contextmanager
def _failing_the_run(once: "Once") -> Iterator[None]:
    """End the run if the journal fails."""
    try:
        yield
    except JournalError as error:
        once.fatal(error)
        raise
