"""What a node writes once where its run is recorded in the same database; see ``journal.once``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import JournalError
from ...run.frame import FRAME
from ._database import Connected, Written
from ._statement import Bound, Statement
from ._unreadable import Row

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

    async def row(self, node: Any, row: Bound) -> Any:
        """Return a row as it is written: recorded, if the run is recorded in this database."""
        once = await once_of(node, self.database)
        if once is None:
            return row
        return Recorded(row, once, once.write([self._statement.text, row]))

    async def __call__(self, rows: Sequence[Any]) -> Sequence[Written]:
        """Write rows, all of which are recorded or none."""
        if type(rows[0]) is not Recorded:
            return await self.database.write(self._statement, rows)
        once = rows[0].once
        try:
            await once.settle(self.database)
            known = [one.write.known for one in rows]
            new = [one for one, entry in zip(rows, known, strict=True) if entry is None]
            results = iter(await self._together(once, new) if new else ())
        except JournalError as error:
            once.fatal(error)
            raise
        return [next(results) if entry is None else once.result(entry) for entry in known]

    async def _together(self, once: "Once", rows: Sequence[Recorded]) -> Sequence[Written]:
        together = once.together([one.write for one in rows])
        results = await self.database.write(self._statement, [one.row for one in rows], together)
        once.committed(together)
        return results


async def executed(
    node: Any, database: Connected, statements: Sequence[tuple[Statement, Bound]], max_rows: int
) -> list[Row] | int:
    """Run statements in one transaction; see ``Connected.execute``."""
    once = await once_of(node, database)
    if once is None:
        return await database.execute(statements, max_rows)
    write = once.write([[statement.text, bound] for statement, bound in statements])
    try:
        await once.settle(database)
        if write.known is not None:
            return once.result(write.known)  # type: ignore[no-any-return]
        together = once.together([write])
        result = await database.execute(statements, max_rows, together)
    except JournalError as error:
        once.fatal(error)
        raise
    once.committed(together)
    return result


def is_recorded() -> bool:
    """Whether the run has a journal, in this database or elsewhere."""
    frame = FRAME.get(None)
    return frame is not None and frame.run.journal is not None


async def once_of(node: Any, database: Connected) -> "Once | None":
    """Return what records rows of a node together with them, if its run is recorded there."""
    frame = FRAME.get(None)
    journal = None if frame is None else frame.run.journal
    if frame is None or journal is None:
        return None
    once: Once = journal.once(node, frame)
    return once if await once.is_here(database) else None
