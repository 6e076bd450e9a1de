"""What a planted race is: one small asyncio program with a fault, and its correct twin.

The faults are of the kinds that studies of real bugs list: broken atomicity, broken order and waits
that never end (Lu et al., "Learning from Mistakes", 2008; Davis et al., "Node.fz", 2017; Wang et
al., "A Comprehensive Study on Real World Concurrency Bugs in Node.js", 2017). In the order of
asyncio itself nearly all of the programs pass, as tests do that run green for months.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

Program = Callable[[], Coroutine[Any, Any, None]]

MS = 0.001


@dataclass(frozen=True)
class Race:
    """A program with a race, and the same program without it.

    Attributes:
        name: The name of the function.
        kind: What is wrong, in one sentence.
        main: The program with the race: some of its orders raise an error or never end.
        twin: The correct program: every order passes.
    """

    name: str
    kind: str
    main: Program
    twin: Program


RACES: list[Race] = []


def race(play: Callable[[bool], Coroutine[Any, Any, None]]) -> None:
    """Add a race: a coroutine function that takes whether the fault is mended."""
    name = play.__name__
    RACES.append(
        Race(name, (play.__doc__ or "").strip(), partial(play, False), partial(play, True))
    )


async def together(*work: Coroutine[Any, Any, Any]) -> None:
    """Run some work in tasks of their own, and wait for all of it."""
    async with asyncio.TaskGroup() as group:
        for one in work:
            group.create_task(one)


async def steps(count: int = 1) -> None:
    """Give way to other tasks some times, as a call does that finds its data in a buffer."""
    for _ in range(count):
        await asyncio.sleep(0)


async def after(count: int, work: Coroutine[Any, Any, Any]) -> None:
    """Do something some steps later."""
    await steps(count)
    await work


def lock_if(fixed: bool) -> AbstractAsyncContextManager[Any]:
    """Return a lock, or in its place something that keeps nobody out."""
    return asyncio.Lock() if fixed else nullcontext()
