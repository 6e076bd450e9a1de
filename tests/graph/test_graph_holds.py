"""What a graph holds during a run: permits, which are never too many."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaygraph import (
    AsyncNode,
    BatchGraph,
    Graph,
    Node,
    ParallelBatchNode,
    all_of,
    first_of,
    settle,
)
from kaygraph.limits.permits import Permits
from tests.oracle import settle as let_run

# --- caps ---------------------------------------------------------------------------------------


class Gauge:
    """Counts how many are inside, all together and by name."""

    def __init__(self) -> None:
        self.now = self.most = self.entered = 0

    async def pass_through(self, pauses: int) -> None:
        self.now += 1
        self.entered += 1
        self.most = max(self.most, self.now)
        try:
            for _ in range(pauses):
                await asyncio.sleep(0)
        finally:
            self.now -= 1


class Works(AsyncNode):
    def __init__(self, gauges: list[Gauge], pauses: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.gauges, self.pauses = gauges, pauses

    async def exec(self, prep_res: Any) -> None:
        await asyncio.gather(*(gauge.pass_through(self.pauses) for gauge in self.gauges))


class WorksOnMany(ParallelBatchNode):
    def __init__(self, gauges: list[Gauge], pauses: int, items: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.gauges, self.pauses, self.items = [*gauges, Gauge()], pauses, items

    def prep(self, shared: Any) -> Any:
        return range(self.items)

    async def exec(self, item: int) -> None:
        await asyncio.gather(*(gauge.pass_through(self.pauses) for gauge in self.gauges))
        if self.attempt < self.max_retries:
            raise ValueError(item)


class Rounds(BatchGraph):
    rounds = 3

    def prep(self, shared: Any) -> Any:
        return [{}] * self.rounds


class Built:
    """A random graph; ``capped`` are the gauges with the caps that they must keep."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.capped: list[tuple[Gauge, int]] = []
        self.expected = 0
        self.all = Gauge()
        cap = draw(st.integers(1, 4))
        self.capped.append((self.all, cap))
        self.graph = Graph(self.line(3, [self.all], 1), max_workers=cap)

    def line(self, depth: int, gauges: list[Gauge], times: int) -> Any:
        parts = [self.part(depth, gauges, times) for _ in range(self.draw(st.integers(1, 3)))]
        if self.draw(st.booleans()):
            return Node() >> parts >> Node()
        line = parts[0]
        for part in parts[1:]:
            line = line >> part
        return line

    def part(self, depth: int, gauges: list[Gauge], times: int) -> Any:
        kind = self.draw(st.integers(0, 5 if depth else 1))
        pauses = self.draw(st.integers(0, 3))
        if kind == 0:
            self.expected += times
            return Works(gauges, pauses)
        if kind == 1:
            items, retries, cap = (self.draw(st.integers(1, most)) for most in (6, 2, 4))
            self.expected += times * items * retries
            node = WorksOnMany(gauges, pauses, items, max_retries=retries, max_workers=cap)
            self.capped.append((node.gauges[-1], cap))
            return node
        if kind == 2:
            cap, gauge = self.draw(st.integers(1, 3)), Gauge()
            self.capped.append((gauge, cap))
            return Graph(self.line(depth - 1, [*gauges, gauge], times), max_workers=cap)
        if kind == 3:
            workers = self.draw(st.integers(1, 4))
            return Rounds(self.line(depth - 1, gauges, times * Rounds.rounds), max_workers=workers)
        if kind == 4:
            branches = [self.line(depth - 1, gauges, times) for _ in range(2)]
            return self.draw(st.sampled_from([all_of, settle]))(*branches)
        return Graph(self.line(depth - 1, gauges, times))


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.composite(Built)())
def test_no_cap_is_exceeded_under_any_nesting(built: Built) -> None:
    """Caps of nodes, graphs and the run hold for all that is within, and all of it runs."""
    permits: list[tuple[Permits, int]] = []

    class Watched(Permits):
        def __init__(self, size: int) -> None:
            super().__init__(size)
            permits.append((self, size))

    async def run() -> None:
        async with asyncio.timeout(20):
            await built.graph.run_async()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kaygraph.run.run.Permits", Watched)
        asyncio.run(run())
    for gauge, cap in built.capped:
        assert gauge.most <= cap
    assert built.all.entered == built.expected
    assert permits
    for held, size in permits:
        assert held.free == size
        assert not held.waiting


def test_cap_of_the_run_is_used_to_the_full() -> None:
    """`Graph(max_workers=3)` around rounds of batches runs three at once, not one."""
    gauge = Gauge()
    rounds = Rounds(WorksOnMany([gauge], 3, 10, max_workers=5), max_workers=3)
    Graph(rounds, max_workers=3).run()
    assert gauge.most == 3
    assert gauge.entered == 30


def test_cap_of_a_node_holds_where_the_node_runs_several_times_at_once() -> None:
    """Three rounds of a batch of two workers: two items at once, not six."""
    gauge = Gauge()
    Rounds(WorksOnMany([gauge], 2, 6, max_workers=2), max_workers=3).run()
    assert gauge.most == 2
    assert gauge.entered == 18


def test_caps_of_two_runs_are_their_own() -> None:
    """A cap is the run's: two runs at once have one each."""
    gauge = Gauge()
    graph = Graph(WorksOnMany([gauge], 3, 10), max_workers=2)

    async def twice() -> None:
        await asyncio.gather(graph.run_async(), graph.run_async())

    asyncio.run(twice())
    assert gauge.most == 4


@pytest.mark.anyio
@pytest.mark.parametrize("ends", ["failure", "cancellation", "first_of"])
async def test_permits_come_back_however_a_part_ends(ends: str) -> None:
    """After a failure, a cancelled run or lost branches nothing is held."""
    permits: list[Permits] = []

    class Watched(Permits):
        def __init__(self, size: int) -> None:
            super().__init__(size)
            permits.append(self)

    class Waits(AsyncNode):
        async def exec(self, prep_res: Any) -> None:
            await asyncio.Event().wait()

    class Ends(AsyncNode):
        async def exec(self, prep_res: Any) -> None:
            await let_run()
            if ends == "failure":
                raise ValueError
            if ends == "cancellation":
                await asyncio.Event().wait()

    parts = [Waits(), Ends(), Waits(), Waits()]
    start = first_of(*parts) if ends == "first_of" else Node() >> parts
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kaygraph.run.run.Permits", Watched)
        run = asyncio.create_task(Graph(start, max_workers=2).run_async())
        await let_run()
        if ends == "cancellation":
            run.cancel()
        await asyncio.wait([run])
        if ends == "failure":
            assert isinstance(run.exception(), ValueError)
    assert [held.free for held in permits] == [2]
    assert not permits[0].waiting
