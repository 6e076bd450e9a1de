"""Values as bytes, and back: what comes back is equal, of the same types all the way down."""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

from .._extras import extra
from ..errors import JournalCorruptError, JournalVersionError, NotRecordableError
from .extensions import EXTENSIONS, Extension, Unrecordable
from .packing import Packer

# Bytes that begin what the library makes of a bytearray, which comes back as bytes, and of its own
# types. Where there are none, none of these is in the value; they occur in other values, too.
DOUBTFUL = bytes((*range(0xC4, 0xCA), *range(0xD4, 0xD9)))

KEPT = (
    "BIG_INT",
    "DATACLASS",
    "DATETIME",
    "ENUM",
    "SUBCLASS",
    "TUPLE",
    "UUID",
)

SHOWN = 8  # levels of the place that an error names


class Encoding:
    """How values are recorded.

    Values of built-in types need nothing. What else may be recorded, apart from kaygraph's own
    ``Outcome``, is given by its classes: dataclasses, pydantic models, msgspec Structs, attrs
    classes, enums, named tuples, exceptions, and plain classes.

    Args:
        types: Classes whose values may be recorded.
    """

    def __init__(self, types: Iterable[type] = ()) -> None:
        library = extra("ormsgpack", "journal")
        self._library = library
        self._packb, self._unpackb = library.packb, library.unpackb
        self._options = 0
        for kept in KEPT:
            self._options |= getattr(library, f"OPT_PASSTHROUGH_{kept}")
        self._sorted = self._options | library.OPT_SORT_KEYS
        self._extensions = {int(way.tag): way.unpack for way in EXTENSIONS.values()}

    def encode(self, value: object, what: str) -> bytes:
        """Return a value as bytes.

        ``what`` says in an error whose value it is, as in "what exec of 'Fetch' returned".

        Raises:
            NotRecordableError: It would not come back equal.
        """
        try:
            data: bytes = self._packb(value, None, self._options)
            if len(data.translate(None, DOUBTFUL)) == len(data):
                return data
        except TypeError:
            pass
        return self._packed(value, what)

    def decode(self, data: bytes) -> Any:
        """Return the value that was encoded.

        Raises:
            JournalError: It cannot be decoded: a class that is no longer registered, or data that
                a newer kaygraph has written, or that is damaged.
        """
        try:
            return self._unpackb(data, ext_hook=self._extended)
        except ValueError as error:
            raise JournalCorruptError(f"A recorded value is damaged: {error}.") from error

    def fingerprint(self, value: object, key: bytes = b"", what: str = "the item") -> bytes:
        """Return 16 bytes that are the same for equal values of the same types, in all processes.

        The order of a dict or a set does not count. Fingerprints with different keys differ.

        Raises:
            NotRecordableError: The value is of a type that cannot be recorded.
        """
        try:
            data: bytes = self._packb(value, None, self._sorted)
            if len(data.translate(None, DOUBTFUL)) == len(data):
                return blake2b(data, digest_size=16, key=key).digest()
        except TypeError:
            pass
        data = self._packed(value, what, canonical=True)
        return blake2b(data, digest_size=16, key=key).digest()

    def _packed(self, value: object, what: str, *, canonical: bool = False) -> bytes:
        options = self._sorted if canonical else self._options
        packer = Packer(self._library, options, self._find, canonical=canonical)
        try:
            return packer.pack(value)
        except Unrecordable as refused:
            raise NotRecordableError(_refusal(what, refused)) from refused.__cause__
        except RecursionError:
            raise NotRecordableError(f"{what} cannot be recorded: it is nested too deep") from None

    def _find(self, cls: type) -> Extension | None:
        return None

    def _extended(self, tag: int, payload: bytes) -> Any:
        unpack = self._extensions.get(tag)
        if unpack is None:
            raise JournalVersionError(
                f"A value was recorded by a newer kaygraph (its type: {tag})."
            )
        return unpack(payload, self.decode)


def _refusal(what: str, refused: Unrecordable) -> str:
    place = "".join(reversed(refused.steps[-SHOWN:])) or "it"
    if len(refused.steps) > SHOWN:
        place += "…"
    advice = ""
    if refused.cls is not None:
        advice = f" Type: Journal(..., types=[{refused.cls.__name__}])."
    return f"{what[:1].upper()}{what[1:]} cannot be recorded: {place} {refused}.{advice}"
