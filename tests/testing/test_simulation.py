"""simulate(): one run on a clock and in an order of our own."""

import asyncio
import time
from typing import Any

import pytest

from kaygraph import (
    Graph,
    ItemFinished,
    Node,
    NodeStarted,
    RunReport,
)
from kaygraph.testing import DeadlockError, EndlessRunError, simulate
from tests.testing.graphs import Add, Fails, Sleep, Work, race


def block(seconds: float) -> None:
    """Hold up whoever calls."""
    time.sleep(seconds)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


# --- what comes back ---


def test_a_run_gives_its_action_store_time_and_events() -> None:
    """All that run() gives, and all that an observer hears."""

    class Ends(Sleep):
        def post(self, shared: Any, _: Any, __: Any) -> str:
            shared["ended"] = True
            return "done"

    shared: dict[str, Any] = {}
    heard: list[Any] = []
    graph = Graph(Ends(3600))
    graph - "done" >> Node()
    outer = Graph(graph)
    run = simulate(outer, shared, observers=[heard.append])
    assert run.shared is shared
    assert shared == {"ended": True}
    assert run.seconds == 3600
    assert run.events == heard
    assert [type(event).__name__ for event in run.events].count("NodeStarted") == 3
    assert run.report.wall_s == 3600
    assert run.report.items["ok"] == 1
    assert (run.seed, run.left, run.error) == (0, [], None)
    assert simulate(Ends(1)).action == "done"


def test_a_store_is_made_where_none_is_given() -> None:
    """As run() does."""
    assert simulate(Graph(Sleep())).shared == {}


def test_the_trace_says_what_happened_and_when() -> None:
    """Lines to read: seconds, task, event and facts; the order where it is not asyncio's."""
    runs = (simulate(race(), {"total": 0}, seed=seed) for seed in range(1, 40))
    run = next(run for run in runs if "0.0 Order task-3, task-2" in run.trace)
    assert run.trace[0] == "0.0 task-1 RunStarted Graph"
    assert "1.0 task-2 NodeFinished left seconds=1.0" in run.trace
    assert len(run.trace) == len(run.events) + run.deviations
    assert all(isinstance(line, str) for line in run.trace)
    failed = simulate(Graph([Work([0, 3], on_error="collect")]))
    assert "0.0 task-2 ItemFinished Work item=0 worker=0 attempts=1 seconds=0.0" in failed.trace


def test_an_order_names_the_nodes_that_tasks_are_at() -> None:
    """A task that has been at a node is named after it."""
    traces = [simulate(race(), {"total": 0}, seed=seed).trace for seed in range(1, 40)]
    assert any("1.0 Order task-3 (pause), task-2 (left)" in trace for trace in traces)


def test_seeds_differ_and_a_seed_does_not() -> None:
    """Other seeds find other results, the same one the same."""
    totals = [simulate(race(), {"total": 0}, seed=seed).shared["total"] for seed in range(20)]
    assert set(totals) == {1, 2}
    again = [simulate(race(), {"total": 0}, seed=seed).shared["total"] for seed in range(20)]
    assert totals == again


@pytest.mark.parametrize("on_conflict", ["ignore", "warn"])
def test_the_seed_says_which_branch_of_a_fork_begins_first(on_conflict: str) -> None:
    """On any Python: no branch begins before a task could take its turn on the loop."""

    class Notes(Node):
        async def exec(self, _: Any) -> str:
            return self.name

        def post(self, shared: Any, _: Any, name: str) -> None:
            shared.setdefault("order", []).append(name)

    orders = set()
    for seed in range(30):
        graph = Graph([Notes(name="a"), Notes(name="b")], on_conflict=on_conflict)
        run = simulate(graph, seed=seed)
        orders.add("".join(run.shared["order"]))
    assert orders == {"ab", "ba"}


def test_a_graph_is_simulated_the_shorter_way_when_nobody_watches() -> None:
    """No events, the same result."""
    ran: list[bool] = []

    class Looks(Sleep):
        async def exec(self, _: Any) -> None:
            from kaygraph.run.frame import FRAME

            ran.append(FRAME.get().bare)

    run = simulate(Graph(Looks() >> Looks()), watched=False)
    assert run.events == []
    assert run.trace == []
    assert ran == [True, True]
    simulate(Graph(Looks()))
    assert ran == [True, True, False]


# --- how a run ends ---


def test_an_error_is_raised_as_itself_with_what_repeats_it() -> None:
    """The note names the seed, beside the engine's own that names the node."""
    with pytest.raises(ValueError, match="broken") as caught:
        simulate(Graph([Fails(), Sleep()]), seed=11)
    assert "simulate(…, seed=11) repeats this run" in caught.value.__notes__
    assert any("in node 'Fails'" in note for note in caught.value.__notes__)


def test_a_cancellation_out_of_a_node_is_raised() -> None:
    """It is no result."""

    class Cancels(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)

    with pytest.raises(asyncio.CancelledError):
        simulate(Graph(Cancels()))


def test_a_deadlock_is_an_error_and_the_rest_is_ended() -> None:
    """The tasks that wait are cancelled, and their finally runs."""

    class Waits(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cleaned.append(self.name)

    cleaned: list[str] = []
    with pytest.raises(DeadlockError, match=r"Waits\.exec"):
        simulate(Graph([Waits(name="a"), Waits(name="b")]))
    assert sorted(cleaned) == ["a", "b"]


def test_an_endless_run_ends_at_its_limits() -> None:
    """Of steps, and of virtual seconds."""
    sleepy = Sleep(60)
    sleepy - "default" >> sleepy
    with pytest.raises(EndlessRunError, match=r"1000 steps.*max_steps"):
        simulate(Graph(sleepy), max_steps=1000)
    with pytest.raises(EndlessRunError, match=r"max_seconds=3600"):
        simulate(Graph(sleepy), max_seconds=3600)
    assert simulate(Graph(Sleep(3600)), max_seconds=3600).seconds == 3600


def test_a_task_that_will_not_end_does_not_hold_simulate_up() -> None:
    """Code that swallows every cancellation is given up."""

    class Stubborn(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            while True:
                try:
                    await asyncio.sleep(1)
                except asyncio.CancelledError:
                    swallowed.append(True)

    swallowed: list[bool] = []
    with pytest.raises(EndlessRunError):
        simulate(Graph(Stubborn()), max_steps=50)
    assert swallowed


def test_what_a_run_leaves_behind_is_listed() -> None:
    """A task, with the line where it is, and an async generator; they are ended all the same."""

    async def numbers() -> Any:
        try:
            yield 1
            yield 2
        finally:
            ended.append("generator")

    async def background() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            ended.append("task")

    class Leaves(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            self.task = asyncio.create_task(background(), name="forgotten")
            self.numbers = numbers()
            await anext(self.numbers)

    ended: list[str] = []
    run = simulate(Graph(Leaves()))
    task, generator = run.left
    assert task.startswith("a task: forgotten, in ")
    assert "background" in task
    assert "numbers" in generator
    assert sorted(ended) == ["generator", "task"]


def test_an_error_that_only_the_loop_hears_of_is_listed() -> None:
    """A callback that fails, a task that nobody awaits."""

    class Careless(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            asyncio.get_running_loop().call_soon(self.fails)
            await asyncio.sleep(1)

        def fails(self) -> None:
            raise OSError("unheard")

    (complaint,) = simulate(Graph(Careless())).left
    assert "OSError: unheard" in complaint


# --- what can be simulated ---


def test_a_single_node_and_a_coroutine_function_can_be_simulated() -> None:
    """A coroutine function gets the store; the runs that it begins are watched."""

    async def twice(shared: Any) -> str:
        await Graph(Add()).run_async(shared)
        async for outcome in Work([1, 2]).stream(shared):
            shared["total"] += outcome.value
        return "both"

    assert simulate(Add(), {"total": 1}).shared == {"total": 2}
    run = simulate(twice, {"total": 1})
    assert run.action == "both"
    assert run.shared == {"total": 5}
    assert sum(isinstance(event, ItemFinished) for event in run.events) == 3
    assert NodeStarted("Add", 0.0) in run.events


@pytest.mark.parametrize("work", [Work, None, 7, [Work()]])
def test_what_cannot_be_simulated_is_refused(work: Any) -> None:
    """With what can be; of a class, that it was not called."""
    with pytest.raises(TypeError, match="what is simulated is a node") as caught:
        simulate(work)
    assert ("Did you mean Work()?" in str(caught.value)) is (work is Work)


def test_a_coroutine_function_that_was_called_already_is_refused() -> None:
    """The coroutine can run only once, and seeds are many."""

    async def work() -> None:
        raise AssertionError("it has run")

    with pytest.raises(TypeError, match=r"Pass work itself, without calling it$"):
        simulate(work())  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_simulate_works_where_a_loop_runs() -> None:
    """The loop around stands still meanwhile and goes on afterwards."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    before = loop.time()
    assert simulate(Graph([Sleep(9000), Work()])).seconds == 9000
    assert loop.time() - before < 5
    assert asyncio.get_running_loop() is loop
    assert asyncio.current_task() is task
    await asyncio.sleep(0)


def test_a_simulation_within_a_simulation_has_a_clock_of_its_own() -> None:
    """An exec that simulates does not move the clock around it."""

    class Inner(Node[Any, Any]):
        async def exec(self, _: Any) -> float:
            block(2)
            seconds = simulate(Graph(Sleep(50)), seed=1).seconds
            block(1)
            return seconds + asyncio.get_running_loop().time()

        def post(self, shared: Any, _: Any, seconds: float) -> None:
            shared["seconds"] = seconds

    run = simulate(Graph(Inner()))
    assert run.shared["seconds"] == 53
    assert run.seconds == 3


def test_reports_are_observers_as_anywhere() -> None:
    """A report handed over gets the same events as the run's own."""
    report = RunReport()
    run = simulate(Graph(Work()), observers=[report])
    assert report.to_dict() == run.report.to_dict()
    assert report.wall_s == pytest.approx(3)
