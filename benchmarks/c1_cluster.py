"""C1 to C4: items on a cluster of two processes, against ``client.map`` and ``gather`` there.

The figure is the ratio of throughputs. By wall clock, since other processes do the work.
Both clients are reconnected for each round, ours by the run.

C5: a map-reduce there, against two batches between which the program does the shuffle.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from statistics import median
from typing import Any

from benchmarks.harness import Benchmark, Figure
from kaygraph import Graph, MapReduceNode, ParallelBatchNode

ROUNDS = 3
KEYS, PARTITIONS = 16, 4
SIZE = 1_000_000  # bytes that are shuffled for each item


class Sleeps(ParallelBatchNode[Any, Any]):
    """Takes a number of seconds for each of a number of items."""

    def __init__(self, items: int, seconds: float, **settings: Any) -> None:
        super().__init__(**settings)
        self.items, self.seconds = items, seconds

    def prep(self, _: Any) -> range:
        return range(self.items)

    def exec(self, item: int) -> int:
        return slept(item, self.seconds)

    def post(self, shared: Any, _: Any, results: list[int]) -> None:
        shared["results"] = results


def slept(item: int, seconds: float) -> int:
    time.sleep(seconds)
    return item


def pairs_of(number: int) -> list[tuple[int, bytes]]:
    """Return a value of each of some keys."""
    return [(key, bytes(SIZE // KEYS)) for key in range(KEYS)]


class Shuffles(MapReduceNode):
    """Shuffles on the workers."""

    partitions = PARTITIONS

    def __init__(self, items: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.items = items

    def prep(self, _: Any) -> list[int]:
        return list(range(self.items))

    def map(self, number: int) -> list[tuple[int, bytes]]:
        return pairs_of(number)

    def reduce(self, _: int, values: list[bytes]) -> int:
        return sum(map(len, values))

    def post(self, shared: Any, _: Any, results: dict[int, int]) -> None:
        shared["results"] = results


class Maps(Sleeps):
    """Brings the pairs to the program, which groups them."""

    def exec(self, number: int) -> Any:
        return pairs_of(number)

    def post(self, shared: Any, _: Any, results: Any) -> None:
        parts: list[dict[int, list[bytes]]] = [{} for _ in range(PARTITIONS)]
        for key, value in (pair for pairs in results for pair in pairs):
            parts[key % PARTITIONS].setdefault(key, []).append(value)
        shared["parts"] = parts


class Reduces(ParallelBatchNode[Any, Any]):
    """Sends what was grouped, and takes the results together."""

    def prep(self, shared: Any) -> Any:
        return shared["parts"]

    def exec(self, part: dict[int, list[bytes]]) -> dict[int, int]:
        return {key: sum(map(len, values)) for key, values in part.items()}

    def post(self, shared: Any, _: Any, results: Any) -> None:
        shared["results"] = {key: size for part in results for key, size in part.items()}


def cases(size: int) -> Iterator[Benchmark]:
    with suppress(ImportError):
        import distributed  # noqa: F401

        for name, seconds, items, target in (
            ("C1", 1.0, 16, 0.95),
            ("C2", 0.05, 200, 0.95),
            ("C3", 0.005, 1_600, 4.0),
            ("C4", 0.001, 4_000, 8.0),
        ):
            yield Figure(
                name=name,
                what=f"items of {seconds:g} s on a cluster of two processes",
                measure=partial(throughput, max(2, items // size), seconds / min(size, 2)),
                target=target,
                at_least=True,
            )
        yield Figure(
            name="C5",
            what="a map-reduce of 64 MB on a cluster of two processes",
            measure=partial(shuffled, max(4, 64 // size)),
            target=1.0,
            at_least=True,
        )


def shuffled(items: int) -> tuple[float, dict[str, Any]]:
    """Return how long the shuffle in the program takes, divided by that on the workers."""
    from distributed import LocalCluster

    from kaygraph.executors.dask import Dask

    expected = {key: items * (SIZE // KEYS) for key in range(KEYS)}
    with LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as cluster:
        place = Dask(cluster.scheduler_address)

        def floor() -> None:
            run(Graph(Maps(items, 0.0, run_in=place) >> Reduces(run_in=place)))

        def ours() -> None:
            run(Graph(Shuffles(items, run_in=place)))

        def run(graph: Graph) -> None:
            shared: dict[str, Any] = {}
            asyncio.run(graph.run_async(shared))
            assert shared["results"] == expected

        floor()
        ours()
        rounds = [(seconds_of(floor), seconds_of(ours)) for _ in range(ROUNDS)]
    floors, our = (median(times) for times in zip(*rounds, strict=True))
    details = {"floor_us": 1e6 * floors / items, "ours_us": 1e6 * our / items}
    return median(theirs / mine for theirs, mine in rounds), details


def throughput(items: int, seconds: float) -> tuple[float, dict[str, Any]]:
    """Return the throughput of a graph, divided by that of ``client.map``."""
    from distributed import Client, LocalCluster

    from kaygraph.executors.dask import Dask

    with LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as cluster:
        address = cluster.scheduler_address

        def floor() -> None:
            with Client(address, set_as_default=False) as client:  # type: ignore[no-untyped-call]
                futures = client.map(slept, range(items), seconds=seconds, pure=False)
                assert client.gather(futures) == list(range(items))

        def ours() -> None:
            shared: dict[str, Any] = {}
            graph = Graph(Sleeps(items, seconds, run_in=Dask(address)))
            asyncio.run(graph.run_async(shared))
            assert shared["results"] == list(range(items))

        floor()
        ours()
        rounds = [(seconds_of(floor), seconds_of(ours)) for _ in range(ROUNDS)]
    floors, our = (median(times) for times in zip(*rounds, strict=True))
    ideal = items * seconds / 2
    details = {
        "floor_us": 1e6 * floors / items, "ours_us": 1e6 * our / items,
        "floor_efficiency": ideal / floors, "efficiency": ideal / our,
    }  # fmt: skip
    return median(theirs / mine for theirs, mine in rounds), details


def seconds_of(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
