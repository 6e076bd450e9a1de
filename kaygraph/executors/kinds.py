"""How a hook is written, which decides where it can run."""

import inspect
from types import CoroutineType, FunctionType
from typing import Any

from ..errors import NodeDefinitionError

FLAGS = (
    (inspect.CO_COROUTINE, "async"),
    (inspect.CO_ASYNC_GENERATOR, "async_generator"),
    (inspect.CO_GENERATOR, "generator"),
)

YIELDING = ("generator", "async_generator")  # an exec of these kinds gives several values


def kind_of(function: Any) -> str:
    """Return how a function is written, or the ``__call__`` of another object.

    A function of ours that hands on what an ``async def`` returns says so by its ``hook_kind``.
    """
    plain = getattr(function, "__func__", function)
    if type(plain) is FunctionType:
        if not plain.__dict__:  # not marked as what it is not
            flags = plain.__code__.co_flags
            return next((kind for flag, kind in FLAGS if flags & flag), "sync")
        if "hook_kind" in plain.__dict__:
            return str(plain.__dict__["hook_kind"])
    for one in (function, type(function).__call__):
        if inspect.iscoroutinefunction(one):
            return "async"
        if inspect.isasyncgenfunction(one):
            return "async_generator"
        if inspect.isgeneratorfunction(one):
            return "generator"
    return "sync"


def is_async(function: Any) -> bool:
    """Whether what a call returns has to be awaited."""
    return kind_of(function) == "async"


async def result_of(node: Any, hook: str, returned: Any, is_awaited: bool) -> Any:
    """Return the result of a hook, which is awaited if the hook is written ``async def``.

    Raises:
        NodeDefinitionError: A hook written ``def`` has returned a coroutine.
    """
    if is_awaited:
        return await returned
    if type(returned) is CoroutineType:
        return await late(node, hook, returned)
    return returned


async def late(node: Any, hook: str, coroutine: Any) -> Any:
    """Await what a hook returned that was written ``def`` when its class was made.

    It may have been replaced since, by a reload or a patch: that is noted then.

    Raises:
        NodeDefinitionError: It is still written ``def``.
    """
    node.note_hooks_again()
    if is_async(getattr(node, hook)):
        return await coroutine
    coroutine.close()
    name = f"{hook} of {type(node).__name__}"
    if is_async(inspect.unwrap(getattr(node, hook))):
        raise NodeDefinitionError(
            f"{name} is an 'async def' behind a decorator that is written 'def': write the "
            "function that the decorator returns 'async def', and await in it"
        )
    raise NodeDefinitionError(
        f"{name} is written 'def' and returned a coroutine: write it 'async def'"
    )
