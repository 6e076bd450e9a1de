"""Permits, keys and rates, taken, given back and cancelled in any order."""

import asyncio
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kaygraph import RateLimit
from kaygraph.limits.permits import Cap, KeyedPermits, Permits
from kaygraph.limits.slots import Slot
from kaygraph.testing import simulate
from tests.calls import now

# A slot: which permits, in which order; its key; which rates, and its weight there.
slots = st.tuples(
    st.permutations(range(3)).flatmap(lambda order: st.integers(0, 3).map(lambda n: order[:n])),
    st.sampled_from([None, "a", "b"]),
    st.sampled_from([(), (0,), (1,), (0, 1), (1, 0)]),
    st.integers(0, 2),
)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("take"), slots),
        st.tuples(st.sampled_from(["give", "cancel"]), st.integers(0, 9)),
        st.tuples(st.just("pass"), st.sampled_from([0, 0, 0.25, 0.5])),
    ),
    max_size=40,
)


class World:
    """Caps of every kind, and the slots that want them."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.permits = [Permits(size) for size in sizes]
        self.keyed = KeyedPermits(sizes[0])
        self.rates = [RateLimit(2, per=1, weight=float), RateLimit(3, per=2, weight=float)]
        self.begun: list[tuple[RateLimit, float, int]] = []
        self.wanted: list[tuple[asyncio.Task[None], Slot, asyncio.Event]] = []

    def take(self, wants: tuple[Sequence[int], str | None, Sequence[int], int]) -> None:
        slot = Slot(tuple(self.permits[number] for number in wants[0]))
        ends = asyncio.Event()
        work = self.work(slot, wants[1], [self.rates[n] for n in wants[2]], wants[3], ends)
        self.wanted.append((asyncio.create_task(work), slot, ends))

    async def work(
        self, slot: Slot, key: str | None, rates: list[RateLimit], weight: int, ends: asyncio.Event
    ) -> None:
        permits = None if key is None else self.keyed.begin(key)
        by_key: tuple[Cap, ...] = () if permits is None else (permits,)
        slot.item = (*by_key, *(rate.claim(weight) for rate in rates))
        try:
            await slot.begin()
            self.begun += [(rate, now(), weight) for rate in rates]
            await ends.wait()
            slot.end()
        finally:
            slot.give()
            if permits is not None:
                self.keyed.end(permits)

    def kept(self, permits: Permits) -> int:
        """Return how many are held in the line for a rate by those who have waited in vain."""
        lines = [rate.claim(0).waiting for rate in self.rates]
        turns = [turn for line in lines for turn, _ in line if not turn.future.done()]
        return sum(turn.caps[: turn.kept].count(permits) for turn in turns)

    def check(self) -> None:
        for permits in [*self.permits, *self.keyed.known.values()]:
            holders = sum(slot.held.count(permits) for _, slot, _ in self.wanted)
            assert 0 <= permits.free <= permits.size - holders
        for rate in self.rates:
            begun = [(at, weight) for one, at, weight in self.begun if one is rate]
            for start, _ in begun:
                within = sum(w for at, w in begun if start <= at < start + rate.per)
                assert within <= rate.calls, begun

    def check_at_rest(self) -> None:
        """Nothing is in flight: all that is not held is free, and waiters have to wait."""
        for permits in [*self.permits, *self.keyed.known.values()]:
            holders = sum(slot.held.count(permits) for _, slot, _ in self.wanted)
            assert permits.free == permits.size - holders - self.kept(permits)
        for task, slot, _ in self.wanted:
            caps = (*slot.caps, *slot.item)
            if not task.done() and not slot.held and all(isinstance(c, Permits) for c in caps):
                assert any(isinstance(cap, Permits) and cap.free == 0 for cap in caps) or not caps


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 2), min_size=3, max_size=3), actions, st.integers(0, 3))
def test_no_order_of_events_exceeds_loses_or_forgets(
    sizes: Sequence[int], actions: Sequence[tuple[str, Any]], seed: int
) -> None:
    """Random slots over random caps: never too many, all given back, all served in the end."""

    async def play(_: Any) -> None:
        world = World(sizes)
        for action, value in actions:
            if action == "take":
                world.take(value)
            elif action == "pass":
                await asyncio.sleep(value)
            elif value < len(world.wanted):
                task, _, ends = world.wanted[value]
                task.cancel() if action == "cancel" else ends.set()
            world.check()
        for _ in range(10):  # let everything that is ready run until it waits
            await asyncio.sleep(0)
        world.check_at_rest()
        for _, _, ends in world.wanted:
            ends.set()
        tasks = [task for task, _, _ in world.wanted]
        if tasks:
            await asyncio.wait(tasks)
        world.check()
        for task in tasks:
            assert task.cancelled() or task.exception() is None, task
        assert [cap.leak for cap in (*world.permits, world.keyed)] == [None] * 4
        assert not any(rate.claim(0).waiting for rate in world.rates)

    simulate(play, seed=seed, max_steps=2000, max_seconds=1000)
