"""Context variables on their way to where ``exec`` runs in another context.

Nothing says by which name another process finds a variable, so pickle takes none. It is sent as the
module and the global name that hold it; where the other side has loaded no such module, it stays
behind, and so does a value that cannot be pickled. What belongs to an event loop is not sent.
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import Context, ContextVar
from functools import lru_cache
from importlib import import_module
from typing import Any

Name = tuple[str, str]  # a module, MAIN for ``__main__``, and a global name in it

MAIN = ""  # pickles that name ``__main__`` are looked at more closely, which takes time

OURS, STRUCTLOG, DECIMAL = "kaygraph_", "structlog_", "decimal_context"
OF_A_LOOP = ("anyio", "asyncio", "sniffio", "trio")

KEPT = 1024  # variables of which it is known where they are found

_made: dict[str, "ContextVar[Any]"] = {}  # those of another ``__main__``


class Sent:
    """Context variables where they have been sent to."""

    def __init__(self, sent: "Sequence[tuple[Sequence[Name], bytes]]") -> None:
        self._sent = sent

    def __call__(self) -> None:
        import pickle

        for names, pickled in self._sent:
            setter = _setter_of(names)
            if setter is not None:
                with suppress(Exception):  # of a class that is not known here, for example
                    setter(pickle.loads(pickled))


def by_name(variable: "ContextVar[Any]") -> tuple[Any, ...] | None:
    """Return how a variable is pickled that code refers to; None: it has no name."""
    names, default = names_of(variable), list[Any]()
    with suppress(LookupError):
        default.append(Context().run(variable.get))
    return (_found_or_made, (names, variable.name, *default)) if names else None


def _found_or_made(names: Sequence[Name], title: str, *default: Any) -> "ContextVar[Any]":
    variable = _found(names)
    for module, _ in names:
        if variable is None and module != MAIN:
            with suppress(ImportError):
                import_module(module)
                variable = _found(names)
    if variable is not None:
        return variable
    settings = {"default": default[0]} if default else {}
    made: ContextVar[Any] = ContextVar(title, **settings)
    return _made.setdefault(names[0][1], made)


def _found(names: Sequence[Name]) -> "ContextVar[Any] | None":
    """Return the variable that one of the names stands for, in what is loaded here."""
    for module, name in names:
        found = getattr(sys.modules.get(module or "__main__"), name, None)
        if type(found) is ContextVar:
            return found
        if module == MAIN and name in _made:
            return _made[name]
    return None


def _setter_of(names: Sequence[Name]) -> Callable[[Any], object] | None:
    (module, name), *_ = names
    if module == STRUCTLOG:
        from structlog.contextvars import bind_contextvars

        return lambda value: bind_contextvars(**{name: value})
    if module == DECIMAL:
        import decimal

        return decimal.setcontext
    variable = _found(names)
    return None if variable is None else variable.set


@lru_cache(KEPT)
def is_sent(variable: "ContextVar[Any]") -> bool:
    if variable.name.startswith(OURS):
        return False
    return not any(module.partition(".")[0] in OF_A_LOOP for module, _ in _all_names(variable))


def names_of(variable: "ContextVar[Any]") -> Sequence[Name]:
    """Return the names under which another process may find a variable."""
    if variable.name.startswith(STRUCTLOG):
        return ((STRUCTLOG, variable.name.removeprefix(STRUCTLOG)),)
    if variable.name == DECIMAL:  # a module written in C has it
        return ((DECIMAL, ""),)
    return [
        (MAIN if module == "__main__" else module, name)
        for module, name in _all_names(variable)
        if getattr(sys.modules.get(module), name, None) is variable  # it may be another one now
    ]


@lru_cache(KEPT)
def _all_names(variable: "ContextVar[Any]") -> Sequence[Name]:
    """Return where a variable is found, of all modules that are loaded."""
    return [
        (module, name)
        for module, loaded in tuple(sys.modules.items())
        for name, value in tuple(getattr(loaded, "__dict__", {}).items())
        if value is variable
    ]
