"""Items that wait for their next attempt or for a key: meanwhile the workers go on with others."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from contextvars import Context
from itertools import count
from typing import Any

import pytest

from kaygraph import (
    BatchGraph,
    BatchNode,
    DeadlineExceededError,
    Graph,
    ItemFinished,
    ItemStarted,
    MapReduceNode,
    ParallelBatchNode,
    RateLimit,
    Retry,
    TooManyFailuresError,
    settle,
)
from kaygraph.aio.tasks import Gathering
from kaygraph.batch.pool import WorkerPool
from kaygraph.events import NO_USAGE
from kaygraph.limits.permits import Permits, Waiter
from kaygraph.limits.slots import Slot
from kaygraph.testing import assert_accounted, simulate
from tests.clock import VIRTUAL
from tests.run.draining import drained

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


class Busy(ParallelBatchNode[Any, Any]):
    """A second an item; some fail, the first time."""

    def __init__(self, items: Any, come_again: Any = (), **settings: Any) -> None:
        super().__init__(**settings)
        self.items, self.come_again = items, come_again
        self.begun: list[tuple[float, Any, int]] = []
        self.running, self.most = 0, 0

    def prep(self, _: Any) -> Any:
        return self.items

    async def exec(self, item: Any) -> Any:
        self.begun.append((asyncio.get_running_loop().time(), item, self.attempt))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if item in self.come_again and self.attempt == 1:
                raise LookupError(f"{item}: come again")  # no sign of overload
            await asyncio.sleep(1)
            return item
        finally:
            self.running -= 1

    def post(self, shared: Any, _: Any, results: Any) -> None:
        shared[self.name] = results

    def starts(self, *items: Any) -> list[float]:
        return [at for at, item, _ in self.begun if item in items]


AGAIN = Retry(attempts=2, wait=60)


def played(node: Any) -> tuple[float, dict[str, Any]]:
    """Run on a virtual clock; return when it has ended, and the shared store. Nothing is left."""
    shared: dict[str, Any] = {}
    run = simulate(Graph(node), shared)
    assert not run.left
    assert_accounted(run.events)
    if run.error is not None:
        raise run.error
    return run.seconds, shared


# --- between two attempts ---


def test_items_that_wait_for_their_next_attempt_hold_up_no_others() -> None:
    """Of two workers' items both are to come again after a minute: ten others are done by then."""
    node = Busy(range(12), (0, 1), max_workers=2, retry=AGAIN)
    seconds, shared = played(node)
    assert node.starts(*range(2, 12)) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert node.starts(0, 1) == [0, 0, 60, 60]
    assert (seconds, shared["Busy"]) == (61, list(range(12)))
    assert node.most == 2


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("source", ["list", "generator", "async generator"])
def test_results_keep_the_order_they_are_to_have(ordered: bool, source: str) -> None:
    """That of the input, or that in which the items were done; from any kind of source."""

    async def later() -> AsyncIterator[int]:
        for item in range(6):
            yield item

    class From(Busy):
        def prep(self, _: Any) -> Any:
            if source == "async generator":
                return later()
            return range(6) if source == "list" else iter(range(6))

    node = From((), (0,), name="Busy", max_workers=2, retry=AGAIN, ordered=ordered)
    seconds, shared = played(node)
    assert seconds == 61
    results = shared["Busy"]
    assert (results if ordered else sorted(results)) == list(range(6))
    assert ordered or results[-1] == 0


def test_items_come_to_wait_as_often_as_they_have_attempts() -> None:
    """A worker that was replaced ends with its item, so max_workers holds."""
    node = Busy(range(40), range(0, 40, 2), max_workers=3, retry=Retry(attempts=2, wait=1.5))
    _, shared = played(node)
    assert shared["Busy"] == list(range(40))
    assert Counter(item for _, item, _ in node.begun).total() == 60
    assert node.most == 3


def test_places_of_those_that_waited_are_free_for_others() -> None:
    """Two may wait. Of forty items every other comes again after a second, and nobody is idle."""
    retry = Retry(attempts=2, wait=1)
    node = Busy(range(40), range(0, 40, 2), max_workers=2, max_waiting=2, retry=retry)
    assert played(node)[0] <= 22


def test_there_is_no_worker_too_many() -> None:
    """While eight of nine have waited, been replaced and come back, three are at work."""
    tasks: list[int] = []

    class Counts(Busy):
        async def exec(self, item: Any) -> Any:
            tasks.append(len(asyncio.all_tasks()))
            return await super().exec(item)

    node = Counts(range(90), range(8), max_workers=3, retry=Retry(attempts=2, wait=5))
    played(node)
    assert max(tasks) >= 3 + 8
    assert max(tasks[-30:]) <= 3 + 2  # and the run's own


@pytest.mark.parametrize(("workers", "waiting"), [(1, 0), (1, 1), (2, 0), (2, 3), (5, 1)])
def test_so_many_wait_and_no_more(workers: int, waiting: int) -> None:
    """When all have to come again, the source is read as far as workers and waiting items go."""
    pulled: list[int] = []

    def source() -> Iterator[int]:
        for item in range(20):
            pulled.append(item)
            yield item

    node = Busy(source(), range(20), max_workers=workers, max_waiting=waiting, retry=AGAIN)
    ahead: list[int] = []

    async def look(shared: Any) -> None:
        run = asyncio.ensure_future(node.run_async(shared))
        await asyncio.sleep(30)
        ahead.append(len(pulled))
        await run

    run = simulate(look, {})
    assert ahead == [workers + waiting]
    assert not run.left
    assert node.most <= workers


def test_a_worker_that_could_not_be_replaced_is_when_another_has_ended() -> None:
    """One may wait. Item 0 waits longer; item 2's worker is replaced once item 1 is done."""
    wait = {0: 100, 1: 5, 2: 100}
    retry = Retry(attempts=2, wait=lambda _, error: wait[int(str(error).split(":")[0])])
    node = Busy([1, 2, 0, 3, 4, 5], (0, 1, 2), max_workers=2, max_waiting=1, retry=retry)
    played(node)
    assert node.starts(1) == [0, 5]
    assert node.starts(3) == [6]


def test_one_worker_works_on_one_item_after_another() -> None:
    """By default, a waiting item holds up the next."""
    node = Busy(range(3), (0,), max_workers=1, retry=AGAIN)
    played(node)
    assert [(at, item) for at, item, _ in node.begun] == [(0, 0), (60, 0), (61, 1), (62, 2)]


def test_a_batch_node_keeps_its_order_of_calls() -> None:
    """It promises one after another."""

    class OneByOne(BatchNode[Any, Any]):
        def prep(self, _: Any) -> Any:
            return range(3)

        async def exec(self, item: int) -> None:
            begun.append(item)
            if item == 0 and self.attempt == 1:
                raise ConnectionError

    begun: list[int] = []
    played(OneByOne(retry=AGAIN))
    assert begun == [0, 0, 1, 2]


def test_one_worker_goes_on_with_others_with_max_waiting() -> None:
    """With ``max_waiting``, still one at a time."""
    node = Busy(range(3), (0,), max_workers=1, max_waiting=10, retry=AGAIN)
    played(node)
    assert [(at, item) for at, item, _ in node.begun] == [(0, 0), (0, 1), (1, 2), (60, 0)]
    assert node.most == 1


def test_an_attempt_without_a_wait_before_it_follows_at_once() -> None:
    """The item does not wait, so no other comes in between."""
    node = Busy(range(4), (0, 1), max_workers=1, max_waiting=10, max_retries=2)
    played(node)
    assert [item for _, item, _ in node.begun] == [0, 0, 1, 1, 2, 3]


async def test_permits_of_a_graph_are_not_exceeded_when_all_come_again_at_once() -> None:
    """Twenty items wait for the same moment: then two at a time, as before."""
    node = Busy(range(20), range(20), max_workers=5, retry=AGAIN)
    await Graph(node, max_workers=2).run_async(shared := {})
    assert node.most == 2
    assert shared["Busy"] == list(range(20))
    assert asyncio.get_running_loop().time() == 70


async def test_a_failure_cancels_those_that_wait() -> None:
    """Nobody waits out the minute when the run has failed, or was cancelled."""

    class Fails(Busy):
        async def exec(self, item: Any) -> Any:
            if item == 9:
                raise ValueError("for good")
            return await super().exec(item)

    retry = Retry(attempts=2, wait=60, on=LookupError)
    node = Fails(count(), range(9), max_workers=2, retry=retry)
    with pytest.raises(ValueError, match="for good"):
        await node.run_async({})
    assert asyncio.get_running_loop().time() == 0
    node = Fails(range(9), range(9), max_workers=2, retry=retry)
    before = asyncio.all_tasks()
    run = asyncio.ensure_future(node.run_async({}))
    await asyncio.sleep(1)
    run.cancel()
    await asyncio.wait([run])
    assert run.cancelled()
    assert asyncio.all_tasks() == before
    assert asyncio.get_running_loop().time() == 1


async def test_a_drain_waits_for_those_that_wait_and_begins_no_others() -> None:
    """What has begun is in flight, and comes to its end."""
    node = Busy(count(), (0, 1), max_workers=2, retry=AGAIN)
    await drained(node, 2.5, shared := {})
    assert shared["Busy"] == [0, 1, 2, 3, 4, 5, 6, 7]
    assert asyncio.get_running_loop().time() == 61


async def test_a_drain_whose_grace_is_over_cancels_those_that_wait() -> None:
    """What was done is handed over; all that was taken is accounted for."""
    node = Busy(count(), (0, 1), max_workers=2, retry=AGAIN)
    await drained(node, 2.5, shared := {}, grace=10)
    assert shared["Busy"] == [2, 3, 4, 5, 6, 7]
    assert asyncio.get_running_loop().time() == 12.5


async def test_too_many_failures_end_those_that_wait() -> None:
    """Item 0 waits for its second attempt when items 1 and 2 have failed for good."""

    class Fails(Busy):
        async def exec(self, item: Any) -> Any:
            if item in (1, 2):
                await asyncio.sleep(item)
                raise ValueError(item)
            return await super().exec(item)

    retry = Retry(attempts=2, wait=60, on=LookupError)
    with pytest.raises(TooManyFailuresError, match="2 of"):
        await Fails(range(5), (0,), max_workers=2, on_error=1, retry=retry).run_async({})
    assert asyncio.get_running_loop().time() < 4


async def test_deadlines_hold_while_items_wait() -> None:
    """Of the batch; and an item's own, which ends its wait and no other's."""
    node = Busy(range(4), (0,), max_workers=2, batch_deadline=5, retry=AGAIN)
    with pytest.raises(DeadlineExceededError, match="batch_deadline=5"):
        await node.run_async({})
    assert asyncio.get_running_loop().time() == 5
    node = Busy(range(4), (0,), max_workers=2, deadline=7, on_error="skip", retry=AGAIN)
    await node.run_async(shared := {})
    assert shared["Busy"] == [1, 2, 3]
    assert asyncio.get_running_loop().time() == 12


async def test_a_reader_that_is_slow_slows_the_work_while_items_wait() -> None:
    """What is done ahead of the reader has a bound: workers, room, and those that may wait."""
    node = Busy(count(), (0, 1, 2), max_workers=2, max_waiting=2, retry=AGAIN)
    async with aclosing(node.stream()) as outcomes:
        async for outcome in outcomes:
            assert outcome.ok
            await asyncio.sleep(10)
            if outcome.item == 8:
                break
    assert len(node.begun) <= 2 * (2 + 2) + 8


async def test_the_limit_that_finds_itself_goes_on_while_items_wait() -> None:
    """``max_workers="auto"``: half of them come again, and the others are not held up."""
    node = Busy(range(64), range(0, 64, 2), max_workers="auto", retry=AGAIN)
    await node.run_async(shared := {})
    assert shared["Busy"] == list(range(64))
    assert max(node.starts(*range(1, 64, 2))) < 10


def test_no_two_items_have_the_same_worker_at_a_time() -> None:
    """A stand-in has a number of its own, and numbers are used again."""
    node = Busy(range(30), range(0, 30, 3), max_workers=2, retry=Retry(attempts=2, wait=2.5))
    run = simulate(Graph(node), {})
    busy: dict[int, Any] = {}
    for event in run.events:
        match event:
            case ItemStarted(_, _, item, worker):
                assert worker not in busy
                busy[worker] = item
            case ItemFinished(_, _, item, worker):
                assert busy.pop(worker) == item
    workers = {event.worker for event in run.events if isinstance(event, ItemStarted)}
    assert workers == set(range(max(workers) + 1))
    assert len(workers) < 10


@pytest.mark.parametrize("where", ["loop", "thread", "process"])
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_it_is_the_same_wherever_exec_runs(where: Any) -> None:
    """Both workers' items wait for an hour when all others are done."""
    outcomes = []
    async with aclosing(ComesAgain(where).stream()) as stream:
        async for outcome in stream:
            outcomes.append(outcome.item)
            if len(outcomes) == 4:
                break
    assert sorted(outcomes) == [2, 3, 4, 5]


class ComesAgain(ParallelBatchNode[int, int]):
    """The first two are to come again in an hour."""

    max_workers = 2
    retry = Retry(attempts=2, wait=3600)

    def __init__(self, where: Any) -> None:
        super().__init__(run_in=where)

    def prep(self, _: Any) -> range:
        return range(6)

    def exec(self, item: int) -> int:
        if item < 2:
            raise ConnectionError
        return item


def test_items_of_a_map_reduce_node_wait_without_holding_up_others() -> None:
    """Those that are mapped, with the settings of the node."""

    class Maps(MapReduceNode):
        def prep(self, _: Any) -> Any:
            return range(6)

        async def map(self, item: int) -> Any:
            begun.append((asyncio.get_running_loop().time(), item))
            await asyncio.sleep(1)
            if item < 2 and self._is_first(item):
                raise ConnectionError
            return [(item % 2, item)]

        def _is_first(self, item: int) -> bool:
            return sum(known == item for _, known in begun) == 1

        async def reduce(self, _: Any, values: Any) -> Any:
            return sorted(values)

        def post(self, shared: Any, _: Any, results: Any) -> None:
            shared["results"] = results

    begun: list[tuple[float, int]] = []
    _, shared = played(Maps(map_workers=2, retry=AGAIN))
    assert [at for at, _ in begun] == [0, 0, 1, 1, 2, 2, 61, 61]
    assert shared["results"] == {0: [0, 2, 4], 1: [1, 3, 5]}
    begun.clear()
    played(Maps(map_workers=2, max_waiting=0, retry=AGAIN))
    assert [at for at, _ in begun] == [0, 0, 61, 61, 62, 62, 63, 63]


def test_rounds_and_branches_share_the_workers_of_a_node_whose_items_wait() -> None:
    """Two rounds at once with one cap, and a group: what one does not use, another does."""

    class Rounds(BatchGraph):
        def prep(self, _: Any) -> Any:
            return [{"round": number} for number in range(2)]

    node = Busy(range(4), (0,), max_workers=2, retry=AGAIN)
    seconds, _ = played(Rounds(node, max_workers=2, on_conflict="ignore"))
    # Item 0 of both rounds waits; the other six are done by two workers in three seconds.
    assert node.starts(1, 2, 3) == [0, 0, 1, 1, 2, 2]
    assert seconds == 61
    node = Busy(range(4), (0,), max_workers=2, retry=AGAIN)
    assert played(settle(node, Busy(range(2), name="Other")))[0] == 61
    assert node.starts(1, 2, 3) == [0, 0, 1]


async def test_a_source_that_drains_the_run_starts_no_further_worker() -> None:
    """The item that it yields then is the last, and there is nothing for a worker to do."""
    tasks: list[int] = []

    class Counts(Busy):
        async def exec(self, item: Any) -> Any:
            tasks.append(len(asyncio.all_tasks()))
            return await super().exec(item)

    def source() -> Iterator[int]:
        for item in count():
            run.drain()
            yield item

    node = Counts(source(), max_workers=5)
    before = len(asyncio.all_tasks())
    run = node.launch({})
    await run
    assert [item for _, item, _ in node.begun] == [0]
    assert max(tasks) == before + 2  # of the run and its worker


async def test_an_idle_worker_that_was_cancelled_is_passed_over() -> None:
    """Another one takes its turn; at the end, nobody wakes it."""
    caps = (Permits(1),)
    tasks: list[asyncio.Task[Any] | None] = []
    over = asyncio.Event()

    async def work(number: int, context: Context) -> None:
        slot = Slot(caps, number, pool=pool)
        slot.stands_by = True
        tasks.append(asyncio.current_task())
        assert await pool.permit(slot)
        if number:
            before = tasks[number - 1]  # idle, since it has given its permit to this one
            assert before is not None
            before.cancel()
        if number == 2:
            pool.finish()
            over.set()
        pool.took_item(slot)
        await asyncio.sleep(1)
        slot.give()
        await pool.permit(slot)

    gathering = Gathering[None]()
    pool = WorkerPool(gathering, work, 3, 0, over.is_set, on_demand=True)
    await over.wait()
    with pytest.raises(asyncio.CancelledError):
        await gathering.ended()
    assert len(tasks) == 3  # the third has started in place of the first


async def test_a_pool_in_which_nobody_waits_adds_nothing_to_what_an_item_has_used() -> None:
    """There is no queueing time to share out."""

    async def work(number: int, context: Context) -> None: ...

    gathering = Gathering[None]()
    pool = WorkerPool(gathering, work, 1, 0, lambda: True)
    await gathering.ended()
    usage = NO_USAGE._replace(queued_s=2.0, queued_for="rate")
    assert pool.with_line(usage, 5.0) == usage


# --- for a key that is full ---


@pytest.mark.parametrize("workers", [2, 4, 20])
def test_workers_look_past_a_key_that_is_full(workers: int) -> None:
    """A hundred of one key, then a hundred of another, one at a time of each: a hundred seconds."""
    node = Busy(["a"] * 100 + ["b"] * 100, max_workers=workers, limit_by=str)
    assert played(node)[0] == 100


def test_they_look_as_far_as_allowed() -> None:
    """Four in progress, of which three wait: the others come when these are done."""
    node = Busy(["a"] * 10 + ["b"] * 10, max_workers=1, max_waiting=3, limit_by=str)
    assert played(node)[0] == 20
    node = Busy(["a"] * 10 + ["b"] * 10, max_workers=2, max_waiting=2, limit_by=str)
    assert node.max_waiting == 2
    assert played(node)[0] == 17  # b begins when 7 of a are done


@pytest.mark.parametrize("per_key", [1, 2, 3])
def test_items_of_a_key_have_their_turns_in_order(per_key: int) -> None:
    """First come, first served; no key starves, and none has more than it may."""
    items = [(key, number) for key in "aab" for number in range(10)]
    items = [(key, place) for place, (key, _) in enumerate(items)]
    node = Busy(items, max_workers=4, limit_by=lambda item: item[0], max_per_key=per_key)
    played(node)
    for key in "ab":
        of_key = [(at, item) for at, item, _ in node.begun if item[0] == key]
        assert [item for _, item in of_key] == sorted(item for _, item in of_key)
        assert max(Counter(at for at, _ in of_key).values()) <= per_key


async def test_an_item_in_the_line_of_a_key_holds_nothing_else() -> None:
    """Under a graph's two permits, a parallel node goes on while four items wait for one key."""
    keyed = Busy(["a"] * 5, max_workers=4, limit_by=str, name="keyed")
    other = Busy(range(10), max_workers=2, name="other")
    await Graph([keyed, other], max_workers=2).run_async({})
    assert asyncio.get_running_loop().time() <= 8  # fifteen seconds of work, two at a time
    assert len(keyed.starts("a")) == 5


@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"rate": RateLimit(2, per=1)},
        {"retry": Retry(attempts=2, wait=1)},
        {"deadline": 30},
        {"timeout": 5},
    ],
    ids=str,
)
def test_nobody_waits_in_vain_whatever_else_limits_them(limits: Any) -> None:
    """Two keys by turns, or one after the other: both workers always have something to do."""
    for items in (["a", "b"] * 20, ["a"] * 20 + ["b"] * 20):
        node = Busy(items, max_workers=2, limit_by=str, **limits)
        assert played(Graph(node, max_workers=2))[0] == 20


async def test_an_item_that_was_taken_up_early_has_its_deadline_from_its_first_attempt() -> None:
    """Of fifty items in line for a key none fails because the workers looked ahead."""
    node = Busy(["a"] * 50 + ["b"] * 50, max_workers=2, limit_by=str, deadline=3)
    await node.run_async(shared := {})
    assert len(shared["Busy"]) == 100
    assert asyncio.get_running_loop().time() == 50


async def test_deadlines_end_waits_in_the_line_of_a_key() -> None:
    """Of those whom a worker would have come to anyway; those behind them have their turns."""
    node = Busy(["a"] * 5 + ["b"], max_workers=6, limit_by=str, deadline=2.5, on_error="collect")
    await node.run_async(shared := {})
    assert [getattr(one, "status", one) for one in shared["Busy"]] == [
        "a", "a", "timed_out", "timed_out", "timed_out", "b",
    ]  # fmt: skip


def test_those_in_line_for_a_key_do_not_go_from_line_to_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A free key is offered to one of those who wait for it, and not to all at every turn."""
    tried = Counter[str]()
    try_again = Waiter.try_again

    def counted(waiter: Waiter) -> None:
        tried["times"] += 1
        try_again(waiter)

    monkeypatch.setattr(Waiter, "try_again", counted)
    node = Busy(["a"] * 200 + ["b"] * 200, max_workers=4, limit_by=str)
    played(Graph([node, Busy(range(300), max_workers=4, name="other")], max_workers=4))
    assert tried["times"] < 5 * 700
