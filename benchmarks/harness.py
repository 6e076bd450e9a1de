"""Measures two ways to do the same work, in turn, and compares them pair by pair."""

import asyncio
import gc
import json
import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any

Work = Callable[[], Awaitable[Any]]

ROUNDS = 5


async def seconds(work: Work) -> float:
    """Return how long one call takes, with the garbage of earlier ones collected."""
    gc.collect()
    started = time.perf_counter()
    await work()
    return time.perf_counter() - started


async def compare(
    name: str, what: str, operations: int, floor: Work, ours: Work, target: str, **more: Any
) -> None:
    """Print the median of the ratios ours/floor over five interleaved rounds.

    The figures per operation are medians in microseconds.
    """
    await floor()
    await ours()  # plans, caches and specialised bytecode are there for both
    pairs = [(await seconds(floor), await seconds(ours)) for _ in range(ROUNDS)]
    emit(
        name,
        what,
        operations=operations,
        floor_us=round(median(f for f, _ in pairs) / operations * 1e6, 3),
        ours_us=round(median(o for _, o in pairs) / operations * 1e6, 3),
        ratio=round(median(o / f for f, o in pairs), 3),
        target=target,
        **more,
    )


def emit(name: str, what: str, **figures: Any) -> None:
    """Print one JSON line."""
    print(json.dumps({"benchmark": name, "what": what, **figures}), flush=True)


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run one benchmark on a loop of its own."""

    async def started() -> None:
        await main()

    asyncio.run(started())
