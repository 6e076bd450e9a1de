"""Values as MessagePack, part by part, where the library alone would change or refuse them."""

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from reprlib import Repr
from typing import Any

from .extensions import EXTENSIONS, Extension, Unrecordable, refuse

# Types that the library keeps as they are: the exact types, and not those derived from them.
SCALARS = frozenset({type(None), bool, int, float, str, bytes})

# What the library would make something else of, and leaves to this module.
KEPT = ("BIG_INT", "DATACLASS", "DATETIME", "ENUM", "SUBCLASS", "TUPLE", "UUID")

# Levels of nesting; each takes a few frames of the stack, also where the value is read.
DEEPEST = 100

_short = Repr()
_short.maxstring = _short.maxother = 40


@cache
def options_of(library: Any, *, canonical: bool) -> int:
    """Return the library's options: it leaves alone what it would change."""
    options: int = library.OPT_SORT_KEYS if canonical else 0
    for kept in KEPT:
        options |= getattr(library, f"OPT_PASSTHROUGH_{kept}")
    return options


class Packer:
    """Packs values."""

    def __init__(
        self,
        library: Any,
        find: Callable[[type], Extension | None],
        *,
        canonical: bool = False,
    ) -> None:
        self._library, self._packb, self._ext = library, library.packb, library.Ext
        self._options = options_of(library, canonical=canonical)
        self._find = find
        self.canonical = canonical
        self._depth = 0

    def pack(self, value: object) -> bytes:
        """Return a value as MessagePack.

        Raises:
            Unrecordable: It would not come back equal.
        """
        kind = type(value)
        if kind in SCALARS:
            try:
                return self._native(value)
            except TypeError:  # a long int, surrogates
                pass
        self._depth += 1
        try:
            if self._depth > DEEPEST:
                raise Unrecordable(f"contains itself, or is nested more than {DEEPEST} levels deep")
            if kind is list:
                return self.pack_all(value)  # type: ignore[arg-type]
            if kind is dict:
                return self._mapping(value)  # type: ignore[arg-type]
            return self._extended(value, EXTENSIONS.get(kind) or self._find(kind))
        finally:
            self._depth -= 1

    def canonical_of(self, value: object) -> bytes:
        """Return bytes that are the same for equal values, whatever the order of their sets."""
        return Packer(self._library, self._find, canonical=True).pack(value)

    def pack_all(self, values: Sequence[object]) -> bytes:
        """Return values as one array, in their order."""
        if SCALARS.issuperset(map(type, values)):
            try:
                return self._native(list(values))
            except TypeError:  # as below
                pass
        return _array(len(values)) + b"".join(self._parts(values))

    def pack_unordered(self, values: Iterable[object]) -> bytes:
        """Return values as one array; their order does not count."""
        parts = self._parts(values, "{…}")
        if self.canonical:
            parts.sort()
        return _array(len(parts)) + b"".join(parts)

    def pack_pairs(self, items: Iterable[tuple[object, object]], *, ordered: bool = False) -> bytes:
        """Return keys and values as one array, in turns."""
        pairs = self._pairs(items)
        if self.canonical and not ordered:
            pairs.sort()
        return _array(2 * len(pairs)) + b"".join(map(b"".join, pairs))

    def pack_attributes(self, attributes: Mapping[str, object]) -> bytes:
        """Return attributes by name."""
        if SCALARS.issuperset(map(type, attributes.values())):
            try:
                return self._native(attributes)
            except TypeError:  # as below
                pass
        if not _is_text("".join(attributes)):
            raise Unrecordable("has an attribute whose name is no text")
        items = sorted(attributes.items()) if self.canonical else attributes.items()
        pairs = self._pairs(items, ".{}")
        return _map(len(pairs)) + b"".join(map(b"".join, pairs))

    def _native(self, value: object) -> bytes:
        data: bytes = self._packb(value, None, self._options)
        return data

    def _extended(self, value: object, extension: Extension | None) -> bytes:
        if extension is None:
            refuse(value)
        return self._native(self._ext(extension.tag, extension.pack(value, self)))

    def _mapping(self, value: dict[object, object]) -> bytes:
        if not {str}.issuperset(map(type, value)) or not _is_text("".join(value)):  # type: ignore[arg-type]
            return self._extended(value, EXTENSIONS[dict])
        if SCALARS.issuperset(map(type, value.values())):
            try:
                return self._native(value)
            except TypeError:  # as below
                pass
        items = sorted(value.items()) if self.canonical else value.items()
        pairs = self._pairs(items)
        return _map(len(pairs)) + b"".join(map(b"".join, pairs))

    def _parts(self, values: Iterable[object], place: str = "[{}]") -> list[bytes]:
        parts: list[bytes] = []
        try:
            for value in values:
                parts.append(self.pack(value))
        except Unrecordable as refused:
            refused.steps.append(place.format(len(parts)))
            raise
        return parts

    def _pairs(
        self, items: Iterable[tuple[object, object]], place: str = "[{}]"
    ) -> list[tuple[bytes, bytes]]:
        pairs: list[tuple[bytes, bytes]] = []
        for key, value in items:
            try:
                pairs.append((self.pack(key), self.pack(value)))
            except Unrecordable as refused:
                shown = key if place == ".{}" else _short.repr(key)
                refused.steps.append(place.format(shown))
                raise
        return pairs


def is_native(value: object) -> bool:
    """Whether all parts of a value that was packed as a whole are of types that are kept."""
    kind = type(value)
    if kind is dict:
        parts: Iterable[object] = value.values()  # type: ignore[attr-defined]
    elif kind is list:
        parts = value  # type: ignore[assignment]
    else:
        return kind in SCALARS
    return SCALARS.issuperset(map(type, parts)) or all(map(is_native, parts))


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
