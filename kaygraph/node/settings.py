"""The settings of a node, by keyword or as a class attribute, and what they mean."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from inspect import isfunction
from typing import TYPE_CHECKING, Any

from ..errors import NodeDefinitionError, closest
from ..limits.breaker import CircuitBreaker
from ..limits.rate import RateLimit
from ..limits.retry import Retry
from ..run.recorder import ResultCache
from .hooks import MADE, check_hook, is_own
from .keywords import (
    Attempts,
    BatchGraphSettings,
    MapReduceSettings,
    ParallelSettings,
    RunIn,
)

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from ..executors.cluster import Cluster

Check = Callable[[str, Any], Any]
Checks = Mapping[str, Check]


class Limits:
    """The settings of each call of ``exec``, with the defaults of a Node."""

    max_retries: int = 1
    wait: float = 0.0
    retry: Retry | None = None
    timeout: float | None = None
    deadline: float | None = None
    run_in: "RunIn | Executor | Cluster | None" = None
    memory_limit: int | str | None = None
    start_timeout: float | None = None
    rate: RateLimit | Sequence[RateLimit] | None = None
    limit_by: Callable[[Any], Hashable] | None = None
    max_per_key: int = 1
    breaker: CircuitBreaker | None = None
    cache: ResultCache | None = None


def checks_of(*keywords: type) -> Checks:
    """Return the check of each keyword, by name, from the annotations."""
    return {
        name: annotation.__metadata__[0]
        for keyword in keywords
        for name, annotation in keyword.__annotations__.items()
    }


# If one of these is set on a class that does not take it, an effect was expected.
FAMILY = frozenset(checks_of(Attempts, ParallelSettings, BatchGraphSettings))


def note_settings(cls: Any) -> None:
    """Record the settings of a class (by default all of its bases'), and check its values.

    ``_checked`` has a check for each setting of the class; ``_guards`` one for every name that
    cannot be set freely: settings, hooks, and refused names.

    Raises:
        NodeDefinitionError: It sets a name that it does not take.
        ValueError: A value makes no sense; other errors of a check are raised too.
    """
    said = vars(cls)
    own = is_own(cls)
    if own or len(cls.__bases__) > 1 or "_accepts" in said or "_checks" in said:
        if "_accepts" not in said:
            cls._accepts = frozenset().union(*(getattr(b, "_accepts", ()) for b in cls.__bases__))
        brought = [vars(base).get("_checks", {}) for base in reversed(cls.__mro__)]
        cls._checked = {name: check for checks in brought for name, check in checks.items()}
        cls._guards = _guards_of(cls)
    accepts: frozenset[str] = cls._accepts
    for name in (FAMILY & said.keys()) - accepts if not own else ():
        known = ", ".join(sorted(accepts))
        raise NodeDefinitionError(
            f"{cls.__name__} sets {name}, which it does not take; it takes: {known}."
            + closest(name, accepts)
        )
    by = said.get("limit_by")
    if isfunction(by) and by.__code__.co_argcount == 1:  # of an item, and no method
        cls.limit_by = staticmethod(by)
    for name in accepts & said.keys():
        if said[name] is not None:
            value = checked(cls, name, said[name])
            # No method: from Python 3.14 on it would be one, and 3.13 warns.
            setattr(cls, name, staticmethod(value) if isinstance(value, partial) else value)


# Settings that say how work is done, or where it comes from and goes to, not what it yields.
_OF_ANY_NODE = FAMILY | frozenset(checks_of(MapReduceSettings)) | {"reads", "writes"}


def own_settings(node: Any) -> dict[str, Any]:
    """Return the settings of a ready-made node that determine a result: a url, a prompt."""
    names = set(node._accepts)
    if is_own(type(node)):  # only the engine has set anything else on it
        names |= {name for name in vars(node) if name[0] != "_"} - MADE
    return {
        name: _set_on(node, name)
        for name in names - _OF_ANY_NODE
        if not (name.startswith("max_") or name.endswith("_timeout"))
    }


def _set_on(node: Any, name: str) -> Any:
    """Return the value of a setting, even if a fact of the run has the same name: ``params``."""
    if name in vars(node):
        return vars(node)[name]
    if isinstance(getattr(type(node), name, None), property):
        return getattr(node, f"_{name}", None)  # the value of the class
    return getattr(node, name, None)


def _guards_of(cls: Any) -> Checks:
    return {
        **dict.fromkeys(FAMILY - cls._accepts, partial(_refuse_setting, cls)),
        **dict.fromkeys(cls._private, _refuse_private),
        **dict.fromkeys(cls._hook_names, check_hook),
        **{name: partial(checked, cls) for name in cls._accepts},
    }


def checked(cls: Any, name: str, value: Any) -> Any:
    """Return the value of a setting as stored; an error names the owner of the setting."""
    try:
        return cls._checked[name](name, value)
    except (TypeError, ValueError) as error:
        takes = [base for base in cls.__mro__ if name in getattr(base, "_accepts", ())]
        error.add_note(
            f"{name!r} is a setting of every {takes[-1].__name__}: rename your own attribute"
        )
        raise


def _refuse_setting(cls: Any, name: str, value: Any) -> Any:
    known = ", ".join(sorted(cls._accepts))
    raise AttributeError(
        f"{name} is not a setting of a {cls.__name__}, which takes: {known}."
        + closest(name, cls._accepts)
    )


def _refuse_private(name: str, value: Any) -> Any:
    raise AttributeError(f"{name} is a name that the engine uses: choose another one")


def check_together(owner: Any) -> None:
    """Refuse settings, of a class or an instance, that make no sense without another."""
    accepts = owner._accepts
    is_sent = "start_timeout" in accepts  # else it is a graph, which says it of nodes
    if is_sent and owner.memory_limit is not None and owner.run_in != "process":
        raise ValueError(
            "memory_limit needs run_in='process': the memory of one thread cannot be measured"
        )
    if is_sent and owner.start_timeout is not None and owner.run_in != "process":
        raise ValueError("start_timeout needs run_in='process': only processes have to be started")
    if "chunksize" in accepts and owner.chunksize != "auto" and owner.run_in != "process":
        raise ValueError("chunksize needs run_in='process': only processes get chunks")
    if "cache" in accepts and owner.cache is not None:
        if "exec" not in owner._hook_names:
            raise ValueError("cache= keeps what exec returns, and there is no exec here")
        if owner.is_source:
            raise ValueError("cache= keeps the results of items, and this node produces the items")
    if "max_per_key" in accepts and owner.max_per_key != 1 and owner.limit_by is None:
        raise ValueError("max_per_key needs limit_by=, as in limit_by=lambda item: item.host")


# Where a setting belongs that many people give to another node.
ELSEWHERE = {
    "on_error": " Batches have it; for a single node, wire an edge: node - 'error' >> handler",
    "max_workers": " ParallelBatchNode and Graph have it",
}


def refuse_unknown(owner: str, given: Mapping[str, Any], accepted: frozenset[str]) -> None:
    """Raise a TypeError that names the nearest setting for the first one that is unknown."""
    for name in given:
        if name not in accepted:
            known = ", ".join(sorted(accepted))
            raise TypeError(
                f"{owner} got an unknown setting {name!r}; it takes: {known}."
                + (ELSEWHERE.get(name) or closest(name, accepted))
            )


def note_plainness(owner: Any, base: Any) -> None:
    """Record, on a class or an instance, whether ``exec`` may simply be called and awaited.

    That is so without attempts, limits, fallback or executor. It is determined here, when a class
    is defined or a setting changes, so that no run has to check a dozen of them: ``exec_is_plain``
    for each item of an ``async def``, ``exec_is_plain_def`` of a ``def``, and ``_lifecycle`` for a
    node that has only one. If a walk may call all three hooks itself, ``in_line`` says whether
    ``prep`` and ``post`` are async.
    """
    is_class = isinstance(owner, type)
    put, cls = (type.__setattr__, owner) if is_class else (object.__setattr__, type(owner))
    if owner.has_exec and not issubclass(cls, Limits):
        for name in Limits.__annotations__:  # it takes none of them, and the engine asks
            put(owner, name, getattr(Limits, name))
    plain = cls.run_item is base.run_item and (
        not owner.has_exec
        or (
            owner.exec_kind in ("async", "sync")
            and not owner.keyed
            and owner.max_retries == 1
            and owner.retry is None
            and owner.timeout is None
            and owner.deadline is None
            and owner.rate is None
            and owner.limit_by is None
            and owner.breaker is None
            and owner.cache is None
            and getattr(owner, "max_workers", 1) != "auto"
            and (owner.run_in is None or (owner.run_in == "loop" and owner.exec_kind == "async"))
            and not owner._has_fallback
        )
    )
    is_def = owner.exec_kind == "sync"
    put(owner, "exec_is_plain", plain and not is_def)
    put(owner, "exec_is_plain_def", plain and is_def)
    bare = plain and cls._exec is base._exec
    put(owner, "_lifecycle", (*owner.hook_kinds, bare and not is_def, bare and is_def))
    has_lifespan, *kinds = owner.hook_kinds
    in_line = bare and not (is_def or has_lifespan) and cls.run_within is base.run_within
    put(owner, "in_line", tuple(kinds) if in_line else None)
