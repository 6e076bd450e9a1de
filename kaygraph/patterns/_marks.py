"""What a decorator notes on a method: that it is a part of its node, and with which settings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any, TypeVar

from ..node.keywords import NodeSettings
from ..node.settings import Checks, refuse_unknown

F = TypeVar("F", bound=Callable[..., Any])

MARK = "_kaygraph_mark"


class PartSettings(NodeSettings, total=False):
    """What each part may be told; ``name`` is what it is called, its method's name by default."""

    max_retries: int
    wait: float


@dataclass(frozen=True, slots=True)
class Mark:
    """A function is a part of this kind, with these settings."""

    kind: str
    settings: Mapping[str, Any]


class Marked:
    """A callable that bears a mark for another; a node has it as a method where it would that one.

    For what has a mark already, or can have none: each mark is for the place where it is given.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = unmarked(function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def __get__(self, owner: Any, cls: type | None = None) -> Any:
        bind = getattr(type(self.function), "__get__", None)
        return bind(self.function, owner, cls) if bind else self.function


def unmarked(function: Any) -> Any:
    """Return what a mark was given for."""
    return function.function if isinstance(function, Marked) else function


def mark(
    kind: str, function: Any, settings: Mapping[str, Any], accepted: frozenset[str], checks: Checks
) -> Any:
    """Note it on a function; without one, return what will (``@check(timeout=2)``)."""
    refuse_unknown(f"@{kind}", settings, accepted)
    checked = {name: checks[name](name, value) for name, value in settings.items()}

    def noted(function: F) -> F:
        if not callable(function) and not hasattr(function, "__get__"):
            raise TypeError(f"@{kind} stands before a function, got {function!r}")
        if not isinstance(function, FunctionType) or hasattr(function, MARK):
            function = Marked(function)  # type: ignore[assignment]  # its own marks stay as they are
        setattr(function, MARK, Mark(kind, checked))
        return function

    return noted if function is None else noted(function)


def mark_of(thing: Any) -> Mark | None:
    """Return the mark of a callable, also where a static method, say, was made of it."""
    for function in ("__func__", "fget"):  # of a static or class method; of a property
        thing = getattr(thing, function, thing)
    found = getattr(thing, MARK, None)
    return found if isinstance(found, Mark) else None


def settings_of(kind: str, thing: Any) -> Mapping[str, Any]:
    """Return what a mark of this kind says; nothing where there is none."""
    found = mark_of(thing)
    return found.settings if found is not None and found.kind == kind else {}


def marked(owner: Any, kind: str) -> dict[str, tuple[Any, Mapping[str, Any]]]:
    """Return the marked methods of a node and their settings, by name, in the order written.

    Those of its base classes come first. A method that overrides a marked one is one as well, with
    the same settings unless it has a mark of its own; None in its place takes it out.
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
            raise TypeError(f"{type(owner).__name__} has two methods that are called {name!r}")
        methods[name] = (method, settings)
    return methods
