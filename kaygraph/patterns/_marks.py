"""Marks that decorators put on methods: the method is a part of its node, with settings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any, TypeVar

from ..node.keywords import NodeSettings
from ..node.settings import Checks, refuse_unknown

F = TypeVar("F", bound=Callable[..., Any])

MARK = "_kaygraph_mark"


class PartSettings(NodeSettings, total=False):
    """The settings of a part; ``name`` is the name of its method by default."""

    max_retries: int
    wait: float


@dataclass(frozen=True, slots=True)
class Mark:
    """The kind and the settings of a part."""

    kind: str
    settings: Mapping[str, Any]


class Marked:
    """A wrapper that carries a mark for a callable and binds to a node as the callable would.

    It is for a callable that already has a mark for another place, or that cannot have attributes.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = unmarked(function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def __get__(self, owner: Any, cls: type | None = None) -> Any:
        bind = getattr(type(self.function), "__get__", None)
        return bind(self.function, owner, cls) if bind else self.function


def unmarked(function: Any) -> Any:
    """Return the callable inside a wrapper; return anything else unchanged."""
    return function.function if isinstance(function, Marked) else function


def mark(
    kind: str, function: Any, settings: Mapping[str, Any], accepted: frozenset[str], checks: Checks
) -> Any:
    """Mark a function; without one, return the decorator (``@check(timeout=2)``)."""
    refuse_unknown(f"@{kind}", settings, accepted)
    checked = {name: checks[name](name, value) for name, value in settings.items()}

    def noted(function: F) -> F:
        if not callable(function) and not hasattr(function, "__get__"):
            raise TypeError(f"@{kind} must decorate a function, got {function!r}")
        if not isinstance(function, FunctionType) or hasattr(function, MARK):
            function = Marked(function)  # type: ignore[assignment]  # its own marks stay unchanged
        setattr(function, MARK, Mark(kind, checked))
        return function

    return noted if function is None else noted(function)


def mark_of(thing: Any) -> Mark | None:
    """Return the mark of a callable, also of a static method, class method or property."""
    for function in ("__func__", "fget"):  # of a static or class method; of a property
        thing = getattr(thing, function, thing)
    found = getattr(thing, MARK, None)
    return found if isinstance(found, Mark) else None


def settings_of(kind: str, thing: Any) -> Mapping[str, Any]:
    """Return the settings of a mark of this kind, or an empty mapping."""
    found = mark_of(thing)
    return found.settings if found is not None and found.kind == kind else {}


def marked(owner: Any, kind: str) -> dict[str, tuple[Any, Mapping[str, Any]]]:
    """Return the marked methods of a node and their settings, by name, in order of definition.

    The methods of base classes come first. A method that overrides a marked method is marked too,
    with the same settings if it has no mark of its own. Setting it to None removes the part.
    """
    marks: dict[str, Mapping[str, Any]] = {}
    for cls in reversed(type(owner).__mro__):
        for name, value in vars(cls).items():
            found = mark_of(value)
            if found is not None and found.kind == kind:
                marks[name] = found.settings
    methods: dict[str, tuple[Any, Mapping[str, Any]]] = {}
    for attribute, settings in marks.items():
        method = getattr(owner, attribute)
        if method is None:
            continue
        name = settings.get("name", attribute)
        if name in methods:
            raise TypeError(f"{type(owner).__name__} has two methods named {name!r}")
        methods[name] = (method, settings)
    return methods
