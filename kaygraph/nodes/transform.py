"""A node that changes records field by field."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import CoroutineType
from typing import Any, ClassVar, Unpack

from ..errors import Drop, add_note
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
        if isinstance(records, Mapping):
            return self._with_fields(records)
        if isinstance(records, str | bytes) or not isinstance(records, Iterable):
            raise _not_a_record(records)
        changed = []
        for number, record in enumerate(records):
            if not number % TURN:
                await asyncio.sleep(0)
            try:
                changed.append(self._with_fields(record))
            except Drop:
                continue
            except Exception as error:
                add_note(error, f"record {number}, counted from 0")
                raise
        return changed

    def _with_fields(self, given: Any) -> Record:
        if not isinstance(given, Mapping):
            raise _not_a_record(given)
        if self.where is not None and not _called(self.where, given):
            raise Drop
        record = dict(given)
        for field, function in self.fields.items():
            record[field] = _called(function, _value(record, field))
        for field, function in self.compute.items():
            record[field] = _called(function, record)
        if self.rename:
            record = self._renamed(record)
        if self.keep is not None:
            record = {field: _value(record, field) for field in self.keep}
        for field in self.drop:
            _value(record, field)
            del record[field]
        return record

    def _renamed(self, record: Record) -> Record:
        for old, new in self.rename.items():
            _value(record, old)
            if new in record and new not in self.rename:
                raise ValueError(
                    f"rename gives {old!r} the name {new!r}, which another field has: drop or "
                    "rename that one"
                )
        return {self.rename.get(field, field): value for field, value in record.items()}


def _called(function: Function, argument: Any) -> Any:
    value = function(argument)
    if type(value) is CoroutineType:  # as a condition it would be true, as a value unnoticed
        value.close()
        raise TypeError(f"{function!r} returned a coroutine: it must be written 'def'")
    return value


def _value(record: Record, field: str) -> Any:
    if field not in record:
        raise MissingFieldError(field, field, map(str, record))
    return record[field]


def _not_a_record(given: Any) -> TypeError:
    hint = "; reads= names the key that has them" if given is None else ""
    return TypeError(
        f"a record is a mapping of names to values, got a {type(given).__name__}; "
        f"a TransformNode takes one record or a list of them{hint}"
    )
