"""Functions in settings: callables, or "module:function" for a function to import."""

from collections.abc import Callable, Mapping
from importlib import import_module
from types import FunctionType
from typing import Any

from ..errors import KayGraphError, closest
from ..executors.kinds import kind_of

Function = Callable[..., Any]


class FunctionReferenceError(KayGraphError, ValueError):
    """A "module:function" does not name a function.

    Attributes:
        reference: The given string.
        reason: Why it does not name a function.
    """

    def __init__(self, reference: str, reason: str) -> None:
        self.reference, self.reason = reference, reason
        super().__init__(reference, reason)

    def __str__(self) -> str:
        return f"{self.reference!r} does not name a function: {self.reason}"


def resolve(reference: str) -> Function:
    """Import and return the function that ``"module:function"`` names.

    The function may belong to a class: ``"shop.prices:Prices.parse"``. The import runs the module,
    so accept a reference only from a source whose code you would run.

    Raises:
        FunctionReferenceError: The form is wrong, the module or the name in it does not exist, or
            the object is not callable.
        Exception: Whatever the module raises during the import.
    """
    module, _, path = reference.partition(":")
    parts = path.split(".")
    if not all(part.isidentifier() for part in (*module.split("."), *parts)):
        raise FunctionReferenceError(
            reference, "it must be written 'module:function', as in 'shop.prices:parse'"
        )
    try:
        found: Any = import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # the module exists, and one of its own imports is missing
        raise FunctionReferenceError(reference, f"there is no module {error.name!r}") from error
    for part in parts:
        owner, found = found, getattr(found, part, None)
        if found is None:
            place = getattr(owner, "__name__", repr(owner))
            raise FunctionReferenceError(
                reference, f"{place!r} has no {part!r}.{closest(part, dir(owner))}"
            )
    if not callable(found):
        raise FunctionReferenceError(reference, f"it is a {type(found).__name__}, not a function")
    return found  # type: ignore[no-any-return]


def check_function(name: str, value: Any) -> Function:
    """Return the function that ``value`` is or names."""
    if isinstance(value, str):
        return resolve(value)
    if not callable(value):
        raise ValueError(f"{name} must be a function or 'module:function', got {value!r}")
    return value  # type: ignore[no-any-return]


def check_plain_function(name: str, value: Any) -> Function:
    """Return the function that ``value`` is or names, if it is a plain ``def``."""
    function = check_function(name, value)
    if kind_of(function) != "sync":
        raise ValueError(
            f"{name} must be written 'def', and return rather than yield: it is called between "
            f"awaits; got {value!r}. Work that waits belongs in a node of its own"
        )
    return function


def check_plain_functions(name: str, value: Any) -> Mapping[str, Function]:
    """Return a mapping of names to plain ``def`` functions."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ValueError(
            f"{name} must be a mapping of names to functions, as in "
            f"{name}={{'email': str.lower}}; got {value!r}"
        )
    return {key: check_plain_function(f"{name}[{key!r}]", value[key]) for key in value}


def keep_from_binding(owner: type, name: str) -> None:
    """Keep a function that is a setting of a class from becoming a method of it."""
    if isinstance(function := vars(owner).get(name), FunctionType):
        setattr(owner, name, staticmethod(function))
