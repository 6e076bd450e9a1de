"""The classes that annotations name, including those of their fields."""

import typing
from collections.abc import Callable, Iterator
from contextlib import suppress
from inspect import isabstract, unwrap
from typing import Any, get_args, get_origin, get_type_hints

LANGUAGE = frozenset({"builtins", "collections", "collections.abc", "types", "typing"})


def returned_by(function: Callable[..., Any]) -> object:
    """Return the annotation of what a function returns, or None if it cannot be determined."""

    def alone() -> None:
        """Has that annotation only: others may not be resolvable here."""

    with suppress(Exception):  # for example, a name that is imported only for type checkers
        written: Any = unwrap(function)
        alone.__annotations__ = {"return": written.__annotations__["return"]}
        return get_type_hints(alone, written.__globals__)["return"]
    return None


def classes_in(annotation: object) -> Iterator[type]:
    """Yield the classes that an annotation names and those of their fields, each once."""
    seen: dict[int, object] = {}  # kept alive, so that no id is reused
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
            models = getattr(found, "__pydantic_fields__", {})  # a generic model has its own
            waiting.extend(getattr(field, "annotation", None) for field in models.values())
        else:  # an alias (``type Rows = list[Row]``), a TypeVar
            waiting.append(getattr(found, "__value__", None))
            waiting.append(getattr(found, "__bound__", None))


def _is_written(cls: type) -> bool:
    """Whether values can be of exactly this class, and it is not built in."""
    return not (
        isabstract(cls)
        or cls.__module__ in LANGUAGE
        or typing.is_typeddict(cls)
        or getattr(cls, "_is_protocol", False)
        or hasattr(cls, "get_secret_value")  # written only if a program says so
    )
