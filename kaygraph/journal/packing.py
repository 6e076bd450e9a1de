"""Values as MessagePack, part by part where the library would change or refuse them."""

import struct
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache
from itertools import chain
from reprlib import Repr
from typing import Any

from .extensions import EXTENSIONS, Extension, Unrecordable, refuse

# Types that the library keeps unchanged: exactly these, not their subclasses.
SIMPLE = frozenset({type(None), bool, float, bytes})
SCALARS = SIMPLE | {int, str}
SMALLEST, LARGEST = -(2**63), 2**64 - 1  # the range of MessagePack

# Types that the library would change, and leaves to this module.
KEPT = ("BIG_INT", "DATACLASS", "DATETIME", "ENUM", "SUBCLASS", "TUPLE", "UUID")

# Levels of nesting; each takes a few stack frames, also when the value is read.
DEEPEST = 100

SHOWN = 40  # characters of a key, in errors

_short = Repr()
_short.maxstring = _short.maxother = SHOWN


@cache
def options_of(library: Any, *, canonical: bool) -> int:
    """Return the library's options: it passes through what it would change."""
    options: int = library.OPT_SORT_KEYS if canonical else 0
    for kept in KEPT:
        options |= getattr(library, f"OPT_PASSTHROUGH_{kept}")
    return options


class Packer:
    """Packs values.

    What the library keeps unchanged goes to it whole; the rest becomes extension types first.
    """

    def __init__(
        self,
        library: Any,
        find: Callable[[type], Extension | None],
        *,
        canonical: bool = False,
    ) -> None:
        self._library, self._packb, self._ext = library, library.packb, library.Ext
        self._fragment = library.Fragment
        self._options = options_of(library, canonical=canonical)
        self._find = find
        self.canonical = canonical
        self._depth = 0

    def pack(self, value: object) -> bytes:
        """Return a value as MessagePack.

        Raises:
            Unrecordable: It would not be restored as an equal value.
        """
        return self._native(self._kept(value))

    def canonical_of(self, value: object) -> bytes:
        """Return bytes that are the same for equal values, whatever the order of their sets."""
        return Packer(self._library, self._find, canonical=True).pack(value)

    def pack_all(self, values: Sequence[object]) -> bytes:
        """Return values as one array, in their order."""
        if SCALARS.issuperset(map(type, values)):
            try:
                return self._native(list(values))
            except TypeError:  # a long int, surrogates
                pass
        return self._native(self._parts(values))

    def pack_unordered(self, values: Collection[object]) -> bytes:
        """Return values as one array; their order does not count."""
        if not self.canonical:
            return self._native(self._parts(values, "{…}"))
        parts = [self._native(part) for part in self._parts(values, "{…}")]
        return _array(len(parts)) + b"".join(sorted(parts))

    def pack_pairs(
        self, items: Collection[tuple[object, object]], *, ordered: bool = False
    ) -> bytes:
        """Return keys and values as one array, alternating."""
        pairs = self._pairs(items)
        if ordered or not self.canonical:
            return self._native(list(chain.from_iterable(pairs)))
        parts = sorted((self._native(key), self._native(value)) for key, value in pairs)
        return _array(2 * len(parts)) + b"".join(chain.from_iterable(parts))

    def pack_attributes(self, attributes: Mapping[str, object]) -> bytes:
        """Return attributes by name."""
        if SCALARS.issuperset(map(type, attributes.values())):
            try:
                return self._native(attributes)
            except TypeError:  # a long int, surrogates
                pass
        if not _is_text("".join(attributes)):
            raise Unrecordable("has an attribute whose name is not a string")
        return self._native(self._named(attributes, ".{}"))

    def _native(self, value: object) -> bytes:
        data: bytes = self._packb(value, None, self._options)
        return data

    def _kept(self, value: Any) -> object:
        """Return what the library can pack for a value: itself, or its replacement."""
        kind = type(value)
        if kind in SIMPLE:
            return value
        if kind is str:
            if value.isascii() or _is_text(value):
                return value
        elif kind is int and SMALLEST <= value <= LARGEST:
            return value
        self._depth += 1
        try:
            if self._depth > DEEPEST:
                raise Unrecordable(f"contains itself, or is nested more than {DEEPEST} levels deep")
            if kind is list:
                return self._list(value)
            if kind is dict:
                return self._mapping(value)
            return self._extended(value, EXTENSIONS.get(kind) or self._find(kind))
        finally:
            self._depth -= 1

    def _extended(self, value: object, extension: Extension | None) -> object:
        if extension is None:
            refuse(value)
        return self._ext(extension.tag, extension.pack(value, self))

    def _list(self, values: list[object]) -> object:
        if SCALARS.issuperset(map(type, values)):
            try:
                return self._fragment(self._native(values))
            except TypeError:  # a long int, surrogates
                pass
        return self._parts(values)

    def _mapping(self, value: dict[Any, object]) -> object:
        if not {str}.issuperset(map(type, value)) or not _is_text("".join(value)):
            return self._extended(value, EXTENSIONS[dict])
        if SCALARS.issuperset(map(type, value.values())):
            try:
                return self._fragment(self._native(value))
            except TypeError:  # a long int, surrogates
                pass
        return self._named(value, "[{!r}]")

    def _parts(self, values: Iterable[object], place: str = "[{}]") -> list[object]:
        parts: list[object] = []
        try:
            for value in values:
                parts.append(value if type(value) in SIMPLE else self._kept(value))
        except Unrecordable as refused:
            refused.steps.append(place.format(len(parts)))
            raise
        return parts

    def _named(self, values: Mapping[str, object], place: str) -> dict[str, object]:
        parts: dict[str, object] = {}
        name = ""
        try:
            for name, value in values.items():
                parts[name] = value if type(value) in SIMPLE else self._kept(value)
        except Unrecordable as refused:
            refused.steps.append(place.format(_shortened(name)))
            raise
        return parts

    def _pairs(self, items: Iterable[tuple[object, object]]) -> list[tuple[object, object]]:
        pairs: list[tuple[object, object]] = []
        key: object = None
        try:
            for key, value in items:
                pairs.append((self._kept(key), self._kept(value)))
        except Unrecordable as refused:
            refused.steps.append(f"[{_short.repr(key)}]")
            raise
        return pairs


def _shortened(name: str) -> str:
    return name if len(name) <= SHOWN else f"{name[:SHOWN]}…"


def is_native(value: object) -> bool:
    """Whether all parts of a value that was packed whole are of types that are kept unchanged."""
    kind = type(value)
    if kind is dict:
        parts: Iterable[object] = value.values()  # type: ignore[attr-defined]
    elif kind is list:
        parts = value  # type: ignore[assignment]
    else:
        return kind in SCALARS
    return SCALARS.issuperset(map(type, parts)) or all(map(is_native, parts))


def _is_text(text: str) -> bool:
    """Whether a string can be written in UTF-8, so that it has no surrogates."""
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
