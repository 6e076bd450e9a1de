"""A report counts items, where others get an event for each: its figures are the same."""

import asyncio
import random
from typing import Any

import pytest

from kaygraph import (
    Drop,
    Event,
    Graph,
    ItemFailed,
    ItemFinished,
    ItemStarted,
    Node,
    ParallelBatchNode,
    Pipeline,
    RunReport,
)
from tests.clock import VIRTUAL

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


class ByEvents(RunReport):
    """A report that looks at every event."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Event] = []

    def __call__(self, event: Event, /) -> None:
        self.seen.append(event)
        super().__call__(event)


class Items(ParallelBatchNode[int, int]):
    """Each item waits, fails, is tried again, replaced, or left out, as its seed says."""

    max_workers = 3
    on_error = "collect"
    max_retries = 3

    def prep(self, _: Any) -> range:
        return range(40)

    async def exec(self, item: int) -> int:
        fate = random.Random(f"{item}, {self.attempt}")
        await asyncio.sleep(fate.random())
        if fate.random() < 0.3:
            raise ValueError(item)
        if fate.random() < 0.1:
            raise Drop
        return item

    def exec_fallback(self, item: int, exc: Exception) -> int:
        if item % 2:
            raise exc
        return -1


def figures(report: RunReport) -> dict[str, Any]:
    """Return what does not depend on how much memory the process has, or on the processor."""
    data = report.to_dict()
    kept = ("work_s", "wall_s", "peak_in_flight", "items", "retries", "bottleneck")
    return {**{key: data[key] for key in kept}, "nodes": data["nodes"]}


WORK = {
    "batch": lambda: Graph(Items(max_workers=3)),
    "under a cap": lambda: Graph(Items(), max_workers=2),
    "with keys": lambda: Graph(Items(limit_by=lambda item: item % 4)),
    "stage": lambda: Graph(Pipeline(Items(), Items(timeout=0.9))),
    "two at once": lambda: Graph([Items(name="a"), Items(name="b")]),
}


@pytest.mark.parametrize("name", WORK)
async def test_what_is_counted_is_what_events_come_to(name: str) -> None:
    """Of good items and bad ones, with any other observers."""
    counting, by_events = RunReport(), ByEvents()
    await WORK[name]().run_async({}, observers=[counting, by_events])
    assert by_events.retries > 10
    assert figures(counting) == figures(by_events)
    assert sum(isinstance(event, ItemStarted) for event in by_events.seen) > 30


async def test_several_reports_count_the_same() -> None:
    """Also where nobody wants an event for each item."""
    reports = [RunReport(), RunReport()]
    await Graph(Items()).run_async({}, observers=reports)
    assert figures(reports[0]) == figures(reports[1])
    assert sum(reports[0].items.values()) == reports[0].submitted == 40


async def test_the_report_adds_up_during_a_run() -> None:
    """Items in flight are among those that were submitted, at every moment."""
    report, seen = RunReport(), []

    class Looks(Items):
        async def exec(self, item: int) -> int:
            node = report.nodes["Looks"]
            seen.append((report.submitted, node.in_flight, sum(report.items.values())))
            return await super().exec(item)

    await Looks().run_async({}, observers=[report])
    assert all(
        in_flight <= 3 and submitted >= in_flight + ended for submitted, in_flight, ended in seen
    )
    assert seen[0] == (1, 1, 0)


async def test_a_run_within_is_counted_by_the_report_around() -> None:
    """Its own report counts it as well, and its own observer gets an event for each item."""
    around, within, seen = RunReport(), RunReport(), list[Event]()

    class Outer(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            await Graph(Items()).run_async({}, observers=[within, seen.append])

    await Outer().run_async({}, observers=[around])
    counted = around.nodes["Outer/Graph/Items"].to_dict()
    assert counted["items"] == within.nodes["Outer/Graph/Items"].to_dict()["items"]
    ended = [event for event in seen if isinstance(event, ItemFinished | ItemFailed)]
    assert len(ended) == sum(counted["items"].values()) == 40


def test_a_run_in_another_thread_is_counted_by_the_report_around() -> None:
    """It reaches it by events, which that thread's loop passes on."""
    report = RunReport()

    class Quick(Items):
        async def exec(self, item: int) -> int:
            return item

    class Outer(Node[Any, Any]):
        run_in = "thread"

        def exec(self, _: Any) -> None:
            Graph(Quick(name="Items")).run({})

    Outer().run({}, observers=[report])
    assert sum(report.nodes["Outer/Graph/Items"].items.values()) == 40
