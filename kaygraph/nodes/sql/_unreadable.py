"""Rows with a value that Python cannot represent: each fails alone, when it is read."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .errors import RowUnreadableError

if TYPE_CHECKING:
    from psycopg import AsyncCursor

Row = dict[str, Any]

# Values outside of Python's range, by part of the type name: the first match applies.
_NEVER = "infinity, BC, or after the year 9999"
_BEYOND = {
    "date": _NEVER,
    "timestamp": _NEVER,
    "ts": _NEVER,  # ranges
    "time": "24:00",
    "interval": "of more than 999,999,999 days",
    "json": "nested too deeply, or with a number of more than 4,300 digits",
}


class UnreadableRow(Mapping[str, Any]):
    """A row of a query that raises its error when it is read."""

    def __init__(self, reason: str, cause: BaseException | None = None) -> None:
        self._reason, self._cause = reason, cause

    def error(self) -> RowUnreadableError:
        """Return the error to raise: a new one each time, since notes are added to it."""
        error = RowUnreadableError(self._reason)
        error.__cause__ = self._cause
        return error

    def __getitem__(self, _: object) -> Any:
        raise self.error()

    def __iter__(self) -> Iterator[str]:
        raise self.error()

    def __len__(self) -> int:
        raise self.error()

    def __repr__(self) -> str:
        return "<row with a value that cannot be read>"


def of_sqlite(place: str, names: list[str]) -> UnreadableRow:
    held = ", ".join(f"column {name!r} contains bytes that are not UTF-8" for name in names)
    casts = ", ".join(f"CAST({name} AS BLOB) AS {name}" for name in names)
    return UnreadableRow(f"{place}: {held}; read them unchanged, as in SELECT {casts}")


def each_of_postgres(
    place: str, cursor: "AsyncCursor[Row]", transformer: Any
) -> Iterator[Row | UnreadableRow]:
    """Yield the rows of a result that contains an unreadable one, value by value."""
    result = cursor.pgresult
    assert result is not None
    names = [column.name for column in cursor.description or ()]
    loads = [
        transformer.get_loader(result.ftype(at), result.fformat(at)).load
        for at in range(result.nfields)
    ]
    for number in range(result.ntuples):
        row: Row = {}
        held: dict[str, str] = {}
        cause = None
        for at, (name, load) in enumerate(zip(names, loads, strict=True)):
            value = result.get_value(number, at)
            try:
                row[name] = None if value is None else load(value)
            except Exception as error:
                cause = cause or error
                held[name] = _kind(cursor.adapters.types.get(result.ftype(at)), result.ftype(at))
        yield _of_postgres(place, held, cause) if held else row


def _of_postgres(place: str, held: dict[str, str], cause: Exception | None) -> UnreadableRow:
    """``held``: the type of the value, by the name of its column."""
    texts = []
    for name, kind in held.items():
        beyond = next((f" ({what})" for known, what in _BEYOND.items() if known in kind), "")
        texts.append(f"column {name!r} contains a {kind} that Python cannot represent{beyond}")
    casts = ", ".join(f"{name}::text AS {name}" for name in held)
    reason = f"{place}: {', '.join(texts)}; read it as text, as in SELECT {casts}"
    return UnreadableRow(reason, cause)


def _kind(info: Any, oid: int) -> str:
    if info is None:
        return f"value of type {oid}"
    return f"{info.name}[]" if info.array_oid == oid else str(info.name)
