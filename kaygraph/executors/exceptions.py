"""Exceptions as bytes, so that one of another process is as if it had been raised here.

Pickle calls the class of an exception with its ``args``, which many classes do not accept, and
drops the cause and the context. Here a class says how its instances are pickled, where it does and
that works; all others are rebuilt from what they hold, without a call of ``__init__``.
"""

import copyreg
import io
import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any

from .rebuilding import (
    Description,
    class_named,
    fill,
    held_by,
    is_heap,
    loaded,
    made,
    members_of,
    name_of,
)

# What a value is that needs no look at whether it comes back.
PLAIN = (str, int, float, bool, bytes, type(None))

# A class with one of these says itself how its instances are pickled.
OWN_WAYS = ("__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__getnewargs_ex__")

# Held in the built-in part of an exception, and sent in another way or not at all: ``obj`` is the
# object that lacks an attribute; it may be large, and pickle does not send it either.
NOT_SENT = frozenset({"args", "obj", "message", "exceptions"})

DEEPEST = 4  # how deep containers are searched for the part that cannot be pickled


class LeftOut:
    """Stands where an object was that cannot be pickled; it shows as that did."""

    def __init__(self, original: object) -> None:
        held = getattr(original, "__dict__", {})
        if isinstance(held, Mapping):
            vars(self).update({name: held[name] for name in held if type(held[name]) in PLAIN})
        self._shown = _shown(original)

    def __repr__(self) -> str:
        return str(self._shown)


def pack(error: BaseException) -> bytes:
    """Return an exception as bytes, with its notes, cause, context and members. It never fails.

    Attributes that cannot be pickled are left out, and a note says which.
    """
    packing = _Packing()
    packing.place_of(error)
    return pickle.dumps([packing.described(found) for found in packing.errors])


class _Packing:
    """Takes an exception apart, and all that it refers to."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []  # grows while they are described
        self._places: dict[int, int] = {}

    def place_of(self, error: BaseException) -> int:
        """Return where an exception stands among all; a new one is appended."""
        if id(error) not in self._places:
            self._places[id(error)] = len(self.errors)
            self.errors.append(error)
        return self._places[id(error)]

    def _linked(self, error: BaseException | None) -> int | None:
        return None if error is None else self.place_of(error)

    def described(self, error: BaseException) -> Description:
        members = members_of(error)
        plain = Description(
            name=name_of(type(error)),
            bases=[name_of(base) for base in type(error).__mro__ if _is_known(base)],
            text=_text(error),
            members=None if members is None else [self.place_of(member) for member in members],
            message=str(getattr(error, "message", "")) if members else "",
            cause=self._linked(error.__cause__),
            context=self._linked(error.__context__),
            suppress_context=error.__suppress_context__,
        )
        try:
            return self._filled(plain, error)
        except Exception:  # a class so odd that only its name and its text are left
            return plain

    def _filled(self, plain: Description, error: BaseException) -> Description:
        """Add what an exception holds."""
        whole, restored = _in_its_own_way(error)
        values = {name: value for name, value in attributes_of(error) if name not in restored}
        if whole is None and plain.members is None:
            values["args"] = error.args
        attributes, missing, left_out = dict[str, bytes](), dict[str, Any](), list[str]()
        for name, value in values.items():
            packed = self._packed(value)
            if packed is None:
                left_out.append(name)
                packed = self._packed(self._stripped(value))
            if packed is None:
                missing[name] = value
            else:
                attributes[name] = packed
        args = attributes.pop("args", None)
        filled = plain._replace(whole=whole, args=args, attributes=attributes, left_out=left_out)
        if missing and not self._is_sound(filled, error):  # it needs what is left out
            for name, value in missing.items():
                attributes[name] = pickle.dumps(LeftOut(value))
        return filled

    def _packed(self, value: Any) -> bytes | None:
        """Return a value pickled, or None if it would not come back."""
        try:
            if type(value) in PLAIN:
                return pickle.dumps(value)
            file = io.BytesIO()
            _Pickler(file, self.place_of).dump(value)
            loaded(file.getvalue(), self.errors)
            return file.getvalue()
        except Exception:
            return None

    def _stripped(self, value: Any, depth: int = DEEPEST) -> Any:
        """Return a copy of a container without what cannot be pickled; of all else, itself."""

        def part(inner: Any) -> Any:
            if self._packed(inner) is not None:
                return inner
            copied = self._stripped(inner, depth - 1)
            return LeftOut(inner) if copied is inner else copied

        if depth == 0:
            return value
        if isinstance(value, tuple):
            return tuple.__new__(type(value), map(part, value))
        if type(value) in (list, set, frozenset):
            return type(value)(map(part, value))
        if type(value) is dict:
            return {part(key): part(inner) for key, inner in value.items()}
        if is_dataclass(value) and not isinstance(value, type):
            copied = object.__new__(type(value))
            for field in fields(value):
                object.__setattr__(copied, field.name, part(getattr(value, field.name)))
            return copied
        return value

    def _is_sound(self, description: Description, error: BaseException) -> bool:
        """Whether what comes back says the same, and can be asked for an attribute."""
        try:
            twin = made(description, members_of(error))
            fill(twin, description, self.errors)
            getattr(twin, "__notes__", None)
            return bool(repr(twin)) and str(twin) == description.text
        except Exception:
            return False


class _Pickler(pickle.Pickler):
    """Of an exception within a value it writes only where that stands among all."""

    def __init__(self, file: io.BytesIO, place_of: Callable[[BaseException], int]) -> None:
        super().__init__(file)
        self._place_of = place_of

    def persistent_id(self, value: Any) -> int | None:
        return self._place_of(value) if isinstance(value, BaseException) else None


class _OwnPickler(pickle.Pickler):
    """Pickles an exception as its class says, whatever is registered for all exceptions.

    tblib, which distributed installs, registers a function that adds the traceback and the whole
    chain of causes and contexts.
    """

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, BaseException) and not _is_registered(type(value)):
            return value.__reduce_ex__(pickle.DEFAULT_PROTOCOL)
        return NotImplemented


def _is_registered(cls: type) -> bool:
    """Whether ``copyreg`` has a function for this class, other than one for all exceptions."""
    table = copyreg.dispatch_table
    return cls in table and table[cls] is not table.get(BaseException)


def _in_its_own_way(error: BaseException) -> tuple[bytes | None, frozenset[str]]:
    """Return an exception pickled as its class says, if it does and that works.

    The second is what need not be sent with it, because it is the same then, or made anew.
    """
    ways = [vars(base).keys() & OWN_WAYS for base in type(error).__mro__ if is_heap(base)]
    if not any(ways) and not _is_registered(type(error)):
        return None, frozenset()
    try:
        file = io.BytesIO()
        _OwnPickler(file).dump(error)
        whole = file.getvalue()
        twin = pickle.loads(whole)
    except Exception:
        return None, frozenset()
    if type(twin) is not type(error) or _text(twin) != _text(error):
        return None, frozenset()
    held = dict(attributes_of(error))
    restored = {name for name, value in attributes_of(twin) if _is_like(value, held.get(name))}
    return whole, frozenset(restored) - {"__notes__"}


def _is_like(restored: Any, original: Any) -> bool:
    try:
        wanted = pickle.dumps(original)
    except Exception:  # a lock: the class has made another one
        return True
    with suppress(Exception):
        return pickle.dumps(restored) == wanted
    return False


def attributes_of(error: BaseException) -> Iterator[tuple[str, Any]]:
    """Yield what an exception holds: in its ``__dict__``, its slots, and its built-in part."""
    yield from held_by(error).items()
    for base in type(error).__mro__:
        for name, descriptor in vars(base).items():
            if not isinstance(descriptor, MemberDescriptorType | GetSetDescriptorType):
                continue
            if name.startswith("__") or (name in NOT_SENT and not is_heap(base)):
                continue
            with suppress(Exception):  # nothing is there
                value = descriptor.__get__(error)
                if value is not None or is_heap(base):
                    yield name, value


def _is_known(cls: type) -> bool:
    """Whether the other side finds this class by its name.

    That of its ``__main__`` was sent here, and need not be in the ``__main__`` of this process.
    """
    return cls.__module__ == "__main__" or class_named(name_of(cls)) is cls


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return f"<{type(error).__name__} without a text>"


def _shown(value: object) -> str:
    try:
        return repr(value)
    except Exception:
        return object.__repr__(value)
