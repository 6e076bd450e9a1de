"""Joins of lists of records by a key, in time linear in the number of input and output records."""

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from itertools import compress
from operator import itemgetter
from typing import Any, Literal, NamedTuple

from ..errors import KayGraphError
from ._fields import MissingFieldError

Record = Mapping[str, Any]
Key = Hashable  # the value of its field, or a tuple of them where it has several
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

    def __init__(
        self, fields: Sequence[str], key: tuple[Hashable, ...], inputs: tuple[str, str]
    ) -> None:
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
    inputs: Mapping[str, list[Any]], fields: Sequence[str], how: How, prefer: Prefer | None
) -> list[dict[str, Any]]:
    """Return the records of all inputs; records with equal values in ``fields`` are combined.

    Raises:
        MissingFieldError: A record lacks a field of the key.
        TypeError: The value of such a field cannot be a key.
        RepeatedKeyError: A key occurs several times on both sides.
        KeyConflictError: Two records to combine share another field, and ``prefer`` is None.
    """
    key_of = itemgetter(*fields)
    try:
        left, *others = [Side(name, records, records) for name, records in inputs.items()]
        if not others:
            hash(tuple(map(key_of, left.records)))
            return [dict(record) for record in left.records]
        for right in others:
            left = _joined(left, right, fields, how, prefer)
    except (KeyError, TypeError):
        for name, records in inputs.items():
            _check_keys(name, records, fields)
        raise
    return left.records


class Side(NamedTuple):
    """One side of a join."""

    name: str
    records: list[Any]
    keyed: list[Any]  # for each keyed record, its partner list


ALONE: Record = {}  # takes the place of a missing partner


def _check_keys(name: str, records: Sequence[Record], fields: Sequence[str]) -> None:
    """Raise an error that names the first record without a valid key."""
    for number, record in enumerate(records):
        try:
            hash(tuple(record[field] for field in fields))
        except KeyError as error:
            missing = MissingFieldError(error.args[0], error.args[0], map(str, record))
            missing.add_note(f"record {number} of {name!r}, counted from 0")
            raise missing from None
        except TypeError as error:
            raise TypeError(
                f"record {number} of {name!r} has a list, a mapping or the like in "
                f"{', '.join(fields)}, which cannot be a key: take a string or a number"
            ) from error


def _joined(
    left: Side, right: Side, fields: Sequence[str], how: How, prefer: Prefer | None
) -> Side:
    shared = set[str]().union(*left.records) & set[str]().union(*right.records)
    shared.difference_update(fields)
    # No other list is built or walked: partners are scattered over memory.
    records, keyed, find = _paired(left, right, fields)
    if how != "inner":
        joined = [
            {**record, **(partner or ALONE)}
            for record, partner in zip(records, find(), strict=True)
        ]
    else:
        joined = [
            {**record, **partner}
            for record, partner in zip(records, find(), strict=True)
            if partner is not None
        ]
        if len(joined) < len(records):
            found = [partner is not None for partner in find()]
            records, keyed = [*compress(records, found)], [*compress(keyed, found)]
    if prefer == "first":
        for record, own in zip(joined, records, strict=True):
            record.update(own)
    elif prefer is None and shared:
        found = [partner for partner in find() if partner is not None or how != "inner"]
        _refuse_conflicts(shared, records, found, (left.name, right.name))
    if how == "outer":
        rest = _unmet(left, right, fields)
        joined += map(dict, rest)
        keyed = keyed + rest
    return Side(f"{left.name} and {right.name}", joined, keyed)


def _paired(
    left: Side, right: Side, fields: Sequence[str]
) -> tuple[list[Any], list[Any], Callable[[], Iterator[Any]]]:
    """Return the left records, the records with their keys, and a finder of their partners, or
    None if there is no partner.

    Raises:
        RepeatedKeyError: A key occurs several times on both sides.
    """
    key_of = itemgetter(*fields)
    only = dict(zip(map(key_of, right.keyed), right.records, strict=True))
    if len(only) < len(right.records):
        return _paired_with_several(left, right, fields)
    for key in _nulls(only, fields):
        del only[key]
    return left.records, left.keyed, lambda: map(only.get, map(key_of, left.keyed))


def _paired_with_several(
    left: Side, right: Side, fields: Sequence[str]
) -> tuple[list[Any], list[Any], Callable[[], Iterator[Any]]]:
    """The same, with a left record repeated for each of its partners."""
    key_of = itemgetter(*fields)
    by_key: dict[Key, list[Any]] = {}
    for record, key in zip(right.records, map(key_of, right.keyed), strict=True):
        by_key.setdefault(key, []).append(record)
    for key in _nulls(by_key, fields):
        del by_key[key]
    places: list[int] = []
    partners: list[Any] = []
    met: set[Key] = set()
    for at, key in enumerate(map(key_of, left.keyed)):
        found = by_key.get(key, [None])
        if len(found) > 1 and key in met:
            values: Any = key if len(fields) > 1 else (key,)
            raise RepeatedKeyError(fields, values, (left.name, right.name))
        met.add(key)
        places += [at] * len(found)
        partners += found
    records, keyed = [left.records[at] for at in places], [left.keyed[at] for at in places]
    return records, keyed, lambda: iter(partners)


def _unmet(left: Side, right: Side, fields: Sequence[str]) -> list[Any]:
    """Return the right records without a partner."""
    keys = list(map(itemgetter(*fields), right.keyed))
    unmet = {*keys}.difference(map(itemgetter(*fields), left.keyed)).union(_nulls(keys, fields))
    return [record for record, key in zip(right.records, keys, strict=True) if key in unmet]


def _nulls(keys: Collection[Key], fields: Sequence[str]) -> list[Key]:
    """Return the keys that match nothing."""
    if len(fields) > 1:
        return [key for key in keys if None in key]  # type: ignore[operator]
    return [None] if None in keys else []


def _refuse_conflicts(
    shared: Collection[str], records: list[Any], partners: list[Any], names: tuple[str, str]
) -> None:
    """Raise if a record and its partner both have one of the fields."""
    for record, partner in zip(records, partners, strict=True):
        for field in partner or ():
            if field in shared and field in record:
                raise KeyConflictError(field, names)
