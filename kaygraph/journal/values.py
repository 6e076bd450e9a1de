"""Values that code reads, as texts that are the same in every process."""

import datetime
import decimal
import enum
import pathlib
import re
import sys
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from hashlib import blake2b
from inspect import getattr_static
from types import FunctionType, MappingProxyType, MethodType
from typing import Any

from .._stores import FIELDS
from ..node.hooks import is_own

_SECRET = re.compile(
    r"(^|_)(api_?key|auth|authorization|cookie|credentials?|passphrase|passwo?r?d|secret|token)"
    r"(_|$)",
    re.IGNORECASE,
)
_SCALARS = (
    datetime.date, datetime.time, datetime.timedelta, datetime.tzinfo, decimal.Decimal,
    pathlib.PurePath, uuid.UUID, range, slice,
)  # fmt: skip
DEPTH = 8  # of nested values
MOST = 10_000  # values in one; a larger one is represented by its length
LONG = 1000  # texts and bytes longer than this are hashed


def is_secret(name: object) -> bool:
    """Whether a name is that of a secret, which must not be stored, and may change."""
    return isinstance(name, str) and _SECRET.search(name.replace("-", "_")) is not None


class Texts:
    """Converts values to texts.

    Plain values and containers of them count by content: strings, numbers, dates, lists,
    dicts, dataclasses, pydantic models and the like. Other objects count by class.

    Args:
        follow: Called with the functions in a value, each with a name for it.
    """

    def __init__(self, follow: Callable[[str, FunctionType], None]) -> None:
        self._follow = follow
        self._left = MOST

    def of(self, key: str, value: Any) -> str:
        """Return the text of a value that is named ``key``."""
        self._left = MOST
        try:
            return self._text(key, value, DEPTH)
        except Exception:  # for example, a proxy without a target here
            return type(value).__qualname__

    def _text(self, key: str, value: Any, depth: int) -> str:
        self._left -= 1
        cls = type(value)
        if isinstance(value, enum.Enum):
            return f"{cls.__qualname__}.{value.name}"
        for kind, shown in _PLAIN.items():
            if isinstance(value, kind):
                return f"{cls.__qualname__} {shown(value)}"
        within = partial(self._text, key, depth=depth - 1)
        parts = _parts_of(value)
        if parts is None:
            return self._text_of_object(key, value, within)
        if depth == 0 or len(parts) > self._left:
            return f"{cls.__qualname__} of {len(parts)}"
        if isinstance(parts, Mapping):
            texts = [f"{within(name)}: {within(one)}" for name, one in parts.items()]
        else:
            texts = [within(one) for one in parts]
        ordered = not isinstance(parts, set | frozenset | Mapping)
        return f"{cls.__qualname__}({', '.join(texts if ordered else sorted(texts))})"

    def _text_of_object(self, key: str, value: Any, within: Callable[[Any], str]) -> str:
        cls = type(value)
        if isinstance(value, _SCALARS):
            return f"{cls.__qualname__} {value!s}"
        if isinstance(value, re.Pattern):
            return f"Pattern {value.pattern!a} {value.flags}"
        if isinstance(value, type):
            return f"class {value.__qualname__}"
        if isinstance(value, partial):
            return f"partial({within(value.func)}, {within(value.args)}, {within(value.keywords)})"
        functions = functions_of(value)
        for function in functions:
            self._follow(f"{key}: {function.__qualname__}", function)
        if functions:
            return ", ".join(function.__qualname__ for function in functions)
        if callable(value) and hasattr(value, "__qualname__"):  # written in C
            return f"{getattr(value, '__module__', None)}.{value.__qualname__}"
        if is_own(cls) and "__str__" in vars(cls):  # its text leaves out secrets
            return f"{cls.__qualname__} {value!s}"
        if (held := _fields_of(value)) is not None:
            return f"{cls.__qualname__}{within(held)}"
        return cls.__qualname__


def _hashed(text: str | bytes | bytearray) -> str:
    if len(text) <= LONG:
        return ascii(text)
    data = text.encode(errors="surrogatepass") if isinstance(text, str) else bytes(text)
    return blake2b(data, digest_size=16).hexdigest()


# How values are shown: the first class that fits applies, also to subclasses.
_PLAIN: Mapping[type, Callable[[Any], str]] = {
    type(None): ascii,
    bool: ascii,
    int: lambda value: hex(int(value)),
    float: lambda value: ascii(float(value)),
    complex: lambda value: ascii(complex(value)),
    str: lambda value: _hashed(str.__str__(value)),
    bytes: lambda value: _hashed(bytes(value)),
    bytearray: _hashed,
}


def _parts_of(value: Any) -> Any:
    """Return the parts of a value, if it has any; without those named like secrets."""
    if isinstance(value, dict | MappingProxyType):
        if len(value) > MOST:
            return value
        return {name: one for name, one in value.items() if not is_secret(name)}
    return value if isinstance(value, list | tuple | set | frozenset | deque) else None


def _fields_of(value: Any) -> dict[str, Any] | None:
    """Return the fields of a dataclass's object, or of one that lists its fields like one."""
    for listed in FIELDS:
        fields: Iterable[Any] | None = getattr(type(value), listed, None)
        if fields is not None:
            names = [getattr(field, "name", field) for field in fields]
            return {name: getattr(value, name, None) for name in names if not is_secret(name)}
    return None


# --- functions --------------------------------------------------------------------------------


def functions_of(value: Any) -> list[FunctionType]:
    """Return the functions that a method, a property or a decorated function consists of."""
    try:
        return [*_each_function_of(value)]
    except Exception:  # for example, a proxy without a target here
        return []


def _each_function_of(value: Any) -> Iterator[FunctionType]:
    if isinstance(value, property):
        if value.fget is not None:
            yield from _each_function_of(value.fget)
        return
    value = getattr(value, "__func__", value)  # of a method, classmethod or staticmethod
    if not isinstance(value, partial):
        value = getattr(value, "func", value)  # of a cached_property
    while isinstance(value, FunctionType):
        yield value
        value = vars(value).get("__wrapped__")
    if callable(value) and not isinstance(value, type | partial):
        wrapped = getattr_static(value, "__wrapped__", None)  # lru_cache, written in C
        call = None if is_own(type(value)) else vars(type(value)).get("__call__")
        for one in (wrapped, call):
            if isinstance(one, FunctionType | MethodType):
                yield from _each_function_of(one)


def is_installed(function: FunctionType) -> bool:
    """Whether a function is part of Python or a library."""
    module = (function.__module__ or "").partition(".")[0]
    path = pathlib.PurePath(function.__code__.co_filename)
    return module in sys.stdlib_module_names - {"__main__"} or not {
        "dist-packages", "site-packages",
    }.isdisjoint(path.parts)  # fmt: skip
