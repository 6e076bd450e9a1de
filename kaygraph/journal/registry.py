"""The classes whose values may be recorded, and those values as extension types."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import is_dataclass
from functools import cache
from operator import is_
from typing import Any

from .._formatting import error_text
from ..errors import JournalError
from ..executors.rebuilding import blank
from ..groups.grouping import Part, Several
from ..outcome import Outcome
from . import arrays
from .annotations import classes_in
from .errors_as_values import (
    KNOWN,
    Tolerated,
    own_class,
    own_name,
    pack_error,
    unpack_error,
)
from .extensions import EXTENSIONS, Extension, Packing, Tag, Unpack, Unrecordable
from .registered import Kind, ObjectKind, Parts, declares_fields, kind_of, name_of

NOTHING, EMPTY_MAP, EMPTY_ARRAY = b"\xc0", b"\x80", b"\x90"


class Registry:
    """The classes that are registered, by class and by name."""

    def __init__(self, packb: Callable[[object], bytes]) -> None:
        self._packb = packb
        self._names: dict[type, str] = {}
        self._classes: dict[str, type] = {}
        self._given: set[str] = set()
        self._kinds: dict[str, Kind] = {}
        self._declared: dict[type, Extension] = {}
        self._extensions: dict[type, Extension] = {
            Tolerated: Extension(Tag.ERROR, self._pack_tolerated, self.unpack_error)
        }
        for cls, kind in own_kinds().items():
            self._add(cls, f"kaygraph:{cls.__name__}", kind, checked=False)

    def register(self, cls: type) -> None:
        """Register a class, and the classes that its fields name.

        Raises:
            TypeError: Its values cannot be recorded.
            ValueError: Another class of the same name is registered.
        """
        if not isinstance(cls, type):
            raise TypeError(f"types must be classes, got {cls!r}")
        try:
            self._register(cls)
        except TypeError as error:
            raise TypeError(f"types cannot contain {cls.__qualname__}: {error}") from error
        self._given.add(name_of(cls))
        self.register_named(cls)

    def register_named(self, annotation: object) -> None:
        """Register the classes that an annotation names, if their values can be recorded."""
        for cls in classes_in(annotation):
            name = name_of(cls)
            # Defined again, as in a notebook; or two functions each have a class of this name.
            is_new = self._classes.get(name, cls) is not cls
            if is_new and name not in self._given and "<locals>" not in name:
                del self._classes[name]
            with suppress(TypeError, ValueError):
                self._register(cls)

    def find(self, cls: type) -> Extension | None:
        """Return how values of a class are recorded, or None if it is not registered."""
        extension = self._extensions.get(cls)
        if extension is not None:
            return extension
        if issubclass(cls, BaseException):
            return Extension(Tag.ERROR, self._pack_error, self.unpack_error)
        if cls.__module__ == "numpy":
            return arrays.extension_of(cls)
        if self._is_own_result(cls):
            self._add(cls, name_of(cls), OwnKind(cls), checked=False)
        return self._extensions.get(cls)

    def find_any(self, cls: type) -> Extension | None:
        """Return how values of a class are compared; it need not be registered.

        A class must declare what it consists of, as a dataclass does: other objects may hold
        something that differs each time.
        """
        extension = self.find(cls) or self._declared.get(cls)
        if extension is None and declares_fields(cls):
            try:
                extension = self._extension(cls, name_of(cls), kind_of(cls), checked=False)
            except TypeError:
                return None
            self._declared[cls] = extension
        return extension

    def unpack(self, data: bytes, unpack: Unpack) -> Any:
        """Return a value of a registered class.

        Raises:
            JournalError: The class is not registered, or its fields have changed.
        """
        name, content, fields, others, unset = unpack(data)
        name = self._known(name)
        shown = name.replace(":", ".")
        own = None if name in self._kinds else own_class(name)
        if own is not None and self.find(own) is not None:
            name = name_of(own)
        if name not in self._kinds:
            raise JournalError(
                f"The journal contains a value of the class {shown}, which is not registered. "
                f"Type: Journal(..., types=[{shown.rpartition('.')[2]}])."
            )
        try:
            return self._kinds[name].make(Parts(content, fields, others, unset))
        except LookupError as error:
            raise JournalError(
                f"The journal contains a value of the class {shown}, which has changed: "
                f"{error.args[0]}."
            ) from error

    def unpack_error(self, data: bytes, unpack: Unpack) -> BaseException:
        """Return a recorded error."""
        return unpack_error(data, unpack, self._error_class)

    def _register(self, cls: type) -> None:
        if issubclass(cls, BaseException):
            is_known = self._error_name(cls) is not None
        else:
            is_known = cls in EXTENSIONS or self.find(cls) is not None
        if is_known:
            return
        name = name_of(cls)
        if name in self._classes:
            raise ValueError(f"types has two classes named {name.replace(':', '.')}")
        if not issubclass(cls, BaseException):
            self._add(cls, name, kind_of(cls))
            return
        if not issubclass(cls, BaseExceptionGroup):
            blank(cls, "", None)  # fails for classes not written in Python
        self._names[cls], self._classes[name] = name, cls

    @staticmethod
    def _is_own_result(cls: type) -> bool:
        """Whether a class is one of kaygraph's, which its nodes and patterns may return."""
        is_result = is_dataclass(cls) or (issubclass(cls, tuple) and declares_fields(cls))
        return is_result and own_name(cls) is not None

    def _add(self, cls: type, name: str, kind: Kind, *, checked: bool = True) -> None:
        self._names[cls], self._classes[name], self._kinds[name] = name, cls, kind
        self._extensions[cls] = self._extension(cls, name, kind, checked=checked)

    def _extension(self, cls: type, name: str, kind: Kind, *, checked: bool) -> Extension:
        """Return how values of a class are recorded or compared."""
        head = b"\x95" + self._packb(name)  # an array of five
        # A program's own module has a different name when it is imported.
        canonical_head = b"\x95" + self._packb(cls.__qualname__)
        unchecked = checked

        def pack(value: Any, packing: Packing) -> bytes:
            parts = kind.take(value)
            content, fields, others, unset = parts
            data = b"".join(
                (
                    canonical_head if packing.canonical else head,
                    NOTHING if content is None else packing.pack(content),
                    packing.pack_attributes(fields) if fields else EMPTY_MAP,
                    packing.pack_attributes(others) if others else EMPTY_MAP,
                    packing.pack_all(unset) if unset else EMPTY_ARRAY,
                )
            )
            nonlocal unchecked
            if unchecked and not packing.canonical:
                _check(value, parts, kind, packing)
                # If no code of the class is run, the function is the same for all of its values.
                unchecked = bool(kind.watched) or content is not None
            return data

        return Extension(Tag.REGISTERED, pack, self.unpack)

    def _known(self, name: str) -> str:
        """Return the name of a class.

        A class of a script has a different module name when the script is imported.
        """
        module, _, qualname = name.partition(":")
        for known in () if name in self._classes else self._classes:
            other, _, same = known.partition(":")
            if same == qualname and "__main__" in (module, other):
                return known
        return name

    def _error_name(self, cls: type) -> str | None:
        if KNOWN.get(cls.__name__) is cls:
            return cls.__name__
        return own_name(cls) or self._names.get(cls)

    def _error_class(self, name: str) -> type[BaseException] | None:
        found = KNOWN.get(name) or own_class(name) or self._classes.get(self._known(name))
        return found if found is not None and issubclass(found, BaseException) else None

    def _pack_error(self, error: BaseException, packing: Packing) -> bytes:
        return pack_error(error, packing, self._error_name, tolerant=False)

    def _pack_tolerated(self, tolerated: Tolerated, packing: Packing) -> bytes:
        return pack_error(tolerated.error, packing, self._error_name, tolerant=True)


@cache
def own_kinds() -> dict[type, Kind]:
    """Return the classes that every registry has, which takes a while to compute."""
    # Parts and Several: passed between the phases of a map-reduce.
    return {Outcome: OwnKind(Outcome), Part: kind_of(Part), Several: kind_of(Several)}


class OwnKind(ObjectKind):
    """kaygraph's own results: the classes of errors in them are never a reason for refusal."""

    def take(self, value: Any) -> Parts:
        content, fields, others, unset = super().take(value)
        if type(content) is tuple:
            content = tuple(map(_tolerated, content))
        return Parts(content, {name: _tolerated(fields[name]) for name in fields}, others, unset)


def _tolerated(value: object) -> object:
    if isinstance(value, BaseException):
        return Tolerated(value)
    if type(value) is dict and any(isinstance(part, BaseException) for part in value.values()):
        return {name: _tolerated(part) for name, part in value.items()}
    return value


def _check(value: Any, parts: Parts, kind: Kind, packing: Packing) -> None:
    """Refuse a value that differs after it is restored from its parts."""
    try:
        different = _difference(value, kind.make(parts), parts, kind, packing)
    except Exception as error:  # from the class's own code, for example
        raise Unrecordable(f"cannot be restored: {error_text(error)}") from error
    if different is not None:
        name = type(value).__qualname__
        raise Unrecordable(f"is a {name} whose {different} differs when it is restored")


def _difference(value: Any, twin: Any, parts: Parts, kind: Kind, packing: Packing) -> str | None:
    """Return what differs between a value and its twin, or None."""
    if type(twin) is not type(value):
        return "class"
    again = kind.take(twin)
    if not _is_same_content(again.content, parts.content, packing):
        return "content"
    for theirs, ours in ((again.fields, parts.fields), (again.others, parts.others)):
        if theirs.keys() != ours.keys() or not all(theirs[name] is ours[name] for name in ours):
            return "attributes"
    for name in kind.watched:
        ours, theirs = getattr(value, name), getattr(twin, name)
        if ours is not theirs and packing.canonical_of(ours) != packing.canonical_of(theirs):
            return repr(name)
    return None


def _is_same_content(one: Any, other: Any, packing: Packing) -> bool:
    """Whether two built-in values are the same, with identical parts in containers."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return (
            len(one) == len(other)
            and all(map(is_, one, other))
            and all(map(is_, one.values(), other.values()))
        )
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(is_, one, other))
    if isinstance(one, set | frozenset):
        return bool(one == other)
    return packing.canonical_of(one) == packing.canonical_of(other)
