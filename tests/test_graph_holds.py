"""What a graph holds during a run: permits, which are never too many, and lifespans."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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
from kaygraph._permits import Permits
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
        patch.setattr("kaygraph._frame.Permits", Watched)
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
        patch.setattr("kaygraph._frame.Permits", Watched)
        run = asyncio.create_task(Graph(start, max_workers=2).run_async())
        await let_run()
        if ends == "cancellation":
            run.cancel()
        await asyncio.wait([run])
    assert [held.free for held in permits] == [2]
    assert not permits[0].waiting


# --- lifespans ----------------------------------------------------------------------------------


class Holds(AsyncNode):
    """Notes when its lifespan is entered and left, and with which error."""

    def __init__(self, name: str, log: list[Any], *, fails: bool = False) -> None:
        super().__init__(name=name)
        self.log_lines, self.fails = log, fails

    @asynccontextmanager
    async def lifespan(self, shared: Any) -> AsyncIterator[str]:
        self.log_lines.append(f"enter {self.name}")
        await asyncio.sleep(0)
        try:
            yield f"{self.name} of {shared['run']}"
        except BaseException as error:
            self.log_lines.append(type(error))
            raise
        finally:
            await asyncio.sleep(0)
            self.log_lines.append(f"leave {self.name}")

    def prep(self, shared: Any) -> None:
        self.log_lines.append(f"prep {self.name}: {self.resource}")

    async def exec(self, prep_res: Any) -> str:
        if self.fails:
            raise ValueError(self.name)
        return str(self.resource)


def test_lifespan_is_entered_before_the_first_prep_and_left_at_the_end() -> None:
    """It is entered once, however often the node runs, and left last in, first out."""
    log: list[Any] = []
    a, b = Holds("a", log), Holds("b", log)
    rounds = Rounds(Graph(a) >> b)
    Graph(rounds).run({"run": 1})
    visits = ["prep a: a of 1", "prep b: b of 1"]
    first = ["enter a", visits[0], "enter b", visits[1]]
    assert log == [*first, *visits * 2, "leave b", "leave a"]


def test_node_that_does_not_run_is_not_entered() -> None:
    """A lifespan costs nothing where the walk does not come by."""
    log: list[Any] = []
    a = Holds("a", log)
    a - "never" >> Holds("b", log)
    Graph(a).run({"run": 1})
    assert log == ["enter a", "prep a: a of 1", "leave a"]


def test_lifespan_is_entered_anew_for_each_run() -> None:
    """The resource belongs to the run and its loop."""
    log: list[Any] = []
    a = Holds("a", log)
    for number in (1, 2):
        Graph(a).run({"run": number})
    assert [line for line in log if "prep" in line] == ["prep a: a of 1", "prep a: a of 2"]
    assert log.count("leave a") == 2


def test_lifespan_of_a_node_that_runs_alone_is_held() -> None:
    """`node.run()` is a run as well."""
    log: list[Any] = []
    Holds("a", log).run({"run": 1})
    assert log == ["enter a", "prep a: a of 1", "leave a"]


def test_failure_of_the_run_is_seen_by_the_context_managers() -> None:
    """Each open lifespan sees the error, so that a transaction can roll back."""
    log: list[Any] = []
    with pytest.raises(ValueError, match="b"):
        Graph(Holds("a", log) >> Holds("b", log, fails=True)).run({"run": 1})
    assert log[-4:] == [ValueError, "leave b", ValueError, "leave a"]


def test_failure_that_is_dealt_with_is_not_seen() -> None:
    """An error route ends well, and so does the lifespan."""
    log: list[Any] = []
    a = Holds("a", log, fails=True)
    a - "error" >> Holds("b", log)
    Graph(a).run({"run": 1})
    assert ValueError not in log
    assert log[-2:] == ["leave b", "leave a"]


@pytest.mark.anyio
async def test_lifespan_is_left_when_the_run_is_cancelled() -> None:
    """The context manager sees the cancellation and is waited for."""
    log: list[Any] = []

    class Waits(AsyncNode):
        async def exec(self, prep_res: Any) -> None:
            await asyncio.Event().wait()

    before = asyncio.all_tasks()
    run = asyncio.create_task(Graph(Holds("a", log) >> Waits()).run_async({"run": 1}))
    await let_run()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert log == ["enter a", "prep a: a of 1", asyncio.CancelledError, "leave a"]
    assert asyncio.all_tasks() == before


def test_lifespan_is_entered_once_where_two_tokens_arrive_at_once() -> None:
    """The second token waits until the first has entered it."""
    log: list[Any] = []
    Rounds(Holds("a", log), max_workers=3).run({"run": 1})
    assert log == ["enter a", *["prep a: a of 1"] * 3, "leave a"]


def test_lifespan_of_a_graph_is_held_around_its_walk() -> None:
    """A nested graph has one too; it is left when the run ends, not the graph."""
    log: list[Any] = []

    class Inner(Graph):
        @asynccontextmanager
        async def lifespan(self, shared: Any) -> AsyncIterator[str]:
            log.append("enter graph")
            yield "held"
            log.append("leave graph")

        def prep(self, shared: Any) -> None:
            log.append(f"graph holds {self.resource}")

    Graph(Inner(Holds("a", log)) >> Holds("b", log)).run({"run": 1})
    assert log[:4] == ["enter graph", "graph holds held", "enter a", "prep a: a of 1"]
    assert log[-3:] == ["leave b", "leave a", "leave graph"]


def test_lifespan_that_cannot_be_entered_fails_the_node() -> None:
    """The error is raised, may be routed, and leaves nothing open."""

    class Broken(Holds):
        @asynccontextmanager
        async def lifespan(self, shared: Any) -> AsyncIterator[str]:
            raise OSError("no connection")
            yield ""

    log: list[Any] = []
    with pytest.raises(OSError, match="no connection"):
        Graph(Holds("a", log) >> Broken("b", log)).run({"run": 1})
    assert log == ["enter a", "prep a: a of 1", OSError, "leave a"]
    broken = Broken("b", log)
    broken - "error" >> Holds("c", log)
    Graph(broken).run({"run": 1})
    assert log[-1] == "leave c"


def test_lifespan_that_fails_to_leave_fails_the_run_and_the_others_are_left() -> None:
    """An error on leaving is raised; it keeps no other lifespan open."""

    class Leaves(Holds):
        @asynccontextmanager
        async def lifespan(self, shared: Any) -> AsyncIterator[str]:
            yield ""
            raise OSError("cannot close")

    log: list[Any] = []
    with pytest.raises(OSError, match="cannot close"):
        Graph(Holds("a", log) >> Leaves("b", log)).run({"run": 1})
    assert log[-1] == "leave a"


def test_resource_without_a_lifespan_says_what_to_define() -> None:
    """The error is an AttributeError that names the hook."""

    class Asks(Node):
        def prep(self, shared: Any) -> Any:
            return self.resource

    with pytest.raises(AttributeError, match="define lifespan"):
        Asks().run()
