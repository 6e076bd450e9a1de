"""Joins of lists of records by a key, in time linear in the number of input and output records."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal

from ..errors import KayGraphError
from ._fields import MissingFieldError

Record = Mapping[str, Any]
Key = tuple[Hashable, ...]
How = Literal["inner", "left", "outer"]
Prefer = Literal["first", "last"]


class KeyConflictError(KayGraphError, ValueError):
    """Two inputs of a merge have the same key.

    Attributes:
        key: The key.
        inputs: The names of the two inputs.
    """

    def __init__(self, key: str, inputs: tuple[str, str]) -> None:
        self.key, self.inputs = key, inputs
        super().__init__(key, inputs)

    def __str__(self) -> str:
        first, last = self.inputs
        return (
            f"{first!r} and {last!r} both have {self.key!r}. Rename one, or say which wins: "
            "prefer='first' or prefer='last'"
        )


class RepeatedKeyError(KayGraphError, ValueError):
    """A key occurs several times in both inputs of a join.

    Attributes:
        key: The values of the fields that make the key.
        inputs: The names of the two inputs.
    """

    def __init__(self, fields: Sequence[str], key: Key, inputs: tuple[str, str]) -> None:
        self.fields, self.key, self.inputs = tuple(fields), key, inputs
        super().__init__(self.fields, key, inputs)

    def __str__(self) -> str:
        left, right = self.inputs
        pairs = zip(self.fields, self.key, strict=True)
        what = ", ".join(f"{field} {value!r:.40}" for field, value in pairs)
        return (
            f"{what} occurs several times in {left!r} and in {right!r}: a join would combine each "
            "record of one with each of the other. Add a field to key=, or remove the duplicates "
            "on one side"
        )


def join(
    inputs: Mapping[str, Sequence[Record]], fields: Sequence[str], how: How, prefer: Prefer | None
) -> list[dict[str, Any]]:
    """Return the records of all inputs; records with equal values in ``fields`` are combined.

    Raises:
        MissingFieldError: A record lacks a field of the key.
        TypeError: The value of such a field cannot be a key.
        RepeatedKeyError: A key occurs several times on both sides.
        KeyConflictError: Two records to combine share another field, and ``prefer`` is None.
    """
    (name, records), *others = inputs.items()
    joined = [dict(record) for record in records]
    keys = _keys(name, records, fields)
    for other, more in others:
        joined, keys = _joined(
            (name, joined, keys), (other, more, _keys(other, more, fields)), fields, how, prefer
        )
        name = f"{name} and {other}"
    return joined


Left = tuple[str, Sequence[dict[str, Any]], Sequence[Key]]
Right = tuple[str, Sequence[Record], Sequence[Key]]


def _joined(
    left: Left, right: Right, fields: Sequence[str], how: How, prefer: Prefer | None
) -> tuple[list[dict[str, Any]], list[Key]]:
    names = (left[0], right[0])
    partners: dict[Key, list[Record]] = {}
    for record, key in zip(right[1], right[2], strict=True):
        if None not in key:
            partners.setdefault(key, []).append(record)
    joined: list[dict[str, Any]] = []
    keys: list[Key] = []
    met: set[Key] = set()
    for record, key in zip(left[1], left[2], strict=True):
        found = partners.get(key, ())
        if len(found) > 1 and key in met:
            raise RepeatedKeyError(fields, key, names)
        met.add(key)
        for partner in found:
            joined.append(_together(record, partner, fields, names, prefer))
        if not found and how != "inner":
            joined.append(record)
        keys += [key] * (len(joined) - len(keys))
    if how == "outer":
        for record, key in zip(right[1], right[2], strict=True):
            if None in key or key not in met:
                joined.append(dict(record))
                keys.append(key)
    return joined, keys


def _together(
    left: Record,
    right: Record,
    fields: Sequence[str],
    names: tuple[str, str],
    prefer: Prefer | None,
) -> dict[str, Any]:
    if prefer is None:
        for field in right:
            if field in left and field not in fields:
                raise KeyConflictError(field, names)
    together = {**left, **right}
    return {**together, **left} if prefer == "first" else together


def _keys(name: str, records: Sequence[Record], fields: Sequence[str]) -> list[Key]:
    """Return the key of each record."""
    keys = []
    for number, record in enumerate(records):
        try:
            keys.append(key := tuple(record[field] for field in fields))
            hash(key)
        except KeyError as error:
            missing = MissingFieldError(error.args[0], error.args[0], map(str, record))
            missing.add_note(f"record {number} of {name!r}, counted from 0")
            raise missing from None
        except TypeError as error:
            raise TypeError(
                f"record {number} of {name!r} has a list, a mapping or the like in "
                f"{', '.join(fields)}, which cannot be a key: take a string or a number"
            ) from error
    return keys
