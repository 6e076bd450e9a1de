"""The classes that annotations name, those of their fields included."""

import typing
from collections.abc import Callable, Iterator
from contextlib import suppress
from inspect import isabstract, unwrap
from typing import Any, get_args, get_origin, get_type_hints

LANGUAGE = frozenset({"builtins", "collections", "collections.abc", "types", "typing"})


def returned_by(function: Callable[..., Any]) -> object:
    """Return the annotation of what a function returns, or None where it cannot be told."""

    def alone() -> None:
        """Has that annotation, and no other one that may not be found here."""

    with suppress(Exception):  # a name that is imported for type checkers alone, say
        written: Any = unwrap(function)
        alone.__annotations__ = {"return": written.__annotations__["return"]}
        return get_type_hints(alone, written.__globals__)["return"]
    return None


def classes_in(annotation: object) -> Iterator[type]:
    """Yield the classes that an annotation names, and those that their fields name, once each."""
    seen: dict[int, object] = {}  # held, so that none takes the place of another
    waiting = [annotation]
    while waiting:
        found = waiting.pop()
        if id(found) in seen or found is None:
            continue
        seen[id(found)] = found
        waiting.extend(get_args(found))
        origin = get_origin(found)
        if origin is not None:
            waiting.append(origin)
        elif isinstance(found, type):
            if _is_written(found):
                yield found
            with suppress(Exception):
                waiting.extend(get_type_hints(found).values())
            models = getattr(found, "__pydantic_fields__", {})  # those of a generic are its own
            waiting.extend(getattr(field, "annotation", None) for field in models.values())
        else:  # an alias (``type Rows = list[Row]``), a TypeVar
            waiting.append(getattr(found, "__value__", None))
            waiting.append(getattr(found, "__bound__", None))


def _is_written(cls: type) -> bool:
    """Whether there can be values of exactly this class, and it is not one of the language's."""
    return not (
        isabstract(cls)
        or cls.__module__ in LANGUAGE
        or typing.is_typeddict(cls)
        or getattr(cls, "_is_protocol", False)
        or hasattr(cls, "get_secret_value")  # is written only where someone says so
    )
