"""How runs end: nothing is left behind, and every error is reported."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio

from kaygraph import (
    AttemptTimeoutError,
    AwaitedCancelledError,
    BaseNode,
    Graph,
    Node,
    Outcome,
    ParallelBatchNode,
    RateLimit,
    settle,
)
from kaygraph.testing import Faults, InjectedError, cancel_everywhere, explore
from tests.guarantees import shapes_that_swallow
from tests.planted.exploring import TURNS, assert_holds
from tests.shapes import SHAPES, Ledger, Work, WorkMany, launched, timeout

AnyNode = BaseNode[Any, Any]

FAILING_SEEDS = 100
ERROR_SEEDS = 200
CLEAN_UP_SEEDS = 10


class Forgiving(Work):
    """Has a second way to its result."""

    def exec_fallback(self, item: Any, _: Exception) -> Any:
        return item


class Stubborn(WorkMany):
    """Makes a result of its cancellation."""

    async def exec(self, item: Any) -> Any:
        with suppress(asyncio.CancelledError):
            return await super().exec(item)


class Brief(WorkMany):
    """Takes less than a second for each of its items."""

    def prep(self, _: Any) -> range:
        return range(8)

    async def exec(self, item: Any) -> Any:
        with self.ledger.entry():
            await asyncio.sleep(0.7)


class Blocks(Node[Any, Any]):
    """Waits in a thread."""

    def exec(self, _: Any) -> None:
        time.sleep(2)


@launched
def second_ways(ledger: Ledger) -> AnyNode:
    """Nodes that would rather return anything than fail, in each way that there is."""
    collects = WorkMany(ledger, range(3), max_workers=1, on_error="collect", max_retries=3)
    stubborn = Stubborn(ledger, range(3), max_workers=1)
    branches = settle(Work(ledger), Work(ledger))
    return Graph(Forgiving(ledger, max_retries=2) >> collects >> stubborn >> branches)


@launched
def queueing(ledger: Ledger) -> AnyNode:
    """Two batches that stand in line for one permit and for keys; one waits for its items too."""

    async def source() -> AsyncIterator[int]:
        for item in range(4):
            await asyncio.sleep(1)
            yield item

    keyed = {"limit_by": lambda item: item % 2, "max_per_key": 1}
    return Graph([WorkMany(ledger, **keyed), WorkMany(ledger, source, **keyed)], max_workers=1)


@launched
def waiting_for_both(ledger: Ledger) -> AnyNode:
    """A node that needs a permit and a rate, each of which others take as soon as it is free."""
    rate = RateLimit(1, per=1)
    rated, busy = Brief(ledger, rate=rate), Brief(ledger, max_workers=2)
    return Graph([rated, Graph([busy, Work(ledger, rate=rate)], max_workers=1)])


@launched
def blocking(ledger: Ledger) -> AnyNode:
    """A thread that runs next to others."""
    return Graph([Blocks(), Work(ledger) >> Blocks()])


def ledger_of_clean_ups() -> Ledger:
    """A ledger that counts every cancellation that cuts a clean-up short."""
    ledger = Ledger()
    ledger.cancelled = True
    return ledger


def nothing_is_cut_short(ledger: Ledger) -> bool:
    return all_has_ended(ledger) and not ledger.interrupted


def all_has_ended(ledger: Ledger) -> bool:
    return ledger.begun == ledger.ended


def nothing_is_left_wherever_it_is_cancelled() -> None:
    """Runs of every shape, cancelled at every step; some of them again three steps later."""
    own = (second_ways, queueing, waiting_for_both, blocking)
    for shape in own:
        cancel_everywhere(shape, Ledger, again=3, check=all_has_ended)
    for shape in (*own, *reversed(SHAPES)):
        # A deadline may cut short what an attempt does after its timeout.
        whole = all_has_ended if shape is timeout else nothing_is_cut_short
        cancel_everywhere(shape, ledger_of_clean_ups, check=whole)


def runs_end_whatever_their_nodes_make_of_it() -> None:
    """Runs whose nodes swallow or convert their cancellation, cancelled at every step."""
    for shape in shapes_that_swallow.SHAPES:
        cancel_everywhere(shape, Ledger, check=all_has_ended)


# --- runs in clean-up code ------------------------------------------------------------------------


class Fails(Node[Any, Any]):
    """Fails after a moment."""

    async def exec(self, _: Any) -> None:
        await asyncio.sleep(1)
        raise ValueError("the error route was not taken")


class Handles(Node[Any, Any]):
    """Stands at the end of an error route."""

    def prep(self, shared: Any) -> None:
        shared["handled"] = self.error


async def handled(shared: Any) -> None:
    """Run a graph whose only node fails, and is handled."""
    fails = Fails()
    fails - "error" >> Handles()
    await Graph(fails).run_async(shared)
    assert isinstance(shared["handled"], ValueError)


async def cancelled_when_it_waits(work: Any) -> None:
    """Cancel a task a second after it has begun, and wait until it has ended."""
    task = asyncio.create_task(work)
    asyncio.get_running_loop().call_later(1, task.cancel)
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()


async def in_except(shared: Any) -> None:
    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await handled(shared)
            raise

    await cancelled_when_it_waits(work())


async def in_finally_after_a_timeout(shared: Any) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(1):
            try:
                await asyncio.Event().wait()
            finally:
                await handled(shared)


async def under_a_shield(shared: Any) -> None:
    with anyio.move_on_after(1):
        try:
            await asyncio.Event().wait()
        finally:
            with anyio.CancelScope(shield=True):
                await handled(shared)


async def in_a_worker_that_has_swallowed_one(shared: Any) -> None:
    async def work() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await handled(shared)

    await cancelled_when_it_waits(work())


SITUATIONS = (
    in_except,
    in_finally_after_a_timeout,
    under_a_shield,
    in_a_worker_that_has_swallowed_one,
)


def error_routes_are_taken_in_clean_up_code() -> None:
    """Graphs that run in tasks which were cancelled before; one has swallowed that."""
    settings: Any = {"seeds": CLEAN_UP_SEEDS, "leftovers": True, **TURNS}
    broken = [work.__name__ for work in SITUATIONS if explore(work, dict, **settings)]
    assert not broken, f"an error was not handled {', '.join(broken)}"


# --- failures -------------------------------------------------------------------------------------


class Holds(WorkMany):
    """Holds something open while the run lasts."""

    @asynccontextmanager
    async def lifespan(self, _: Any) -> AsyncIterator[None]:
        with self.ledger.entry():
            yield


def failing(ledger: Ledger) -> AnyNode:
    """Everything that can be left behind, and others that may fail meanwhile."""

    async def source() -> AsyncIterator[int]:
        with ledger.entry():
            for item in range(4):
                await asyncio.sleep(item % 2)
                yield item

    inner = Graph(Work(ledger) >> WorkMany(ledger, source), max_workers=2)
    stream = WorkMany(ledger, source) | WorkMany(ledger, ()) | Work(ledger)
    branches = [inner, Holds(ledger, range(3)), stream, Work(ledger)]
    return Graph(branches, max_workers=3, task_timeout=5)


async def fail(ledger: Ledger) -> None:
    """Run it with faults that follow from the seed."""
    try:
        await Faults(fail=0.03, hang=0.02, delay=(0.0, 2.0)).wrap(failing(ledger)).run_async({})
    except* (InjectedError, AttemptTimeoutError):
        assert all_has_ended(ledger), f"{ledger.begun} begun, {ledger.ended} ended"


def nothing_is_left_after_a_failure() -> None:
    """Runs in which nodes fail and hang by chance."""
    assert_holds(fail, Ledger, seeds=FAILING_SEEDS)


# --- errors ---------------------------------------------------------------------------------------


class Breaks(Node[Any, Any]):
    """Fails after a while, and says so in a list."""

    def __init__(self, raised: list[BaseException], **settings: Any) -> None:
        super().__init__(**settings)
        self.raised, self.seconds = raised, random.randrange(2)

    async def exec(self, item: Any) -> None:
        await asyncio.sleep(self.seconds)
        error = ValueError(f"{self.name} on {item}")
        self.raised.append(error)
        raise error


class BreaksOften(ParallelBatchNode[Any, Any]):
    """A batch in which every item fails; passes on the errors that it gets."""

    def __init__(self, raised: list[BaseException], **settings: Any) -> None:
        super().__init__(max_workers=random.randint(1, 4), **settings)
        self.single = Breaks(raised)

    def prep(self, _: Any) -> range:
        return range(4)

    async def exec(self, item: Any) -> None:
        await self.single.exec(item)

    def post(self, shared: Any, _: Any, outcomes: list[Outcome[Any]]) -> None:
        shared["reported"] += [outcome.error for outcome in outcomes]


class Hears(Node[Any, Any]):
    """Stands at the end of error routes."""

    def prep(self, shared: Any) -> None:
        shared["reported"].append(self.error)


def broken(raised: list[BaseException]) -> AnyNode:
    """A graph in which several nodes fail, each with its own way of telling."""
    match random.randrange(4):
        case 0:  # the run raises
            return Graph([Breaks(raised) for _ in range(3)])
        case 1:
            return BreaksOften(raised, on_error=random.choice(["raise", 1, 2, 0.5]))
        case 2:  # outcomes tell
            return Graph([BreaksOften(raised, on_error="collect"), BreaksOften(raised, on_error=4)])
    hears, branches = Hears(), [Breaks(raised) for _ in range(3)]  # the next node gets the error
    for branch in branches:
        branch - "error" >> hears
    return Graph(branches)


def leaves(error: BaseException | None) -> Iterator[BaseException | None]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


async def break_(shared: dict[str, Any]) -> None:
    raised: list[BaseException] = []
    reported = shared["reported"] = []
    try:
        await broken(raised).run_async(shared)
    except (ValueError, ExceptionGroup) as error:
        reported.append(error)
    known = [leaf for error in reported for leaf in leaves(error)]
    lost = [error for error in raised if not any(error is leaf for leaf in known)]
    assert not lost, f"errors that were not reported: {lost}"


def every_error_is_reported() -> None:
    """Runs in which several items and branches fail, some in the same moment."""
    assert_holds(break_, seeds=ERROR_SEEDS)


class AwaitsOthers(WorkMany):
    """Its third item awaits what somebody else has cancelled."""

    async def exec(self, item: Any) -> Any:
        if item == 2:
            future = asyncio.get_running_loop().create_future()
            future.cancel()
            await future
        return item


def a_cancellation_of_others_is_an_error() -> None:
    """It fails the item that awaits in vain, and nothing else has been cancelled."""
    for on_error in ("raise", "collect"):
        try:
            asyncio.run(AwaitsOthers(Ledger(), on_error=on_error).run_async({}))
        except asyncio.CancelledError:
            raise AssertionError("the run ends as cancelled, and it has cancelled nobody") from None
        except AwaitedCancelledError:
            assert on_error == "raise"
