"""explore(): the seeds that break a graph, and the shortest way to show it."""

import asyncio
from typing import Any

import pytest

from kaygraph import Graph, Node, ParallelBatchNode
from kaygraph.testing import Faults, InjectedError, cancel_everywhere, explore, simulate
from tests.testing.graphs import Add, Fails, Sleep, Work, beside, race


def both_count(shared: Any) -> bool:
    return bool(shared["total"] == 2)


def test_a_lost_update_is_found_in_five_lines() -> None:
    """Read in prep, await in exec, write in post, two branches."""
    graph = Graph([Add(name="left"), Add(name="right")], on_conflict="ignore")
    found = explore(graph, {"total": 0}, check=lambda shared: shared["total"] == 2)
    assert found
    assert "check(shared) returned False" in str(found)


def test_a_race_that_some_orders_win_is_told_by_its_seeds() -> None:
    """Those that break are listed; each repeats; the others hold."""
    found = explore(race(), {"total": 0}, check=both_count, seeds=60)
    seeds = {failure.seed for failure in found}
    assert 0 < len(seeds) == len(found) < 60
    assert repr(found) == f"<Exploration {len(seeds)} of 60 seeds break it>"
    for seed in range(60):
        held = both_count(simulate(race(), {"total": 0}, seed=seed).shared)
        assert held == (seed not in seeds)


def test_the_shortest_failure_needs_no_deviation_too_many() -> None:
    """With one less the seed would hold; with those that it has, the run is that of the trace."""
    found = explore(race(), {"total": 0}, check=both_count)
    shortest = found.shortest
    assert shortest is not None
    assert shortest.deviations == 1
    assert len(shortest.trace) == min(len(failure.trace) for failure in found)
    again = simulate(race(), {"total": 0}, seed=shortest.seed, deviations=shortest.deviations)
    assert again.trace == shortest.trace
    assert not both_count(again.shared)
    fewer = simulate(race(), {"total": 0}, seed=shortest.seed, deviations=0)
    assert both_count(fewer.shared)


def test_a_failure_is_shown_with_no_deviation_that_it_does_not_need() -> None:
    """Whichever is left out, first or last: the run no longer fails."""
    graph = beside(Add(name="left"), Sleep(name="pause") >> Add(name="right"), *[Work()] * 3)
    for seed in range(1, 60):
        found = explore(graph, {"total": 0}, check=both_count, seeds=[seed])
        if found and found.failures[0].deviations > 3:
            break
    (failure,), shortest = found, found.shortest
    assert shortest is not None
    schedule = [tuple(deviation) for deviation in shortest.schedule]
    assert 0 < len(schedule) < failure.deviations
    run = simulate(graph, {"total": 0}, seed=seed, schedule=schedule)
    assert not both_count(run.shared)
    for left_out in range(len(schedule)):
        fewer = schedule[:left_out] + schedule[left_out + 1 :]
        assert both_count(simulate(graph, {"total": 0}, seed=seed, schedule=fewer).shared)
    assert f"simulate(…, seed={seed}, schedule={schedule}) repeats this run" in str(found)


def test_what_is_shown_can_be_read_and_repeated() -> None:
    """The count, the error, the call that repeats it, the store, the trace, and who came first."""
    found = explore(race(), {"total": 0}, check=both_count, seeds=30)
    shortest = found.shortest
    assert shortest is not None
    lines = str(found).splitlines()
    assert lines[0] == f"{len(found)} of 30 seeds break it; the shortest:"
    assert lines[1] == "AssertionError: check(shared) returned False"
    assert lines[2].strip().startswith(f"simulate(…, seed={shortest.seed}")
    assert lines[2].endswith("repeats this run")
    assert lines[3].strip() == "shared: {'total': 1}"
    traced = len(shortest.trace)
    assert [line.strip() for line in lines[4 : 4 + traced]] == shortest.trace
    assert lines[4 + traced] == str(shortest.swaps[0]).splitlines()[0]


def test_both_stacks_of_the_steps_that_changed_places_are_shown() -> None:
    """Each with its line: that of the one that came first, and that of the other."""

    async def main() -> None:
        async def reads() -> None:
            assert written, "read before it was written"

        async def writes() -> None:
            written.append(True)

        written: list[bool] = []
        async with asyncio.TaskGroup() as group:
            group.create_task(writes(), name="writer")
            group.create_task(reads(), name="reader")

    found = explore(main, seeds=50)
    assert found.shortest is not None
    (swap,) = found.shortest.swaps
    assert (swap.first, swap.second) == ("reader", "writer")
    assert "async def reads()" in swap.first_stack[-1]
    assert "async def writes()" in swap.second_stack[-1]
    assert "at 0.0 s, reader came before writer\n  reader:\n" in str(found)


def test_a_program_without_a_graph_or_a_store_can_be_explored() -> None:
    """What it returns is checked; its trace is the steps of its tasks."""

    async def main() -> int:
        async def add(pause: float) -> None:
            nonlocal total
            await asyncio.sleep(pause)
            seen = total
            await asyncio.sleep(0.01)
            total = seen + 1

        total = 0
        async with asyncio.TaskGroup() as group:
            group.create_task(add(0.0))
            group.create_task(add(0.0105))
        return total

    found = explore(main, check=lambda total: total == 2, seeds=200)
    shortest = found.shortest
    assert shortest is not None
    assert 0 < len(found) < 200
    assert str(shortest.error) == "check(1) returned False"
    assert any("task-3 test_a_program" in line for line in shortest.trace)
    again = simulate(main, seed=shortest.seed, schedule=shortest.schedule)
    assert (again.action, again.trace) == (1, shortest.trace)
    for failure in found.failures[:5]:  # their traces are made when they are asked for
        assert failure.trace == simulate(main, seed=failure.seed).trace


def test_a_long_trace_is_cut_where_it_is_shown() -> None:
    """The whole of it is at hand."""
    found = explore(Graph(Work(range(40)) >> Fails()), seeds=1)
    assert found.shortest is not None
    assert len(found.shortest.trace) > 80
    assert len(str(found).splitlines()) < 70
    assert "lines more" in str(found)


def test_a_graph_that_holds_gives_nothing() -> None:
    """It is false, has no shortest failure, and says how much was tried."""

    class Counts(Add):
        def post(self, shared: Any, _: Any, __: Any) -> None:
            shared["total"] += 1

    found = explore(beside(Counts(), Counts()), {"total": 0}, check=both_count, seeds=50)
    assert not found, str(found)
    assert found.shortest is None
    assert list(found) == []
    assert str(found) == "none of 50 seeds breaks it"


def test_each_run_gets_a_store_of_its_own() -> None:
    """A deep copy of what was given, or what a function returns."""
    stores: list[Any] = []

    def check(shared: Any) -> None:
        stores.append(shared)
        assert shared == {"total": 1, "list": [[]]}

    shared = {"total": 0, "list": [[]]}
    assert not explore(Graph(Add()), shared, check=check, seeds=3)
    assert not explore(Graph(Add()), lambda: {"total": 0, "list": [[]]}, check=check, seeds=3)
    assert shared == {"total": 0, "list": [[]]}
    inner = [id(store["list"][0]) for store in stores]
    assert len(set(inner)) == 6
    assert not explore(Graph(Sleep()), seeds=2, check=lambda shared: shared == {})


def test_what_the_check_raises_is_the_failure() -> None:
    """As itself, with what repeats it; returning nothing is fine."""

    def check(shared: Any) -> None:
        assert shared["total"] == 2, "one is lost"

    found = explore(race(), {"total": 0}, check=check, seeds=20)
    assert found.shortest is not None
    assert str(found.shortest.error).startswith("one is lost")
    assert any("repeats this run" in note for note in found.shortest.error.__notes__)


def test_what_the_run_raises_is_the_failure() -> None:
    """The check is not asked then."""

    def check(_: Any) -> None:
        raise AssertionError("asked")

    found = explore(Graph([Fails(), Sleep()]), seeds=[3, 8], check=check)
    assert [failure.seed for failure in found] == [3, 8]
    assert {type(failure.error) for failure in found} == {ValueError}


def test_errors_that_are_allowed_are_no_failures() -> None:
    """Alone and in groups; an error of another kind in the group is one."""

    class Other(Sleep):
        async def exec(self, _: Any) -> None:
            await asyncio.sleep(self.seconds)
            raise OSError("other")

    two = Graph([Fails(), Other()])
    assert not explore(Graph(Fails()), seeds=5, allowed=ValueError)
    assert not explore(two, seeds=20, allowed=(ValueError, OSError))
    assert explore(two, seeds=20, allowed=ValueError)


def test_a_task_that_is_left_is_a_failure_even_where_errors_are_allowed() -> None:
    """A gather that does not cancel is what this finds."""

    class Gathers(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            async def fails() -> None:
                raise ValueError

            await asyncio.gather(asyncio.sleep(5), fails())

    found = explore(Graph(Gathers()), seeds=3, allowed=ValueError)
    assert len(found) == 3
    assert "left behind\na task: task-2, in sleep" in str(found)


@pytest.mark.parametrize("watched", [True, False])
def test_a_permit_that_is_left_is_a_failure(watched: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether anybody watches or not."""
    from kaygraph.run.run import Run

    class Keeps(Work):
        async def exec(self, item: int) -> int:
            self.taken = True
            return item

    monkeypatch.setattr(Run, "leaks", lambda run: ["'Keeps': 1 of 3 permits not given back"])
    found = explore(Graph(Keeps()), seeds=1, watched=watched)
    assert "permits of 'Keeps'" in str(found)


def test_an_error_that_nobody_asks_for_is_a_failure() -> None:
    """Also where something still refers to the task, so that asyncio does not complain yet."""

    async def main(asks: bool) -> None:
        async def fails() -> None:
            raise OSError("no connection")

        kept.append(asyncio.create_task(fails()))
        await asyncio.wait(kept[-1:])
        if asks:
            kept[-1].exception()

    kept: list[asyncio.Task[None]] = []
    found = explore(lambda: main(False), seeds=2)
    assert len(found) == 2
    assert "nobody has asked for: task-2: OSError: no connection" in str(found)
    assert not explore(lambda: main(True), seeds=2)


def test_an_item_that_is_lost_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events are counted in every run that is watched."""
    from kaygraph.run.observers import Observers

    original = Observers._call

    def loses(sender: Any, observers: Any, event: Any) -> None:
        if getattr(event, "attempts", 0) == 1 and event.item == 4:
            return
        original(sender, observers, event)

    monkeypatch.setattr(Observers, "_call", loses)
    found = explore(Graph(Work()), seeds=1)
    assert "item 4 of 'Work' was begun and has not ended" in str(found)
    assert not explore(Graph(Work()), seeds=1, watched=False)


def test_an_endless_run_is_a_failure() -> None:
    """The limits are those of simulate."""
    loop = Sleep()
    loop - "default" >> loop
    assert "max_steps" in str(explore(Graph(loop), seeds=1, max_steps=100))
    assert "max_seconds" in str(explore(Graph(loop), seeds=1, max_seconds=50))


def test_a_coroutine_function_can_be_explored() -> None:
    """It is given the store."""

    async def read(shared: Any) -> None:
        async for outcome in Work([1, 2, 3]).stream(shared):
            shared["total"] += outcome.value
            if outcome.value == shared["stop_at"]:
                break  # the generator is left open

    assert not explore(read, {"total": 0, "stop_at": 9}, seeds=5)
    found = explore(read, {"total": 0, "stop_at": 2}, seeds=5)
    assert "an async generator" in str(found)


def test_faults_without_a_seed_differ_from_seed_to_seed() -> None:
    """The same graph, wrapped once, meets other faults in every run, and the same ones again."""
    graph = Faults(fail=0.5).wrap(Graph(Work(max_retries=1)))
    found = explore(graph, seeds=40, allowed=())
    assert 0 < len(found) <= 40
    single = Faults(fail=0.5).wrap(Graph(Sleep()))
    first = [failure.seed for failure in explore(single, seeds=40)]
    assert 5 < len(first) < 35
    assert [failure.seed for failure in explore(single, seeds=40)] == first
    assert not explore(single, seeds=40, allowed=InjectedError)


def test_a_thousand_failures_do_not_keep_their_runs_alive() -> None:
    """Errors keep the lines of their tracebacks and let go of the frames' contents."""
    alive: list[int] = []

    class Big:
        def __init__(self) -> None:
            alive.append(1)

        def __del__(self) -> None:
            alive.pop()

    class Holds(ParallelBatchNode[Any, Any]):
        def prep(self, _: Any) -> range:
            return range(2)

        async def exec(self, item: int) -> None:
            big = Big()
            await asyncio.sleep(item)
            raise ValueError(big is None)

    found = explore(Graph(Holds()), seeds=100)
    assert len(found) == 100
    assert len(alive) < 10
    assert found.shortest is not None
    assert found.shortest.error.__traceback__ is not None


@pytest.mark.parametrize("seeds", [0, -1, True, [], ()])
def test_no_seed_at_all_is_refused(seeds: Any) -> None:
    """Nothing would be run, and nothing found: a test that cannot fail."""
    for run in (explore, cancel_everywhere):
        with pytest.raises(ValueError, match="seeds must be"):
            run(Work(), seeds=seeds)


def test_a_check_that_would_have_to_be_awaited_is_refused() -> None:
    """What it returns is a coroutine, which is never False."""

    async def check(_: Any) -> bool:
        return False

    for run in (explore, cancel_everywhere):
        with pytest.raises(ValueError, match="check must be written 'def'"):
            run(Work(), check=check)
