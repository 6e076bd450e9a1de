"""Values as bytes for another process, also those whose class or function no module has there.

Pickle sends a class or a function as a name. Where the other side would not find it (a notebook's
cell, ``python -c``, a lambda, a class within a function), cloudpickle sends what it consists of,
if it is installed.
"""

import os
import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from io import BytesIO
from multiprocessing import process
from types import FunctionType
from typing import Any

from ..run.launch import Runnable
from .rebuilding import note

# Settings of a node that its engine reads, on this side only.
SETTINGS = frozenset({"run_in", "retry", "limit_by", "rate", "breaker", "cache"})

# Hooks that run on this side only.
HOOKS = frozenset({"prep", "post", "lifespan", "exec_fallback"})

# Values of these types name no class, hold no others, and cannot be changed.
PLAIN = frozenset({bytes, str, int, float, bool, type(None)})

ADVICE = "put it at the top level of a module and import it from there, or: pip install cloudpickle"
NOT_FOUND = (
    "a process imports the module again: what it looks up there has to be at the top level, and "
    "not under if __name__ == '__main__':"
)

# Whether what is being pickled goes where our `__main__` is not.
_WITHOUT_MAIN: ContextVar[bool] = ContextVar("kaygraph_without_main", default=False)


def main_can_be_imported() -> bool:
    """Whether a new process can import what ``__main__`` defines; see multiprocessing.spawn.

    Not that of a notebook, an interactive interpreter, ``python -c``, a script that is read from
    a pipe, or the ``__main__.py`` of a package.
    """
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return spec.name != "__main__" and not spec.name.endswith(".__main__")
    path = getattr(main, "__file__", None)
    started_in: str = getattr(process, "ORIGINAL_DIR", None) or ""  # the path may be relative
    return path is not None and _is_file(os.path.join(started_in, path))


@cache
def _is_file(path: str) -> bool:
    return os.path.isfile(path)


def travels_by_name(module: str) -> bool:
    """Whether what stands in a module is found by its name where a value is being sent to."""
    return module != "__main__" or not _WITHOUT_MAIN.get()


def dumps(value: Any, without_main: bool = False, at_least_by_name: bool = False) -> bytes:
    """Return a value pickled.

    Args:
        without_main: The other side has no ``__main__`` like ours.
        at_least_by_name: It may have: without cloudpickle, what ``__main__`` defines is sent as a
            name.

    Raises:
        pickle.PicklingError: It has what cannot be named there, and cloudpickle is not installed.
        Exception: It cannot be pickled.
    """
    if type(value) in PLAIN:
        return pickle.dumps(value)
    try:
        data = pickle.dumps(value)
        if b"__main__" not in data:
            return data
        failure = None
    except Exception as error:
        failure = error
    token = _WITHOUT_MAIN.set(without_main or not main_can_be_imported())
    try:
        if failure is None and travels_by_name("__main__"):
            return data
        return _dumped_by_value(value)
    except ImportError:  # there is no cloudpickle
        if failure is None and not at_least_by_name:
            _Named(BytesIO()).dump(value)
        if isinstance(failure, AttributeError | pickle.PicklingError):
            note(failure, ADVICE)
        if failure is not None:
            raise failure from None
        return data
    finally:
        _WITHOUT_MAIN.reset(token)
        del failure  # it holds this frame: no cycle may keep them alive


def loads(data: bytes | memoryview, doing: str) -> Any:
    """Return the value that was pickled; notes at an error say what was being done."""
    try:
        return pickle.loads(data)
    except BaseException as error:
        note(error, f"while {doing}")
        if isinstance(error, AttributeError) and b"__main__" in bytes(data):
            note(error, NOT_FOUND)
        raise


@contextmanager
def noting(doing: str) -> Iterator[None]:
    """Add a note to an error about what was being done."""
    try:
        yield
    except BaseException as error:
        note(error, f"while {doing}")
        raise


class _Named(pickle.Pickler):
    """Refuses what only this ``__main__`` has."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, type | FunctionType) and value.__module__ == "__main__":
            raise pickle.PicklingError(
                f"{value.__qualname__} is defined in a notebook, an interactive interpreter or a "
                f"program that no other process can import: {ADVICE}"
            )
        return NotImplemented


def _dumped_by_value(value: Any) -> bytes:
    """Return a value pickled; the hooks of a node's class may refer to what cannot be pickled."""
    pickler, file = by_value_pickler(), BytesIO()
    try:
        pickler(file).dump(value)
    except Exception:
        if not isinstance(value, Runnable):
            raise
        file = BytesIO()
        pickler(file, HOOKS).dump(value)
    return file.getvalue()


@cache
def by_value_pickler() -> Any:
    """Return the class of cloudpickle's picklers, for nodes.

    Raises:
        ImportError: cloudpickle is not installed.
    """
    import cloudpickle  # type: ignore[import-untyped]

    from .variables import by_name

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def __init__(self, file: BytesIO, left_out: frozenset[str] = frozenset()) -> None:
            super().__init__(file)
            self._left_out = left_out

        def reducer_override(self, value: Any) -> Any:
            if type(value) is ContextVar:
                return by_name(value) or NotImplemented
            named = isinstance(value, type | FunctionType) and value.__module__ == "__main__"
            if named and travels_by_name("__main__") and _is_found(value):
                return NotImplemented
            reduced = super().reducer_override(value)
            is_node = isinstance(value, type) and issubclass(value, Runnable)
            if is_node and isinstance(reduced, tuple) and len(reduced) > 2:
                held: dict[str, Any] = reduced[2][0]  # what stands in the class
                for name in SETTINGS & held.keys():
                    if not stays_itself(name, held[name]):
                        held[name] = None
                for name in self._left_out & held.keys():
                    del held[name]
            return reduced

    return Pickler


def stays_itself(name: str, setting: Any) -> bool:
    """Whether a setting may go with its node, so that ``exec`` can read it."""
    if name == "run_in":
        return isinstance(setting, str)
    try:
        dumps(setting, not travels_by_name("__main__"))
    except Exception:
        return False
    return True


def _is_found(value: Any) -> bool:
    found: Any = sys.modules["__main__"]
    for part in value.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is value
