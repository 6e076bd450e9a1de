"""Group commit: what becomes of rows that wait together."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from kaygraph.nodes import DatabaseUnavailableError
from kaygraph.nodes.sql._group_commit import MOST, GroupCommit, given_back

pytestmark = pytest.mark.anyio


class Table:
    """Groups as they are committed, each when it is let; a negative row is refused."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.error: Exception | None = None
        self.begun = asyncio.Event()
        self.let = asyncio.Event()
        self.let.set()

    async def commit(self, rows: Sequence[Any]) -> Sequence[None]:
        self.groups.append([row[0] for row in rows])
        self.begun.set()
        await self.let.wait()
        if self.error is not None:
            raise self.error
        if any(row[0] < 0 for row in rows):
            raise LookupError("negative")
        return [None] * len(rows)


async def written(group: GroupCommit, number: int) -> Any:
    (result,) = await group.write([(number,)])
    return given_back(result)


async def test_more_rows_than_a_group_takes_are_written_in_order():
    """Nobody is left waiting, and no group is too large."""
    table = Table()
    async with GroupCommit(table.commit).working() as group:
        await asyncio.gather(*(written(group, n) for n in range(2 * MOST + 5)))
    assert [len(rows) for rows in table.groups] == [MOST, MOST, 5]
    assert [n for rows in table.groups for n in rows] == list(range(2 * MOST + 5))


async def test_a_row_that_is_cancelled_while_it_waits_is_not_written():
    """One that is already in progress is written, and so are the others with it."""
    table = Table()
    table.let.clear()
    async with GroupCommit(table.commit).working() as group:
        first = asyncio.ensure_future(written(group, 1))
        await table.begun.wait()
        later = [asyncio.ensure_future(written(group, n)) for n in (2, 3)]
        await asyncio.sleep(0)
        first.cancel()
        later[0].cancel()
        await asyncio.wait([first, later[0]])
        table.let.set()
        await later[1]
    assert table.groups == [[1], [3]]


async def test_a_row_that_is_to_blame_is_found_by_halves():
    """Whatever the error is; the others are written."""
    table = Table()
    async with GroupCommit(table.commit).working() as group:
        results = await asyncio.gather(
            *(written(group, n if n != 5 else -1) for n in range(8)), return_exceptions=True
        )
    assert [type(result) for result in results] == [
        *[type(None)] * 5,
        LookupError,
        *[type(None)] * 2,
    ]
    assert table.groups[1:] == [[0, 1, 2, 3], [4, -1, 6, 7], [4, -1], [4], [-1], [6, 7]]


async def test_a_database_that_is_unavailable_is_not_tried_by_halves():
    """Each row has the error, one of its own that notes may be added to."""
    table = Table()
    table.error = DatabaseUnavailableError("gone")
    table.error.__cause__ = OSError("cut")
    async with GroupCommit(table.commit).working() as group:
        errors = await asyncio.gather(
            *(written(group, n) for n in range(8)), return_exceptions=True
        )
    assert len(table.groups) == 1
    assert len({id(error) for error in errors}) == 8
    for error in errors:
        assert isinstance(error, DatabaseUnavailableError)
        assert str(error) == "gone"
        assert error.__cause__ is table.error.__cause__
