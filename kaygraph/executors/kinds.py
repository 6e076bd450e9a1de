"""How a hook is written, which decides where it can run."""

import inspect
from typing import Any

from ..errors import NodeDefinitionError


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
