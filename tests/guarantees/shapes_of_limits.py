"""More runs of many shapes, in addition to ``tests/shapes.py``: limits, policies, descriptors."""

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from kaygraph import (
    CircuitBreaker,
    Graph,
    Node,
    ParallelBatchNode,
    RateLimit,
    Retry,
    at_least,
    settle,
)
from tests.shapes import AnyNode, Ledger, Shape, Work, WorkMany, launched


class Unsteady(WorkMany):
    """Processes items of which every third one fails at first."""

    async def exec(self, item: Any) -> Any:
        await super().exec(item)
        if item % 3 == 0 and self.attempt == 1:
            raise ValueError(item)
        return item


class Fails(Work):
    async def exec(self, item: Any) -> Any:
        await super().exec(item)
        raise ValueError(self.name)


@launched
def limits(ledger: Ledger) -> AnyNode:
    """Two batches that wait for a key, a rate, and the caps of two graphs."""
    rate = RateLimit(2, per=2)
    retry = Retry(attempts=2, wait=1)
    settings: Any = {"limit_by": lambda item: item % 2, "retry": retry, "rate": rate}
    inner = Graph(Unsteady(ledger, range(3), max_workers=3, **settings), max_workers=2)
    return Graph([inner, Unsteady(ledger, range(3), max_workers=3, **settings)], max_workers=2)


@launched
def breaker(ledger: Ledger) -> AnyNode:
    """A batch whose breaker opens, is probed and closes again."""
    opens = CircuitBreaker(failures=1, reset_after=1)
    retry = Retry(attempts=3, wait=1)
    return Unsteady(ledger, breaker=opens, retry=retry, on_error="collect", max_workers=2)


@launched
def error_routes(ledger: Ledger) -> AnyNode:
    """A fork with one branch that fails, is handled, and joins the others."""
    fails, handler, joined = Fails(ledger), Work(ledger, name="handler"), Work(ledger, name="end")
    fails - "error" >> handler >> joined
    return Graph(Work(ledger) >> [fails, Work(ledger) >> Work(ledger)] >> joined)


@launched
def quorum(ledger: Ledger) -> AnyNode:
    """Groups in groups, with losers that are cancelled and failures that are outcomes."""
    inner = at_least(1, Work(ledger), Fails(ledger), Work(ledger) >> Work(ledger))
    return Graph(settle(inner, Fails(ledger), WorkMany(ledger, range(3))) >> Work(ledger))


@launched
def deadlines(ledger: Ledger) -> AnyNode:
    """Time that runs out at several depths."""
    inner = Graph(WorkMany(ledger, [2, 5], deadline=2, on_error="collect"), deadline=3)
    return Graph(settle(inner, Graph(Work(ledger) >> Work(ledger), deadline=1)) >> Work(ledger))


@launched
def loop_around_a_fork(ledger: Ledger) -> AnyNode:
    """A join that sends everything back once."""

    class Again(Work):
        def post(self, shared: Any, _: Any, __: Any) -> str | None:
            shared["rounds"] = shared.get("rounds", 0) + 1
            return "again" if shared["rounds"] < 2 else None

    first, end = Work(ledger), Again(ledger)
    first >> [Work(ledger), Work(ledger) >> Work(ledger)] >> end
    end - "again" >> first
    return Graph(first)


@contextmanager
def opened() -> Iterator[int]:
    file = os.open(os.devnull, os.O_RDONLY)
    try:
        yield file
    finally:
        os.close(file)


@launched
def descriptors(ledger: Ledger) -> AnyNode:
    """Nodes that hold files open, one for the run and one while ``exec`` runs."""

    class Opens(Work):
        @asynccontextmanager
        async def lifespan(self, _: Any) -> AsyncIterator[int]:
            with self.ledger.entry(), opened() as file:
                await asyncio.sleep(1)
                yield file

        async def exec(self, item: Any) -> Any:
            with opened():
                os.fstat(self.resource)
                return await super().exec(item)

    return Graph(Opens(ledger) >> [Opens(ledger), Opens(ledger)])


SHAPES: list[Shape] = [
    limits,
    breaker,
    error_routes,
    quorum,
    deadlines,
    loop_around_a_fork,
    descriptors,
]


# --- threads: on a loop that does not run them inline ---------------------------------------------


WORK_S = 0.001  # real time: a call is still in flight when its run is cancelled


class Held:
    """What a thread holds until it ends, which takes a moment."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        ledger.begun += 1

    def __del__(self) -> None:
        time.sleep(WORK_S)
        self.ledger.ended += 1


HERE = threading.local()


def work_in_thread(ledger: Ledger, item: Any) -> Any:
    if not hasattr(HERE, "held"):
        HERE.held = Held(ledger)
    with ledger.entry():
        time.sleep(WORK_S)
        return item


class InThread(Node[Any, Any]):
    def __init__(self, ledger: Ledger, **settings: Any) -> None:
        super().__init__(**settings)
        self.ledger = ledger

    def exec(self, item: Any) -> Any:
        return work_in_thread(self.ledger, item)


class ManyInThreads(ParallelBatchNode[Any, Any]):
    max_workers = 3

    def __init__(self, ledger: Ledger, **settings: Any) -> None:
        super().__init__(**settings)
        self.ledger = ledger

    def prep(self, _: Any) -> Any:
        return range(4)

    def exec(self, item: Any) -> Any:
        return work_in_thread(self.ledger, item)


@launched
def line_in_threads(ledger: Ledger) -> AnyNode:
    return Graph(InThread(ledger) >> InThread(ledger))


@launched
def batches_in_threads(ledger: Ledger) -> AnyNode:
    return Graph([ManyInThreads(ledger), ManyInThreads(ledger)], max_workers=4)


@launched
def pipeline_in_threads(ledger: Ledger) -> AnyNode:
    return Graph(ManyInThreads(ledger) | ManyInThreads(ledger) | InThread(ledger))


THREADED: list[Shape] = [line_in_threads, batches_in_threads, pipeline_in_threads]
