"""The fields of records: keys of mappings, attributes of objects, and dotted paths."""

import inspect
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from ..errors import KayGraphError, closest

SHOWN = 20  # names in an error
NO_FIELD = len  # a stand-in for a missing attribute: functions and methods are not fields


class MissingFieldError(KayGraphError, LookupError):
    """A record has no field of this name.

    Attributes:
        field: The requested field, a dotted path.
        part: The part of the path that is missing.
        known: The fields that the record has there.
    """

    def __init__(self, field: str, part: str, known: Iterable[str]) -> None:
        self.field, self.part, self.known = field, part, tuple(known)
        super().__init__(field, part, self.known)

    def __str__(self) -> str:
        within = "" if self.field == self.part else f" of {self.field!r}"
        listed = ", ".join(repr(name) for name in self.known[:SHOWN]) or "none"
        more = ", …" if len(self.known) > SHOWN else ""
        return (
            f"The record has no field {self.part!r}{within}. Known fields: "
            f"{listed}{more}.{closest(self.part, self.known)}"
        )


def field_of(record: Any, field: str) -> Any:
    """Return a field of a record; ``field`` may be a dotted path, as in ``"user.age"``.

    A field is a key of a mapping, or a public attribute of any other object, except methods.

    Raises:
        MissingFieldError: The record has no such field.
    """
    return found_at(record, field.split("."), field)


def found_at(record: Any, path: Iterable[str], field: str) -> Any:
    """Return what is at a path of names, which ``field`` is in one."""
    found = record
    for part in path:
        owner = found
        if type(owner) is dict or isinstance(owner, Mapping):
            if part not in owner:
                raise MissingFieldError(field, part, map(str, owner))
            found = owner[part]
        else:
            found = NO_FIELD if part.startswith("_") else getattr(owner, part, NO_FIELD)
            if inspect.isroutine(found):
                raise MissingFieldError(field, part, _attributes(owner))
    return found


def _attributes(owner: Any) -> list[str]:
    """Return the names of the public attributes, without reading them, which could run code."""
    names = [name for name in dir(owner) if not name.startswith("_")]
    static = {name: inspect.getattr_static(owner, name, None) for name in names}
    return [
        name
        for name, found in static.items()
        if isinstance(found, cached_property) or not inspect.isroutine(found)
    ]
