"""The names of the hooks, and of the engine's own attributes: what a class may define."""

from typing import Any

from ..errors import NodeDefinitionError

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


async def nothing() -> Any:
    return None
