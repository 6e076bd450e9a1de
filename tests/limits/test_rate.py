"""Rates: never more in any window, and never a wait that is not needed."""

import asyncio
import copy
import pickle
import threading
import time
from operator import itemgetter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaygraph import Graph, MapReduceNode, Outcome, RateLimit
from kaygraph.limits.permits import Permits
from kaygraph.limits.slots import Slot
from kaygraph.testing import VirtualClockLoop
from tests.calls import Calls, after, most_in_a_window, now, played
from tests.clock import VIRTUAL

pytestmark = pytest.mark.anyio


# By so much a busy machine may hold a thread up between the moment that the limit counts and the
# one that is noted in ``exec``. On the virtual clock it is the same moment.
HELD_UP_S = 0.15


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


# --- one rate ---


def test_calls_begin_as_soon_as_the_window_lets_them() -> None:
    """Ten calls of three in two seconds: three at once, then three more every two seconds."""
    node = Calls(range(10), rate=RateLimit(3, per=2))
    played(node.run_async({}))
    assert node.starts == [0, 0, 0, 2, 2, 2, 4, 4, 4, 6]


eighths = st.integers(0, 24).map(lambda number: number / 8)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.integers(1, 4),
    st.integers(1, 16).map(lambda number: number / 8),
    st.lists(
        st.tuples(eighths, st.integers(0, 4), eighths),
        min_size=1,
        max_size=12,
        unique_by=itemgetter(0),
    ),
)
def test_rate_is_that_of_a_sliding_window_in_the_order_of_arrival(
    calls: int, per: float, arrivals: list[tuple[float, int, float]]
) -> None:
    """Of any weight and length, whenever it comes: neither earlier nor later than the oracle says.

    The oracle: who comes first begins first, as soon as what began within ``per`` leaves room.
    """
    rate = RateLimit(calls, per=per, weight=itemgetter(0))
    arrivals.sort(key=itemgetter(0))
    expected: list[tuple[float, int]] = []
    earliest = 0.0
    nodes = []
    for number, (at, heavy, seconds) in enumerate(arrivals):
        weight = min(heavy, calls)
        nodes.append((at, Calls([(weight, number)], seconds, rate=rate)))
        moments = [max(at, earliest), *(start + per for start, _ in expected)]
        earliest = min(
            moment
            for moment in moments
            if moment >= max(at, earliest)
            and weight + sum(w for start, w in expected if moment - per < start) <= calls
        )
        expected.append((earliest, weight))
    played(*(after(at, node) for at, node in nodes))
    assert [(node.begun[0][0], node.begun[0][1][0]) for _, node in nodes] == expected


@pytest.mark.parametrize("per", [1, 3, 4, 7, 10, 13])
def test_rate_holds_where_seconds_are_no_round_numbers(per: int) -> None:
    """At 0.1 s with per=0.4 the sum is rounded: the second call begins then anyway."""
    for at in range(1, 40):
        node = Calls(range(2), rate=RateLimit(1, per=per / 10))
        played(after(at / 10, node))
        assert node.starts == pytest.approx([at / 10, (at + per) / 10])


@pytest.mark.parametrize(
    ("calls", "weight", "at_once"),
    [(0.3, 0.1, 3), (0.7, 0.1, 7), (1, 1 / 3, 3), (2, 2 / 3, 3), (1, 1 / 49, 49), (6, 1.1, 5)],
)
def test_weights_add_up_without_an_error_of_rounding(
    calls: float, weight: float, at_once: int
) -> None:
    """So many begin at once as weigh no more than ``calls``, in each window."""
    node = Calls(range(3 * at_once), rate=RateLimit(calls, per=10, weight=weight))
    played(node.run_async({}))
    assert node.starts == [0] * at_once + [10] * at_once + [20] * at_once


def test_a_weight_that_was_computed_may_be_off_by_its_last_digit() -> None:
    """0.1 + 0.2 is 0.30000000000000004, and no more than 0.3."""
    node = Calls(range(2), rate=RateLimit(0.3, per=1, weight=0.1 + 0.2))
    played(node.run_async({}))
    assert node.starts == [0, 1]


def test_every_attempt_counts() -> None:
    """Five attempts of two items at two a second take two seconds."""

    class Flaky(Calls):
        async def exec(self, item: int) -> int:
            await super().exec(item)
            if self.attempt <= item:
                raise ValueError(item)
            return item

    node = Flaky([1, 2], rate=RateLimit(2, per=1), max_retries=3)
    played(node.run_async({}))
    assert node.starts == [0, 0, 1, 1, 2]


def test_heavy_call_is_not_overtaken_for_ever() -> None:
    """A call that needs the whole window goes before the light ones that came after it."""
    rate = RateLimit(4, per=1, weight=len)
    light = [Calls(["x"], rate=rate) for _ in range(20)]
    heavy = Calls(["xxxx"], rate=rate)
    parts = [after(number / 4, node) for number, node in enumerate(light)]
    played(*parts, after(0.1, heavy))
    assert heavy.starts == [1]
    assert most_in_a_window([node.starts[0] for node in light], 1) == 4


def test_item_that_weighs_too_much_fails_and_the_others_do_not() -> None:
    """The error says what to do about it; the item is accounted for like any other."""

    class Keeps(Calls):
        def post(self, shared: Any, _: Any, results: Any) -> None:
            shared["results"] = results

    shared: dict[str, Any] = {}
    items = ["a", "bbbb", "c"]
    played(Keeps(items, rate=RateLimit(3, weight=len), on_error="collect").run_async(shared))
    first, failed, last = shared["results"]
    assert (first, last) == ("a", "c")
    assert isinstance(failed, Outcome)
    assert isinstance(failed.error, ValueError)
    assert failed.attempts == 0
    assert str(failed.error) == (
        "an item weighs 4, and RateLimit(3, per=1) admits at most 3 in a window: split "
        "the item, or raise calls"
    )


def test_wait_for_the_rate_is_not_part_of_an_attempt() -> None:
    """A timeout is an attempt's: the ninth call begins at 8 s, and in time."""
    node = Calls(range(9), 0.5, rate=RateLimit(1, per=1), timeout=0.6)
    assert played(node.run_async({})) == 8.5


def test_call_that_the_loop_was_too_busy_to_begin_counts_when_it_begins() -> None:
    """Let in, and held up by a blocking hook for longer than the window: still one in a window."""
    rate = RateLimit(1, per=1)
    nodes = [Calls(rate=rate) for _ in range(3)]

    async def block() -> None:
        await asyncio.sleep(1)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualClockLoop)
        loop.advance(3)

    played(block, after(1, nodes[0]), *(node.run_async({}) for node in nodes[1:]))
    assert most_in_a_window([node.starts[0] for node in nodes], 1) == 1


def test_calls_that_begin_in_another_order_than_let_in_are_all_counted() -> None:
    """One is let in, another begins, the loop is busy, the first begins; a third waits for both."""
    rate = RateLimit(3, per=1, weight=int)
    begun = list[tuple[float, int]]()

    async def call(slot: Slot, weight: int) -> None:
        slot.item = (rate.claim(weight),)
        await slot.begin()
        begun.append((now(), weight))
        slot.end()

    async def play() -> None:
        holder = Slot((Permits(1),))
        await holder.take()
        first = asyncio.create_task(call(Slot(holder.caps), 2))
        await asyncio.sleep(0)
        holder.give()  # lets the first in, which goes on when the loop comes to it
        await call(Slot(), 1)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualClockLoop)
        loop.advance(0.5)
        await first
        await call(Slot(), 3)

    played(play)
    assert begun == [(0, 1), (0.5, 2), (1.5, 3)]


def test_a_call_that_was_let_in_and_not_made_is_taken_back_once() -> None:
    """By a breaker that is open by then: when its moment leaves the window, nothing is left of it.

    Taken back twice, it would make room for one more.
    """
    rate = RateLimit(2, per=1)
    begun = list[float]()

    async def call(made: bool = True) -> None:
        slot = Slot((Permits(1),))
        slot.item = (rate.claim(None),)
        await slot.begin()
        if made:
            begun.append(now())
            slot.end()
        else:
            slot.undo()
        slot.give()

    async def play() -> None:
        await call(made=False)
        await asyncio.sleep(0.5)
        await call()
        await asyncio.sleep(0.75)
        for _ in range(3):
            await call()

    played(play)
    assert begun == [0.5, 1.25, 1.5, 2.25]


def test_clock_of_a_simulation_may_pass_the_machines() -> None:
    """After some hours of virtual time both clocks show the same, and the calls know no better."""
    node = Calls(range(3), rate=RateLimit(1, per=100))
    start = time.monotonic() - 100.5
    played(after(start, node))
    assert [at - start for at in node.starts] == pytest.approx([0, 100, 200], abs=1e-6)


# --- shared ---


def test_nodes_and_runs_share_one_rate() -> None:
    """Two nodes of a graph, and two runs of it at once: all of them together, and to the full."""
    rate = RateLimit(3, per=1)
    nodes = [Calls(range(4), rate=rate) for _ in range(2)]
    graph = Graph(nodes)
    played(graph.run_async({}), graph.run_async({}))
    assert sorted(nodes[0].starts + nodes[1].starts) == [n // 3 for n in range(16)]


def test_runs_one_after_another_share_one_rate() -> None:
    """The second asyncio.run remembers the calls of the first."""
    node = Calls(range(2), rate=RateLimit(2, per=0.3))
    node.run({})
    asyncio.run(node.run_async({}))
    assert len(node.starts) == 4
    assert most_in_a_window(node.starts, 0.3 - HELD_UP_S) == 2


def test_threads_share_one_rate() -> None:
    """Three loops in three threads at once: never more than four in a window, and no error."""
    rate = RateLimit(4, per=0.3)
    nodes = [Calls(range(4), rate=rate) for _ in range(3)]
    threads = [threading.Thread(target=node.run, args=({},)) for node in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    starts = [at for node in nodes for at in node.starts]
    assert len(starts) == 12
    assert most_in_a_window(starts, 0.3 - HELD_UP_S) <= 4


def test_hooks_in_threads_keep_to_the_rate() -> None:
    """A ``def exec`` counts when it is handed to its thread."""
    begun = list[float]()

    class Sync(Calls):
        def exec(self, item: int) -> None:
            begun.append(time.monotonic())

    asyncio.run(Sync(range(7), rate=RateLimit(3, per=0.3)).run_async({}))
    assert len(begun) == 7
    assert most_in_a_window(begun, 0.3 - HELD_UP_S) <= 3


def test_both_phases_of_map_reduce_share_their_rate() -> None:
    """Five calls of map and one of reduce, two a second."""
    begun = list[float]()

    class Count(MapReduceNode):
        def prep(self, _: Any) -> range:
            return range(5)

        async def map(self, item: int) -> Any:
            begun.append(now())
            return [("all", item)]

        async def reduce(self, _: str, values: list[int]) -> int:
            begun.append(now())
            return sum(values)

    played(Count(rate=RateLimit(2, per=1), map_workers=5).run_async({}))
    assert begun == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda rate: pickle.loads(pickle.dumps(rate))]
)
def test_copy_is_a_fresh_rate_with_the_same_settings(again: Any) -> None:
    """What one has counted the other has not; a node that has one can be sent to a process."""
    rate = RateLimit(2, per=60, weight=len)
    played(Calls(["aa"], rate=rate).run_async({}))
    copied = again(rate)
    assert (copied.calls, copied.per, copied.weight) == (2, 60, len)
    node = pickle.loads(pickle.dumps(Calls(["aa"], rate=[copied, RateLimit(5)])))
    assert repr(node.rate) == "(RateLimit(2, per=60), RateLimit(5, per=1))"
    played(Calls(["aa"], rate=copied).run_async({}))


# --- cancelled ---


async def test_cancelled_waiters_leave_their_place_to_others() -> None:
    """Of four that wait, two are cancelled: the others begin when those would have begun."""
    rate = RateLimit(1, per=1)
    nodes = [Calls(rate=rate) for _ in range(5)]
    runs = [asyncio.create_task(node.run_async({})) for node in nodes]
    await asyncio.sleep(0.5)
    runs[1].cancel()
    runs[3].cancel()
    await asyncio.wait(runs)
    assert [node.starts for node in nodes] == [[0], [], [1], [], [2]]


async def test_call_cancelled_before_it_begins_is_not_counted() -> None:
    """All who wait are cancelled: the next to come begins at once when the window has passed."""
    rate = RateLimit(2, per=1)
    waiting = asyncio.create_task(Calls(range(9), rate=rate).run_async({}))
    await asyncio.sleep(0.5)
    waiting.cancel()
    await asyncio.wait([waiting])
    node = Calls(range(2), rate=rate)
    await asyncio.sleep(1)
    await node.run_async({})
    assert node.starts == [1.5, 1.5]
