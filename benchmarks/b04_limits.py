"""What an item costs with retries, time limits, rates, caps or a report."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks.b08_fan_out import Items, Suspended, growth
from benchmarks.harness import Benchmark, Case, Figure
from kaygraph import CircuitBreaker, Graph, RateLimit, RunReport

ATTEMPTS: dict[str, Any] = {"max_retries": 3, "timeout": 5}
KEYS = 100

Make = Callable[[type[Items]], Graph]


def unlimited() -> RateLimit:
    """Return a rate that never has to wait."""
    return RateLimit(1e9, per=1)


def key(item: int) -> int:
    return item % KEYS


def limited(node: type[Items]) -> Graph:
    return Graph(node(**ATTEMPTS, rate=unlimited()))


def cases(size: int) -> Iterator[Benchmark]:
    count = 10_000 // size
    retries = "max_retries=3, timeout=5"
    yield from pair(count, "B4", retries, 1.2, 1.5, lambda node: Graph(node(**ATTEMPTS)))
    yield from pair(count, "B5", f"{retries}, a rate and a report", 3, 3.5, limited, True)
    yield from pair(count, "B6", "a report", 1.3, 1.7, lambda node: Graph(node()), True)
    for name, what, target, make in CAPS:
        yield from pair(count, name, what, target, target, make)
    yield Figure(
        name="B18-batch",
        what=f"what {1_000_000 // size:,} items with retries, timeout, rate and report add",
        measure=lambda: (growth("benchmarks.b04_limits:batch", 1_000_000 // size), {}),
        target=24,
        unit="MiB",
    )


CAPS: Sequence[tuple[str, str, float, Make]] = (
    ("B7-cap", "the graph's max_workers, as many", 2, lambda node: Graph(node(), max_workers=100)),
    ("B7-half", "half as many", 2, lambda node: Graph(node(), max_workers=50)),
    ("B7-keys", f"limit_by, {KEYS} keys", 2, lambda node: Graph(node(limit_by=key))),
    ("B7-breaker", "a breaker", 2, lambda node: Graph(node(breaker=CircuitBreaker()))),
    ("B7-auto", "max_workers='auto'", 4, lambda node: Graph(node(max_workers="auto"))),
)


def pair(
    count: int,
    name: str,
    what: str,
    target: float,
    suspending: float,
    make: Make,
    reported: bool = False,
) -> Iterator[Case]:
    """Compare plain items with those that have more settings: without and with a suspension."""
    yield more(count, name, f"{what}: items that do nothing", target, make, Items, reported)
    what = f"{what}: items that suspend once"
    yield more(count, f"{name}-suspends", what, suspending, make, Suspended, reported)


def more(
    count: int,
    name: str,
    what: str,
    target: float,
    make: Make,
    node: type[Items],
    reported: bool,
) -> Case:
    plain, asked = Graph(node()), make(node)

    async def run(graph: Graph, *observers: RunReport) -> None:
        shared: dict[str, Any] = {"n": count}
        await graph.run_async(shared, observers=observers)
        assert shared["results"] == list(range(count))

    async def ours() -> None:
        if not reported:
            return await run(asked)
        report = RunReport()
        await run(asked, report)
        assert report.items["ok"] == count
        return None

    return Case(
        name=name,
        what=what,
        operations=count,
        floor=lambda: run(plain),
        ours=ours,
        target=target,
        unit="µs more",
    )


class Ended(Items):
    """Returns the same for each, so that only the list of results is left."""

    async def exec(self, prep_res: int) -> int:
        return 0


async def batch(operations: int) -> None:
    report = RunReport()
    await limited(Ended).run_async({"n": operations}, observers=[report])
    assert report.items["ok"] == operations
