"""A run is cancelled at every step of the loop, and nothing is left behind."""

import asyncio
import contextlib
from typing import Any

import pytest

from kaygraph import (
    BatchGraph,
    Graph,
    Node,
    ParallelBatchNode,
    all_of,
)
from kaygraph.limits.permits import Permits
from kaygraph.run.run import Run
from tests.clock import VIRTUAL, VirtualClockLoop
from tests.shapes import SHAPES, Ledger, Shape, Work, WorkMany, timeout

pytestmark = pytest.mark.anyio

STEP_S = 0.5  # how far the clock moves at each step of the loop


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


async def cancelled_after(shape: Shape, ledger: Ledger, *steps: int) -> asyncio.Task[Any]:
    """Run a shape and cancel it after so many steps of the loop, and again after so many more.

    Return its task. Each step moves the clock, so that timers pass as steps do.
    """
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualClockLoop)
    left = list(steps)
    cancelled = False

    def step() -> None:
        nonlocal cancelled
        if task.done():
            return
        if left and left[0] == 0:
            left.pop(0)
            ledger.cancelled = cancelled = task.cancel() or cancelled
        if left:
            left[0] -= 1
        loop.advance(STEP_S)
        loop.call_soon(step)

    task = loop.create_task(shape(ledger))
    loop.call_soon(step)
    await asyncio.wait([task])
    assert task.cancelled() or not cancelled, (steps, task)
    return task


@pytest.fixture
def ledger_of_permits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Permits, int]]:
    """Keep every Permits that a run makes, with its size."""
    made: list[tuple[Permits, int]] = []
    original = Run.permits

    def permits(run: Run, owner: Any, size: int) -> Permits:
        result = original(run, owner, size)
        if not any(known is result for known, _ in made):
            made.append((result, result.free))
        return result

    monkeypatch.setattr(Run, "permits", permits)
    return made


@pytest.mark.parametrize(
    "again",
    [None, *(pytest.param(again, marks=pytest.mark.proofs) for again in (0, 1, 2, 5))],
    ids="then{}".format,
)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
async def test_a_run_cancelled_at_any_step_leaves_nothing_behind(
    shape: Shape, again: int | None, ledger_of_permits: list[tuple[Permits, int]]
) -> None:
    """No task, thread or permit is left, every finally has run, and the run ends as cancelled."""
    tasks = asyncio.all_tasks()
    for step in range(2000):
        ledger = Ledger()
        ledger_of_permits.clear()
        ledger.permits = ledger_of_permits
        steps = (step,) if again is None else (step, again)
        task = await cancelled_after(shape, ledger, *steps)
        ledger.check(tasks, steps)
        if again is None and shape is not timeout:  # cancelled once, nothing is cancelled twice
            assert ledger.interrupted == 0, steps
        if not task.cancelled():
            task.result()  # it ended by itself before it could be cancelled: all steps are done
            assert step > 4
            return
    raise AssertionError("the run never ended by itself")


async def test_cancellation_does_not_take_the_error_route() -> None:
    """A cancelled node is not a failed one: its `- "error" >>` edge is not followed."""

    class Waits(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            await asyncio.Event().wait()

    class Handles(Node[Any, Any]):
        def prep(self, _: Any) -> None:
            raise AssertionError("ran")

    node = Waits()
    node - "error" >> Handles()
    task = asyncio.create_task(Graph(node).run_async({}))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_user_code_that_holds_a_cancellation_up_is_waited_for() -> None:
    """The run ends when the last finally has run, however long that takes."""

    class Slow(ParallelBatchNode[Any, Any]):
        def prep(self, _: Any) -> range:
            return range(3)

        async def exec(self, item: int) -> None:
            try:
                await asyncio.sleep(1000)
            finally:
                await asyncio.sleep(10 * item)
                ended.append(item)

    ended: list[int] = []
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(Slow().run_async({}))
    loop.call_later(5, task.cancel)
    await asyncio.wait([task])
    assert task.cancelled()
    assert ended == [0, 1, 2]
    assert loop.time() == pytest.approx(25)


async def test_an_error_raised_while_a_run_is_cancelled_does_not_hide_the_cancellation() -> None:
    """A finally that fails does not turn a cancelled run into a failed one, nor is it lost."""

    class Breaks(ParallelBatchNode[Any, Any]):
        def prep(self, _: Any) -> range:
            return range(2)

        async def exec(self, item: int) -> None:
            try:
                await asyncio.sleep(1000)
            finally:
                raise OSError("cleanup failed")

    task = asyncio.create_task(Breaks(max_workers=2).run_async({}))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    cause: Any = caught.value.__cause__
    assert "cleanup failed" in str(cause.exceptions)


async def test_a_failure_lets_the_siblings_clean_up_undisturbed() -> None:
    """A sibling is cancelled once, at every depth: its finally may wait for something itself."""

    class Fails(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            await asyncio.sleep(0.5)
            raise ValueError("first")

    ledger = Ledger()
    ledger.cancelled = True  # every clean-up counts
    deep = Graph([Graph([WorkMany(ledger, [1, 2, 4, 5]), Work(ledger)]), Work(ledger)])
    with pytest.raises(ValueError, match="first"):
        await Graph([Fails(), deep, WorkMany(ledger, [1, 2])]).run_async({})
    assert ledger.begun == ledger.ended == 6
    assert ledger.interrupted == 0


async def test_a_timeout_around_a_run_works() -> None:
    """asyncio.timeout around run_async turns its cancellation into a TimeoutError."""

    class Slow(ParallelBatchNode[Any, Any]):
        def prep(self, _: Any) -> range:
            return range(30)

        async def exec(self, item: int) -> None:
            await asyncio.sleep(1000)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3):
            await Graph(Slow()).run_async({})
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_an_error_of_the_cleanup_of_a_stream_left_early_is_not_lost() -> None:
    """What fails while a stream is closed comes out of closing it."""

    class Breaks(ParallelBatchNode[Any, Any]):
        def prep(self, _: Any) -> range:
            return range(3)

        async def exec(self, item: int) -> int:
            try:
                await asyncio.sleep(item * 1000)
            finally:
                if item:
                    raise OSError("cleanup failed")
            return item

    outcomes = Breaks(max_workers=1).stream()
    await anext(outcomes)
    await asyncio.sleep(1)
    with pytest.raises(OSError, match="cleanup failed"):
        await outcomes.aclose()


class Swallows(ParallelBatchNode[Any, Any]):
    """Notes what it began, and reports success when it is cancelled."""

    max_workers = 2

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.begun: list[Any] = []

    def prep(self, _: Any) -> range:
        return range(1000)

    async def exec(self, item: Any) -> Any:
        self.begun.append(item)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(5)
        return item


class Source(Node[Any, Any]):
    def prep(self, _: Any) -> range:
        return range(1000)


@pytest.mark.parametrize("where", ["stage", "last stage", "batch"])
async def test_items_after_a_swallowed_cancellation_are_not_begun(where: str) -> None:
    """exec may hold up its own end and not that of the run."""
    node = Swallows()
    match where:
        case "stage":
            run: Any = Source() | node | Swallows()
        case "last stage":
            run = Source() | node
        case _:
            run = node
    task = asyncio.create_task(run.run_async({}))
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert node.begun == [0, 1]


class SwallowsOnce(Node[Any, Any]):
    """Reports success when it is cancelled."""

    async def exec(self, _: Any) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(5)


async def test_a_line_whose_node_swallows_the_cancellation_goes_on() -> None:
    """As everywhere in asyncio: who swallows the cancellation of its own task is not cancelled."""

    class After(Node[Any, Any]):
        def prep(self, _: Any) -> None:
            began.append("after")

    began: list[str] = []
    task = asyncio.create_task(Graph(SwallowsOnce() >> After()).run_async({}))
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.wait([task])
    assert began == ["after"]
    assert not task.cancelled()


class Rounds(BatchGraph):
    def prep(self, _: Any) -> list[dict[str, bool]]:
        return [{"fails": True}, {"fails": False}]


class Fails(Node[Any, Any]):
    async def exec(self, _: Any) -> None:
        if self.params.get("fails", True):
            await asyncio.sleep(1)
            raise ValueError("first")


@pytest.mark.parametrize(
    "group",
    [
        lambda one, line: Graph([one, line]),
        lambda one, line: Graph([one, Graph(line)]),
        lambda one, line: all_of(one, line),
        lambda one, line: Rounds(one >> line, max_workers=2),
    ],
    ids=["fork", "inner graph", "group", "rounds"],
)
async def test_a_branch_that_swallowed_its_cancellation_goes_no_further(group: Any) -> None:
    """One failure ends the siblings, at the latest with the node that they are at."""

    class After(Node[Any, Any]):
        def prep(self, _: Any) -> None:
            began.append("after")

    began: list[str] = []
    with pytest.raises(ValueError, match="first"):
        await group(Fails(), SwallowsOnce() >> After()).run_async({})
    assert began == []


async def test_a_loop_of_nodes_that_never_suspend_can_be_cancelled() -> None:
    """The walk gives the event loop its turn now and then, as a batch does."""

    class Forever(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            pass

        def post(self, shared: Any, _: Any, __: Any) -> str:
            return "again"

    node = Forever()
    node - "again" >> node
    task = asyncio.create_task(Graph(node).run_async({}))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_a_waiter_for_a_run_that_has_ended_can_be_cancelled() -> None:
    """There is no run left to pass it on to, so it must not get lost."""
    run = Graph(Node()).launch({})
    await asyncio.sleep(100)
    assert run.done()

    async def waits() -> str | None:
        return await run

    waiter = asyncio.create_task(waits())
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.wait([waiter])
    assert waiter.cancelled()
