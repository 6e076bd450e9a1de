"""Errors as recorded values: restored from their state, without calling ``__init__``.

Errors of built-in classes, kaygraph's and registered ones are restored as themselves. Any other
becomes a RecordedError with the name of its class and its text: no class is imported by a name
found in a record.
"""

import asyncio
import builtins
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from .. import errors
from .._formatting import redacted
from ..errors import RecordedError
from ..executors.exceptions import attributes_of
from ..executors.rebuilding import blank, held_by, members_of, note, put
from .extensions import Packing, Unpack, Unrecordable
from .registered import name_of


def _classes() -> Iterator[type[BaseException]]:
    for found in (*vars(builtins).values(), *vars(errors).values(), asyncio.CancelledError):
        if isinstance(found, type) and issubclass(found, BaseException):
            yield found


PACKAGE = errors.__name__.partition(".")[0]
KNOWN = {cls.__name__: cls for cls in _classes()}


def own_name(cls: type) -> str | None:
    """Return the name of a class of kaygraph's packages, such as its ready-made nodes, or None."""
    name = name_of(cls)
    return name if own_class(name) is cls else None


def own_class(name: str) -> type | None:
    """Return the class with such a name, if its module is loaded: nothing is imported."""
    module, _, qualname = name.partition(":")
    if module.partition(".")[0] != PACKAGE:
        return None
    found = getattr(sys.modules.get(module), qualname, None)
    return found if isinstance(found, type) else None


class Tolerated(NamedTuple):
    """An error where none is refused: parts that cannot be recorded are left out."""

    error: BaseException


class Description(NamedTuple):
    """One error as plain data; it refers to others by their index in the list of all."""

    name: str | None  # under which its class is recorded; None: the class is not known
    shown: str  # the name of its class, for people
    text: str
    attributes: Mapping[str, bytes]  # each packed by itself, including ``args``
    left_out: list[str]
    message: str
    members: list[int] | None  # of a group
    cause: int | None
    context: int | None
    suppress_context: bool


NameOf = Callable[[type], str | None]
ClassNamed = Callable[[str], type[BaseException] | None]


def pack_error(error: BaseException, packing: Packing, name_of: NameOf, *, tolerant: bool) -> bytes:
    """Return an error with its notes, cause, context and members, but without its traceback.

    Raises:
        Unrecordable: ``tolerant`` is False, and its class is not known or a part cannot be packed.
    """
    found = _Described(packing, name_of)
    found.place_of(error)
    descriptions = [found.described(each) for each in found.errors]
    if not tolerant:
        _check_whole(0, found.errors, descriptions)
    return packing.pack([list(description) for description in descriptions])


def _check_whole(
    place: int, errors: Sequence[BaseException], descriptions: Sequence[Description]
) -> None:
    """Refuse an error or a group member that would be restored as something else."""
    description, cls = descriptions[place], type(errors[place])
    if description.name is None:
        raise Unrecordable(f"is an error of the type {description.shown}", cls)
    if description.left_out:
        raise Unrecordable(f"is an error whose {description.left_out[0]} cannot be recorded")
    for member in description.members or ():
        _check_whole(member, errors, descriptions)


def unpack_error(data: bytes, unpack: Unpack, class_named: ClassNamed) -> BaseException:
    """Return the error that was packed."""
    descriptions = [Description(*parts) for parts in unpack(data)]
    return _Rebuilt(descriptions, unpack, class_named).errors[0]


class _Described:
    """Describes an error, and every error that it refers to."""

    def __init__(self, packing: Packing, name_of: NameOf) -> None:
        self._packing = packing
        self._name_of = name_of
        self.errors: list[BaseException] = []  # grows while they are described
        self._places: dict[int, int] = {}

    def place_of(self, error: BaseException | None) -> int | None:
        """Return the index of an error among all; a new one is appended."""
        if error is None:
            return None
        if id(error) not in self._places:
            self._places[id(error)] = len(self.errors)
            self.errors.append(error)
        return self._places[id(error)]

    def described(self, error: BaseException) -> Description:
        name = self._name_of(type(error))
        held: dict[str, object] = {}
        with suppress(Exception):
            if name is None:
                held = {key: held_by(error)[key] for key in ("__notes__",) if key in held_by(error)}
            else:
                held = {**dict(attributes_of(error)), "args": error.args}
        attributes: dict[str, bytes] = {}
        left_out: list[str] = []
        for key, value in held.items():
            try:
                self._packing.pack(key)
                attributes[key] = self._packing.pack(value)
            except Exception:  # including the class's own code
                left_out.append(repr(key))
        members = members_of(error)
        return Description(
            name,
            _shown(type(error)),
            redacted(_text(error)),
            attributes,
            left_out,
            "" if members is None else str(getattr(error, "message", "")),
            None if members is None else [self.place_of(each) or 0 for each in members],
            self.place_of(error.__cause__),
            self.place_of(error.__context__),
            error.__suppress_context__,
        )


class _Rebuilt:
    """Creates all errors first, then fills them, because they may refer to each other."""

    def __init__(
        self, descriptions: list[Description], unpack: Unpack, class_named: ClassNamed
    ) -> None:
        self._descriptions = descriptions
        self._class_named = class_named
        self._made: dict[int, BaseException] = {}
        self.errors = [self._error(place) for place in range(len(descriptions))]
        for error, description in zip(self.errors, descriptions, strict=True):
            for name, packed in description.attributes.items():
                with suppress(Exception):  # of a class that has changed since
                    put(error, name, unpack(packed))
            if description.left_out:
                note(error, f"left out of the record: {', '.join(description.left_out)}")
            for name, linked in (
                ("__cause__", description.cause),
                ("__context__", description.context),
            ):
                if linked is not None:
                    put(error, name, self.errors[linked])
            put(error, "__suppress_context__", description.suppress_context)

    def _error(self, place: int) -> BaseException:
        if place not in self._made:
            self._made[place] = self._blank(self._descriptions[place])
        return self._made[place]

    def _blank(self, description: Description) -> BaseException:
        members = None
        if description.members is not None:  # a group needs them when it is created
            members = [self._error(member) for member in description.members]
        if description.name is not None:
            cls = self._class_named(description.name)
            if cls is not None:
                with suppress(TypeError):  # an ExceptionGroup takes only Exceptions, and one is not
                    return blank(cls, description.message, members)
        return RecordedError(description.shown, description.text)


def _shown(cls: type) -> str:
    return (
        cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
    )


def _text(error: BaseException) -> str:
    try:
        return str(error).encode("utf-8", "backslashreplace").decode()
    except Exception:
        return f"<{type(error).__name__} without a text>"
