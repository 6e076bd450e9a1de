"""Values as MessagePack, part by part, where the library alone would change or refuse them."""

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from reprlib import Repr
from typing import Any

from .extensions import EXTENSIONS, Extension, Unrecordable, refuse

# Types that the library keeps as they are: the exact types, and not those derived from them.
SCALARS = frozenset({type(None), bool, int, float, str, bytes})

# Levels of nesting; each takes a few frames of the stack, also where the value is read.
DEEPEST = 100

_short = Repr()
_short.maxstring = _short.maxother = 40


class Packer:
    """Packs one value; it cannot be used again after an error.

    Attributes:
        checked: Whether there are values of registered classes in it.
    """

    def __init__(
        self,
        library: Any,
        options: int,
        find: Callable[[type], Extension | None],
        *,
        canonical: bool = False,
    ) -> None:
        self._packb, self._ext, self._options = library.packb, library.Ext, options
        self._find = find
        self._canonical = canonical
        self._depth = 0
        self.checked = False

    def pack(self, value: object) -> bytes:
        """Return a value as MessagePack.

        Raises:
            Unrecordable: It would not come back equal.
        """
        kind = type(value)
        if kind in SCALARS:
            with suppress(TypeError):  # a long int, surrogates
                return self._native(value)
        elif kind is list:
            return self.pack_all(value)  # type: ignore[arg-type]
        elif kind is dict:
            return self._mapping(value)  # type: ignore[arg-type]
        extension = EXTENSIONS.get(kind)
        if extension is None:
            extension = self._find(kind)
            if extension is None:
                refuse(value)
            self.checked = True
        payload = extension.pack(value, self)
        return self._native(self._ext(int(extension.tag), payload))

    def pack_all(self, values: Sequence[object]) -> bytes:
        """Return values as one array, in their order."""
        if SCALARS.issuperset(map(type, values)):
            with suppress(TypeError):
                return self._native(list(values))
        return _array(len(values)) + b"".join(self._parts(values))

    def pack_unordered(self, values: Iterable[object]) -> bytes:
        """Return values as one array; their order does not count."""
        parts = self._parts(values, "{…}")
        if self._canonical:
            parts.sort()
        return _array(len(parts)) + b"".join(parts)

    def pack_pairs(self, items: Iterable[tuple[object, object]], *, ordered: bool = False) -> bytes:
        """Return keys and values as one array, in turns."""
        pairs = self._pairs(items)
        if self._canonical and not ordered:
            pairs.sort()
        return _array(2 * len(pairs)) + b"".join(map(b"".join, pairs))

    def pack_attributes(self, attributes: Mapping[str, object]) -> bytes:
        """Return a mapping of names, whose values stand behind a dot in errors."""
        items = sorted(attributes.items()) if self._canonical else attributes.items()
        pairs = self._pairs(items, ".{}")
        return _map(len(pairs)) + b"".join(map(b"".join, pairs))

    def _native(self, value: object) -> bytes:
        data: bytes = self._packb(value, None, self._options)
        return data

    def _mapping(self, value: dict[object, object]) -> bytes:
        if not {str}.issuperset(map(type, value)) or not _is_text("".join(value)):  # type: ignore[arg-type]
            extension = EXTENSIONS[dict]
            return self._native(self._ext(int(extension.tag), extension.pack(value, self)))
        if SCALARS.issuperset(map(type, value.values())):
            with suppress(TypeError):
                return self._native(value)
        items = sorted(value.items()) if self._canonical else value.items()
        pairs = self._pairs(items)
        return _map(len(pairs)) + b"".join(map(b"".join, pairs))

    def _parts(self, values: Iterable[object], place: str = "[{}]") -> list[bytes]:
        parts: list[bytes] = []
        self._go_down()
        try:
            for value in values:
                parts.append(self.pack(value))
        except Unrecordable as refused:
            refused.steps.append(place.format(len(parts)))
            raise
        self._depth -= 1
        return parts

    def _pairs(
        self, items: Iterable[tuple[object, object]], place: str = "[{}]"
    ) -> list[tuple[bytes, bytes]]:
        pairs: list[tuple[bytes, bytes]] = []
        self._go_down()
        for key, value in items:
            try:
                pairs.append((self.pack(key), self.pack(value)))
            except Unrecordable as refused:
                shown = key if place == ".{}" else _short.repr(key)
                refused.steps.append(place.format(shown))
                raise
        self._depth -= 1
        return pairs

    def _go_down(self) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise Unrecordable(f"contains itself, or is nested more than {DEEPEST} levels deep")


def _is_text(text: str) -> bool:
    """Whether a string can be written in UTF-8, which has no surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _array(length: int) -> bytes:
    """Return the header of an array."""
    if length < 16:
        return bytes((0x90 | length,))
    return (
        struct.pack(">BH", 0xDC, length) if length < 1 << 16 else struct.pack(">BI", 0xDD, length)
    )


def _map(length: int) -> bytes:
    """Return the header of a map."""
    if length < 16:
        return bytes((0x80 | length,))
    return (
        struct.pack(">BH", 0xDE, length) if length < 1 << 16 else struct.pack(">BI", 0xDF, length)
    )
