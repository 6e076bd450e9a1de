"""A task that has a look at every turn that the loop gives it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def looking(at: Callable[[], Any]) -> AsyncIterator[list[Any]]:
    """Note what ``at`` returns, turn by turn, until the block ends."""

    async def look() -> None:
        while True:
            seen.append(at())
            await asyncio.sleep(0)

    seen: list[Any] = []
    task = asyncio.create_task(look())
    try:
        yield seen
    finally:
        task.cancel()
