"""Permits: served in order, never exceeded, never lost."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaygraph import Graph, Node, ParallelBatchNode
from kaygraph._permits import Permits, Slot
from tests.clock import VIRTUAL, run_virtually

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


async def settle() -> None:
    """Let everything that is ready run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_free_permit_is_taken_without_waiting() -> None:
    """Taking a permit that is free does not suspend."""
    permits = Permits(1)
    with pytest.raises(StopIteration):
        permits.take().send(None)
    assert permits.free == 0


async def test_permits_are_served_in_order() -> None:
    """The one who has waited longest is served first."""
    permits, served = Permits(1), list[int]()

    async def work(number: int) -> None:
        await permits.take()
        served.append(number)
        await asyncio.sleep(1)
        permits.give()

    await asyncio.gather(*map(work, range(5)))
    assert served == [0, 1, 2, 3, 4]
    assert permits.free == 1


async def test_a_permit_given_back_cannot_be_taken_past_those_who_wait() -> None:
    """Giving hands the permit over: whoever gave it has to queue behind."""
    permits, order = Permits(1), list[str]()
    await permits.take()

    async def wait() -> None:
        await permits.take()
        order.append("waiter")
        permits.give()

    waiter = asyncio.create_task(wait())
    await settle()
    permits.give()
    await permits.take()
    order.append("giver")
    await waiter
    assert order == ["waiter", "giver"]


async def test_cancelling_one_who_waits_passes_the_permit_by() -> None:
    """A cancelled waiter is forgotten, and the one behind it is served."""
    permits = Permits(1)
    await permits.take()
    first, second = (asyncio.create_task(permits.take()) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    permits.give()
    await second
    assert first.cancelled()
    assert (permits.free, len(permits.waiting)) == (0, 0)


async def test_a_waiter_cancelled_in_the_step_of_its_turn_gives_it_on() -> None:
    """Handed a permit and cancelled at once: the permit is not lost."""
    permits = Permits(1)
    await permits.take()
    waiter = asyncio.create_task(permits.take())
    await settle()
    permits.give()
    waiter.cancel()
    await settle()
    assert waiter.cancelled()
    assert permits.free == 1


async def test_a_waiter_cancelled_just_before_a_permit_is_given_ends_as_cancelled() -> None:
    """Cancelled, and a permit given back before it has noticed: still a plain cancellation."""
    permits = Permits(1)
    await permits.take()
    waiter = asyncio.create_task(permits.take())
    await settle()
    waiter.cancel()
    permits.give()
    await asyncio.wait([waiter])
    assert waiter.cancelled()
    assert permits.free == 1


@given(
    st.integers(1, 3),
    st.lists(st.tuples(st.sampled_from(["take", "give", "cancel", "step"]), st.integers(0, 5))),
)
def test_no_order_of_events_exceeds_or_loses_a_permit(
    size: int, actions: Sequence[tuple[str, int]]
) -> None:
    """Whatever is taken, given and cancelled in which order: held + free = size."""

    async def play() -> None:
        permits = Permits(size)
        takers: list[asyncio.Task[None]] = []
        given: set[asyncio.Task[None]] = set()

        def holders() -> list[asyncio.Task[None]]:
            done = [task for task in takers if task.done() and not task.cancelled()]
            return [task for task in done if task not in given]

        for action, number in actions:
            match action:
                case "take":
                    takers.append(asyncio.create_task(permits.take()))
                case "give" if holders():
                    given.add(holders()[0])
                    permits.give()
                case "cancel" if number < len(takers):
                    takers[number].cancel()
                case "step":
                    await asyncio.sleep(0)
            assert len(holders()) <= size
        await settle()
        for task in takers:
            task.cancel()
        await asyncio.wait([*takers, asyncio.create_task(asyncio.sleep(0))])
        for task in takers:
            assert task.cancelled() or task.exception() is None, task
        assert permits.free + len(holders()) == size

    run_virtually(play())


async def test_a_slot_takes_all_its_caps_and_gives_all_back() -> None:
    """A slot holds every permit or waits; giving twice gives once."""
    inner, outer = Permits(2), Permits(1)
    slot = Slot((inner, outer))
    await slot.take()
    await slot.take()
    assert (inner.free, outer.free, slot.held) == (1, 0, 2)
    slot.give()
    slot.give()
    assert (inner.free, outer.free, slot.held) == (2, 1, 0)


async def test_a_slot_cancelled_between_two_caps_gives_back_what_it_holds() -> None:
    """Cancelled while it waits for the second cap, a slot still knows that it holds the first."""
    inner, outer = Permits(1), Permits(1)
    await outer.take()
    slot = Slot((inner, outer))
    waiter = asyncio.create_task(slot.take())
    await settle()
    assert slot.held == 1
    waiter.cancel()
    await settle()
    slot.give()
    assert inner.free == 1
    assert outer.free == 0


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_shared_permit_is_handed_over_fairly(workers: int) -> None:
    """Two batches under one cap of one take turns: neither gets two turns more than the other."""

    class Batch(ParallelBatchNode[Any, Any]):
        def prep(self, _: Any) -> range:
            return range(8)

        async def exec(self, item: int) -> int:
            order.append(self.name)
            await asyncio.sleep(0)
            return item

    order: list[str] = []
    nodes = [Batch(name=name, max_workers=workers) for name in "ab"]
    await Graph(nodes, max_workers=1).run_async({})
    leads = [order[:place].count("a") - order[:place].count("b") for place in range(17)]
    assert max(map(abs, leads)) <= workers, order


@pytest.mark.parametrize("cap", [1, 2, 3, 7])
async def test_nested_graphs_share_the_cap_of_the_run(cap: int) -> None:
    """However deep a node stands, exec counts against the outermost graph's cap."""

    class Work(ParallelBatchNode[int, int]):
        def prep(self, _: Any) -> range:
            return range(6)

        async def exec(self, item: int) -> int:
            nonlocal now, most
            now += 1
            most = max(most, now)
            await asyncio.sleep(1)
            now -= 1
            return item

    class One(Node[Any, None]):
        async def exec(self, _: Any) -> None:
            await Work.exec(Work(), 0)

    now = most = 0
    inner = Graph([Work(name="x"), One(name="y"), Graph(Work(name="deep"), max_workers=5)])
    await Graph([inner, Work(name="z"), One(name="w")], max_workers=cap).run_async({})
    assert most == cap


async def test_a_parent_holds_no_permit_while_its_children_run() -> None:
    """Graphs nested in graphs, each capped at one, do not wait for one another."""

    class Leaf(Node[Any, None]):
        async def exec(self, _: Any) -> None:
            await asyncio.sleep(1)

    graph = Graph(Leaf(), max_workers=1)
    for _ in range(5):
        graph = Graph(graph >> Leaf(), max_workers=1)
    async with asyncio.timeout(60):
        await graph.run_async({})
    assert asyncio.get_running_loop().time() == pytest.approx(6)


async def test_one_failure_under_a_shared_cap_is_raised_as_itself() -> None:
    """Siblings cancelled while they wait for the cap add no error of their own."""

    class Batch(ParallelBatchNode[int, int]):
        max_workers = 3

        def prep(self, _: Any) -> range:
            return range(9)

        async def exec(self, item: int) -> int:
            await asyncio.sleep(1)
            if self.name == "a":
                raise ValueError(item)
            return item

    with pytest.raises(ValueError, match="0"):
        await Graph([Batch(name="a"), Batch(name="b")], max_workers=1).run_async({})
