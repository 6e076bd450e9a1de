"""Values of classes that the user registers: taken apart, and made again without ``__init__``.

``__init__``, ``__post_init__`` and validators are not called again: they would change what has been
validated, or do a second time what they did. A class is looked up by its name among those that are
registered, and nowhere else.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from enum import Enum, Flag
from functools import cached_property
from types import MemberDescriptorType
from typing import Any, NamedTuple, Protocol

from ..executors.rebuilding import is_heap
from .extensions import Unrecordable

MISSING = object()


class Parts(NamedTuple):
    """What a value of a registered class consists of.

    Attributes:
        content: What it is as a value of the built-in class that it is derived from; the name of
            an enum's member.
        attributes: Its own attributes.
        unset: Fields of the class that it has no attributes for.
    """

    content: object = None
    attributes: Mapping[str, object] = {}
    unset: tuple[str, ...] = ()


class Kind(Protocol):
    """How values of one class are taken apart and made again."""

    fields: tuple[str, ...]

    def take(self, value: Any) -> Parts:
        """Return what a value consists of."""
        ...

    def make(self, parts: Parts) -> Any:
        """Return a value that consists of that."""
        ...


def kind_of(cls: type) -> Kind:
    """Return how values of a class are recorded.

    Raises:
        TypeError: They cannot be, because a part of them cannot be seen from outside.
    """
    if issubclass(cls, Enum):
        return EnumKind(cls)
    if hasattr(cls, "__struct_fields__"):
        return StructKind(cls)
    return ObjectKind(cls)


class EnumKind:
    """Members of an enum, by name; combined flags, by value."""

    fields: tuple[str, ...] = ()

    def __init__(self, cls: type[Enum]) -> None:
        self._cls = cls

    def take(self, value: Enum) -> Parts:
        if self._cls.__members__.get(value.name) is value:
            return Parts(value.name)
        if isinstance(value, Flag):
            return Parts(value.value)
        raise Unrecordable(f"is a {self._cls.__name__} that is none of its members")

    def make(self, parts: Parts) -> Any:
        if isinstance(parts.content, str):
            return self._cls.__members__[parts.content]
        return self._cls(parts.content)


class StructKind:
    """Structs of msgspec."""

    def __init__(self, cls: Any) -> None:
        self._cls = cls
        self.fields: tuple[str, ...] = tuple(cls.__struct_fields__)

    def take(self, value: Any) -> Parts:
        held = {name: getattr(value, name, MISSING) for name in self.fields}
        if MISSING in held.values():
            raise Unrecordable("is a Struct without one of its fields")
        return Parts(getattr(value, "__dict__", None), held)

    def make(self, parts: Parts) -> Any:
        value = self._blank(**parts.attributes)
        if type(value) is not self._cls:
            value.__class__ = self._cls
        if parts.content:
            value.__dict__.update(parts.content)
        return value

    @cached_property
    def _blank(self) -> Any:
        """A class whose values have the same layout, and that calls no ``__post_init__``.

        Values of a Struct are only made by a call of its class, which calls it.
        """
        if not hasattr(self._cls, "__post_init__"):
            return self._cls
        body = {"__post_init__": lambda _: None, "__module__": self._cls.__module__}
        return type(self._cls)(self._cls.__name__, (self._cls,), body, frozen=False)


# What a class may be derived from: how the content is read, and how a value is made of it.
FROM_CONTENT: dict[type, Callable[[Any], Any]] = {
    int: int.__int__,
    float: float.__float__,
    complex: lambda value: complex.__complex__(value),
    str: str.__str__,
    bytes: lambda value: bytes(memoryview(value)),
    tuple: lambda value: tuple(tuple.__iter__(value)),
    frozenset: lambda value: frozenset(frozenset.__iter__(value)),
}
FILLED: dict[type, tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]] = {
    list: (lambda value: list(list.__iter__(value)), list.extend),
    dict: (lambda value: dict(dict.items(value)), dict.update),
    set: (lambda value: set(set.__iter__(value)), set.update),
    bytearray: (lambda value: bytearray(memoryview(value)), bytearray.extend),
}

# Made anew where it is needed; strings have another hash in each process.
CACHED = frozenset({"_attrs_cached_hash"})


class ObjectKind:
    """Objects of classes written in Python: dataclasses, models, and any others."""

    def __init__(self, cls: type) -> None:
        self._cls = cls
        self._base: Any = next(base for base in cls.__mro__ if not is_heap(base))
        self._slots = dict(_slots_of(cls))
        self.fields = tuple(_fields_of(cls))
        if self._base not in (object, *FROM_CONTENT, *FILLED) or cls is self._base:
            raise TypeError(
                f"{cls.__qualname__} is built in, or derived from {self._base.__name__}"
            )
        hidden = cls.__basicsize__ - self._base.__basicsize__ - 8 * len(self._slots)
        if hidden > 16:  # more than a __dict__ and what weak references need
            raise TypeError(f"{cls.__qualname__} is not written in Python")

    def take(self, value: Any) -> Parts:
        held: dict[str, object] = {}
        for name, slot in self._slots.items():
            if name in CACHED:
                held[name] = None
                continue
            with suppress(AttributeError):  # nothing is there
                held[name] = slot.__get__(value)
        for name, attribute in self._dict_of(value).items():
            if type(name) is not str:
                raise Unrecordable(f"has an attribute whose name is no string: {name!r}")
            if not isinstance(getattr(self._cls, name, None), cached_property):
                held[name] = None if name in CACHED else attribute
        unset = tuple(name for name in self.fields if name not in held)
        return Parts(self._content_of(value), held, unset)

    def make(self, parts: Parts) -> Any:
        new = self._base.__new__
        value = new(self._cls, parts.content) if self._base in FROM_CONTENT else new(self._cls)
        if self._base in FILLED:
            FILLED[self._base][1](value, parts.content)
        held = parts.attributes
        missing = [n for n in self.fields if n not in held and n not in parts.unset]
        if missing:
            raise LookupError(f"{self._cls.__qualname__} has a field {missing[0]!r} since")
        for name, attribute in held.items():
            if name in self._slots:
                self._slots[name].__set__(value, attribute)
        rest = {name: attribute for name, attribute in held.items() if name not in self._slots}
        if rest:
            try:
                object.__getattribute__(value, "__dict__").update(rest)
            except AttributeError:
                raise LookupError(
                    f"{self._cls.__qualname__} has no attribute {next(iter(rest))!r} any longer"
                ) from None
        return value

    def _content_of(self, value: Any) -> object:
        read = FROM_CONTENT.get(self._base)
        if read is None and self._base in FILLED:
            read = FILLED[self._base][0]
        return None if read is None else read(value)

    def _dict_of(self, value: Any) -> dict[Any, object]:
        try:
            held: dict[Any, object] = object.__getattribute__(value, "__dict__")
        except AttributeError:
            return {}
        return held


def _slots_of(cls: type) -> Iterator[tuple[str, MemberDescriptorType]]:
    """Yield the slots of a class and of those above it, the nearest last."""
    for base in reversed(cls.__mro__):
        for name, slot in vars(base).items():
            if is_heap(base) and isinstance(slot, MemberDescriptorType):
                yield name, slot


def _fields_of(cls: Any) -> Iterator[str]:
    """Yield the names of the fields that a class declares."""
    if is_dataclass(cls):
        yield from (field.name for field in fields(cls))
    else:
        yield from getattr(cls, "__pydantic_fields__", ())
        yield from (field.name for field in getattr(cls, "__attrs_attrs__", ()))


def name_of(cls: type) -> str:
    """Return the name that a class is recorded by."""
    return f"{cls.__module__}:{cls.__qualname__}"
