"""B14: items that do nothing, in threads, against ``ThreadPoolExecutor.map``."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from benchmarks.harness import Case
from kaygraph import Graph, ParallelBatchNode

WORKERS = 10


class InThreads(ParallelBatchNode[int, int]):
    """Takes ``shared["items"]`` and keeps the results."""

    run_in = "thread"
    max_workers = WORKERS

    def prep(self, shared: Any) -> list[int]:
        return shared["items"]  # type: ignore[no-any-return]

    def exec(self, prep_res: int) -> int:
        return prep_res

    def post(self, shared: Any, prep_res: Any, exec_res: list[int]) -> None:
        shared["results"] = exec_res


class WithTimeout(InThreads):
    """Each item is requested when a thread is free for it: its time counts from there."""

    timeout = 5


def same(item: int) -> int:
    return item


def cases(size: int) -> Iterator[Case]:
    items = list(range(10_000 // size))

    def floor() -> None:
        with ThreadPoolExecutor(WORKERS) as threads:
            assert list(threads.map(same, items)) == items

    async def ours(graph: Graph) -> None:
        shared: dict[str, Any] = {"items": items}
        await graph.run_async(shared)
        assert shared["results"] == items

    for name, what, node, target in (
        ("B14", "run_in='thread', timeout=5", WithTimeout(), 1.2),
        ("B14-ahead", "run_in='thread'", InThreads(), 0.7),
    ):
        yield Case(
            name=name,
            what=what,
            operations=len(items),
            floor=floor,
            ours=partial(ours, Graph(node)),
            target=target,
        )
