"""What a node's results depend on besides its items: a hash of its code and of what that reads.

What counts, from ``exec`` on (and ``exec_fallback``; ``map``, ``combine``, ``partition`` and
``reduce`` of a MapReduceNode):

- its syntax tree, as ``syntax`` has it, and those of the methods that it calls through ``self``
  and ``super()``, and of the functions of the same module that it calls by name;
- plain values that it reads: attributes of ``self``, of the object or of its class; names outside
  of it that are written in capitals, or are strings. Of other objects, only their class counts;
- the settings of a ready-made node that are its own: a url, a statement, a prompt, a function.

What does not count: ``prep``, ``post``, retries and limits; what is imported from other modules,
kaygraph's own code included; attributes and names that the class's methods set or change in
place after ``__init__``, since they are state and no code; what is named like a secret.
"""

import datetime
import decimal
import enum
import pathlib
import re
import sys
import uuid
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import partial
from hashlib import blake2b
from inspect import getattr_static
from types import FunctionType, MappingProxyType, MethodType
from typing import Any

from ..groups.map_reduce import MapReduceNode
from ..node.hooks import is_own
from ..node.settings import own_settings
from .syntax import FunctionFacts, facts_of

_SECRET = re.compile(
    r"(^|_)(api_?key|auth|authorization|credentials?|passphrase|passwo?r?d|secret|token)(_|$)",
    re.IGNORECASE,
)
_SCALARS = (
    datetime.date, datetime.time, datetime.timedelta, decimal.Decimal, pathlib.PurePath, uuid.UUID,
)  # fmt: skip
_BEGINS = {"__init__", "__new__", "__post_init__", "__attrs_post_init__", "model_post_init"}
_MISSING: Any = object()
_DEPTH = 8  # of a value


def code_of(node: Any) -> bytes:
    """Return a hash of 16 bytes of what a node's results depend on besides its items.

    It is the same in every process and, where the source is there, in every version of Python.
    The expensive part is found out once for each function; what is read is looked at in each call.
    """
    return Code(node).digest


class Code:
    """What was found out about the code of a node.

    Attributes:
        digest: As ``code_of`` returns it.
        by_source: Whether it is made from source alone. Without (a function typed into the shell,
            or made by ``exec``), and where the file was edited since it was loaded, it is made from
            code objects: another version of Python gives another one.
        reads_params: Whether it reads ``self.params``, which differ from round to round.
        varying: The plain values of attributes that it reads and that other methods set, such as
            ``prep``: no code, but what a result of this moment depends on.
    """

    def __init__(self, node: Any) -> None:
        self.by_source = True
        self.reads_params = False
        owner, hooks = hooks_of(node)
        self._node = owner
        self._classes = [
            cls for cls in type(owner).__mro__ if not is_own(cls) and cls is not object
        ]
        self._home = {cls.__module__ for cls in self._classes}
        self._state = _state_of(self._classes)
        self._parts: dict[str, str] = {}
        self._reads_state: set[str] = set()
        self._sets: set[str] = set()  # what it sets or changes itself
        for hook in hooks:
            self._attribute(hook)
        for name, value in sorted(own_settings(owner).items()):
            if not _SECRET.search(name):
                self._value(f"setting {name}", value)
        written = "".join(f"{name}={self._parts[name]}\n" for name in sorted(self._parts))
        self.digest = blake2b(written.encode(), digest_size=16).digest()
        self.varying = self._varying()

    def _varying(self) -> bytes:
        names = sorted(self._reads_state - self._sets)
        values = ((name, getattr(self._node, name, None)) for name in names)
        return "".join(
            f"{name}={self._shown(f'state {name}', value, _DEPTH)}\n" for name, value in values
        ).encode()

    # --- what stands on the node and on its classes ---------------------------------------------

    def _attribute(self, name: str, above: type | None = None) -> None:
        """Add what is read from ``self``, or, with ``above``, from ``super()`` in that class."""
        key = f"self.{name}" if above is None else f"super({above.__qualname__}).{name}"
        if key in self._parts:
            return
        if above is None and name in self._state and not _SECRET.search(name):
            self._reads_state.add(name)
        if above is None and name in vars(self._node):
            if name not in self._state and not _SECRET.search(name):
                self._value(key, vars(self._node)[name])
            return
        mro = type(self._node).__mro__
        for cls in mro if above is None else mro[mro.index(above) + 1 :]:
            if name in vars(cls):
                self._of_class(key, name, vars(cls)[name], cls)
                return

    def _of_class(self, key: str, name: str, value: Any, cls: type) -> None:
        if is_own(cls):  # another version of kaygraph is no reason to do work again
            self.reads_params = self.reads_params or name == "params"
            if isinstance(value, FunctionType):
                self._parts[key] = f"{cls.__qualname__}.{name}"
            return
        functions = [*_functions_of(value)]
        if functions and not isinstance(value, FunctionType):
            self._parts[f"{key} is"] = type(value).__qualname__  # a property, a cache
        for number, function in enumerate(functions):
            self._function(key if not number else f"{key}/{number}", function, cls)
        if not functions and name not in self._state and not _SECRET.search(name):
            self._value(key, value)

    # --- functions --------------------------------------------------------------------------------

    def _function(self, key: str, function: FunctionType, cls: type | None = None) -> None:
        """Add a function and what it reads; ``cls``: whose method it is."""
        if key in self._parts:
            return
        module = function.__module__
        if module not in self._home:
            self._parts[key] = f"{module}.{function.__qualname__}"
        else:
            facts = facts_of(function)
            self._parts[key] = facts.digest.hex()
            self.by_source = self.by_source and facts.by_source
            self._follow(function, facts, cls)
        around = [cell for cell in function.__closure__ or () if cell is not None]
        if module not in self._home:  # a decorator's: what it stands before
            for number, cell in enumerate(around):
                if isinstance(inner := _content(cell), FunctionType) and inner is not function:
                    self._function(f"{key}/within {number}", inner, cls)

    def _follow(self, function: FunctionType, facts: FunctionFacts, cls: type | None) -> None:
        if cls is not None:
            self._sets |= facts.changed
            for name in sorted(facts.attributes):
                self._attribute(name)
            for name in sorted(facts.inherited):
                self._attribute(name, cls)
        for name in sorted(facts.names):
            value = _named(function, name)
            if value is not _MISSING and name not in facts.changed:
                self._global(name, value)
        for name, attribute in sorted(facts.members):
            if _named(function, name) in self._classes:
                self._attribute(attribute)

    def _global(self, name: str, value: Any) -> None:
        """Add what a function reads by name, from its module or from a function around."""
        key = f"global {name}"
        if isinstance(value, FunctionType):
            if value.__module__ in self._home:
                self._function(key, value)
        elif not _SECRET.search(name) and (name.isupper() or isinstance(value, str | bytes)):
            self._value(key, value)

    # --- values -----------------------------------------------------------------------------------

    def _value(self, key: str, value: Any) -> None:
        """Add a value, which may be or hold functions."""
        if key not in self._parts:
            self._parts[key] = ""  # it may hold itself
            self._parts[key] = self._shown(key, value, _DEPTH)

    def _shown(self, key: str, value: Any, depth: int) -> str:
        """Return a value as text that is the same in every process."""
        cls = type(value)
        if value is None or cls in (bool, int, float, complex, str, bytes, bytearray):
            return f"{cls.__name__} {hex(value) if cls is int else ascii(value)}"
        if isinstance(value, enum.Enum):
            return f"{cls.__qualname__}.{value.name}"
        if depth == 0:
            return cls.__qualname__
        within = partial(self._shown, key, depth=depth - 1)
        if cls in (list, tuple):
            return f"{cls.__name__}({', '.join(map(within, value))})"
        if cls in (set, frozenset):
            return f"{cls.__name__}({', '.join(sorted(map(within, value)))})"
        if cls in (dict, MappingProxyType):
            pairs = [
                f"{within(one)}: {within(other)}"
                for one, other in value.items()
                if not (isinstance(one, str) and _SECRET.search(one.replace("-", "_")))
            ]
            return f"dict({', '.join(sorted(pairs))})"
        return self._shown_object(key, value, within)

    def _shown_object(self, key: str, value: Any, within: Any) -> str:
        cls = type(value)
        if isinstance(value, _SCALARS):
            return f"{cls.__qualname__} {value!s}"
        if isinstance(value, re.Pattern):
            return f"Pattern {value.pattern!a} {value.flags}"
        if isinstance(value, type):
            return f"class {value.__qualname__}"
        if isinstance(value, partial):
            return f"partial({within(value.func)}, {within(value.args)}, {within(value.keywords)})"
        functions = [*_functions_of(value)]
        for function in functions:
            place = f"{key}: {function.__qualname__}"
            if not _is_installed(function):  # it was given to the node
                self._home.add(function.__module__)
            self._function(place, function)
        if functions:
            return ", ".join(function.__qualname__ for function in functions)
        if callable(value) and hasattr(value, "__qualname__"):  # written in C
            return f"{getattr(value, '__module__', None)}.{value.__qualname__}"
        if is_dataclass(value) and is_own(cls):
            if "__str__" in vars(cls):  # it leaves out what is secret
                return f"{cls.__qualname__} {value!s}"
            names = [one.name for one in fields(value) if not _SECRET.search(one.name)]
            return f"{cls.__qualname__}({', '.join(within(getattr(value, n)) for n in names)})"
        return cls.__qualname__


def hooks_of(node: Any) -> tuple[Any, tuple[str, ...]]:
    """Return whose hooks make a node's results, and which."""
    owner = getattr(node, "owner", None)
    if isinstance(owner, MapReduceNode):  # it is one of the two halves of its work
        return owner, ("reduce",) if node.hook == "reduce" else ("map", "combine", "partition")
    if isinstance(node, MapReduceNode):
        return node, ("map", "combine", "partition", "reduce")
    return node, ("exec", "exec_fallback")


def _functions_of(value: Any) -> Iterator[FunctionType]:
    """Yield the functions that a method, a property or a decorated function consists of."""
    if isinstance(value, property):
        if value.fget is not None:
            yield from _functions_of(value.fget)
        return
    value = getattr(value, "__func__", value)  # of a method, classmethod or staticmethod
    value = getattr(value, "func", value) if not isinstance(value, partial) else value
    while isinstance(value, FunctionType):
        yield value
        value = vars(value).get("__wrapped__")
    if callable(value) and not isinstance(value, type | partial):
        wrapped = getattr_static(value, "__wrapped__", None)  # lru_cache, written in C
        call = None if is_own(type(value)) else vars(type(value)).get("__call__")
        for one in (wrapped, call):
            if isinstance(one, FunctionType | MethodType):
                yield from _functions_of(one)


def _is_installed(function: FunctionType) -> bool:
    """Whether a function comes with Python, or with a library."""
    module = (function.__module__ or "").partition(".")[0]
    path = pathlib.PurePath(function.__code__.co_filename)
    return module in sys.stdlib_module_names - {"__main__"} or not {
        "dist-packages", "site-packages",
    }.isdisjoint(path.parts)  # fmt: skip


def _state_of(classes: list[type]) -> set[str]:
    """Return the attributes that methods of these classes set or change after ``__init__``."""
    state: set[str] = set()
    for cls in classes:
        for name, value in vars(cls).items():
            if name not in _BEGINS:
                for function in _functions_of(value):
                    if function.__module__ == cls.__module__:
                        state |= facts_of(function).changed
    return state


def _named(function: FunctionType, name: str) -> Any:
    """Return what a name means to a function, outside of it; ``_MISSING`` if it is a builtin's."""
    code = function.__code__
    if name in code.co_freevars:
        return _content((function.__closure__ or ())[code.co_freevars.index(name)])
    return function.__globals__.get(name, _MISSING)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is not set yet
        return _MISSING
