"""What a run has put into ``shared``, formatted as JSON."""

import json
import math
from base64 import b64encode
from collections.abc import Callable, Mapping, Set
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

from .._formatting import HIDDEN, redacted, value_text
from ..errors import closest

AS_TEXT = (Decimal, UUID, PurePath)


def result_text(shared: Any, keys: list[str], note: Callable[[str], None]) -> str:
    """Return what ``--output`` asks for, as JSON and a newline.

    ``.`` gives all of ``shared``, one key its value, several keys an object with them. With ``.``,
    texts whose key looks like a secret's are hidden.

    Args:
        shared: The store.
        keys: The requested keys.
        note: Called with each remark about the output, one line each.

    Raises:
        LookupError: ``shared`` has no such key.
    """
    form = _Form(hides=keys == ["."])
    if keys == ["."]:
        value = form.of(shared, "shared")
    else:
        for key in keys:
            if key not in shared:
                there = ", ".join(map(str, shared)) or "nothing"
                raise LookupError(
                    f"shared has no {key!r} at the end of the run.{closest(key, shared)} "
                    f"Its keys are: {there}"
                )
        found = {key: form.of(shared[key], key) for key in keys}
        value = found[keys[0]] if len(keys) == 1 else found
    for place in form.hidden:
        note(f"{place} is hidden; --output {place.rpartition('.')[2]} prints it")
    for place in form.odd:
        note(f"{place} cannot be written as JSON: it is printed as text")
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


class _Form:
    """Converts values to a form that JSON has.

    Attributes:
        odd: The places of values that JSON has no form for.
        hidden: The places of secret texts.
    """

    def __init__(self, *, hides: bool) -> None:
        self._hides = hides
        self._within: set[int] = set()
        self.odd: list[str] = []
        self.hidden: list[str] = []

    def of(self, value: Any, place: str) -> Any:
        """Return the JSON form of the value at a place."""
        if value is None or (isinstance(value, bool | int) and not isinstance(value, Enum)):
            return value
        if isinstance(value, Enum):
            return self.of(value.value, place)
        if isinstance(value, str):
            return str(value)
        if isinstance(value, float):
            return value if math.isfinite(value) else None  # as browsers write it
        if id(value) in self._within:
            return self._text(value, place)
        self._within.add(id(value))
        try:
            return self._of_parts(value, place)
        finally:
            self._within.discard(id(value))

    def _of_parts(self, value: Any, place: str) -> Any:
        if isinstance(value, Mapping):
            return {self._key(key): self._entry(key, one, place) for key, one in value.items()}
        if isinstance(value, list | tuple | Set):
            names = getattr(value, "_fields", None)
            if isinstance(value, tuple) and names is not None:
                return {name: self._entry(name, getattr(value, name), place) for name in names}
            return [self.of(one, place) for one in value]
        if isinstance(value, datetime | date | time):
            return value.isoformat()
        if isinstance(value, AS_TEXT):
            return str(value)
        if isinstance(value, bytes | bytearray):
            return b64encode(value).decode()
        if is_dataclass(value) and not isinstance(value, type):
            return self._of_fields(value, [one.name for one in fields(value)], place)
        for names in ("model_fields", "__struct_fields__", "__attrs_attrs__"):
            listed = getattr(type(value), names, None)
            if listed is not None:
                named = [getattr(one, "name", one) for one in listed]
                return self._of_fields(value, named, place)
        return self._text(value, place)

    def _of_fields(self, value: Any, names: list[str], place: str) -> dict[str, Any]:
        return {name: self._entry(name, getattr(value, name, None), place) for name in names}

    def _entry(self, key: Any, value: Any, place: str) -> Any:
        where = key if place == "shared" else f"{place}.{key}"
        if self._hides and isinstance(value, str) and HIDDEN in redacted(f"{key}='x'"):
            self.hidden.append(str(where))
            return HIDDEN
        return self.of(value, str(where))

    def _key(self, key: Any) -> str:
        return key if isinstance(key, str) else str(key)

    def _text(self, value: Any, place: str) -> str:
        if place not in self.odd:
            self.odd.append(place)
        return value_text(value)
