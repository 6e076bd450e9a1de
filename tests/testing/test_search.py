"""Exhaustive explorations: every order is tried, and few of them twice."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaygraph import AsyncNode, Graph
from kaygraph.testing import UnorderedAccessError, explore, simulate, watch
from kaygraph.testing._footprints import Footprint
from kaygraph.testing._search import Choice, Search
from kaygraph.testing.exploration import Exploration
from tests.testing.acting import ACTS, Act, program_of
from tests.testing.races.corpus import RACES
from tests.testing.races.measuring import MAX_SECONDS, MAX_STEPS, silence
from tests.testing.races.planting import Race

Main = Callable[[], Coroutine[Any, Any, object]]
Kind = Literal[True, "watched"]


def ends_of(main: Main, kind: Kind | None, most: int) -> tuple[set[object], Exploration]:
    """Return what came of a program in its orders, or under seeds."""
    ends = set[object]()
    allowed = {"check": ends.add, "leftovers": True, "allowed": UnorderedAccessError}
    found = explore(main, seeds=most, exhaustive=kind or False, **allowed)  # type: ignore[arg-type]
    return ends, found


@contextmanager
def unreduced() -> Iterator[None]:
    """Take all steps to touch the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Footprint, "conflicts", lambda *_: True)
        yield


# --- which orders are tried -----------------------------------------------------------------------


async def two_tasks_of_two_steps() -> tuple[str, ...]:
    noted: list[str] = []

    async def note(name: str) -> None:
        noted.append(name)
        await asyncio.sleep(0)
        noted.append(name)

    async with asyncio.TaskGroup() as group:
        group.create_task(note("a"))
        group.create_task(note("b"))
    return tuple(noted)


def test_every_order_of_two_tasks_is_tried() -> None:
    """Of two steps each there are six."""
    ends, found = ends_of(two_tasks_of_two_steps, True, 1000)
    assert len(ends) == 6
    assert found.complete
    assert str(found) == f"none of its {found.seeds} orders breaks it"


def test_the_number_of_orders_has_a_limit() -> None:
    found = explore(two_tasks_of_two_steps, exhaustive=True, seeds=5)
    assert not found.complete
    assert str(found) == "none of the first 5 orders breaks it"


def test_orders_beyond_the_limit_are_not_kept() -> None:
    """Each run has others to follow it: a search that kept all would outgrow the memory."""
    search = Search(only_watched=False, most=3)
    choice = Choice((), 0)
    for option in range(1, 7):
        search.add(choice, option)
    kept = 0
    while search:
        search.next()
        kept += 1
    assert kept == 6  # the first run, and five of the six
    assert not search.complete


def test_orders_with_few_deviations_come_first() -> None:
    """The first is asyncio's own."""
    ends, _ = ends_of(two_tasks_of_two_steps, True, 1)
    assert ends == {("a", "b", "a", "b")}


def test_timers_that_are_close_fire_in_every_order() -> None:
    async def main() -> tuple[str, ...]:
        noted: list[str] = []

        async def note(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            noted.append(name)

        async with asyncio.TaskGroup() as group:
            for name, seconds in (("a", 0.0100), ("b", 0.0105), ("c", 0.0130)):
                group.create_task(note(name, seconds))
        return tuple(noted)

    assert ends_of(main, True, 1000)[0] == {("a", "b", "c"), ("b", "a", "c")}


def test_a_call_in_a_thread_ends_at_once_and_later() -> None:
    """Each of the times is an order of its own."""

    async def main() -> bool:
        call = asyncio.ensure_future(asyncio.to_thread(int))
        await asyncio.sleep(0.05)
        early = call.done()
        await call
        return early

    ends, found = ends_of(main, "watched", 1000)
    assert ends == {True, False}
    assert found.complete


def test_a_failure_is_reported_as_that_of_a_seed() -> None:
    """With the shortest schedule, which repeats it."""

    async def main() -> None:
        assert await two_tasks_of_two_steps() != ("b", "b", "a", "a")

    found = explore(main, exhaustive=True)
    assert found.shortest is not None
    assert f"{len(found)} of its {found.seeds} orders break it; the shortest:" in str(found)
    assert "came before" in str(found)
    with pytest.raises(AssertionError):
        simulate(main, order="steps", schedule=found.shortest.schedule)


@given(st.lists(st.lists(st.sampled_from(ACTS), min_size=1, max_size=3), min_size=2, max_size=2))
@settings(max_examples=20, deadline=None)
def test_each_order_is_repeated_by_its_schedule(acts: list[list[Act]]) -> None:
    """Without footprints, too: what comes of it is the same."""
    main, ends = program_of(acts), list[object]()

    def fail(end: object) -> bool:
        ends.append(end)
        return False

    found = explore(main, exhaustive=True, seeds=30, check=fail, leftovers=True)
    failures = [each for each in found if not isinstance(each.error, UnorderedAccessError)]
    for failure, end in zip(failures, ends, strict=False):  # then come those of the shortest
        assert simulate(main, order="steps", schedule=failure.schedule).action == end


def test_nothing_is_logged_of_runs_that_are_given_up(caplog: pytest.LogCaptureFixture) -> None:
    """One is given up after its program has failed: nobody asks for that error."""

    async def main() -> None:
        values = watch([0])

        async def add() -> None:
            before = values[0]
            await asyncio.sleep(0)
            values[0] = before + 1

        await asyncio.gather(add(), add())
        assert values == [2]

    with caplog.at_level(logging.DEBUG):
        assert explore(main, exhaustive="watched")
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


# --- what is left out -----------------------------------------------------------------------------


async def two_counters() -> None:
    async def count(values: list[int]) -> None:
        for _ in range(2):
            values[0] += 1
            await asyncio.sleep(0)

    await asyncio.gather(*(count(watch([0])) for _ in range(2)))


async def one_counter() -> None:
    values = watch([0])

    async def count() -> None:
        for _ in range(2):
            values[0] += 1
            await asyncio.sleep(0)

    await asyncio.gather(count(), count())


def orders_of(main: Main, kind: Kind) -> int:
    found = explore(main, exhaustive=kind, allowed=UnorderedAccessError)
    assert found.complete
    assert not found
    return found.seeds


def test_steps_that_touch_different_objects_have_one_order() -> None:
    """All that is left is which task ends first."""
    assert orders_of(two_counters, "watched") < orders_of(two_counters, True) / 5


def test_what_a_step_makes_is_its_own() -> None:
    """Another step of another run makes futures and timers of the same numbers."""

    async def main() -> None:
        async def nap() -> None:
            await asyncio.sleep(0)
            await asyncio.sleep(0.01)

        for task in [asyncio.ensure_future(nap()) for _ in range(2)]:
            await task

    assert orders_of(main, "watched") == 2  # which ends first


def test_steps_that_touch_the_same_object_have_all_orders() -> None:
    """Two tasks of two writes: six orders, and which ends first."""
    assert orders_of(one_counter, "watched") >= 6


def test_when_a_sleep_has_ended_is_no_order_of_its_own() -> None:
    """Only the steps after it are."""

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(2):
                group.create_task(asyncio.sleep(0.01))

    with unreduced():
        most = orders_of(main, True)
    assert orders_of(main, True) < most


def graph_in_two_branches() -> Main:
    class Writes(AsyncNode[Any, Any]):
        async def exec(self, _: Any) -> None:
            await asyncio.sleep(0)

        async def post(self, shared: Any, *_: Any) -> None:
            shared[self.name] = 1

    async def main() -> None:
        first, *branches = (Writes(name=name) for name in "abc")
        first >> branches
        await Graph(first).run_async({})

    return main


async def anyio_lock() -> None:
    values, lock = watch([0]), anyio.Lock()

    async def count() -> None:
        async with lock:
            values[0] += 1

    async with anyio.create_task_group() as group:
        group.start_soon(count)
        group.start_soon(count)


@pytest.mark.parametrize("main", [graph_in_two_branches(), anyio_lock], ids=["graph", "anyio"])
def test_nothing_is_left_out_of_what_is_not_followed(main: Main) -> None:
    """Runs of graphs, and what anyio has."""
    watched, everything = (
        explore(main, exhaustive=kind, seeds=300).seeds for kind in ("watched", True)
    )
    assert watched == everything


# --- nothing is missed ----------------------------------------------------------------------------

small = st.lists(st.lists(st.sampled_from(ACTS), min_size=1, max_size=3), min_size=2, max_size=2)
larger = st.lists(st.lists(st.sampled_from(ACTS), min_size=1, max_size=2), min_size=3, max_size=3)
MOST = 500


def check_that_nothing_is_missed(acts: Sequence[Sequence[Act]]) -> None:
    main = program_of(acts)
    watched, found = ends_of(main, "watched", MOST)
    if not found.complete:
        return
    seeds, _ = ends_of(main, None, 200)
    assert seeds <= watched
    reduced, found = ends_of(main, True, MOST)
    assert reduced == watched or not found.complete
    assert reduced <= watched
    with unreduced():
        every, found = ends_of(main, True, 3 * MOST)
    assert every == watched or not found.complete
    assert every <= watched


@given(small)
@settings(max_examples=20, deadline=None)
def test_a_reduced_search_finds_all_that_can_come_of_a_program(acts: list[list[Act]]) -> None:
    """What comes of it in any order, with nothing left out; and what seeds find."""
    check_that_nothing_is_missed(acts)


@pytest.mark.proofs
@given(small | larger)
@settings(max_examples=40, deadline=None)
def test_a_reduced_search_finds_all_that_can_come_of_a_larger_program(
    acts: list[list[Act]],
) -> None:
    check_that_nothing_is_missed(acts)


# --- planted races --------------------------------------------------------------------------------

CONNECTED = "tests.testing.races.networking"
UNCONNECTED = [race for race in RACES if race.main.func.__module__ != CONNECTED]  # type: ignore[attr-defined]
each_race = pytest.mark.parametrize("race", UNCONNECTED, ids=[race.name for race in UNCONNECTED])


def explored(main: Main, most: int) -> Exploration:
    async def program(_: object) -> None:
        await main()

    return explore(
        program, exhaustive=True, seeds=most, max_steps=MAX_STEPS, max_seconds=MAX_SECONDS
    )


@pytest.fixture
def quiet() -> Iterator[None]:
    with silence():
        yield


@each_race
def test_no_order_breaks_the_correct_twin(race: Race) -> None:
    assert not explored(race.twin, 100)


def found_late(name: str) -> Any:
    """Of these, thousands of orders with fewer deviations pass."""
    return pytest.mark.soak if name in FOUND_LATE else pytest.mark.proofs


FOUND_LATE = (
    "lock_per_key_dropped", "release_of_anothers_lock", "if_in_place_of_while",
    "worker_puts_into_its_own_queue",
)  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "race",
    [pytest.param(race, marks=found_late(race.name), id=race.name) for race in UNCONNECTED],
)
def test_some_order_breaks_the_race(race: Race, quiet: None) -> None:
    """Whatever the order, it is among all of them."""
    assert explored(race.main, 12_000 if race.name in FOUND_LATE else 500)


# --- bad input ------------------------------------------------------------------------------------


async def nothing() -> None: ...


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"exhaustive": "all"}, "exhaustive must be True, False or 'watched', got 'all'"),
        ({"exhaustive": True, "order": "asyncio"}, "leave out order='asyncio'"),
        ({"exhaustive": True, "seeds": [1, 2]}, "seeds must be a whole number of at least 1"),
    ],
)
def test_what_cannot_be_explored_says_what_can(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        explore(nothing, **given)


def test_a_program_that_connects_has_no_list_of_orders() -> None:
    """A seed draws how long its connections take."""

    async def main() -> None:
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        server.close()

    with pytest.raises(ValueError, match="leave out exhaustive="):
        explore(main, exhaustive=True)
