"""A graph that is run by a hook of another run takes place within that one."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from typing import Any
from weakref import ref

import pytest

from kaygraph import (
    AttemptTimeoutError,
    BatchGraph,
    BatchNode,
    DeadlineExceededError,
    Event,
    Graph,
    ItemStarted,
    MapReduceNode,
    Node,
    ParallelBatchNode,
    Pipeline,
    RunFinished,
    RunReport,
    RunStarted,
    WriteConflictWarning,
    settle,
)
from kaygraph.testing import (
    assert_accounted,
    cancel_everywhere,
    explore,
    run_virtually,
    simulate,
)


class Gauge:
    """How many calls are in flight, and the most there were."""

    def __init__(self) -> None:
        self.calls = self.most = self.begun = 0
        self._lock = threading.Lock()

    @contextmanager
    def call(self) -> Iterator[None]:
        with self._lock:
            self.begun += 1
            self.calls += 1
            self.most = max(self.most, self.calls)
        try:
            yield
        finally:
            with self._lock:
                self.calls -= 1


class Leaf(Node[Any, Any]):
    """Works for a second."""

    def __init__(self, gauge: Gauge, **settings: Any) -> None:
        super().__init__(**settings)
        self.gauge = gauge

    async def exec(self, prep_res: Any, /) -> None:
        with self.gauge.call():
            await asyncio.sleep(1)


class Leaves(ParallelBatchNode[Any, Any]):
    """Works for a second on each of its items."""

    def __init__(self, gauge: Gauge, items: int = 4, **settings: Any) -> None:
        super().__init__(**settings)
        self.gauge, self.items = gauge, items

    def prep(self, shared: Any, /) -> Any:
        return range(self.items)

    async def exec(self, item: int, /) -> int:
        with self.gauge.call():
            await asyncio.sleep(1)
        return item

    def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> None:
        shared["done"] = exec_res


class Mapped(MapReduceNode):
    def __init__(self, gauge: Gauge) -> None:
        super().__init__()
        self.gauge = gauge

    def prep(self, shared: Any, /) -> Any:
        return range(4)

    async def map(self, item: int, /) -> Any:
        with self.gauge.call():
            await asyncio.sleep(1)
        return [(item, item)]


Ran = Callable[[], Awaitable[Any]]


class Runs(Node[Any, Any]):
    """Runs something in one of its hooks."""

    def __init__(self, run: Ran, hook: str = "exec", **settings: Any) -> None:
        super().__init__(**settings)
        self.ran, self.hook = run, hook

    async def prep(self, shared: Any, /) -> None:
        await self._in("prep")

    async def exec(self, prep_res: Any, /) -> None:
        await self._in("exec")
        if self.hook == "exec_fallback":
            raise OSError

    async def exec_fallback(self, prep_res: Any, exc: Exception, /) -> None:
        if self.hook != "exec_fallback":
            raise exc
        await self._in("exec_fallback")

    async def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> None:
        await self._in("post")

    async def _in(self, hook: str) -> None:
        if self.hook == hook:
            await self.ran()


class EachRuns(ParallelBatchNode[Any, Any]):
    """Runs something for each of its items."""

    def __init__(self, run: Callable[[Any], Awaitable[Any]], items: Any, **settings: Any) -> None:
        super().__init__(**settings)
        self.ran, self.items = run, items

    def prep(self, shared: Any, /) -> Any:
        return self.items

    async def exec(self, item: Any, /) -> Any:
        return await self.ran(item)


def inner_of(kind: str, gauge: Gauge) -> Any:
    match kind:
        case "graph":
            return Graph(Leaf(gauge) >> [Leaf(gauge), Leaf(gauge)])
        case "node":
            return Leaf(gauge)
        case "batch":
            return Leaves(gauge)
        case "pipeline":
            return Leaves(gauge) | Leaves(gauge)
        case "group":
            return settle(Leaf(gauge), Leaf(gauge), Leaf(gauge))
        case "rounds":

            class Rounds(BatchGraph):
                def prep(self, shared: Any, /) -> Any:
                    return [{}, {}, {}]

            return Rounds(Leaf(gauge), max_workers=3)
    return Mapped(gauge)


KINDS = ["graph", "node", "batch", "pipeline", "group", "rounds", "map-reduce"]


# --- the caps of the graphs around ---


@pytest.mark.parametrize("most", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_the_cap_of_a_graph_holds_for_what_its_nodes_run(kind: str, most: int) -> None:
    """No more calls at once than it allows, and the call around does not hold up its own."""
    gauge = Gauge()

    async def run(_: Any) -> None:
        await inner_of(kind, gauge).run_async({})

    found = explore(Graph(EachRuns(run, range(5)), max_workers=most), seeds=20)
    assert not found, str(found)
    assert gauge.most == most


@pytest.mark.parametrize("hook", ["prep", "exec", "post", "exec_fallback"])
def test_the_cap_holds_whichever_hook_runs_a_graph(hook: str) -> None:
    """And one permit is enough for all."""
    gauge = Gauge()
    graph = Graph(
        [Runs(lambda: Graph(Leaf(gauge)).run_async({}), hook, name=n) for n in "abc"],
        max_workers=1,
    )
    assert simulate(graph, {}).seconds == 3
    assert gauge.most == 1


@pytest.mark.parametrize(("most", "seconds"), [(1, 3), (2, 2), (3, 1)])
def test_graphs_run_at_once_in_one_call_share_the_cap(most: int, seconds: int) -> None:
    """Their call has given its permit back, and they use all there are."""
    gauge = Gauge()

    async def run() -> None:
        await asyncio.gather(*(Graph(Leaf(gauge)).run_async({}) for _ in range(3)))

    assert simulate(Graph(Runs(run), max_workers=most), {}).seconds == seconds
    assert gauge.most == most


def test_a_call_has_its_permit_again_when_the_graph_has_ended() -> None:
    """What it does after that is one of the calls that the cap counts."""
    gauge = Gauge()

    async def run(_: Any) -> None:
        await Graph(Leaf(gauge)).run_async({})
        with gauge.call():
            await asyncio.sleep(1)

    simulate(Graph(EachRuns(run, range(6)), max_workers=2), {})
    assert gauge.most == 2


def test_a_call_that_goes_on_without_its_graph_leaves_the_permits_in_order() -> None:
    """One that was given up after a time, with others waiting for a permit."""
    gauge = Gauge()

    async def run(item: int) -> None:
        try:
            async with asyncio.timeout(0.5 + item / 10):
                await Graph(Leaf(gauge)).run_async({})
        except TimeoutError:
            await asyncio.sleep(1)
        await Graph(Leaf(gauge)).run_async({})

    found = explore(Graph(EachRuns(run, range(5)), max_workers=2), seeds=50)
    assert not found, str(found)
    assert gauge.calls == 0


def test_a_stream_and_a_launched_run_share_the_cap() -> None:
    """As does one of which not all is read."""
    gauge = Gauge()

    async def run() -> None:
        async for _ in Leaves(gauge).stream({}):
            pass
        async with aclosing(Leaves(gauge).stream({})) as stream:
            async for _ in stream:
                break
        await Leaves(gauge).launch({})

    simulate(Graph([Runs(run, name="a"), Runs(run, name="b")], max_workers=1), {})
    assert gauge.most == 1


def test_an_exec_that_yields_what_a_stream_within_gives_shares_the_cap() -> None:
    """Also where it waits for room behind it, when it holds no permit at all."""
    gauge = Gauge()

    class Splits(Node[Any, Any]):
        def prep(self, shared: Any, /) -> Any:
            return range(3)

        async def exec(self, item: int, /) -> AsyncIterator[Any]:
            async with aclosing(Leaves(gauge, 3, max_workers=2).stream({})) as stream:
                async for outcome in stream:
                    yield outcome.value
            await Graph(Leaf(gauge)).run_async({})
            yield item

    class Slow(Leaf):
        async def exec(self, item: Any, /) -> None:
            with self.gauge.call():
                await asyncio.sleep(0.5)

    graph = Graph(Pipeline(Splits(), Slow(gauge), buffer=1), max_workers=1)
    found = explore(graph, seeds=20)
    assert not found, str(found)
    assert gauge.most == 1
    cancel_everywhere(graph, {})


def test_graphs_within_graphs_within_graphs_share_the_cap() -> None:
    """However deep, and each with a cap of its own."""
    gauge = Gauge()

    def deeper(levels: int) -> Any:
        async def run() -> None:
            await asyncio.gather(*(deeper(levels - 1).run_async({}) for _ in range(2)))

        return Graph(Runs(run) if levels else Leaf(gauge), max_workers=3)

    simulate(Graph(deeper(4), max_workers=2), {})
    assert gauge.most == 2
    assert gauge.begun == 16


@pytest.mark.parametrize("most", [None, 1])
def test_a_node_that_runs_itself_does_not_wait_for_itself(most: int | None) -> None:
    """Its own permits are given back then, and so is that of the item's key."""
    gauge, found = Gauge(), list[str]()

    class Crawl(BatchNode[str, None]):
        def prep(self, shared: Any, /) -> list[str]:
            return list(shared["pages"])

        async def exec(self, page: str, /) -> None:
            with gauge.call():
                found.append(page)
            if len(page) < 4:
                await Graph(self).run_async({"pages": [page + "a", page + "b"]})

    for settings in ({}, {"limit_by": lambda page: page[0]}):
        found.clear()
        crawl = Crawl(**settings)
        assert not explore(Graph(crawl, max_workers=most), {"pages": ["a"]}, seeds=10)
        assert len(found) == 15 * 10
        assert gauge.most == 1


def test_a_graph_that_runs_itself_does_not_wait_for_itself() -> None:
    """Neither one with a cap nor one of rounds."""
    depths = list[int]()

    class Agent(Node[int, None]):
        def prep(self, shared: Any, /) -> int:
            return int(shared["depth"])

        async def exec(self, depth: int, /) -> None:
            depths.append(depth)
            if depth:
                await graphs[0].run_async({"depth": depth - 1})

    class Rounds(BatchGraph):
        def prep(self, shared: Any, /) -> Any:
            return [{}]

    for kind in (Graph, Rounds):
        graphs = [kind(Agent(), max_workers=1)]
        simulate(graphs[0], {"depth": 3})
        assert depths == [3, 2, 1, 0]
        depths.clear()


def test_items_of_one_key_stay_apart_while_graphs_run_within_them() -> None:
    """The key is held for as long as the item is worked on."""
    gauge = Gauge()

    async def run(_: Any) -> None:
        with gauge.call():
            await Graph(Leaf(Gauge())).run_async({})

    simulate(Graph(EachRuns(run, range(6), limit_by=lambda _: "key"), max_workers=4), {})
    assert gauge.most == 1


def test_one_node_in_several_graphs_has_one_cap() -> None:
    """As everywhere in a run."""
    gauge = Gauge()
    leaves = Leaves(gauge, max_workers=2)

    async def run(_: Any) -> None:
        await Graph(leaves).run_async({})

    simulate(EachRuns(run, range(3)), {})
    assert gauge.most == 2


def test_graphs_made_at_run_time_are_forgotten() -> None:
    """A run that makes one after another does not keep their caps."""
    made = list[ref[Any]]()
    left = list[int]()

    async def run() -> None:
        for _ in range(5):
            graph = Graph(Leaves(Gauge(), 1), max_workers=1)
            made.append(ref(graph))
            await graph.run_async({})
            del graph
        gc.collect()
        left.append(sum(graph() is not None for graph in made))

    asyncio.run(Graph(Runs(run), max_workers=3).run_async({}))
    assert left == [0]


# --- from a function ---


@pytest.mark.parametrize("most", [1, 2])
@pytest.mark.parametrize("run_in", [None, "thread", "loop"])
def test_a_function_that_runs_a_graph_shares_the_cap(run_in: Any, most: int) -> None:
    """In a thread and on the loop; its permit is for the calls of that graph."""
    gauge = Gauge()

    class Briefly(Node[Any, Any]):
        async def exec(self, prep_res: Any, /) -> None:
            with gauge.call():
                await asyncio.sleep(0.002)

    class Calls(ParallelBatchNode[int, int]):
        def prep(self, shared: Any, /) -> Any:
            return range(6)

        def exec(self, item: int, /) -> int:
            Graph(Briefly() >> [Briefly(), Briefly()]).run({})
            return item

        def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> None:
            shared["done"] = exec_res

    events = list[Event]()
    graph = Graph(Calls(run_in=run_in), max_workers=most)
    shared: dict[str, Any] = {}
    if run_in == "loop":
        with pytest.warns(RuntimeWarning, match="run_async"):
            graph.run(shared, observers=[events.append])
    else:
        graph.run(shared, observers=[events.append])
    assert shared == {"done": list(range(6))}
    assert gauge.most <= most
    assert {event.node for event in events if isinstance(event, ItemStarted)} == {
        "Calls",
        "Calls/Graph/Briefly",
        "Calls/Graph/Briefly-2",
        "Calls/Graph/Briefly-3",
    }
    assert_accounted(events)
    assert isinstance(events[-1], RunFinished)


def test_a_function_with_nothing_in_parallel_uses_all_permits() -> None:
    """Where it blocks the loop of the run around, nobody else can take one."""
    barrier = threading.Barrier(3)

    class Meets(Node[Any, Any]):
        def exec(self, prep_res: Any, /) -> None:
            barrier.wait(30)

    class Calls(Node[Any, Any]):
        def exec(self, prep_res: Any, /) -> None:
            Graph([Meets(name=name) for name in "abc"]).run({})

    Graph(Calls(), max_workers=3).run({})
    assert barrier.broken is False


@pytest.mark.parametrize("nodes", [1, 2], ids=["alone", "with_another"])
def test_a_deadline_ends_the_graph_that_a_function_runs(nodes: int) -> None:
    """The function itself cannot be stopped, and ends as its graph does."""
    ended = list[str]()

    class Waits(Node[Any, Any]):
        async def exec(self, prep_res: Any, /) -> None:
            try:
                await asyncio.sleep(3600)
            finally:
                ended.append(self.name)

    class Calls(Node[Any, Any]):
        def exec(self, prep_res: Any, /) -> None:
            Graph(Waits()).run({})

    with pytest.raises(DeadlineExceededError, match="the run of 'Graph'"):
        Graph([Calls() for _ in range(nodes)]).run({}, deadline=0.05)
    assert ended == ["Waits"] * nodes


def test_a_run_in_a_process_is_one_of_its_own() -> None:
    """The run around does not reach there."""
    events = list[Event]()
    ForksRun(run_in="process").run(shared := {}, observers=[events.append])
    assert shared == {"name": "Leafless"}
    assert not [event for event in events if "Leafless" in event.node]


class Leafless(Node[Any, Any]):
    async def exec(self, prep_res: Any, /) -> str:
        return self.name

    def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> None:
        shared["name"] = exec_res


class ForksRun(Node[Any, Any]):
    def exec(self, prep_res: Any, /) -> Any:
        Graph(Leafless()).run(shared := dict[str, Any]())
        return shared["name"]

    def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> None:
        shared["name"] = exec_res


# --- observers, names, reports ---


def test_observers_see_what_takes_place_within() -> None:
    """Under the names of the nodes around; a run begins and ends once."""
    run = simulate(Graph(Runs(lambda: Graph(Leaf(Gauge()), name="inner").run_async({}))), {})
    assert [line.split(" ", 2)[2] for line in run.trace if "Item" not in line] == [
        "RunStarted Graph",
        "NodeStarted Runs",
        "NodeStarted Runs/inner",
        "NodeStarted Runs/inner/Leaf",
        "NodeFinished Runs/inner/Leaf seconds=1.0",
        "NodeFinished Runs/inner seconds=1.0",
        "NodeFinished Runs seconds=1.0",
        "RunFinished Graph seconds=1.0",
    ]


def test_observers_of_a_run_within_see_that_run() -> None:
    """From its begin to its end; an observer of both runs is called once."""
    ours, both = list[Event](), list[Event]()
    report = RunReport()

    async def run() -> None:
        graph = Graph(Leaf(Gauge()), name="inner")
        await graph.run_async({}, observers=[ours.append, both_of, report])

    both_of = both.append
    simulate(Graph(Runs(run)), {}, observers=[both_of])
    assert isinstance(ours[0], RunStarted)
    assert isinstance(ours[-1], RunFinished)
    assert {event.node for event in ours} == {"Runs/inner", "Runs/inner/Leaf"}
    assert report.name == "Runs/inner"
    assert report.wall_s == 1
    assert_accounted(report)
    assert len(both) == len(set(map(id, both)))
    assert [type(event) for event in both].count(RunStarted) == 1


@pytest.mark.parametrize("hook", ["prep", "exec", "post"])
@pytest.mark.parametrize("branches", [1, 2])
def test_an_error_says_where_it_happened(hook: str, branches: int) -> None:
    """With the names of the nodes around, whichever branch it is."""

    class Fails(Node[Any, Any]):
        async def exec(self, prep_res: Any, /) -> None:
            raise LookupError

    first = Runs(lambda: Graph(Fails()).run_async({}), hook, name="first")
    with pytest.raises(LookupError) as caught:
        Graph([first, *(Leafless(name=str(n)) for n in range(1, branches))]).run({})
    assert caught.value.__notes__ == ["in node 'first/Graph/Fails'"]


def test_outcomes_and_logs_say_where_they_come_from() -> None:
    """An item of a batch within a stage of a pipeline."""
    names = list[str]()

    class Fails(BatchNode[int, int]):
        def prep(self, shared: Any, /) -> Any:
            return [1]

        async def exec(self, item: int, /) -> int:
            raise OSError

        def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> None:
            names.append(exec_res[0].name)

    async def run(_: Any) -> None:
        await Fails(on_error="collect").run_async({})

    simulate(EachRuns(run, [1], name="one") | EachRuns(run, [], name="two"), {})
    assert names == ["Pipeline/one/Fails", "Pipeline/two/Fails"]


def test_what_an_observer_begins_is_not_part_of_the_run() -> None:
    """It would observe itself without an end."""
    begun, tasks = list[str](), list[Any]()

    def observe(event: Event) -> None:
        begun.append(event.node)
        if isinstance(event, RunFinished):
            tasks.append(asyncio.create_task(Graph(Leafless()).run_async({})))

    async def main(_: Any) -> None:
        await Leaf(Gauge()).run_async({}, observers=[observe])
        await tasks[0]

    simulate(main)
    assert set(begun) == {"Leaf"}


# --- what graphs around say ---


def test_the_number_of_tasks_of_the_graphs_around_holds() -> None:
    """It is also the number of workers of each batch without max_workers."""
    gauge = Gauge()
    runs = Runs(lambda: Graph(Leaves(gauge, 6)).run_async({}))
    assert simulate(Graph(runs, max_parallel_tasks=3), {}).seconds == 2
    assert gauge.most == 3


def test_params_of_the_round_around_are_those_within() -> None:
    """As in a graph that stands within it."""
    users = list[str]()

    class Rounds(BatchGraph):
        def prep(self, shared: Any, /) -> Any:
            return [{"user": "ann"}]

    class Asks(Node[Any, Any]):
        async def exec(self, prep_res: Any, /) -> None:
            users.append(self.params["user"])

    simulate(Rounds(Runs(lambda: Graph(Asks()).run_async({}))), {})
    assert users == ["ann"]


def test_a_time_limit_of_the_graphs_around_holds() -> None:
    """For each attempt of the nodes within, unless their graph says otherwise."""
    seconds = list[float]()

    async def run() -> None:
        with pytest.raises(AttemptTimeoutError):
            await Graph(Leaf(Gauge())).run_async({})
        await Graph(Leaf(Gauge()), task_timeout=2).run_async({})
        seconds.append(asyncio.get_running_loop().time())

    simulate(Graph(Runs(run, timeout=10), task_timeout=0.5), {})
    assert seconds == [1.5]


def test_a_deadline_ends_what_takes_place_within() -> None:
    """All of it, before the run returns."""
    gauge = Gauge()
    graph = Graph(EachRuns(lambda _: Graph(Leaves(gauge, 50)).run_async({}), range(5)))

    async def main(_: Any) -> None:
        with pytest.raises(DeadlineExceededError):
            await graph.run_async({}, deadline=1.5)
        assert gauge.calls == 0

    assert simulate(main).seconds == 1.5
    assert gauge.begun == 100


# --- draining ---


def drained(graph: Any, seconds: float, shared: Any, grace: float | None = None) -> float:
    """Drain a run after some seconds; return when it has ended."""

    async def main() -> float:
        run = graph.launch(shared)
        await asyncio.sleep(seconds)
        run.drain(grace)
        await run
        return asyncio.get_running_loop().time()

    return run_virtually(main())


def test_a_batch_within_takes_no_more_items_while_the_run_drains() -> None:
    """What it has done is handed over, and the call around comes to its end."""
    gauge, done = Gauge(), dict[str, Any]()

    async def run() -> None:
        await Graph(Leaves(gauge, 100, max_workers=2) >> Leaf(gauge)).run_async(done)

    assert drained(Graph(Runs(run)), 1.5, {}) == 2
    assert done["done"] == [0, 1, 2, 3]


def test_a_source_that_a_run_within_waits_for_is_left_when_the_run_drains() -> None:
    """At once, in the middle of its wait."""
    done = dict[str, Any]()

    class Feed(Leaves):
        async def prep(self, shared: Any, /) -> AsyncIterator[int]:
            yield 1
            await asyncio.sleep(3600)

    assert drained(Runs(lambda: Graph(Feed(Gauge())).run_async(done)), 1.5, {}) == 1.5
    assert done == {"done": [1]}


def test_what_a_hook_in_flight_runs_after_that_comes_to_its_end() -> None:
    """A drained run hands over what is done, whatever ``post`` needs for that."""
    gauge, done = Gauge(), dict[str, Any]()

    async def run() -> None:
        await asyncio.sleep(2)
        await Graph(Leaves(gauge, 3, max_workers=1)).run_async(done)

    assert drained(Graph(Runs(run, "post")), 1.5, {}) == 5
    assert done == {"done": [0, 1, 2]}


def test_grace_ends_what_takes_place_within() -> None:
    """Batches hand over what is done, and the call around is cancelled."""
    gauge, done, after = Gauge(), dict[str, Any](), list[str]()

    async def run(_: Any) -> None:
        await Graph(Leaves(gauge, 100, max_workers=2)).run_async(done)
        after.append("after")

    assert drained(Graph(EachRuns(run, [1, 2])), 1.5, {}, grace=0.25) == 1.75
    assert done == {"done": [0, 1]}
    assert after == []


def test_a_run_within_can_be_drained_alone() -> None:
    """The one around goes on."""
    gauge, done = Gauge(), dict[str, Any]()

    async def run() -> None:
        task = Graph(Leaves(gauge, 100, max_workers=1)).launch(done)
        await asyncio.sleep(1.5)
        task.drain()
        await task

    run_ = simulate(Graph(Runs(run) >> Leaf(gauge)), {})
    assert done == {"done": [0, 1]}
    assert run_.seconds == 3


# --- runs of their own ---


def test_a_detached_run_is_one_of_its_own() -> None:
    """It has its own caps and observers, and is not drained with the one around."""
    gauge, done = Gauge(), dict[str, Any]()

    async def run() -> None:
        await Graph(Leaves(gauge, 4, max_workers=2)).run_async(done, detached=True)

    events = list[Event]()
    simulate(Graph(Runs(run), max_workers=1), {}, observers=[events.append])
    assert gauge.most == 2
    assert not [event for event in events if "Leaves" in event.node]
    assert drained(Graph(Runs(run)), 0.5, {}) == 2
    assert done == {"done": [0, 1, 2, 3]}


@pytest.mark.parametrize("way", ["run", "launch", "stream"])
def test_every_way_to_run_can_be_detached(way: str) -> None:
    """From a function, as a task, and as a stream."""

    async def run() -> None:
        leaves = Leaves(Gauge(), 1)
        if way == "stream":
            assert [one.name async for one in leaves.stream({}, detached=True)] == ["Leaves"]
        elif way == "launch":
            await leaves.launch({}, detached=True)
        else:
            await asyncio.to_thread(Graph(Leafless()).run, {}, detached=True)

    events = list[Event]()
    asyncio.run(Graph(Runs(run)).run_async({}, observers=[events.append]))
    assert {event.node for event in events} == {"Graph", "Runs"}


# --- what outlives the hook ---


def test_a_run_waits_for_what_its_hooks_have_launched() -> None:
    """As for everything else that it has started."""
    gauge = Gauge()

    async def run() -> None:
        Graph(Leaf(gauge)).launch({})
        await asyncio.sleep(0)

    assert simulate(Graph(Runs(run)), {}).seconds == 1
    assert gauge.begun == 1


def test_a_run_that_fails_cancels_what_its_hooks_have_launched() -> None:
    """And waits for its end."""
    gauge = Gauge()

    async def run() -> None:
        Graph(Leaf(gauge)).launch({})
        await asyncio.sleep(0.25)
        raise LookupError

    async def main(_: Any) -> None:
        with pytest.raises(LookupError):
            await Graph(Runs(run)).run_async({})
        assert gauge.calls == 0

    assert simulate(main).seconds == 0.25


def test_the_deadline_holds_for_what_hooks_have_launched() -> None:
    """Also when all nodes have ended."""
    gauge = Gauge()

    async def run() -> None:
        Graph(Leaf(gauge)).launch({})
        await asyncio.sleep(0)

    async def main(_: Any) -> None:
        with pytest.raises(DeadlineExceededError):
            await Graph(Runs(run)).run_async({}, deadline=0.5)
        assert gauge.calls == 0

    assert simulate(main).seconds == 0.5


def test_a_task_that_outlives_its_run_begins_runs_of_their_own() -> None:
    """There is nothing around any more."""
    tasks = list[asyncio.Task[Any]]()

    async def later() -> None:
        await asyncio.sleep(5)
        await Graph(Leafless()).run_async(shared)

    async def run() -> None:
        tasks.append(asyncio.create_task(later()))

    async def main(_: Any) -> None:
        await Graph(Runs(run)).run_async({})
        await tasks[0]

    shared: dict[str, str] = {}
    simulate(main)
    assert shared == {"name": "Leafless"}


# --- lifespans, cleaning up ---


def test_lifespans_end_with_the_run_that_has_opened_them() -> None:
    """Each run within opens and closes those of its nodes; that of the node around stays open."""
    log = list[str]()

    class Held(Node[Any, Any]):
        @asynccontextmanager
        async def lifespan(self, shared: Any, /) -> AsyncIterator[str]:
            log.append(f"open {self.name}")
            yield self.name
            log.append(f"close {self.name}")

        async def exec(self, prep_res: Any, /) -> None:
            log.append(self.resource)
            if self.name == "outer":
                inner = Held(name="inner")
                for _ in range(2):
                    await Graph(inner).run_async({})
                log.append(self.resource)

    simulate(Graph(Held(name="outer")), {})
    inner = ["open inner", "inner", "close inner"]
    assert log == ["open outer", "outer", *inner, *inner, "outer", "close outer"]


def test_a_lifespan_may_run_graphs_when_it_begins_and_when_it_ends() -> None:
    """Also where the run has been drained: cleaning up is not left out."""
    shared: dict[str, Any] = {}

    class Held(Leaf):
        @asynccontextmanager
        async def lifespan(self, _: Any, /) -> AsyncIterator[None]:
            await Graph(Leafless(name="begin")).run_async(shared)
            assert shared == {"name": "begin"}
            yield
            await Graph(Leafless(name="end")).run_async(shared)

    drained(Graph(Held(Gauge())), 0.5, {})
    assert shared == {"name": "end"}


def test_threads_of_the_run_around_are_used() -> None:
    """No run within starts threads of its own."""
    threads = set[int]()

    class Calls(Node[Any, Any]):
        def exec(self, prep_res: Any, /) -> None:
            threads.add(threading.get_ident())

    async def run() -> None:
        for _ in range(5):
            await Graph(Calls()).run_async({})

    Graph(Runs(run)).run({})
    assert len(threads) == 1


# --- conflicting writes ---


class Writes(Node[Any, Any]):
    async def exec(self, prep_res: Any, /) -> None:
        await asyncio.sleep(0)

    def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> None:
        shared["key"] = object()


def forked() -> Graph:
    return Graph([Writes(name="a"), Writes(name="b")])


def test_branches_within_that_write_the_same_key_are_reported() -> None:
    """In their own store, in parallel with others or not, under the names of the outer nodes."""

    async def run(_: Any) -> None:
        await forked().run_async({})

    for graph in (Graph(Runs(lambda: run(0))), Graph([Runs(lambda: run(0)), Leaf(Gauge())])):
        with pytest.warns(WriteConflictWarning, match="'Runs/Graph/a' and 'Runs/Graph/b'"):
            simulate(graph, {})


def test_branches_around_that_write_the_same_key_within_are_reported() -> None:
    """Graphs that two branches run on the store of the run around."""

    class Within(Node[Any, Any]):
        def prep(self, shared: Any, /) -> Any:
            return shared

        async def exec(self, shared: Any, /) -> None:
            await Graph(Writes()).run_async(shared)

    graph = Graph([Within(name="one"), Within(name="two")])
    with pytest.warns(WriteConflictWarning, match=r"shared\['key'\]"):
        simulate(graph, {})


@pytest.mark.filterwarnings("error::kaygraph.WriteConflictWarning")
def test_branches_that_write_into_stores_of_their_own_do_not_conflict() -> None:
    """The same key of two stores is two keys."""
    graph = Graph([Runs(lambda: Graph(Writes()).run_async({}), name=name) for name in "ab"])
    simulate(graph, {})


# --- depth ---


def test_runs_within_runs_may_be_as_deep_as_one_likes() -> None:
    """Python's limit on calls does not apply."""
    depths = list[int]()

    class Deeper(Node[Any, Any]):
        def __init__(self, depth: int) -> None:
            super().__init__()
            self.depth = depth

        async def exec(self, prep_res: Any, /) -> None:
            if self.depth:
                await Graph(Deeper(self.depth - 1)).run_async({})
            else:
                depths.append(0)

    Graph(Deeper(1000), max_workers=1).run({})
    assert depths == [0]


def test_functions_that_run_graphs_may_be_as_deep_as_one_likes() -> None:
    """Each has a loop of its own, and a new thread where the stack is half used up."""
    depths = list[int]()

    class Deeper(Node[Any, Any]):
        def __init__(self, depth: int) -> None:
            super().__init__()
            self.depth = depth

        def exec(self, prep_res: Any, /) -> None:
            if self.depth:
                Graph(Deeper(self.depth - 1)).run({})
            else:
                depths.append(0)

    Graph(Deeper(100), max_workers=1).run({})
    assert depths == [0]


# --- failures ---


def test_an_error_within_is_an_error_of_the_call() -> None:
    """It may be tried again, and the observers get every item to its end."""
    calls = list[int]()

    class Fails(Node[Any, Any]):
        async def exec(self, prep_res: Any, /) -> None:
            calls.append(1)
            if len(calls) < 3:
                raise OSError

    events = list[Event]()
    graph = Graph(Runs(lambda: Graph(Fails()).run_async({}), max_retries=3), max_workers=1)
    simulate(graph, {}, observers=[events.append])
    assert len(calls) == 3
    assert_accounted(events)


def test_a_run_within_may_be_cancelled_at_any_step() -> None:
    """It leaves no task and no permit behind, and the cancellation is one."""

    async def main(_: Any) -> None:
        gauge = Gauge()

        async def run(_: Any) -> None:
            await asyncio.gather(*(Graph(Leaf(gauge)).run_async({}) for _ in range(2)))

        graph = Graph(EachRuns(run, range(3)), max_workers=2)
        for turn in range(60):
            task = asyncio.create_task(graph.run_async({}))
            for _ in range(turn):
                await asyncio.sleep(0 if turn % 2 else 0.05)
            task.cancel()
            await asyncio.wait([task])
            assert gauge.calls == 0

    assert simulate(main).left == []


@pytest.mark.parametrize("observed", [True, False])
def test_runs_within_leave_no_cycles(observed: bool) -> None:
    """Nor do those that fail, or give their permit back."""

    class Fails(Node[Any, Any]):
        async def exec(self, prep_res: Any, /) -> None:
            raise LookupError

    async def run(_: Any) -> None:
        await Graph(Leafless()).run_async({})
        with suppress(LookupError):
            await Graph(Fails()).run_async({})

    async def main() -> None:
        graphs = [Graph(EachRuns(run, range(3)), max_workers=2), EachRuns(run, range(3))]
        observers = [lambda _: None] if observed else []
        for graph in graphs:
            for turn in range(3):
                await graph.run_async({}, observers=observers)
                if not turn:
                    gc.collect()
            assert gc.collect() == 0

    gc.disable()
    try:
        asyncio.run(main())
    finally:
        gc.enable()
