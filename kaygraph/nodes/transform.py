"""A node that changes records field by field."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from types import CoroutineType
from typing import Any, ClassVar, Unpack

from ..errors import Drop, add_note
from ..node.blocks import DROPPED
from ..node.node import Node
from ..node.settings import Checks
from ._fields import MissingFieldError
from ._references import (
    Function,
    check_plain_function,
    check_plain_functions,
    keep_from_binding,
)
from ._store import Stored, StoreSettings, configure

Record = dict[str, Any]
Change = Callable[[Any], Record]

TURN = 1024  # records between two points at which other tasks of the loop can run


def check_names(name: str, value: Any) -> Any:
    """Return the field names in ``value``, one or several, as a tuple."""
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, list | tuple | set | frozenset) or not all(
        isinstance(field, str) for field in names
    ):
        raise ValueError(f"{name} must be a field or a tuple of fields, got {value!r}")
    return tuple(dict.fromkeys(names))


def check_rename(name: str, value: Any) -> Any:
    """Return a mapping of old names to new ones; no new name may occur twice."""
    if not isinstance(value, Mapping) or not all(
        isinstance(field, str) for pair in value.items() for field in pair
    ):
        raise ValueError(
            f"{name} must be a mapping of old names to new ones, as in "
            f"{name}={{'mail': 'email'}}; got {value!r}"
        )
    if len(set(value.values())) < len(value):
        raise ValueError(f"{name} gives two fields the same name: {value!r}")
    return dict(value)


class TransformNode(Stored, Node[Any, Any]):
    """Changes one record (a mapping), each record of a list, or the items of a pipeline.

    The steps have this order: ``where``, ``fields``, ``compute``, ``rename``, ``keep``, ``drop``.
    Input records are never changed: the result is a new dict, or a list of new dicts in the order
    of the input.

    The functions should be short and must be plain ``def`` functions. They run on the event loop,
    and other tasks get a turn every 1,024 records; ``run_in="thread"`` moves them to a thread.

    Args:
        where: ``(record) -> bool``. Records for which it is false are left out of a list or a
            pipeline; for a single record outside of a pipeline, ``Drop`` is raised. Any of the
            functions may raise ``Drop`` too.
        fields: A function per field, which gets the old value and returns the new one.
        compute: A function per field, new or old, which gets the whole record, with the changes of
            the functions before it, and returns the value of the field.
        rename: A mapping of old names to new ones. A name that another field has is refused.
        keep: The only fields to keep.
        drop: Fields to leave out.
        reads: The key of the shared store with the record or the records.
        writes: A key for the result.

    Every function may be given as ``"module:function"``. The other settings are those of Node.

    Raises:
        MissingFieldError: From a run, when a record lacks a field that is named here.
    """

    where: Callable[[Any], Any] | None = None
    fields: Mapping[str, Function] = {}
    compute: Mapping[str, Function] = {}
    rename: Mapping[str, str] = {}
    keep: Sequence[str] | None = None
    drop: Sequence[str] = ()
    _change: Change | None = None

    _accepts: ClassVar[frozenset[str]] = Node._accepts | {
        "reads", "writes", "where", "fields", "compute", "rename", "keep", "drop",
    }  # fmt: skip
    _checks: ClassVar[Checks] = {
        "where": check_plain_function,
        "fields": check_plain_functions,
        "compute": check_plain_functions,
        "rename": check_rename,
        "keep": check_names,
        "drop": check_names,
    }

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        keep_from_binding(cls, "where")

    def __init__(
        self,
        *,
        where: Callable[[Any], Any] | str | None = None,
        fields: Mapping[str, Function | str] | None = None,
        compute: Mapping[str, Function | str] | None = None,
        rename: Mapping[str, str] | None = None,
        keep: str | Sequence[str] | None = None,
        drop: str | Sequence[str] | None = None,
        **settings: Unpack[StoreSettings],
    ) -> None:
        own = {
            "where": where, "fields": fields, "compute": compute, "rename": rename, "keep": keep,
            "drop": drop,
        }  # fmt: skip
        configure(self, own, settings)

    async def exec(self, records: Any, /) -> Record | list[Record]:
        """Return the changed record, or the list of changed records."""
        change = self._change or self._composed()
        if type(records) is dict or isinstance(records, Mapping):
            record = change(records)
            if record is DROPPED:
                raise Drop
            return record
        if isinstance(records, str | bytes) or not isinstance(records, Iterable):
            raise _not_a_record(records)
        changed: list[Record] = []
        source, left_out, asked = iter(records), 0, 0
        while len(changed) + left_out == asked:  # as many came as were asked for
            await asyncio.sleep(0)
            asked += TURN
            for record in islice(source, TURN):
                try:
                    made = change(record)
                except Drop:
                    made = DROPPED
                except Exception as error:
                    number = len(changed) + left_out
                    add_note(error, f"record {number}, counted from 0")
                    raise
                if made is DROPPED:
                    left_out += 1
                else:
                    changed.append(made)
        return changed

    async def exec_block(self, items: list[Any]) -> Iterator[Any]:
        if set(map(type, items)) == {dict}:
            return map(self._change or self._composed(), items)
        return iter((await self.exec(items[0]),))  # may be a list of records

    def _composed(self) -> Change:
        """Compose the function that changes a record, and keep it until a setting changes."""
        change = self.__dict__["_change"] = _change_of(
            self.where, self.fields, self.compute, self.rename, self.keep, self.drop
        )
        return change

    def _changed(self, names: Collection[str]) -> None:
        self.__dict__.pop("_change", None)
        super()._changed(names)

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        state.pop("_change", None)  # no pickle takes a function within a function
        return state


def _change_of(
    where: Function | None,
    fields: Mapping[str, Function],
    compute: Mapping[str, Function],
    rename: Mapping[str, str],
    keep: Sequence[str] | None,
    drop: Sequence[str],
) -> Change:
    """Return one function with all steps; a step that is not used costs it a test.

    It returns DROPPED for a record that is left out.
    """

    reshapes = bool(rename or drop or keep is not None)
    changes, computed = tuple(fields.items()), tuple(compute.items())

    def change(given: Any) -> Record:
        is_dict = type(given) is dict
        if not is_dict and not isinstance(given, Mapping):
            raise _not_a_record(given)
        if where is not None and not _wanted(where, given):
            return DROPPED  # type: ignore[no-any-return]
        record = given.copy() if is_dict else dict(given)
        if changes:
            field = ""
            try:
                for field, function in changes:
                    value = record[field] = function(record[field])
                    if type(value) is CoroutineType:  # it would go unnoticed as a value
                        raise _not_plain(function, value)
            except KeyError:
                if field in record:  # the record's own field, changed by the function
                    raise
                raise _missing(record, field) from None
        for field, function in computed:
            value = record[field] = function(record)
            if type(value) is CoroutineType:
                raise _not_plain(function, value)
        return _reshaped(record, rename, keep, drop) if reshapes else record

    return change


def _wanted(where: Function, record: Mapping[Any, Any]) -> Any:
    wanted = where(record)
    if type(wanted) is CoroutineType:  # a coroutine would count as true
        raise _not_plain(where, wanted)
    return wanted


def _reshaped(
    record: Record, rename: Mapping[str, str], keep: Sequence[str] | None, drop: Sequence[str]
) -> Record:
    if rename:
        record = _renamed(record, rename)
    if keep is not None:
        kept: Record = {}
        for field in keep:
            if field not in record:
                raise _missing(record, field)
            kept[field] = record[field]
        record = kept
    for field in drop:
        if field not in record:
            raise _missing(record, field)
        del record[field]
    return record


def _renamed(record: Record, rename: Mapping[str, str]) -> Record:
    for old, new in rename.items():
        if old not in record:
            raise _missing(record, old)
        if new in record and new not in rename:
            raise ValueError(
                f"rename gives {old!r} the name {new!r}, which another field has: drop or rename "
                "that one"
            )
    return {rename.get(field, field): value for field, value in record.items()}


def _not_plain(function: Function, value: "CoroutineType[Any, Any, Any]") -> TypeError:
    """Return what to raise about a function that hides an ``async def``."""
    value.close()
    return TypeError(f"{function!r} returned a coroutine: it must be written 'def'")


def _missing(record: Record, field: str) -> MissingFieldError:
    return MissingFieldError(field, field, map(str, record))


def _not_a_record(given: Any) -> TypeError:
    hint = "; reads= names the key that has them" if given is None else ""
    return TypeError(
        f"a record is a mapping of names to values, got a {type(given).__name__}; "
        f"a TransformNode takes one record or a list of them{hint}"
    )
