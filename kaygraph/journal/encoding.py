"""Values as bytes, and back: what is restored is equal, with the same types all the way down."""

from collections.abc import Callable, Iterable
from functools import partial
from hashlib import blake2b
from threading import get_ident
from types import FunctionType
from typing import Any
from weakref import WeakSet

from .._extras import extra
from .._formatting import error_text
from ..errors import (
    JournalCorruptError,
    JournalError,
    JournalVersionError,
    NotRecordableError,
    RecordedError,
)
from ..executors.references import Remote
from . import arrays
from .annotations import returned_by
from .errors_as_values import Tolerated
from .extensions import EXTENSIONS, Tag, Unpack, Unrecordable
from .packing import Packer, is_native, options_of
from .registered import kind_of
from .registry import Registry

# Bytes that begin what the library makes of a bytearray, which comes back as bytes, and of its own
# types. Where there are none, none of these is in the value; they occur in other values, too.
DOUBTFUL = bytes((*range(0xC4, 0xCA), *range(0xD4, 0xD9)))

SHOWN = 8  # levels of nesting that an error shows


class Encoding:
    """How values are recorded.

    Values of built-in types and kaygraph's own ``Outcome`` need no setup. Other values need their
    classes to be registered: dataclasses, pydantic models, msgspec Structs, attrs
    classes, enums, named tuples, exceptions, and plain classes.

    Args:
        types: Classes whose values may be recorded.
        given_to: The setting that takes the types, for error messages.
    """

    def __init__(self, types: Iterable[type] = (), given_to: str = "Journal") -> None:
        if isinstance(types, type):
            raise TypeError(
                f"types must be a list of classes, as in types=[{types.__name__}]; got {types!r}"
            )
        self._given_to = given_to
        library = extra("ormsgpack", "journal")
        self._library = library
        self._packb, self._unpackb = library.packb, library.unpackb
        self._options = options_of(library, canonical=False)
        self._sorted = options_of(library, canonical=True)
        self._raised: dict[int, BaseException] = {}  # while an extension is read, by thread
        self._learnt: WeakSet[Callable[..., Any]] = WeakSet()
        self._registry = Registry(library.packb)
        self._unpacks: dict[int, Callable[[bytes, Unpack], Any]] = {
            **{extension.tag: extension.unpack for extension in EXTENSIONS.values()},
            Tag.REGISTERED: self._registry.unpack,
            Tag.ERROR: self._registry.unpack_error,
            Tag.ARRAY: arrays.ARRAY.unpack,
            Tag.ARRAY_SCALAR: arrays.SCALAR.unpack,
        }
        for cls in types:
            self._registry.register(cls)

    def register_returned(self, function: Any) -> None:
        """Register the classes that a function is annotated to return."""
        function = getattr(function, "__func__", function)
        while isinstance(function, partial):
            function = function.func
        if isinstance(function, FunctionType) and function not in self._learnt:
            self._learnt.add(function)
            self._registry.register_named(returned_by(function))

    def encode(self, value: object, what: str) -> bytes:
        """Return a value as bytes.

        In an error, ``what`` says whose value it is, as in "what exec of 'Fetch' returned".

        Raises:
            NotRecordableError: It would not be restored as an equal value.
        """
        try:
            data: bytes = self._packb(value, None, self._options)
            if len(data.translate(None, DOUBTFUL)) == len(data) or is_native(value):
                return data
        except (TypeError, RecursionError):
            pass
        return self._packed(value, what)

    def decode(self, data: bytes) -> Any:
        """Return the value that was encoded.

        Raises:
            JournalError: It cannot be decoded: its class is no longer registered, the data was
                written by a newer kaygraph, or it is damaged.
        """
        try:
            return self._unpackb(data, ext_hook=self._extended)
        except ValueError as error:
            cause = self._raised.pop(get_ident(), error)
            if isinstance(cause, JournalError) or not isinstance(cause, Exception):
                raise cause from None
            text = f"A recorded value cannot be read: {error_text(cause)}."
            raise JournalCorruptError(text) from cause

    def fingerprint(self, value: object, key: bytes = b"", what: str = "the item") -> bytes:
        """Return 16 bytes that are the same in all processes for equal values of the same types.

        The order of a dict or a set is ignored. Fingerprints with different keys differ.

        Raises:
            NotRecordableError: The value is of a type that cannot be recorded.
        """
        try:
            data: bytes = self._packb(value, None, self._sorted)
            if len(data.translate(None, DOUBTFUL)) == len(data) or is_native(value):
                return blake2b(data, digest_size=16, key=key).digest()
        except (TypeError, RecursionError):
            pass
        data = self._packed(value, what, canonical=True)
        return blake2b(data, digest_size=16, key=key).digest()

    def encode_error(self, error: BaseException) -> bytes:
        """Return an error as bytes, with its notes, cause, context and members. It never fails.

        Parts that cannot be recorded are left out, and a note says so.
        """
        try:
            return self._packed(Tolerated(error), "an error")
        except NotRecordableError:  # only the class of such an error can be recorded
            return self._packed(Tolerated(RecordedError(type(error).__name__, "")), "an error")

    def decode_error(self, data: bytes) -> BaseException:
        """Return the error that was encoded; it was not raised here and has no traceback.

        It is of its own class if that is built in, kaygraph's, or registered; otherwise it is a
        RecordedError.
        """
        error: BaseException = self.decode(data)
        return error

    def _packed(self, value: object, what: str, *, canonical: bool = False) -> bytes:
        find = self._registry.find_any if canonical else self._registry.find
        packer = Packer(self._library, find, canonical=canonical)
        try:
            return packer.pack(value)
        except Unrecordable as refused:
            raise NotRecordableError(_refusal(what, refused, self._given_to)) from refused.__cause__
        except Exception as error:  # from a class's own code, or the stack is exhausted
            raise NotRecordableError(
                _refusal(what, Unrecordable(error_text(error)), self._given_to)
            ) from error

    def _extended(self, tag: int, payload: bytes) -> Any:
        """Return the value of an extension type."""
        try:
            unpack = self._unpacks.get(tag)
            if unpack is None:
                raise JournalVersionError(f"A newer kaygraph recorded a value (type {tag})")
            return unpack(payload, self.decode)
        except BaseException as error:  # the library would lose it, even a KeyboardInterrupt
            self._raised[get_ident()] = error
            raise


def _refusal(what: str, refused: Unrecordable, given_to: str) -> str:
    place = "".join(reversed(refused.steps[-SHOWN:])) or "it"
    if len(refused.steps) > SHOWN:
        place += "…"
    advice = _advice(refused, given_to)
    return f"{what[:1].upper()}{what[1:]} cannot be recorded: {place} {refused}.{advice}"


def _advice(refused: Unrecordable, given_to: str) -> str:
    """Return advice on what to type instead."""
    cls = refused.cls
    if cls is None:
        return ""
    if hasattr(cls, "get_secret_value"):
        return " A secret is not recorded: leave it out of the result."
    if issubclass(cls, Remote):
        return " Its value is gone with the run: return the value itself, or run without a journal."
    try:
        issubclass(cls, BaseException) or kind_of(cls)
    except TypeError:
        return " Return it as plain data: numbers, strings, lists, dicts."
    return f" Type: {given_to}(..., types=[{cls.__name__}])."
