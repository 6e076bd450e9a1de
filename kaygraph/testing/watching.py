"""``watch``: fail where two tasks write the same thing with no order between them."""

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import is_dataclass
from functools import partial
from inspect import isfunction
from types import MemberDescriptorType
from typing import Any, TypeVar

from ._accesses import Accesses, Attribute, Part, Record, set_class
from ._places import path_of, users_frame
from ._simulated import active_loop

T = TypeVar("T")


def watch(watched: T, /, *only: Hashable, reads: bool = False) -> T:
    """Fail the simulation if two tasks write the same part of an object with no order between them.

    A part is an attribute, a key of a dict, an element of a list or a deque, or a member of a set.
    Two writes have an order if one task has waited for the other or was begun by it, or if they are
    within the same lock, or if one came from the other through an event, a queue, a future, a call
    in a thread or a connection. That one came after the other in this run is not enough: a timer or
    another step may come later another time. Each write is to be ordered, also one that is atomic
    in asyncio, such as ``self.count += 1``: name in ``only`` what is to be ordered.

    ::

        async def main():
            account = watch(Account(balance=100))
            inbox = watch({})  # a dict of its own: use this one

    Adding to a list or a deque, and taking from the ends of a deque, may have any order. Sorting
    it, clearing it or deleting from within is a write of all elements.

    The error is an ``UnorderedAccessError``, which is raised when the run has ended. It says which
    tasks have written, and where. If the run fails by itself, its error has that as a note.

    Outside of a simulation this returns the object as it is, and does nothing.

    Args:
        watched: An object of a class written in Python, whose class is replaced until the
            simulation ends (``obj.__class__`` stays as it was); or a dict, list, set or deque,
            which is copied.
        only: The names of attributes, or keys, to watch; all by default.
        reads: Whether a read of a part, too, needs an order with each write of it, as race
            detectors for threads have it. A task that only looks at a value, in one step, is then
            reported as well.

    Returns:
        The same object; for a dict, list, set or deque a new one of a subclass with the same
        content, which is the one to use.

    Raises:
        TypeError: The object cannot be watched, since it is immutable or its class is written in C.
    """
    loop = active_loop()
    if loop is None:
        return watched
    accesses = loop.watched()
    frame = users_frame()
    place = f"{path_of(frame.f_code.co_filename)}:{frame.f_lineno}"
    followed = _followed(watched, accesses, reads or accesses.follows_reads)
    if accesses.of(followed) is None:
        named = _named(type(watched), place)
        accesses.follow(followed, Record(named, frozenset(only), reads))
    return followed  # type: ignore[no-any-return]


def _named(cls: type, place: str) -> Callable[[Hashable], str]:
    def named(part: Hashable) -> str:
        if isinstance(part, Part):
            return f"{part.value} of the {cls.__name__} that is watched at {place}"
        if isinstance(part, Attribute):
            return f"{cls.__name__}.{part}"
        return f"[{part!r}] of the {cls.__name__} that is watched at {place}"

    return named


# --- how a class tells of its writes --------------------------------------------------------------


def _followed(watched: Any, accesses: Accesses, reads: bool) -> Any:
    """Return the object, or a copy, with a class that notes its writes."""
    if accesses.of(watched) is not None:
        return watched
    cls = type(watched)
    if is_dataclass(watched) and cls.__dataclass_params__.frozen:
        raise TypeError(
            f"watch() follows what is written, and {cls.__name__} is frozen. Watch what it holds, "
            "or the object that refers to it"
        )
    try:
        following = accesses.classes.get((cls, reads))
        if following is None:
            methods = {**_attributes(cls, accesses, reads), **_items(cls, accesses, reads)}
            metaclass: Any = type(cls)
            following = accesses.classes[cls, reads] = metaclass(cls.__name__, (cls,), methods)
        if cls in _COPIED:
            return _COPIED[cls](following, watched)
        set_class(watched, following)
    except TypeError as error:
        raise TypeError(
            f"watch() cannot follow what is written to {cls.__name__}: it is immutable, or its "
            "class is not written in Python. Watch the object that refers to it, an object of a "
            "class of your own, or a dict, a list, a set or a deque"
        ) from error
    accesses.changed.append((watched, cls))
    return watched


_COPIED: dict[type, Callable[[Any, Any], Any]] = {
    dict: lambda cls, items: cls(items),
    OrderedDict: lambda cls, items: cls(items),
    defaultdict: lambda cls, items: cls(items.default_factory, items),
    list: lambda cls, items: cls(items),
    set: lambda cls, items: cls(items),
    deque: lambda cls, items: cls(items, items.maxlen),
}


def _attributes(cls: Any, accesses: Accesses, reads: bool) -> dict[str, Any]:
    """Return the methods that note what is done to attributes."""

    def set_attribute(self: Any, name: str, value: Any) -> None:
        cls.__setattr__(self, name, value)
        if (record := accesses.of(self)) is not None:
            accesses.wrote(record, [Attribute(name)])

    def delete_attribute(self: Any, name: str) -> None:
        cls.__delattr__(self, name)
        if (record := accesses.of(self)) is not None:
            accesses.wrote(record, [Attribute(name)])

    def get_attribute(self: Any, name: str) -> Any:
        value = cls.__getattribute__(self, name)
        record = accesses.of(self)
        if record is not None and _is_data(self, cls, name):
            accesses.has_read(record, Attribute(name))
        return value

    def reduced(self: Any, protocol: Any) -> Any:
        def named(part: Any) -> Any:  # a copy has the class that pickle finds by its name
            return cls if part is type(self) else part

        made = cls.__reduce_ex__(self, protocol)
        parts = (tuple(map(named, one)) if isinstance(one, tuple) else named(one) for one in made)
        return tuple(parts)

    methods = {
        "__slots__": (),
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__doc__": cls.__doc__,
        "__class__": property(lambda _: cls),  # a dataclass compares it
        "__setattr__": set_attribute,
        "__delattr__": delete_attribute,
        "__reduce_ex__": reduced,
    }
    return {**methods, "__getattribute__": get_attribute} if reads else methods


def _is_data(watched: Any, cls: type, name: str) -> bool:
    """Return whether a name is an attribute of the object, and not of its class."""
    if name.startswith("__"):
        return False
    if isinstance(getattr(cls, name, None), MemberDescriptorType):
        return True
    try:
        return name in object.__getattribute__(watched, "__dict__")
    except AttributeError:
        return False


# --- containers -----------------------------------------------------------------------------------

# Returns which parts a method changes or reads, before it is called.
Parts = Callable[..., list[Hashable]]


def _first(_: Any, key: Hashable, *__: Any) -> list[Hashable]:
    return [key]


def _place(items: Any, key: Any, *_: Any) -> list[Hashable]:
    if not isinstance(key, int):
        return [Part.ALL]  # a slice
    return [key + len(items) if key < 0 else key]


def _all(*_: Any, **__: Any) -> list[Hashable]:
    return [Part.ALL]


def _new(*_: Any, **__: Any) -> list[Hashable]:
    return [Part.NEW]


def _inner(*names: str, parts: Parts = _all) -> dict[str, Parts]:
    return dict.fromkeys(names, parts)


def _merged(items: dict[Any, Any], *args: Any, **settings: Any) -> list[Hashable]:
    """Return what ``update`` writes. An iterator is not read here: it could not be read again."""
    given = args[0] if args else {}
    if not isinstance(given, Mapping | list | tuple):
        return [Part.ALL]
    return [*dict(given), *settings]


def _removed(items: Any, key: Hashable, *_: Any) -> list[Hashable]:
    return [key] if key in items else []


def _added(items: Any, key: Hashable, *_: Any) -> list[Hashable]:
    return [] if key in items else [key]


def _ends(items: dict[Any, Any], last: bool = True) -> list[Hashable]:
    return [next(reversed(items) if last else iter(items))] if items else []


_EVERYWHERE = _inner("__iter__", "__reversed__", "__len__", "__eq__", "__ne__", "copy")
_OF_SETS = _inner(
    "__iter__", "__len__", "__eq__", "__ne__", "copy", "__and__", "__or__", "__sub__", "__xor__",
    "__le__", "__lt__", "__ge__", "__gt__", "difference", "intersection", "isdisjoint", "issubset",
    "issuperset", "symmetric_difference", "union",
)  # fmt: skip

# For each container: its methods that write, and those that read.
_METHODS: dict[type, tuple[dict[str, Parts], dict[str, Parts]]] = {
    dict: (
        {
            **_inner("__setitem__", "__delitem__", parts=_first),
            **_inner("update", "__ior__", parts=_merged),
            **_inner("clear"),
            "pop": _removed,
            "popitem": _ends,
            "setdefault": _added,
        },
        {
            **_inner("__getitem__", "get", "__contains__", parts=_first),
            **_inner("keys", "values", "items"),
            **_EVERYWHERE,
        },
    ),
    list: (
        {
            **_inner("append", "extend", "__iadd__", parts=_new),
            **_inner("__delitem__", "__imul__", "clear", "insert", "pop", "remove"),
            **_inner("reverse", "sort"),
            "__setitem__": _place,
        },
        {"__getitem__": _place, **_inner("__contains__", "index", "count"), **_EVERYWHERE},
    ),
    deque: (
        {
            **_inner("append", "appendleft", "extend", "extendleft", "__iadd__", parts=_new),
            **_inner("pop", "popleft", parts=_new),
            **_inner("__delitem__", "__imul__", "clear", "insert", "remove"),
            **_inner("reverse", "rotate"),
            "__setitem__": _place,
        },
        {"__getitem__": _place, **_inner("__contains__", "index", "count"), **_EVERYWHERE},
    ),
    set: (
        {
            "add": _added,
            **_inner("discard", "remove", parts=_removed),
            "update": lambda items, *others: [each for one in others for each in _known(one)],
            **_inner("__ior__", parts=lambda items, other: list(other)),
            **_inner("__iand__", "__isub__", "__ixor__", "clear", "difference_update"),
            **_inner("intersection_update", "symmetric_difference_update"),
            **_inner("pop", parts=_new),
        },
        {"__contains__": _first, **_OF_SETS},
    ),
}


def _known(items: Any) -> list[Hashable]:
    return list(items) if isinstance(items, Collection) else [Part.ALL]


def _items(cls: Any, accesses: Accesses, reads: bool) -> dict[str, Any]:
    """Return the methods that note what is done to the content of a container."""
    methods: dict[str, Any] = {}
    for base, (writing, reading) in _METHODS.items():
        if issubclass(cls, base):
            for name, parts in writing.items():
                if _is_builtin(cls, name):
                    methods[name] = _noting(getattr(cls, name), parts, accesses.of, accesses.wrote)
            for name, parts in reading.items() if reads else ():
                noting = partial(_each_read, accesses)
                methods[name] = _noting(getattr(cls, name), parts, accesses.of, noting)
    return methods


def _is_builtin(cls: Any, name: str) -> bool:
    """Return whether a method is not one in Python, which calls others in turn."""
    return name in ("__setitem__", "__delitem__") or not isfunction(getattr(cls, name))


def _each_read(accesses: Accesses, record: Record, parts: list[Hashable]) -> None:
    for part in parts:
        accesses.has_read(record, part)


def _noting(method: Any, parts: Parts, record_of: Any, note: Any) -> Any:
    def noted(self: Any, *args: Any, **settings: Any) -> Any:
        record = record_of(self)
        changed = [] if record is None else parts(self, *args, **settings)
        value = method(self, *args, **settings)
        if record is not None:
            note(record, changed)
        return value

    return noted
