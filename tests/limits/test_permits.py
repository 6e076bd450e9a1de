"""Permits and slots: all of them or none, served by age, never exceeded, never lost."""

import asyncio
from collections.abc import Coroutine
from itertools import permutations
from typing import Any

import pytest

from kaygraph import Graph, Node, ParallelBatchNode, RateLimit
from kaygraph.limits.permits import PATIENCE, KeyedPermits, KeyPermits, Permits
from kaygraph.limits.slots import Slot
from kaygraph.testing import VirtualClockLoop, simulate
from tests.calls import Gauge, now
from tests.clock import VIRTUAL

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


async def settle() -> None:
    """Let everything that is ready run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


async def waiting(work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
    """Begin to take something in a task of its own, and return the task when it waits."""
    task = asyncio.create_task(work)
    await settle()
    assert not task.done()
    return task


# --- one cap ---


async def test_free_permit_is_taken_without_waiting() -> None:
    """Taking a permit that is free does not suspend."""
    permits = Permits(1)
    with pytest.raises(StopIteration):
        Slot((permits,)).take().send(None)
    assert permits.free == 0


async def test_permits_are_served_in_order() -> None:
    """The one who has waited longest is served first."""
    permits, served = Permits(1), list[int]()

    async def work(number: int) -> None:
        slot = Slot((permits,))
        await slot.take()
        served.append(number)
        await asyncio.sleep(1)
        slot.give()

    await asyncio.gather(*map(work, range(5)))
    assert served == [0, 1, 2, 3, 4]
    assert permits.free == 1


async def test_permit_given_back_cannot_be_taken_past_those_who_wait() -> None:
    """A returned permit is handed over: its last holder has to queue behind."""
    permits, order = Permits(1), list[str]()
    await (giver := Slot((permits,))).take()

    async def wait() -> None:
        slot = Slot((permits,))
        await slot.take()
        order.append("waiter")
        slot.give()

    waiter = await waiting(wait())
    assert giver.wanted
    giver.give()
    await giver.take()
    order.append("giver")
    await waiter
    assert order == ["waiter", "giver"]
    assert not giver.wanted


async def test_cancelling_one_who_waits_passes_the_permit_by() -> None:
    """A cancelled waiter is forgotten, and the one behind it is served."""
    permits = Permits(1)
    holder = Slot((permits,))
    await holder.take()
    first, second = [await waiting(Slot((permits,)).take()) for _ in range(2)]
    first.cancel()
    await settle()
    holder.give()
    await second
    assert first.cancelled()
    assert (permits.free, len(permits.waiting)) == (0, 0)


@pytest.mark.parametrize("gives_first", [True, False])
async def test_waiter_cancelled_in_the_step_of_its_turn_loses_nothing(gives_first: bool) -> None:
    """Let in and cancelled in one step, in either order: all of it goes to the next in line."""
    rate = RateLimit(1, per=60)
    caps = Permits(1), Permits(2), rate.claim(None)
    holder = Slot(caps[:2])
    await holder.take()
    slot, after = Slot(caps), Slot(caps[:2])
    waiter, following = await waiting(slot.begin()), await waiting(after.take())
    steps = [holder.give, waiter.cancel]
    for step in steps if gives_first else reversed(steps):
        step()
    await settle()
    assert waiter.cancelled()
    assert (slot.held, following.done(), after.held) == ((), True, after.caps)
    after.give()
    assert [cap.leak for cap in caps[:2]] == [None, None]
    assert rate.claim(None).enter()


async def test_fewer_permits_from_now_on_end_by_themselves() -> None:
    """Three are held when the size becomes one: nobody is let in before two too many are back."""
    permits = Permits(3)
    holders = [Slot((permits,)) for _ in range(3)]
    for holder in holders:
        await holder.take()
    permits.resize(1)
    waiter = await waiting(Slot((permits,)).take())
    for holder in holders[:2]:
        holder.give()
        await settle()
        assert not waiter.done()
    holders[2].give()
    await waiter
    assert (permits.free, permits.size) == (0, 1)


async def test_more_permits_let_those_in_who_wait() -> None:
    """Two more are handed to the two that have waited longest."""
    permits = Permits(1)
    await Slot((permits,)).take()
    waiters = [await waiting(Slot((permits,)).take()) for _ in range(3)]
    permits.resize(3)
    await settle()
    assert [waiter.done() for waiter in waiters] == [True, True, False]
    waiters[2].cancel()
    await asyncio.wait(waiters)


async def test_leak_shows_what_is_held_and_who_waits() -> None:
    """In words while something is wrong, None when all is back and nobody waits."""
    permits = Permits(2)
    slots = [Slot((permits,)) for _ in range(2)]
    for slot in slots:
        await slot.take()
    waiter = await waiting(Slot((permits,)).take())
    assert permits.leak == "2 of 2 permits not given back, 1 waiting"
    waiter.cancel()
    assert permits.leak == "2 of 2 permits not given back, 0 waiting"
    await asyncio.wait([waiter])
    for slot in slots:
        slot.give()
    assert permits.leak is None


async def test_permits_of_a_key_are_forgotten_with_its_last_item() -> None:
    """As long as an item of a key is in flight the permits are the same; then they are gone."""
    keyed = KeyedPermits(2)
    permits = keyed.begin("a")
    assert keyed.begin("a") is permits
    other = keyed.begin("b")
    assert other is not permits
    assert keyed.leak == "permits of 2 keys in use"
    for ended in (permits, other, permits):
        keyed.end(ended)
    assert (keyed.known, keyed.taken, keyed.leak) == ({}, 0, None)


# --- several caps in one step ---


async def test_one_who_leaves_after_an_offer_leaves_it_to_the_next_of_its_key() -> None:
    """The key was free for it and the permit was not; it is cancelled in the permit's line."""
    own, key = Permits(1), KeyPermits(1, "a")
    busy, holder = Slot(), Slot((own,))
    slots = [Slot((own,)), Slot((own,))]
    for slot in (busy, *slots):
        slot.item = (key,)
    await busy.begin()
    first, second = [await waiting(slot.begin()) for slot in slots]
    await holder.take()
    busy.give()  # offers the key to the first, which goes into the permit's line
    assert (len(own.waiting), len(key.waiting)) == (1, 1)
    first.cancel()
    await settle()
    holder.give()
    await settle()
    assert second.done()
    assert slots[1].has_begun
    assert key.free == own.free == 0


async def test_slot_takes_all_its_caps_and_gives_all_back() -> None:
    """Taking and giving twice is taking and giving once."""
    inner, outer = Permits(2), Permits(1)
    slot = Slot((inner, outer))
    for _ in range(2):
        await slot.take()
    assert (inner.free, outer.free, slot.held) == (1, 0, (inner, outer))
    for _ in range(2):
        slot.give()
    assert (inner.free, outer.free, slot.held) == (2, 1, ())


@pytest.mark.parametrize("busy", [0, 1, 2])
async def test_one_who_waits_holds_nothing(busy: int) -> None:
    """Whichever of three caps is in the way, the other two stay free for others."""
    caps = [Permits(1) for _ in range(3)]
    holder = Slot((caps[busy],))
    await holder.take()
    slot = Slot(tuple(caps))
    waiter = await waiting(slot.take())
    others = [cap for cap in caps if cap is not caps[busy]]
    assert [cap.free for cap in others] == [1, 1]
    await Slot(tuple(others)).take()
    holder.give()
    await settle()
    assert not waiter.done()  # it stands in the line of another now
    assert caps[busy].free == 1
    waiter.cancel()
    await asyncio.wait([waiter])
    assert not any(cap.waiting for cap in caps)


async def test_attempt_that_has_to_wait_gives_the_workers_caps_back() -> None:
    """What a worker keeps from item to item is free while it waits for a key."""
    permits, key = Permits(1), Permits(1)
    holder, slot = Slot((key,)), Slot((permits,))
    await holder.take()
    await slot.take()
    slot.item = (key,)
    waiter = await waiting(slot.begin())
    assert (slot.held, permits.free) == ((), 1)
    holder.give()
    await waiter
    assert (permits.free, key.free) == (0, 0)
    slot.end()
    assert (slot.held, permits.free, key.free) == ((permits,), 0, 1)
    slot.give()
    assert permits.leak is None


@pytest.mark.parametrize("seed", range(5))
def test_caps_in_any_order_never_lock_up(seed: int) -> None:
    """Six slots want the same three caps, each in another order, thirty times each."""
    ended = list[int]()

    async def play(_: Any) -> None:
        caps = [Permits(1), Permits(2), Permits(1)]

        async def work(own: tuple[Permits, ...]) -> None:
            slot = Slot(own)
            for _ in range(30):
                await slot.take()
                await asyncio.sleep(0)
                slot.give()
            ended.append(1)

        await asyncio.gather(*map(work, permutations(caps)))
        assert [cap.leak for cap in caps] == [None] * 3

    simulate(play, seed=seed, max_steps=100_000)
    assert len(ended) == 6


async def test_waiters_are_served_by_age_whatever_they_wait_for() -> None:
    """Both are free at the same moment: the one who came first goes first, in whichever line."""
    inner, outer = Permits(1), Permits(1)
    holder = Slot((inner, outer))
    await holder.take()
    older, younger = await waiting(Slot((outer,)).take()), await waiting(Slot(holder.caps).take())
    holder.give()
    await settle()
    assert (older.done(), younger.done()) == (True, False)
    younger.cancel()
    await asyncio.wait([younger])


async def test_age_counts_also_where_the_first_in_line_has_to_go_elsewhere() -> None:
    """The oldest waits for another cap now: next comes who is older, not who is in its line."""
    inner, outer, other = Permits(1), Permits(1), Permits(1)
    holder = Slot((inner, outer))
    await holder.take()
    await Slot((other,)).take()
    wants = [(inner, outer, other), (outer,), (inner, outer)]
    tasks = [await waiting(Slot(caps).take()) for caps in wants]
    holder.give()
    await settle()
    assert [task.done() for task in tasks] == [False, True, False]
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


@pytest.mark.parametrize("ends", ["let in", "cancelled", "cancelled when let in"])
async def test_one_who_never_finds_both_free_keeps_its_permits(ends: str) -> None:
    """Turned away often enough it holds them in the line for the rate, and gives them back."""
    permits, rate = Permits(1), RateLimit(1, per=1)
    slot = Slot((permits,))
    slot.item = (rate.claim(None),)
    other, calls = Slot((permits,)), Slot()

    async def fill_the_window() -> None:
        calls.item = (rate.claim(None),)
        await calls.begin()
        calls.end()

    await fill_the_window()
    waiter = await waiting(slot.begin())
    for _ in range(PATIENCE // 2 + 1):  # the line changes twice in each
        await other.take()  # when there is room in the window, there is no permit
        await asyncio.sleep(1)
        assert not waiter.done()
        await fill_the_window()
        other.give()  # and when there is a permit, the window is full
        await settle()
    assert (waiter.done(), slot.held, permits.free) == (False, (), 0)
    after = await waiting(other.take())
    if ends != "cancelled":
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualClockLoop)
        loop.advance(1)
        slot.item[0].serve()  # as its timer will
    if ends != "let in":
        waiter.cancel()
    await asyncio.wait([waiter])
    assert waiter.cancelled() == (ends != "let in")
    slot.give()
    await after
    other.give()
    assert permits.leak is None


# --- whole graphs ---


class Batch(ParallelBatchNode[Any, Any]):
    """Notes whose turn it is."""

    def __init__(self, order: list[str], **settings: Any) -> None:
        super().__init__(**settings)
        self.order = order

    def prep(self, _: Any) -> range:
        return range(8)

    async def exec(self, item: int) -> int:
        self.order.append(self.name)
        await asyncio.sleep(0)
        return item


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("workers", [1, 2])
async def test_shared_permit_is_handed_over_fairly(workers: int, nested: bool) -> None:
    """Two batches under one cap of one take turns, also where one stands behind another cap."""
    order: list[str] = []
    a, b = (Batch(order, name=name, max_workers=workers) for name in "ab")
    graph = Graph([Graph(a, max_workers=1) if nested else a, b], max_workers=1)
    await graph.run_async({})
    leads = [order[:place].count("a") - order[:place].count("b") for place in range(17)]
    assert max(map(abs, leads)) <= workers, order


@pytest.mark.parametrize("cap", [1, 2, 3, 7])
async def test_nested_graphs_share_the_cap_of_the_run(cap: int) -> None:
    """However deep a node stands, exec counts against the outermost graph's cap."""
    gauge = Gauge()

    class Work(ParallelBatchNode[int, None]):
        def prep(self, _: Any) -> range:
            return range(6)

        async def exec(self, item: int) -> None:
            await gauge(1)

    class One(Node[Any, None]):
        async def exec(self, _: Any) -> None:
            await gauge(1)

    inner = Graph([Work(name="x"), One(name="y"), Graph(Work(name="deep"), max_workers=5)])
    await Graph([inner, Work(name="z"), One(name="w")], max_workers=cap).run_async({})
    assert gauge.most == cap


async def test_parent_holds_no_permit_while_its_children_run() -> None:
    """Graphs nested in graphs, each capped at one, do not wait for one another."""

    class Leaf(Node[Any, None]):
        async def exec(self, _: Any) -> None:
            await asyncio.sleep(1)

    graph = Graph(Leaf(), max_workers=1)
    for _ in range(5):
        graph = Graph(graph >> Leaf(), max_workers=1)
    async with asyncio.timeout(60):
        await graph.run_async({})
    assert now() == pytest.approx(6)


async def test_one_failure_under_a_shared_cap_is_raised_as_itself() -> None:
    """Siblings cancelled while they wait for the cap add no error of their own."""

    class Fails(Batch):
        async def exec(self, item: int) -> int:
            await asyncio.sleep(1)
            if self.name == "a":
                raise ValueError(item)
            return item

    with pytest.raises(ValueError, match="0"):
        await Graph([Fails([], name=name) for name in "ab"], max_workers=1).run_async({})
