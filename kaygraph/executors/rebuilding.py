"""Exceptions from what they held, without a call of ``__init__``; see ``exceptions``."""

import io
import pickle
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from types import GetSetDescriptorType, MemberDescriptorType, new_class
from typing import Any, NamedTuple

Name = tuple[str, str]  # of a class: its module, and its qualified name there

HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: a class that is not built in


class Description(NamedTuple):
    """One exception as plain data. Values are pickled one by one: each may fail alone."""

    name: Name
    bases: Sequence[Name]  # those of its classes that can be looked up, nearest first
    text: str
    whole: bytes | None = None  # as its class says that it is pickled
    args: bytes | None = None
    attributes: Mapping[str, bytes] = {}
    left_out: Sequence[str] = ()
    members: Sequence[int] | None = None  # of a group; exceptions count from the one packed
    message: str = ""
    cause: int | None = None
    context: int | None = None
    suppress_context: bool = False


def unpack(data: bytes) -> BaseException:
    """Return the exception that was packed.

    Where its class cannot be found by name, it is of a class that has the same name and the same
    bases, as far as those can be found; a note says so.
    """
    return _Unpacking(pickle.loads(data)).errors[0]


def note(error: BaseException, text: str) -> None:
    """Add a note, also to an exception that accepts none, as a frozen dataclass does not."""
    held = held_by(error)
    notes = held.get("__notes__")
    held["__notes__"] = [*(notes if isinstance(notes, list) else ()), text]


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, errors: Sequence[BaseException]) -> None:
        super().__init__(file)
        self._errors = errors

    def persistent_load(self, place: int) -> BaseException:
        return self._errors[place]


def loaded(data: bytes, errors: Sequence[BaseException]) -> Any:
    return _Unpickler(io.BytesIO(data), errors).load()


class _Unpacking:
    """Puts exceptions together: all are made, then filled, as they may refer to each other."""

    def __init__(self, descriptions: Sequence[Description]) -> None:
        self._descriptions = descriptions
        self._made: dict[int, BaseException] = {}
        self.errors = [self._error(place) for place in range(len(descriptions))]
        for error, description in zip(self.errors, descriptions, strict=True):
            fill(error, description, self.errors)
            for name, linked in (
                ("__cause__", description.cause),
                ("__context__", description.context),
            ):
                if linked is not None:
                    put(error, name, self.errors[linked])
            put(error, "__suppress_context__", description.suppress_context)

    def _error(self, place: int) -> BaseException:
        if place not in self._made:
            description = self._descriptions[place]
            members = None
            if description.members is not None:  # a group cannot be made without them
                members = [self._error(member) for member in description.members]
            self._made[place] = made(description, members)
        return self._made[place]


def made(description: Description, members: Sequence[BaseException] | None) -> BaseException:
    """Return an exception of the right class, which holds nothing yet, or a stand-in."""
    bases = [base for name in description.bases if (base := class_named(name)) is not None]
    # By looking it up, not by its name: a script's classes have two, here and in its processes.
    is_found = bool(bases) and class_named(description.name) is bases[0]
    if is_found and description.whole is not None:
        with suppress(Exception):
            error: BaseException = pickle.loads(description.whole)
            return error
    if is_found:
        with suppress(Exception):
            return blank(bases[0], description.message, members)
    stand_in = _stand_in(description.name, tuple(bases[is_found:]))
    return blank(stand_in, description.message, members)


def fill(error: BaseException, description: Description, errors: Sequence[BaseException]) -> None:
    """Put into an exception what it held."""
    lost = list(description.left_out)
    if description.args is not None:
        with suppress(Exception):
            put(error, "args", loaded(description.args, errors))
    for name, packed in description.attributes.items():
        try:
            put(error, name, loaded(packed, errors))
        except Exception:
            lost.append(name)
    if lost:
        note(error, f"left out, as it cannot be pickled: {', '.join(lost)}")
    if type(error).__str__ is _text_of:
        held_by(error)["_text"] = description.text
        nearest = type(error).__mro__[1].__name__
        note(
            error,
            f"{'.'.join(description.name)} cannot be looked up here: this is a stand-in, a "
            f"{nearest} with its name and text. Define the class at the top level of a module",
        )


def blank(
    cls: type[BaseException], message: str, members: Sequence[BaseException] | None
) -> BaseException:
    """Return a new instance without a call of ``__init__``, or of a ``__new__`` of its own."""
    built_in: Any = next(base for base in cls.__mro__ if not is_heap(base))
    error: BaseException = built_in.__new__(cls, *(() if members is None else (message, members)))
    return error


@lru_cache(maxsize=256)
def _stand_in(name: Name, known: tuple[type[BaseException], ...]) -> type[BaseException]:
    """Return a class of that name, with those of its bases that are known."""
    body = {"__module__": name[0], "__qualname__": name[1], "__str__": _text_of}
    nearest = [base for base in known if not any(base in other.__mro__[1:] for other in known)]
    for bases in (tuple(nearest), *((base,) for base in known)):
        with suppress(Exception):
            called = name[1].rpartition(".")[2]
            cls: type[Any] = new_class(called, bases, {}, lambda held: held.update(body))
            if not issubclass(cls, BaseExceptionGroup):
                blank(cls, "", None)
            return cls
    return RuntimeError


def _text_of(self: BaseException) -> str:
    return str(held_by(self).get("_text", ""))


def put(error: BaseException, name: str, value: Any) -> None:
    """Set an attribute, whatever the class allows."""
    for base in type(error).__mro__:
        descriptor = vars(base).get(name)
        if isinstance(descriptor, MemberDescriptorType | GetSetDescriptorType):
            descriptor.__set__(error, value)
            return
    held_by(error)[name] = value


def members_of(error: BaseException) -> Sequence[BaseException] | None:
    return error.exceptions if isinstance(error, BaseExceptionGroup) else None


def held_by(error: BaseException) -> dict[str, Any]:
    """Return the ``__dict__`` of an exception, whatever its class makes of attributes."""
    held: dict[str, Any] = object.__getattribute__(error, "__dict__")
    return held


def name_of(cls: type) -> Name:
    return cls.__module__, cls.__qualname__


def class_named(name: Name) -> type[BaseException] | None:
    """Return the exception class of a name; its module is imported, as pickle does."""
    module, qualname = name
    try:
        __import__(module)
        found: Any = sys.modules[module]
        for part in qualname.split("."):
            found = getattr(found, part)
    except Exception:
        return None
    return found if isinstance(found, type) and issubclass(found, BaseException) else None


def is_heap(cls: type) -> bool:
    return bool(cls.__flags__ & HEAP_TYPE)
