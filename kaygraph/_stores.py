"""Shared stores of any shape: a mapping, or an object whose attributes are the keys.

Nothing is imported for dataclasses, attrs classes, pydantic models and msgspec structs: each of
them lists its fields in an attribute of its class.
"""

import inspect
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

MISSING = object()

# Attributes of a class that name the fields of its objects, in the order written.
FIELDS = ("__pydantic_fields__", "__dataclass_fields__", "__struct_fields__", "__attrs_attrs__")


def as_mapping(store: Any) -> Mapping[Any, Any]:
    """Return the store itself if it is a mapping, else its public attributes as one."""
    return store if isinstance(store, Mapping) else Attributes(store)


def contents_of(store: Any) -> Mapping[Any, Any] | None:
    """Return what a store holds now, without running code of its class; None if that is unknown.

    The result may be the store's own dict, and may be a copy.
    """
    if isinstance(store, dict):
        return store
    if isinstance(store, Mapping):
        return dict(store)
    cls = type(store)
    own: dict[str, Any] | None = getattr(store, "__dict__", None)
    extra = getattr(store, "__pydantic_extra__", None) if _is_pydantic(cls) else None
    slots = _slots_of(cls)
    if not slots and not extra:
        return own
    held = {slot: getattr(store, slot, MISSING) for slot in slots}
    held = {slot: value for slot, value in held.items() if value is not MISSING}
    return {**held, **(own or {}), **(extra or {})}


class Attributes(MutableMapping[str, Any]):
    """The public attributes of an object, without its methods, as a mapping.

    Iteration yields the fields and the attributes that are set; a property can be read as well.
    """

    def __init__(self, owner: Any) -> None:
        self.owner = owner

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str) or name.startswith("_"):
            return False
        if name in getattr(self.owner, "__dict__", ()):
            return True
        static = inspect.getattr_static(type(self.owner), name, None)
        if inspect.isroutine(static) and not isinstance(static, cached_property):
            return False
        return hasattr(self.owner, name)

    def __getitem__(self, name: str) -> Any:
        if name not in self:
            raise KeyError(name)
        return getattr(self.owner, name)

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self.owner, name, value)

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        delattr(self.owner, name)

    def __iter__(self) -> Iterator[str]:
        names = dict.fromkeys((*_fields_of(type(self.owner)), *(contents_of(self.owner) or ())))
        return iter([name for name in names if name in self])

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _fields_of(cls: type) -> Iterable[str]:
    for names in FIELDS:
        fields: Iterable[Any] | None = getattr(cls, names, None)
        if fields is not None:
            return [getattr(field, "name", field) for field in fields]
    return ()


def _is_pydantic(cls: type) -> bool:
    return hasattr(cls, "__pydantic_fields__")


_slots: WeakKeyDictionary[type, Sequence[str]] = WeakKeyDictionary()


def _slots_of(cls: type) -> Sequence[str]:
    """Return the attributes that an object has in slots, its base classes' first."""
    known = _slots.get(cls)
    if known is None:
        # Those of a pydantic model hold what it knows of its fields.
        bases = () if _is_pydantic(cls) else reversed(cls.__mro__)
        known = _slots[cls] = [
            name
            for base in bases
            if base.__module__ != "builtins"
            for name, found in vars(base).items()
            if inspect.ismemberdescriptor(found) and not name.startswith("__")
        ]
    return known
