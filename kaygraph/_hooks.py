"""How hooks are written, which is found once per class and never per call."""

import inspect
from typing import Any

from .errors import NodeDefinitionError

# What a graph may say of all that runs within it.
RULES = (
    "max_workers",
    "max_parallel_tasks",
    "task_timeout",
    "memory_limit",
    "deadline",
    "slow_hook_s",
    "on_conflict",
)


HOOKS = ("prep", "exec", "post", "exec_fallback")


def check_names(cls: type) -> None:
    """Refuse a class that defines what is not called here, or what the engine calls its own.

    Raises:
        NodeDefinitionError: With what to write instead.
    """
    for hook in HOOKS:
        leftover = f"{hook}_async"
        if leftover in vars(cls) and not hasattr(super(cls, cls), leftover):
            raise NodeDefinitionError(
                f"{cls.__name__} defines {leftover}(). Hooks have one name here: rename it to "
                f"'async def {hook}', or import AsyncNode from kaygraph.compat."
            )
    if is_own(cls):
        return
    for name in vars(cls):
        private = name.startswith("_") and not name.startswith("__")
        if private and any(name in vars(base) for base in filter(is_own, cls.__mro__)):
            raise NodeDefinitionError(
                f"{cls.__name__} defines {name}, which is a name of the engine's own: rename it"
            )


def is_own(cls: type) -> bool:
    """Whether a class is one of kaygraph's."""
    return cls.__module__.partition(".")[0] == "kaygraph"


def note_plainness(owner: Any, called: bool, once: bool) -> None:
    """Note, on a class or an instance, whether ``exec`` may simply be awaited.

    That is so when no attempts, limits, fallback or executor are asked for. Found here, when a
    class is made or a setting changes, so that no run has to look at seven settings. ``called``:
    the node calls ``exec`` as every node does. ``once``: it has a single item, so that its
    lifecycle may await ``exec`` itself. Of a graph it is noted whether it says anything of what
    runs within it.
    """
    plain = (
        called
        and owner._exec_kind == "async"
        and owner.max_retries == 1
        and owner.retry is None
        and owner.timeout is None
        and owner.deadline is None
        and owner.rate is None
        and owner.limit_by is None
        and owner.breaker is None
        and getattr(owner, "max_workers", 1) != "auto"
        and owner.run_in in (None, "loop")
        and not owner._has_fallback
    )
    put = type.__setattr__ if isinstance(owner, type) else object.__setattr__
    put(owner, "_plain", plain)
    put(owner, "_bare", plain and once)
    put(owner, "_ruled", any(getattr(owner, rule, None) is not None for rule in RULES))


def kind_of(function: Any) -> str:
    if inspect.iscoroutinefunction(function):
        return "async"
    if inspect.isasyncgenfunction(function):
        return "async_generator"
    return "generator" if inspect.isgeneratorfunction(function) else "sync"


def not_async(node: Any, hook: str, coroutine: Any) -> NodeDefinitionError:
    coroutine.close()
    return NodeDefinitionError(
        f"{hook} of {type(node).__name__} is written 'def' and returned a coroutine: write it "
        "'async def'"
    )


async def nothing() -> Any:
    return None
