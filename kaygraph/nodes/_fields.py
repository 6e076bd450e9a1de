"""The fields of records: keys of mappings, attributes of objects, with dots into what they hold."""

import inspect
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from ..errors import KayGraphError, closest

SHOWN = 20  # names in an error
NO_FIELD = len  # as any function: methods are no fields


class MissingFieldError(KayGraphError, LookupError):
    """A record has no field of this name.

    Attributes:
        field: The field that was asked for, with its dots.
        part: The part of it that is not there.
        known: The fields that are there in its place.
    """

    def __init__(self, field: str, part: str, known: Iterable[str]) -> None:
        self.field, self.part, self.known = field, part, tuple(known)
        super().__init__(field, part, self.known)

    def __str__(self) -> str:
        within = "" if self.field == self.part else f" of {self.field!r}"
        listed = ", ".join(repr(name) for name in self.known[:SHOWN]) or "none"
        more = ", …" if len(self.known) > SHOWN else ""
        return (
            f"The record has no field {self.part!r}{within}. Fields that are there: "
            f"{listed}{more}.{closest(self.part, self.known)}"
        )


def field_of(record: Any, field: str) -> Any:
    """Return a field of a record, as in ``"user.age"``.

    In a mapping a field is a key; in any other object it is a public attribute, and no method.

    Raises:
        MissingFieldError: It is not there.
    """
    found = record
    for part in field.split("."):
        owner = found
        if isinstance(owner, Mapping):
            if part not in owner:
                raise MissingFieldError(field, part, map(str, owner))
            found = owner[part]
        else:
            found = NO_FIELD if part.startswith("_") else getattr(owner, part, NO_FIELD)
            if inspect.isroutine(found):
                raise MissingFieldError(field, part, _attributes(owner))
    return found


def _attributes(owner: Any) -> list[str]:
    """Return the names of its public attributes; none of them is read, as that may run code."""
    names = [name for name in dir(owner) if not name.startswith("_")]
    static = {name: inspect.getattr_static(owner, name, None) for name in names}
    return [
        name
        for name, found in static.items()
        if isinstance(found, cached_property) or not inspect.isroutine(found)
    ]
