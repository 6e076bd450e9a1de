"""The order of tasks: what a seed may change, and what it may not."""

import asyncio
import gc
from itertools import permutations
from typing import Any

import pytest

from kaygraph.testing import simulate
from kaygraph.testing._schedule import task_of

SEEDS = range(40)


def orders_of(work: Any, **settings: Any) -> set[tuple[Any, ...]]:
    """Return what came of a coroutine function under many seeds; it fills a list."""
    found = set()
    for seed in SEEDS:
        noted: list[Any] = []
        simulate(work, noted, seed=seed, **settings)
        found.add(tuple(noted))
    return found


def test_tasks_that_are_ready_at_once_go_on_in_every_order() -> None:
    """Of three tasks all six orders come up, and nothing else."""

    async def work(noted: list[str]) -> None:
        async def note(name: str) -> None:
            noted.append(name)

        async with asyncio.TaskGroup() as group:
            for name in "abc":
                group.create_task(note(name))

    assert len(orders_of(work)) == 6


def test_seed_0_is_the_order_of_asyncio() -> None:
    """Tasks begin in the order in which they were made."""

    async def work(noted: list[int]) -> None:
        async def note(number: int) -> None:
            noted.append(number)
            await asyncio.sleep(0)
            noted.append(number + 10)

        await asyncio.gather(*map(note, range(5)))

    noted: list[int] = []
    run = simulate(work, noted)
    assert noted == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]
    assert run.deviations == 0


def test_callbacks_keep_their_order() -> None:
    """call_soon promises it; so does a `task.cancel` that is called like that."""

    async def work(noted: list[int]) -> None:
        loop = asyncio.get_running_loop()
        sleeping = [asyncio.create_task(asyncio.sleep(9)) for _ in range(3)]
        await asyncio.sleep(0)
        for number, task in enumerate(sleeping):
            loop.call_soon(noted.append, number)
            loop.call_soon(task.cancel)
            loop.call_soon(lambda task=task: noted.append(task.cancelling()))
        await asyncio.wait(sleeping)

    assert orders_of(work) == {(0, 1, 1, 1, 2, 1)}


def test_steps_of_tasks_may_be_late_and_never_early() -> None:
    """No step comes before a callback that was ready before it."""

    async def work(noted: list[str]) -> None:
        async def note(name: str) -> None:
            noted.append(name)

        loop = asyncio.get_running_loop()
        first = asyncio.create_task(note("task"))
        loop.call_soon(noted.append, "callback")
        second = asyncio.create_task(note("other"))
        await asyncio.wait([first, second])

    assert orders_of(work) == {
        ("task", "callback", "other"),
        ("callback", "task", "other"),
        ("callback", "other", "task"),
    }


def test_callbacks_of_a_future_come_before_the_task_that_waits_for_it() -> None:
    """asyncio's own code, for one, relies on that."""

    async def work(noted: list[str]) -> None:
        async def waits() -> None:
            await future
            noted.append("task")

        async def others() -> None:
            await asyncio.sleep(1)
            for _ in range(3):
                await asyncio.sleep(0)

        loop = asyncio.get_running_loop()
        future = loop.create_future()
        future.add_done_callback(lambda _: noted.append("callback"))
        loop.call_later(1, future.set_result, None)
        await asyncio.gather(waits(), others(), others())

    assert orders_of(work) == {("callback", "task")}


def test_timers_of_about_one_moment_come_in_every_order_and_others_in_theirs() -> None:
    """Of timers that are a millisecond apart, real time decides which is first."""

    async def work(noted: list[str]) -> None:
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        loop.call_at(1, noted.append, "a")
        loop.call_at(1, noted.append, "b")
        loop.call_at(1.0005, noted.append, "close")
        loop.call_at(1.5, noted.append, "later")
        loop.call_at(2, ended.set_result, None)
        await ended

    orders = orders_of(work)
    assert {order[:3] for order in orders} == set(permutations(("a", "b", "close")))
    assert {order[3] for order in orders} == {"later"}


def test_only_timers_of_one_moment_change_places_without_jitter() -> None:
    """Where programs rely on a clock that is exact."""

    async def work(noted: list[str]) -> None:
        loop = asyncio.get_running_loop()
        loop.call_at(1, noted.append, "a")
        loop.call_at(1, noted.append, "b")
        loop.call_at(1.0005, noted.append, "close")
        await asyncio.sleep(2)

    found = set()
    for seed in SEEDS:
        noted: list[str] = []
        simulate(work, noted, seed=seed, jitter=0)
        found.add(tuple(noted))
    assert found == {("a", "b", "close"), ("b", "a", "close")}


def test_in_asyncios_order_no_timer_overtakes_one_set_before_that_is_not_due_later() -> None:
    """One that was set before it and is due after it may be overtaken, or not."""

    async def work(noted: list[str]) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(0.0104, noted.append, "set first, due last")
        loop.call_later(0.01, noted.append, "a")
        loop.call_later(0.01, noted.append, "b")
        await asyncio.sleep(0)
        loop.call_later(0.0102, noted.append, "c")
        await asyncio.sleep(1)

    found = set()
    for seed in SEEDS:
        noted: list[str] = []
        simulate(work, noted, seed=seed, order="asyncio")
        found.add(tuple(noted))
    assert {tuple(one for one in order if one in "abc") for order in found} == {("a", "b", "c")}
    assert {order.index("set first, due last") for order in found} == {0, 1, 2, 3}


def test_a_timer_comes_before_or_between_the_steps_of_tasks_that_are_ready() -> None:
    """Of a wait that is over at once, and a task that goes on three times."""

    async def work(noted: list[Any]) -> None:
        async def turns() -> None:
            for turn in range(3):
                noted.append(turn)
                await asyncio.sleep(0)

        asyncio.get_running_loop().call_later(1e-4, noted.append, "timer")
        await asyncio.create_task(turns())
        await asyncio.sleep(1)

    assert {order.index("timer") for order in orders_of(work)} == {0, 1, 2, 3}


def test_a_task_that_polls_until_a_timer_has_fired_ends() -> None:
    """Its turns take time when there are very many, as on a real clock."""

    async def work(noted: list[Any]) -> None:
        waiting = asyncio.create_task(asyncio.sleep(0.5))
        while not waiting.done():  # noqa: ASYNC110
            await asyncio.sleep(0)

    for seed in range(4):
        assert simulate(work, [], seed=seed).seconds == pytest.approx(0.5, abs=0.01)


def test_a_schedule_can_be_given_choice_by_choice() -> None:
    """The deviations of a seed give its run under any seed; none gives asyncio's own order."""

    async def work(noted: list[int]) -> None:
        async def note(number: int) -> None:
            for turn in range(5):
                noted.append(turn * 10 + number)
                await asyncio.sleep(turn % 2)

        await asyncio.gather(*map(note, range(4)))

    def noted(**settings: Any) -> list[int]:
        given: list[int] = []
        simulate(work, given, **settings)
        return given

    for seed in SEEDS[1:]:
        schedule = simulate(work, [], seed=seed).schedule
        assert noted(schedule=schedule) == noted(seed=seed)
    assert noted(seed=1, schedule=()) == noted(seed=0) != noted(seed=1)


def test_only_so_many_deviations_are_followed() -> None:
    """The first choices are those of the seed, the others are asyncio's."""

    async def work(noted: list[int]) -> None:
        async def note(number: int) -> None:
            for turn in range(10):
                noted.append(turn * 10 + number)
                await asyncio.sleep(1)

        await asyncio.gather(*map(note, range(4)))

    whole: list[int] = []
    run = simulate(work, whole, seed=1)
    assert run.deviations > 5
    part: list[int] = []
    assert simulate(work, part, seed=1, deviations=3).deviations == 3
    straight: list[int] = []
    simulate(work, straight, seed=1, deviations=0)
    as_asyncio: list[int] = []
    simulate(work, as_asyncio, seed=0)
    assert straight == as_asyncio
    first = next(place for place in range(40) if whole[place] != straight[place])
    other = next(place for place in range(40) if whole[place] != part[place])
    assert first < other < 40  # they part after three choices of the seed


def test_steps_of_python_tasks_are_known_as_such() -> None:
    """Not only those of the tasks written in C."""

    class Probe(asyncio.AbstractEventLoop):
        """Takes handles and runs nothing."""

        def __init__(self) -> None:
            self.handles: list[asyncio.Handle] = []

        def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
            handle = asyncio.Handle(callback, args, self, context)
            self.handles.append(handle)
            return handle

        def get_debug(self) -> bool:
            return False

    async def nothing() -> None:
        pass

    probe, work = Probe(), nothing()
    task = asyncio.Task(work, loop=probe)
    (handle,) = probe.handles
    assert task_of(handle) is task
    assert task_of(asyncio.Handle(task.cancel, (), probe)) is None
    assert task_of(asyncio.Handle(print, (), probe)) is None
    handle.cancel()
    assert task_of(handle) is None
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    work.close()
    del task


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_a_seed_gives_the_same_order_again(seed: int) -> None:
    """Run by run, in one process."""

    async def work(noted: list[int]) -> None:
        async def note(number: int) -> None:
            await asyncio.sleep(number % 3)
            noted.append(number)

        await asyncio.gather(*map(note, range(12)))

    first: list[int] = []
    simulate(work, first, seed=seed)
    second: list[int] = []
    simulate(work, second, seed=seed)
    assert first == second


async def fails_together(shared: dict[str, Any]) -> None:
    """Two tasks fail in the same turn, unless one of them waits."""
    shared["failed"] = []

    async def fails(number: int) -> None:
        await asyncio.sleep(1)
        shared["failed"].append(number)
        raise ValueError

    try:
        async with asyncio.TaskGroup() as group:
            for number in range(2):
                group.create_task(fails(number))
    except* ValueError:
        pass


def failed(order: str) -> set[tuple[int, ...]]:
    return {
        tuple(simulate(fails_together, {}, seed=seed, order=order, jitter=0).shared["failed"])
        for seed in range(100)
    }


def test_nobody_waits_for_another_turn_where_the_order_is_that_within_turns() -> None:
    """Where any order is tried, one may end the group before the other has its turn."""
    assert failed("turns") == {(0, 1), (1, 0)}
    assert failed("any") == {(0, 1), (1, 0), (0,), (1,)}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_task_that_has_failed_is_left_to_the_garbage_collector(seed: int) -> None:
    """The loop's exception handler gets its error, whatever chooses the order."""

    async def work(noted: list[str]) -> None:
        async def fail() -> None:
            raise ValueError

        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: noted.append(context["message"]))
        task = asyncio.ensure_future(fail())
        await asyncio.wait([task])
        del task
        await asyncio.sleep(0)
        gc.collect()

    noted: list[str] = []
    simulate(work, noted, seed=seed)
    assert noted == ["Task exception was never retrieved"]
