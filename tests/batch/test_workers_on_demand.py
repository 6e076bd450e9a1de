"""Workers of a batch come when they are needed, and wait for one another in one place."""

import asyncio
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from kaygraph import Drop, Graph, ParallelBatchNode, RunReport
from kaygraph.limits.permits import Permits, Waiter
from tests.clock import VIRTUAL

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


class Items(ParallelBatchNode[int, int]):
    """Takes note of the tasks in which its items run, and of how many run at once."""

    max_workers = 100

    def __init__(self, number: int = 1000, **settings: Any) -> None:
        super().__init__(**settings)
        self.number = number
        self.tasks = set[Any]()
        self.now = self.most = 0

    def prep(self, _: Any) -> range:
        return range(self.number)

    async def exec(self, item: int) -> int:
        self.tasks.add(asyncio.current_task())
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.work(item)
        finally:
            self.now -= 1
        return item

    async def work(self, item: int) -> None:
        """Do nothing."""

    def post(self, shared: Any, _: Any, results: list[int]) -> None:
        assert results == list(range(self.number))


class Sleeping(Items):
    async def work(self, item: int) -> None:
        await asyncio.sleep(1)


async def test_items_that_never_suspend_are_all_run_by_one_worker() -> None:
    """The one that stands by finds nothing to do."""
    node = Items()
    await node.run_async({})
    assert len(node.tasks) == 1


async def test_items_that_suspend_get_all_workers_at_once() -> None:
    """Before any time has gone, and no more than there may be."""
    node = Sleeping()
    await node.run_async({})
    assert (node.most, len(node.tasks)) == (100, 100)
    assert asyncio.get_running_loop().time() == pytest.approx(10)


async def test_workers_come_where_the_first_items_do_not_suspend() -> None:
    """The one that has run these calls for others when it is held up itself."""

    class Late(Items):
        async def work(self, item: int) -> None:
            if item >= 500:
                await asyncio.sleep(1)

    node = Late()
    await node.run_async({})
    assert node.most == 100
    assert asyncio.get_running_loop().time() == pytest.approx(5)


@pytest.mark.parametrize("cap", [1, 7, 50])
async def test_one_stands_in_line_for_the_permits_of_a_graph(
    cap: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those who have one keep it from item to item: nobody waits but one of their own."""
    lines, permits = list[int](), list[Permits]()
    stand = Permits.stand

    def noted(self: Permits, waiter: Waiter) -> None:
        stand(self, waiter)
        permits.append(self)
        lines.append(len(self.waiting))

    monkeypatch.setattr(Permits, "stand", noted)
    node = Sleeping(200)
    await Graph(node, max_workers=cap).run_async({})
    assert node.most == cap
    assert set(lines) == {1}
    assert len(lines) <= 2  # and once more, where an item has ended
    assert {one.leak for one in permits} == {None}


async def test_a_permit_goes_to_another_batch_that_waits() -> None:
    """Two batches under one cap take turns, however many workers each has."""
    order = list[str]()

    class Named(Items):
        async def work(self, item: int) -> None:
            order.append(self.name)
            await asyncio.sleep(1)

    nodes = [Named(20, name="a"), Named(20, name="b")]
    await Graph(nodes, max_workers=2).run_async({})
    leads = [order[:end].count("a") - order[:end].count("b") for end in range(len(order))]
    assert max(map(abs, leads)) <= 4, order


async def test_an_item_that_waits_for_another_attempt_gets_its_permit_back() -> None:
    """Siblings that have one give it to an item that is due, and not only at their end."""

    done = list[int]()

    class Flaky(Items):
        async def work(self, item: int) -> None:
            await asyncio.sleep(1)
            if item == 0 and self.attempt == 1:
                raise ValueError
            done.append(item)

    node = Flaky(40, max_retries=2, wait=2)
    await Graph(node, max_workers=2).run_async({})
    assert done.index(0) < 10


async def test_a_batch_ends_while_its_workers_wait_for_a_permit_that_another_holds() -> None:
    """All have what they need when the other is done, and nobody is left waiting."""

    class Held(Items):
        async def work(self, item: int) -> None:
            await asyncio.sleep(100)

    quick, slow = Sleeping(3, name="quick"), Held(1, name="slow")
    await Graph([slow, quick], max_workers=1).run_async({})
    assert asyncio.get_running_loop().time() == pytest.approx(103)


@pytest.mark.parametrize("number", [0, 1, 50])
async def test_a_cancelled_batch_leaves_no_worker(number: int) -> None:
    """Neither those at work, nor the one in line, nor those that are idle."""
    node = Sleeping()
    task = asyncio.create_task(Graph(node, max_workers=5).run_async({}))
    await asyncio.sleep(0.5 + number)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert asyncio.all_tasks() == {asyncio.current_task()} | {
        one for one in asyncio.all_tasks() if "Runner" in repr(one)
    }


async def test_a_failure_ends_those_that_wait() -> None:
    """The error of the item is raised as itself."""

    class Fails(Items):
        async def work(self, item: int) -> None:
            await asyncio.sleep(1)
            raise ValueError(item)

    with pytest.raises(ValueError, match="0"):
        await Graph(Fails(), max_workers=1).run_async({})


async def test_a_drained_batch_ends_those_that_wait() -> None:
    """Items in flight come to their end, and no more are taken."""

    class Some(Sleeping):
        def post(self, shared: Any, _: Any, results: list[int]) -> None:
            shared["results"] = results

    shared = dict[str, Any]()
    run = Graph(Some(), max_workers=5).launch(shared)
    await asyncio.sleep(1.5)
    run.drain()
    await run
    assert shared["results"] == list(range(10))


async def test_no_worker_sees_what_the_items_of_another_have_bound() -> None:
    """Also one that is called for while an item is run."""
    bound: ContextVar[int | None] = ContextVar("bound", default=None)

    class Binds(Items):
        async def work(self, item: int) -> None:
            assert bound.get() is None
            bound.set(item)
            await asyncio.sleep(item % 3)

    await Binds(100).run_async({})


async def test_a_generator_is_read_no_further_than_workers_have_taken() -> None:
    """The one that stands by has taken nothing."""
    read = list[int]()

    class Reads(Items):
        def prep(self, _: Any) -> Any:
            def numbers() -> Iterator[int]:
                for number in range(20):
                    read.append(number)
                    yield number

            return numbers()

        async def work(self, item: int) -> None:
            assert len(read) <= min(20, item + 4)
            await asyncio.sleep(1)

    await Reads(20, max_workers=4).run_async({})
    assert read == list(range(20))


async def test_dropped_items_leave_no_gap() -> None:
    """Whichever worker has dropped them."""

    class Drops(ParallelBatchNode[int, int]):
        max_workers = 8

        def prep(self, _: Any) -> range:
            return range(50)

        async def exec(self, item: int) -> int:
            await asyncio.sleep(item % 4)
            if item % 5 == 0:
                raise Drop
            return item

        def post(self, shared: Any, _: Any, results: list[int]) -> None:
            shared["results"] = results

    await Drops().run_async(shared := dict[str, Any]())
    assert shared["results"] == [item for item in range(50) if item % 5]


async def test_errors_at_once_stand_in_the_order_of_their_items() -> None:
    """Whichever worker has met them."""

    class Fails(Items):
        async def work(self, item: int) -> None:
            await asyncio.sleep(0)
            if item:
                await asyncio.sleep(1)
                raise ValueError(item)

    with pytest.raises(ExceptionGroup) as caught:
        await Fails(9).run_async({})
    assert [error.args for error in caught.value.exceptions] == [(item,) for item in range(1, 9)]


async def test_the_one_that_stands_by_takes_nothing_while_nobody_suspends() -> None:
    """Also where the items are so many that other tasks have their turn between them."""
    node = Items(10_000)
    await node.run_async({})
    assert len(node.tasks) == 1


@pytest.mark.parametrize("most", [2, 5])
async def test_a_report_has_the_time_in_line_of_workers_that_were_not_begun(most: int) -> None:
    """Ten would work if the graph let them: those that it does not let wait all the time."""
    report = RunReport()
    node = Sleeping(40, max_workers=10, name="Waits")
    await Graph(node, max_workers=most).run_async({}, observers=[report])
    figures = report.nodes["Waits"]
    assert figures.queued_for.keys() == {"max_workers"}
    assert figures.queued_s == pytest.approx((10 - most) * 40 / most, rel=0.15)
