"""The hooks of a node: their names, their arguments, and how they are written."""

import inspect
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any
from weakref import WeakKeyDictionary, ref

from ..errors import NodeDefinitionError
from ..executors.kinds import is_async, kind_of

HOOKS = ("prep", "exec", "post", "exec_fallback")
ALSO_WRITTEN = {"prepare": "prep", "execute": "exec", "fallback": "exec_fallback"}

# A fact for which each call of `exec` needs its own place.
KEY = "idempotency_key"

# Where hooks are defined that do nothing: a class with only these has not written one.
DEFAULTS = ("kaygraph.node.", "kaygraph.batch.", "kaygraph.graph.", "kaygraph.groups.")

# The arguments of each hook; a class calls the hooks in its `_hook_names`.
GIVEN = {
    "prep": ("shared",),
    "exec": ("prep_res",),
    "post": ("shared", "prep_res", "exec_res"),
    "lifespan": ("shared",),
    "exec_fallback": ("prep_res", "exc"),
    "map": ("item",),
    "combine": ("key", "values"),
    "partition": ("key",),
    "reduce": ("key", "values"),
}


def check_names(cls: Any) -> None:
    """Check that a class defines no unknown hooks, and no names of the engine.

    Raises:
        NodeDefinitionError: The message says what to write instead.
    """
    for hook in HOOKS:
        leftover = f"{hook}_async"
        if leftover in vars(cls) and not hasattr(super(cls, cls), leftover):
            raise NodeDefinitionError(
                f"{cls.__name__} defines {leftover}(). Hooks have one name here: rename it to "
                f"'async def {hook}', or import AsyncNode from kaygraph.compat."
            )
    if is_own(cls) or len(cls.__bases__) > 1:
        cls._private = MADE.union(*map(_private_of, cls.__mro__))
    if is_own(cls):
        return
    for name, value in vars(cls).items():
        if name in cls._private:
            raise NodeDefinitionError(
                f"{cls.__name__} defines {name}, which is a name that the engine uses: rename it"
            )
        if name in cls._hook_names:
            _check_cache(cls, name, value)
            _check_arity(cls, name, value)
        elif name[0] != "_" and (meant := _meant(cls, name, value)):
            raise NodeDefinitionError(
                f"{cls.__name__} defines {name}(), which nothing calls: did you mean {meant}()? "
                f"A method that is not a hook needs another name, such as _{name}."
            )


def check_hook(name: str, value: Any) -> Any:
    """Return what is set on a node in place of a hook, if it can be called as one."""
    if not callable(value):
        raise NodeDefinitionError(f"{name} is a hook, which is called; got {value!r}")
    if not _takes(value, len(GIVEN[name])):
        raise NodeDefinitionError(_refused(f"the {name} of a node", name, value, ()))
    return value


def _check_arity(cls: Any, hook: str, value: Any) -> None:
    function: Any = value
    first: tuple[str, ...] = ("self",)
    if isinstance(value, staticmethod):
        function, first = value.__func__, ()
    if isinstance(function, FunctionType) and not _takes(function, len(first + GIVEN[hook])):
        raise NodeDefinitionError(_refused(f"{cls.__name__}.{hook}", hook, function, first))


def _refused(what: str, hook: str, function: Any, first: tuple[str, ...]) -> str:
    written = "async def" if is_async(function) else "def"
    return (
        f"{what} takes {inspect.signature(function, follow_wrapped=False)}, but is called with "
        f"({', '.join(GIVEN[hook])}): write '{written} {hook}({', '.join(first + GIVEN[hook])})'"
    )


def _takes(function: Any, number: int) -> bool:
    """Whether a call with this many arguments may work; False only if it certainly fails."""
    if isinstance(function, FunctionType):  # faster than a signature, and nearly always possible
        code = function.__code__
        most, least = code.co_argcount, code.co_argcount - len(function.__defaults__ or ())
        needed = code.co_kwonlyargcount > len(function.__kwdefaults__ or ())
        several = bool(code.co_flags & inspect.CO_VARARGS)
        return least <= number and (number <= most or several) and not needed
    try:
        # A decorated function may take other arguments than the decorator's function.
        inspect.signature(function, follow_wrapped=False).bind(*[None] * number)
    except ValueError:  # it has no signature
        return True
    except TypeError:
        return False
    return True


def _meant(cls: Any, name: str, value: Any) -> str | None:
    """Return the hook that a method name misspells: nearly its name, and exactly its arguments."""
    if not isinstance(value, FunctionType):
        return None
    called: frozenset[str] = cls._hook_names
    for hook in called:
        if hook == ALSO_WRITTEN.get(name) or (name[0] == hook[0] and _is_slip(name, hook)):
            # If the hook exists too, or a base has the name, or another method mentions it, the
            # name is intended.
            missing: bool = getattr(cls, hook).__module__.startswith(DEFAULTS)
            known = any(name in vars(base) for base in cls.__mro__[1:]) or _mentions(cls, name)
            if missing and not known and _takes(value, 1 + len(GIVEN[hook])):
                return hook
    return None


def _mentions(cls: Any, name: str) -> bool:
    """Whether another method of a class has a name in its code."""
    methods = (inspect.unwrap(value) for key, value in vars(cls).items() if key != name)
    codes: list[CodeType] = [one.__code__ for one in methods if isinstance(one, FunctionType)]
    for code in codes:  # nested ones, such as comprehensions, follow
        if name in code.co_names:
            return True
        codes += [within for within in code.co_consts if isinstance(within, CodeType)]
    return False


def _is_slip(name: str, hook: str) -> bool:
    """Whether letters are swapped, or one is missing or too many."""
    if len(name) == len(hook):
        return sorted(name) == sorted(hook)
    short, long = sorted((name, hook), key=len)
    return len(long) - len(short) == 1 and any(
        long[:at] + long[at + 1 :] == short for at in range(len(long))
    )


def note_hooks(owner: Any, base: Any) -> None:
    """Record, on a class or an instance, which hooks it has and how they are written."""
    put = type.__setattr__ if isinstance(owner, type) else object.__setattr__
    has_exec = getattr(owner.exec, "__func__", owner.exec) is not base.exec
    put(owner, "has_exec", has_exec)
    put(owner, "exec_kind", kind_of(owner.exec) if has_exec else "async")
    lifespan = getattr(owner.lifespan, "__func__", owner.lifespan) is not base.lifespan
    put(owner, "hook_kinds", (lifespan, is_async(owner.prep), is_async(owner.post)))
    fallback = getattr(owner, "exec_fallback", None)
    ours = base.exec.__module__  # where the one that raises is defined
    put(owner, "_has_fallback", getattr(fallback, "__module__", ours) != ours)
    put(owner, "_fallback_is_async", is_async(fallback))
    if isinstance(owner, type):
        own = is_own(owner)  # the engine's ask only if there is a journal
        keyed = getattr(owner, "keyed", False) or (not own and _mentions(owner, KEY))
        put(owner, "keyed", keyed)
        _NOTED[owner] = tuple(map(_sameness, _hooks_of(owner)))


def changed_classes(base: Any) -> Iterator[Any]:
    """Yield the classes whose hooks were replaced after definition: reloaded, or patched."""
    waiting = [base]
    while waiting:
        cls = waiting.pop()
        waiting += cls.__subclasses__()
        noted = _NOTED.get(cls, ())
        if any(not same(hook) for same, hook in zip(noted, _hooks_of(cls), strict=False)):
            yield cls


# Separate from the classes, which are pickled with their attributes; and weakly, since a hook may
# refer to its class.
_NOTED: WeakKeyDictionary[type, tuple[Callable[[Any], bool], ...]] = WeakKeyDictionary()


def _hooks_of(cls: Any) -> tuple[Any, ...]:
    hooks = (getattr(cls, hook, None) for hook in (*HOOKS, "lifespan"))
    return tuple(getattr(hook, "__func__", hook) for hook in hooks)


def _sameness(hook: Any) -> Callable[[Any], bool]:
    """Return the identity of a hook; %autoreload puts new code into the same function."""
    code = getattr(hook, "__code__", None)
    try:
        held = ref(hook)
    except TypeError:  # None if a class has no such hook
        return lambda other: other is hook
    return lambda other: other is held() and getattr(other, "__code__", None) is code


def _check_cache(cls: Any, hook: str, value: Any) -> None:
    """Refuse a cache on an ``async def``: it would keep a coroutine, which is awaited once."""
    if isinstance(value, _CACHE) and is_async(value.__wrapped__):
        raise NodeDefinitionError(
            f"{cls.__name__}.{hook} is an 'async def' under lru_cache, which keeps its coroutine: "
            "that can be awaited only once. Keep the results, in a dict for example"
        )


_CACHE = type(lru_cache(int))


def _private_of(cls: type) -> frozenset[str]:
    """Return the names that a class of the engine reserves."""
    if not is_own(cls):
        return frozenset()
    if (known := _PRIVATE.get(cls)) is None:
        known = _PRIVATE[cls] = frozenset(
            name for name in vars(cls) if name[0] == "_" and name[1] != "_"
        )
    return known


# Attributes set only on objects, and what the engine's packages ask of each other's nodes.
MADE = frozenset(
    {
        "_successors",
        "calls_function",
        "composition",
        "exec_block",
        "exec_is_plain",
        "exec_is_plain_def",
        "exec_kind",
        "fan_out_of",
        "has_exec",
        "gives_many",
        "has_given_name",
        "hook_kinds",
        "in_line",
        "is_source",
        "keyed",
        "keeps_result",
        "merges_branches",
        "note_more",
        "regroup",
        "run_item",
        "run_items",
        "run_within",
        "times_itself",
        "with_parts",
    }
)
_PRIVATE: dict[type, frozenset[str]] = {}


def is_own(cls: type) -> bool:
    """Whether a class is one of kaygraph's."""
    return cls.__module__.partition(".")[0] == "kaygraph"


async def nothing() -> Any:
    return None
