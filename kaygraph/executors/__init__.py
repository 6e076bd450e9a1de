"""Where ``exec`` can run besides the loop."""

import asyncio
from typing import Any


async def _listed(values: Any) -> list[Any]:
    return [value async for value in values]


def run_to_end(node: Any, item: Any) -> Any:
    """Run a node's ``exec`` to its end in this thread, which has no running loop.

    An ``async def`` gets a loop of its own; what a generator yields comes back as a list.
    """
    result = node.exec(item)
    match node._exec_kind:
        case "async":
            return asyncio.run(result)
        case "generator":
            return list(result)
        case "async_generator":
            return asyncio.run(_listed(result))
    return result
