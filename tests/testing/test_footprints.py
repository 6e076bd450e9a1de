"""What a step touches, and which two steps may change places."""

import asyncio
from collections.abc import Callable

import pytest

from kaygraph.testing import explore
from kaygraph.testing._footprints import CALLBACKS, CLOCK, Footprint, Footprints
from tests.testing import acting
from tests.testing.acting import Act, Actor, World


def footprints_of(*acts: Act) -> list[Footprint]:
    """Return what the steps touch in which tasks do these, one each."""
    found: list[Footprint] = []

    async def main() -> None:
        world = World()
        world.tasks += [
            asyncio.ensure_future(play(act, Actor(world, number, [])))
            for number, act in enumerate(acts)
        ]
        await asyncio.wait(world.tasks)

    async def play(act: Act, actor: Actor) -> None:
        footprints: Footprints = asyncio.get_running_loop().footprints  # type: ignore[attr-defined]
        found.append(footprints.current)
        await act(actor)
        await asyncio.sleep(0)  # the end of the task is another step

    explore(main, exhaustive="watched", seeds=1, leftovers=True)
    return found[: len(acts)]


async def look_at_event(actor: Actor) -> None:
    actor.seen.append(actor.world.event.is_set())


async def look_at_queue(actor: Actor) -> None:
    actor.seen.append(actor.world.queue.empty())


async def look_at_future(actor: Actor) -> None:
    actor.seen.append(actor.world.future.done())


async def look_at_first(actor: Actor) -> None:
    actor.seen.append(actor.world.tasks[0].done())


async def cancel_the_first(actor: Actor) -> None:
    actor.world.tasks[0].cancel()


async def write_the_other(actor: Actor) -> None:
    actor.world.values.other = 1


async def block(_: Actor) -> None:
    loop = asyncio.get_running_loop()
    loop.advance(1)  # type: ignore[attr-defined]


async def set_a_timer(_: Actor) -> None:
    asyncio.get_running_loop().call_later(1, print).cancel()


async def schedule(_: Actor) -> None:
    asyncio.get_running_loop().call_soon(int)


async def begin_to_wait(actor: Actor) -> None:
    waiting = asyncio.ensure_future(actor.world.event.wait())
    actor.seen.append(waiting.done())
    waiting.cancel()


TOUCH_THE_SAME = [
    (acting.read, acting.write), (acting.write, acting.write), (acting.append, acting.append),
    (acting.append, acting.compare), (acting.count, acting.count),
    (acting.set_event, look_at_event), (acting.set_event, acting.clear_event),
    (acting.put, acting.put), (acting.put, look_at_queue), (acting.lock, acting.look_at_lock),
    (acting.set_future, look_at_future), (acting.set_future, acting.wait_for_future),
    (look_at_first, cancel_the_first), (acting.look_at_clock, block), (set_a_timer, block),
    (schedule, schedule), (schedule, acting.give_way),
]  # fmt: skip

TOUCH_OTHERS = [
    (acting.read, acting.read), (acting.write, write_the_other), (acting.write, acting.append),
    (acting.set_event, acting.look_at_lock), (acting.put, acting.set_event),
    (acting.set_future, acting.put), (acting.look_at_clock, acting.look_at_clock),
    (acting.lock, acting.set_event), (begin_to_wait, acting.write),
]  # fmt: skip


def named(acts: tuple[Act, Act]) -> str:
    return "-".join(act.__name__ for act in acts)


@pytest.mark.parametrize("acts", TOUCH_THE_SAME, ids=named)
def test_the_order_matters_of_steps_that_touch_the_same(acts: tuple[Act, Act]) -> None:
    first, second = footprints_of(*acts)
    assert first.conflicts(second)
    assert second.conflicts(first)


@pytest.mark.parametrize("acts", TOUCH_OTHERS, ids=named)
def test_steps_that_touch_different_objects_may_change_places(acts: tuple[Act, Act]) -> None:
    first, second = footprints_of(*acts)
    assert not first.conflicts(second)
    assert not second.conflicts(first)


def footprint(change: Callable[[Footprint], object]) -> Footprint:
    made = Footprint()
    change(made)
    return made


def test_code_of_the_program_may_touch_what_other_code_of_it_does() -> None:
    opaque = [footprint(lambda made: setattr(made, "opaque", True)) for _ in range(2)]
    assert opaque[0].conflicts(opaque[1])
    assert not opaque[0].conflicts(Footprint())


def test_nothing_changes_places_with_what_touches_everything() -> None:
    everything = footprint(lambda made: setattr(made, "everything", True))
    assert everything.conflicts(Footprint())
    assert Footprint().conflicts(everything)


def test_what_is_made_in_a_step_is_known_to_no_other() -> None:
    """Another step of another run makes objects of the same numbers."""
    made = footprint(lambda made: made.writes.update([1, 5, (2, "name"), (6, None), CLOCK]))
    made.reads.update([4, CALLBACKS])
    known = made.until(4)
    assert known.writes == {1, (2, "name"), CLOCK}
    assert known.reads == {4, CALLBACKS}


def test_a_timer_that_fires_early_moves_the_clock() -> None:
    """A step that looks at it comes before or after that."""

    async def main() -> float:
        async def look() -> float:
            await asyncio.sleep(0.01)
            return asyncio.get_running_loop().time()

        looking = asyncio.ensure_future(look())
        await asyncio.sleep(0.0105)
        return round(await looking, 6)

    seen = set[object]()
    assert explore(main, exhaustive="watched", check=seen.add).complete
    assert seen == {0.01, 0.0105}
