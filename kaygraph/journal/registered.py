"""Values of registered classes: taken apart, and restored without ``__init__``.

``__init__``, ``__post_init__`` and validators are not called again: they would change validated
values, or repeat their side effects. A class is looked up by its name among the registered ones,
and nowhere else.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from enum import Enum, Flag
from functools import cached_property
from inspect import getattr_static
from types import MemberDescriptorType
from typing import Any, NamedTuple, Protocol

from ..executors.rebuilding import is_heap
from ..executors.references import Remote
from .extensions import Unrecordable


class Parts(NamedTuple):
    """What a value of a registered class consists of.

    Attributes:
        content: Its value as an instance of the built-in class that it is derived from; for an
            enum, the name of the member.
        fields: The attributes that its class declares as fields.
        others: Its other attributes.
        unset: The fields without attributes.
    """

    content: object = None
    fields: Mapping[str, object] = {}
    others: Mapping[str, object] = {}
    unset: Sequence[str] = ()


class Kind(Protocol):
    """How values of one class are taken apart and restored.

    Attributes:
        watched: Fields that the class reads with its own code, which may store them anywhere.
    """

    watched: tuple[str, ...]

    def take(self, value: Any) -> Parts:
        """Return what a value consists of."""
        ...

    def make(self, parts: Parts) -> Any:
        """Return a value with these parts.

        Raises:
            LookupError: The class has changed.
        """
        ...


def kind_of(cls: type) -> Kind:
    """Return how values of a class are recorded.

    Raises:
        TypeError: They cannot be, because a part of them is not accessible.
    """
    if issubclass(cls, Remote):
        raise TypeError("it stands for a value that may be on a worker, and is gone with the run")
    if issubclass(cls, Enum):
        return EnumKind(cls)
    if hasattr(cls, "__struct_fields__"):
        return StructKind(cls)
    return ObjectKind(cls)


def declares_fields(cls: Any) -> bool:
    """Whether a class declares what its values consist of."""
    if issubclass(cls, Enum) or hasattr(cls, "__struct_fields__"):
        return True
    return next(_fields_of(cls), None) is not None or (
        issubclass(cls, tuple) and hasattr(cls, "_fields")
    )


class EnumKind:
    """Members of an enum, by name; combined flags, by value."""

    watched: tuple[str, ...] = ()

    def __init__(self, cls: type[Enum]) -> None:
        self._cls = cls

    def take(self, value: Enum) -> Parts:
        if self._cls.__members__.get(value.name) is value:
            return Parts(value.name)
        if isinstance(value, Flag):
            return Parts(value.value)
        raise Unrecordable(f"is a {self._cls.__name__} that is not one of its members")

    def make(self, parts: Parts) -> Any:
        if not isinstance(parts.content, str):
            return self._cls(parts.content)
        if parts.content not in self._cls.__members__:
            raise LookupError(f"it has no member {parts.content!r} any longer")
        return self._cls.__members__[parts.content]


class StructKind:
    """Structs of msgspec."""

    watched: tuple[str, ...] = ()

    def __init__(self, cls: Any) -> None:
        self._cls = cls
        self._fields: tuple[str, ...] = tuple(cls.__struct_fields__)

    def take(self, value: Any) -> Parts:
        try:
            held = {name: getattr(value, name) for name in self._fields}
        except AttributeError:
            raise Unrecordable("is a Struct without one of its fields") from None
        return Parts(None, held, getattr(value, "__dict__", {}))

    def make(self, parts: Parts) -> Any:
        _check_fields(self._fields, parts)
        value = self._blank(**parts.fields)
        if type(value) is not self._cls:
            value.__class__ = self._cls
        if parts.others:
            value.__dict__.update(parts.others)
        return value

    @cached_property
    def _blank(self) -> Any:
        """A class with the same layout, but without ``__post_init__``.

        A Struct can only be created by calling its class, which calls ``__post_init__``.
        """
        if not hasattr(self._cls, "__post_init__"):
            return self._cls
        body = {"__post_init__": lambda _: None, "__module__": self._cls.__module__}
        return type(self._cls)(self._cls.__name__, (self._cls,), body, frozen=False)


# The allowed base classes: how to read the content, and how to create a value from it.
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

# Hashed again on restoring, because the hashes of strings differ between processes.
CACHED = frozenset({"_attrs_cached_hash"})


class ObjectKind:
    """Objects of classes written in Python: dataclasses, models, and others."""

    def __init__(self, cls: type) -> None:
        self._cls = cls
        self._base: Any = next(base for base in cls.__mro__ if not is_heap(base))
        self._slots = dict(_slots_of(cls))
        self._has_dict = cls.__dictoffset__ != 0
        self._fields = tuple(_fields_of(cls))
        self._computed = {name for name in dir(cls) if _is_computed(cls, name)}
        self.watched = tuple(name for name in self._fields if _is_watched(cls, name))
        self._check_class()

    def _check_class(self) -> None:
        """Raise a TypeError if part of what a value consists of is not accessible."""
        cls = self._cls
        if self._base not in (object, *FROM_CONTENT, *FILLED) or cls is self._base:
            raise TypeError("it is built in, or derived from a built-in class")
        if hasattr(cls, "__del__"):
            raise TypeError("it has a __del__, which would be called for a copy")
        hidden = cls.__basicsize__ - self._base.__basicsize__ - 8 * len(self._slots)
        if hidden > 16:  # more than a __dict__ and weak references need
            raise TypeError("it is not written in Python")
        self._base.__new__(cls)  # fails for abstract classes, and for others written in C

    def take(self, value: Any) -> Parts:
        others = self._attributes(value)
        fields = {name: others.pop(name) for name in self._fields if name in others}
        unset = () if len(fields) == len(self._fields) else {*self._fields} - fields.keys()
        content = None if self._base is object else self._content_of(value)
        return Parts(content, fields, others, sorted(unset))

    def make(self, parts: Parts) -> Any:
        _check_fields(self._fields, parts)
        new = self._base.__new__
        value = new(self._cls, parts.content) if self._base in FROM_CONTENT else new(self._cls)
        if self._base in FILLED:
            FILLED[self._base][1](value, parts.content)
        held = {**parts.fields, **parts.others}
        for name in self._slots.keys() & held.keys():
            self._slots[name].__set__(value, held.pop(name))
        if held and not self._has_dict:
            raise LookupError(f"it has no attribute {next(iter(held))!r} any longer")
        if held:
            object.__getattribute__(value, "__dict__").update(held)
        return value

    def _attributes(self, value: Any) -> dict[str, object]:
        held: dict[str, object] = {}
        if self._has_dict:
            held = dict(object.__getattribute__(value, "__dict__"))
            if not {str}.issuperset(map(type, held)):
                raise Unrecordable("has an attribute whose name is not a string")
            for name in self._computed & held.keys():
                del held[name]
        for name, slot in self._slots.items():
            with suppress(AttributeError):  # it is not set
                held[name] = slot.__get__(value)
        for name in CACHED & held.keys():
            held[name] = None
        return held

    def _content_of(self, value: Any) -> object:
        read = FROM_CONTENT.get(self._base)
        return FILLED[self._base][0](value) if read is None else read(value)


def _check_fields(fields: Sequence[str], parts: Parts) -> None:
    """Refuse parts taken from a value when its class had other fields."""
    if len(fields) == len(parts.fields) and all(map(parts.fields.__contains__, fields)):
        return
    recorded = parts.fields.keys() | set(parts.unset)
    for name in fields:
        if name not in recorded:
            raise LookupError(f"it has a field {name!r} now")
    for name in recorded:
        if name not in fields:
            raise LookupError(f"it has no field {name!r} any longer")


def _is_computed(cls: type, name: str) -> bool:
    """Whether an attribute is computed on first access, and so not part of the value."""
    return isinstance(getattr_static(cls, name, None), cached_property)


def _is_watched(cls: Any, name: str) -> bool:
    """Whether reading an attribute runs code of the class."""
    static = getattr_static(cls, name, None)
    reads_itself = hasattr(type(static), "__get__") and not isinstance(static, MemberDescriptorType)
    return reads_itself or cls.__getattribute__ is not object.__getattribute__


def _slots_of(cls: type) -> Iterator[tuple[str, MemberDescriptorType]]:
    """Yield the slots of a class and of its bases, the nearest last."""
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
    """Return the name under which a class is recorded."""
    return f"{cls.__module__}:{cls.__qualname__}"
