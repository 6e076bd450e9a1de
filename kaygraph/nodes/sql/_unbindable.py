"""Values that a database cannot represent: which one it is, and what to bind instead."""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from ._statement import Bound, Statement


def unbindable(
    statement: Statement, bound: Bound, bind: Callable[[Any], object], database: str
) -> str | None:
    """Say which of the values cannot be bound, or None if all can.

    Args:
        bind: Raises an error for a value that cannot be bound.
        database: Whose types they are.
    """
    if isinstance(bound, Mapping):
        named = [(statement.style[1].format(name), value) for name, value in bound.items()]
    else:
        named = [(f"placeholder {at}", value) for at, value in enumerate(bound or (), 1)]
    for name, value in named:
        try:
            if value is not None:
                bind(value)
        except Exception as error:
            if isinstance(value, str | int) and not isinstance(value, Enum):
                return f"the value of {name}: {error}"
            kind, advice = type(value).__name__, _advice(value, database == "SQLite")
            return f"the value of {name} is of the type {kind}, which {database} lacks; {advice}"
    return None


def _advice(value: object, sqlite: bool) -> str:
    if isinstance(value, Enum):
        return "bind its .value"
    if isinstance(value, set | frozenset):
        return "bind json.dumps(list(value))" if sqlite else "bind list(value)"
    if isinstance(value, dict | list | tuple):
        return "bind json.dumps(value)" if sqlite else "bind psycopg.types.json.Jsonb(value)"
    return "bind str(value), or a number or bytes instead"
