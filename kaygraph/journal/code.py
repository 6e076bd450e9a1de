"""What a node's results depend on other than its items: a hash of its code and what that reads.

Included, starting from ``exec`` (and ``exec_fallback``; ``map``, ``combine``, ``partition`` and
``reduce`` of a MapReduceNode):

- its syntax tree, as ``syntax`` defines it, and those of the methods it calls through ``self``
  and ``super()``, and of the functions of the same module that it calls by name;
- plain values that it reads: attributes of ``self``, of the object or its class; outer names
  written in capitals, or strings; for an enclosing function, numbers and tuples, too, but no
  flags. Of other objects, only the class counts;
- the settings of a ready-made node: a url, a statement, a prompt, a function.

Excluded: ``prep``, ``post``, retries and limits; imports from other modules, including
kaygraph's own code; attributes and names that the class's methods set or change in
place after ``__init__``, since they are state and not code; whatever is named like a secret.
"""

from hashlib import blake2b
from types import FunctionType
from typing import Any

from ..groups.map_reduce import MapReduceNode
from ..node.hooks import is_own
from ..node.settings import own_settings
from .syntax import FunctionFacts, facts_of
from .values import Texts, functions_of, is_installed, is_secret

# Types that cannot be changed in place.
FIXED = (str, bytes, int, float, complex, tuple, frozenset)
_BEGINS = {"__init__", "__new__", "__post_init__", "__attrs_post_init__", "model_post_init"}
_MISSING: Any = object()


def code_of(node: Any) -> bytes:
    """Return a 16-byte hash of what a node's results depend on other than its items.

    It is the same in every process and, if the source is available, in every version of Python.
    The expensive part is computed once per function; the values it reads are read on each call.
    """
    return Code(node).digest


class Code:
    """What is known about the code of a node.

    Attributes:
        digest: As ``code_of`` returns it.
        by_source: Whether it is made from source only. Otherwise (a function typed into the shell
            or made by ``exec``, or a file edited since it was loaded) it is made from code objects,
            which differ between versions of Python.
        reads_params: Whether it reads ``self.params``, which differ between rounds.
        varying: The plain values of attributes that it reads and that other methods, such as
            ``prep``, set: not code, but inputs of the current result.
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
        self._texts = Texts(self._given)
        self._reads_state: set[str] = set()
        self._sets: set[str] = set()  # what it sets or changes itself
        for hook in hooks:
            self._attribute(hook)
        for name, value in sorted(own_settings(owner).items()):
            if not is_secret(name):
                self._value(f"setting {name}", value)
        if owner.composition.kind == "compound":
            for part in owner.composition.nodes:
                self._parts[f"part {part.name}"] = code_of(part).hex()
        written = "".join(f"{name}={self._parts[name]}\n" for name in sorted(self._parts))
        self.digest = blake2b(written.encode(), digest_size=16).digest()
        self.varying = self._varying()

    def _varying(self) -> bytes:
        names = sorted(self._reads_state - self._sets)
        values = ((name, getattr(self._node, name, None)) for name in names)
        return "".join(
            f"{name}={self._texts.of(f'state {name}', value)}\n" for name, value in values
        ).encode()

    # --- attributes of the node and its classes -------------------------------------------------

    def _attribute(self, name: str, above: type | None = None) -> None:
        """Add what is read from ``self``, or, with ``above``, from ``super()`` in that class."""
        key = f"self.{name}" if above is None else f"super({above.__qualname__}).{name}"
        if key in self._parts:
            return
        if above is None and name in self._state and not is_secret(name):
            self._reads_state.add(name)
        if above is None and name in vars(self._node):
            if name not in self._state and not is_secret(name):
                self._value(key, vars(self._node)[name])
            return
        mro = type(self._node).__mro__
        for cls in mro if above is None else mro[mro.index(above) + 1 :]:
            if name in vars(cls):
                self._of_class(key, name, vars(cls)[name], cls)
                return

    def _of_class(self, key: str, name: str, value: Any, cls: type) -> None:
        if is_own(cls):  # a new version of kaygraph is not a reason to repeat work
            self.reads_params = self.reads_params or name == "params"
            if isinstance(value, FunctionType):
                self._parts[key] = f"{cls.__qualname__}.{name}"
            return
        functions = functions_of(value)
        if functions and not isinstance(value, FunctionType):
            self._parts[f"{key} is"] = type(value).__qualname__  # a property, a cache
        for number, function in enumerate(functions):
            self._function(key if not number else f"{key}/{number}", function, cls)
        if not functions and name not in self._state and not is_secret(name):
            self._value(key, value)

    # --- functions --------------------------------------------------------------------------------

    def _function(self, key: str, function: FunctionType, cls: type | None = None) -> None:
        """Add a function and what it reads; ``cls`` is the class it is a method of."""
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
        if module not in self._home:  # the module of a decorator
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
                self._global(name, value, around=name in function.__code__.co_freevars)
        for name, attribute in sorted(facts.members):
            if _named(function, name) in self._classes:
                self._attribute(attribute)

    def _global(self, name: str, value: Any, around: bool) -> None:
        """Add what a function reads by name, from its module or from an enclosing function.

        What an enclosing function was called with makes each of its calls a different node.
        """
        key = f"global {name}"
        if isinstance(value, FunctionType):
            if value.__module__ in self._home:
                self._function(key, value)
        elif not is_secret(name) and (
            name.isupper()
            or (isinstance(value, FIXED if around else str | bytes) and not isinstance(value, bool))
        ):
            self._value(key, value)

    # --- values -----------------------------------------------------------------------------------

    def _value(self, key: str, value: Any) -> None:
        """Add a value, which may be or hold functions."""
        if key not in self._parts:
            self._parts[key] = ""  # it may contain itself
            self._parts[key] = self._texts.of(key, value)

    def _given(self, key: str, function: FunctionType) -> None:
        """Add a function that was given to the node, wherever it is defined."""
        if not is_installed(function):
            self._home.add(function.__module__)
        self._function(key, function)


def hooks_of(node: Any) -> tuple[Any, tuple[str, ...]]:
    """Return the object whose hooks make a node's results, and the names of those hooks."""
    owner = getattr(node, "owner", None)
    if isinstance(owner, MapReduceNode):  # one of the two phases
        return owner, ("reduce",) if node.hook == "reduce" else ("map", "combine", "partition")
    if isinstance(node, MapReduceNode):
        return node, ("map", "combine", "partition", "reduce")
    if owner is not None and node.composition.kind == "compound":  # it stands for its owner
        node = owner
    return node, ("exec", "exec_fallback")


def _state_of(classes: list[type]) -> set[str]:
    """Return the attributes that methods of these classes set or change after ``__init__``."""
    state: set[str] = set()
    for cls in classes:
        for name, value in vars(cls).items():
            if name not in _BEGINS:
                for function in functions_of(value):
                    if function.__module__ == cls.__module__:
                        state |= facts_of(function).changed
    return state


def _named(function: FunctionType, name: str) -> Any:
    """Return what an outer name of a function refers to; ``_MISSING`` if it is a builtin."""
    code = function.__code__
    if name in code.co_freevars:
        return _content((function.__closure__ or ())[code.co_freevars.index(name)])
    return function.__globals__.get(name, _MISSING)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not set yet
        return _MISSING
