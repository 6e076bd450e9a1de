"""B13: items of a kilobyte in worker processes, against ``multiprocessing.Pool.map``.

By wall clock, since other processes do the work. Both start fresh interpreters.
"""

import asyncio
import compileall
import gc
import multiprocessing
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import kaygraph
from benchmarks.b13_function import backwards
from benchmarks.b13_nodes import WORKERS, Backwards, Starts
from benchmarks.harness import ROUNDS, Benchmark, Case, Figure
from kaygraph import Graph

CONTEXT = multiprocessing.get_context("spawn")


def cases(size: int) -> Iterator[Benchmark]:
    # Like an installed package: its processes should not compile it each time.
    compileall.compile_dir(str(Path(kaygraph.__file__).parent), quiet=1)
    items = [bytes([number % 256]) * 1_000 for number in range(2_000 // size)]
    large = [bytes([number % 256]) * 1_000_000 for number in range(100 // size)]
    yield Case(
        name="B13",
        what="run_in='process', items of 1 kB, with the start of two processes",
        operations=len(items),
        floor=partial(pool, items),
        ours=partial(graph, items),
        target=1.2,
        clock="wall",
    )
    for name, what, some, target in (
        ("B13-started", "the same without the start", items, 1.1),
        ("B13-large", "items of 1 MB, without the start", large, 1.2),
    ):
        yield Figure(name=name, what=what, measure=partial(started, some), target=target)


def pool(items: list[bytes]) -> None:
    with CONTEXT.Pool(WORKERS) as processes:
        assert processes.map(backwards, items) == [item[::-1] for item in items]


async def graph(items: list[bytes]) -> None:
    shared: dict[str, Any] = {"items": items}
    await Graph(Backwards()).run_async(shared)
    assert shared["results"] == [item[::-1] for item in items]


def started(items: list[bytes]) -> tuple[float, dict[str, Any]]:
    """Return the median ratio of runs whose processes were started before."""
    expected = [item[::-1] for item in items]
    start, backward = Starts(), Backwards()
    start >> backward

    def ours() -> float:
        shared: dict[str, Any] = {"items": items}
        asyncio.run(Graph(start).run_async(shared))
        assert shared["results"] == expected
        return float(shared["seconds"])

    with CONTEXT.Pool(WORKERS) as processes:

        def floor() -> float:
            began = time.perf_counter()
            results = processes.map(backwards, items)
            seconds = time.perf_counter() - began
            assert results == expected
            return seconds

        floor()
        rounds = [(collected(floor), collected(ours)) for _ in range(2 * ROUNDS)]
    floors, our = zip(*rounds, strict=True)
    each = 1e6 / len(items)
    details = {"floor_us": median(floors) * each, "ours_us": median(our) * each}
    return median(o / f for f, o in rounds), details


def collected(measure: Callable[[], float]) -> float:
    gc.collect()
    return measure()
