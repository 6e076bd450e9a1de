"""A run ends although its nodes swallow or convert their cancellation, also behind full buffers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from itertools import count, product
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from kaygraph import (
    AsyncNode,
    BatchGraph,
    DeadlineExceededError,
    Graph,
    Node,
    ParallelBatchNode,
    Pipeline,
    RateLimit,
    first_of,
    settle,
)

LONGEST_S = 5.0  # for a run that hangs; none comes near it

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def in_time() -> AsyncIterator[None]:
    """Fail when what is within hangs, also where it takes the end of the time for its own."""
    async with asyncio.timeout(LONGEST_S) as limit:
        yield
    assert not limit.expired(), "it hangs"


class Swallowing:
    """The first item waits for ever; what it makes of its cancellation is given by ``way``."""

    def __init__(self, way: str) -> None:
        self.way = way
        self.held = asyncio.Event()
        self.calls = 0

    async def __call__(self, item: int) -> int:
        self.calls += 1
        if item == 0:
            self.held.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if self.way == "converted":
                    raise ConnectionError("as drivers do") from None
                if self.way == "failed":
                    raise ValueError("a bug in its clean-up")  # noqa: B904 - chained, as bugs are
        await anyio.lowlevel.cancel_shielded_checkpoint()
        return item


class Endless(ParallelBatchNode):
    work: Swallowing

    def prep(self, shared: Any) -> Iterator[int]:
        return count()

    async def exec(self, item: int) -> int:
        return await self.work(item)


class Stuck(Node):
    async def exec(self, item: int) -> int:
        await asyncio.Event().wait()
        return item


Work = Callable[[Swallowing, str], Awaitable[Any]]


def batch_of(work: Swallowing, on_error: str, **settings: Any) -> Endless:
    node = Endless(max_workers=2, on_error=on_error, **settings)
    node.work = work
    return node


async def batch(work: Swallowing, on_error: str) -> Any:
    return await batch_of(work, on_error).run_async({})


async def batch_of_one_worker(work: Swallowing, on_error: str) -> Any:
    node = batch_of(work, on_error)
    node.max_workers = 1
    return await node.run_async({})


async def batch_of_one_item(work: Swallowing, on_error: str) -> Any:
    class One(Endless):
        def prep(self, shared: Any) -> Any:
            return [0]

    node = One(max_workers=2, on_error=on_error)
    node.work = work
    return await node.run_async({})


async def batch_stream(work: Swallowing, on_error: str) -> Any:
    async with aclosing(batch_of(work, on_error).stream({})) as outcomes:
        async for _ in outcomes:
            await asyncio.Event().wait()


async def pipeline(work: Swallowing, on_error: str) -> Any:
    first = batch_of(work, on_error, ordered=False)
    return await Graph(Pipeline(first, Stuck(), buffer=1)).run_async({})


async def pipeline_stream(work: Swallowing, on_error: str) -> Any:
    first = batch_of(work, on_error, ordered=False)
    async with aclosing(Pipeline(first, buffer=1).stream({})) as results:
        async for _ in results:
            await asyncio.Event().wait()


async def ordered_pipeline(work: Swallowing, on_error: str) -> Any:
    return await Graph(Pipeline(batch_of(work, on_error), Stuck(), buffer=1)).run_async({})


async def begun(task: "asyncio.Task[Any]", work: Swallowing) -> None:
    """Wait until an item is held and everybody else waits for room, or for the order."""
    await work.held.wait()
    calls = -1
    while calls != work.calls:
        calls = work.calls
        for _ in range(50):
            await asyncio.sleep(0)
        if calls > 100:  # nothing behind it is bounded: it goes on and on
            break
    assert not task.done()


async def cancel(task: "asyncio.Task[Any]", work: Swallowing) -> None:
    await begun(task, work)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def second_cancel(task: "asyncio.Task[Any]", work: Swallowing) -> None:
    await begun(task, work)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def within_timeout(shape: Work, work: Swallowing, on_error: str) -> None:
    with pytest.raises(TimeoutError):  # noqa: PT012 - the limit is part of it
        async with asyncio.timeout(None) as limit:
            timer = asyncio.create_task(work.held.wait())
            timer.add_done_callback(lambda _: limit.reschedule(asyncio.get_running_loop().time()))
            await shape(work, on_error)


async def within_move_on(shape: Work, work: Swallowing, on_error: str) -> None:
    with anyio.move_on_after(None) as scope:
        timer = asyncio.create_task(work.held.wait())
        timer.add_done_callback(lambda _: scope.cancel())
        await shape(work, on_error)
    assert scope.cancelled_caught


async def beside_a_failure(shape: Work, work: Swallowing, on_error: str) -> None:
    async def fails() -> None:
        await work.held.wait()
        raise ZeroDivisionError

    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012 - so is the group
        async with asyncio.TaskGroup() as group:
            group.create_task(shape(work, on_error))  # type: ignore[arg-type]
            group.create_task(fails())
    assert caught.group_contains(ZeroDivisionError)


async def in_a_task(shape: Work, work: Swallowing, on_error: str, end: Any) -> None:
    await end(asyncio.create_task(shape(work, on_error)), work)  # type: ignore[arg-type]


@contextlib.contextmanager
def reported() -> Iterator[list[Any]]:
    """Collect what is reported to the loop's exception handler."""
    loop, errors = asyncio.get_running_loop(), list[Any]()
    handler = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: errors.append(context["exception"]))
    try:
        yield errors
    finally:
        loop.set_exception_handler(handler)


SHAPES = (
    batch,
    batch_of_one_worker,
    batch_of_one_item,
    batch_stream,
    pipeline,
    pipeline_stream,
    ordered_pipeline,
)
ON_ERROR = ("raise", "collect", "skip")
WAYS = ("swallowed", "converted", "failed")
ENDINGS: dict[str, Any] = {
    "cancel": lambda *a: in_a_task(*a, cancel),
    "second cancel": lambda *a: in_a_task(*a, second_cancel),
    "asyncio.timeout": within_timeout,
    "anyio.move_on_after": within_move_on,
    "TaskGroup sibling": beside_a_failure,
}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(("shape", "on_error", "way"), list(product(SHAPES, ON_ERROR, WAYS)))
async def test_a_run_whose_exec_swallows_its_cancellation_ends(
    shape: Work, on_error: str, way: str, ending: str
) -> None:
    """The code that ends it sees it end, and nothing is left."""
    before = asyncio.all_tasks()
    with reported() as errors:
        async with in_time():
            await ENDINGS[ending](shape, Swallowing(way), on_error)
    assert asyncio.all_tasks() == before
    # A cancelled reader has its own cancellation to raise.
    streams = shape in (batch_stream, pipeline_stream)
    lost = streams and on_error == "raise" and way != "swallowed"
    assert len(errors) == lost


@pytest.mark.parametrize(
    ("shape", "on_error", "way"),
    list(product((batch_of, pipeline_stream), ON_ERROR, WAYS)),
)
async def test_a_stream_that_is_left_early_ends(shape: Any, on_error: str, way: str) -> None:
    """What a node makes of its cancellation has no reader any more."""
    before = asyncio.all_tasks()
    work = Swallowing(way)
    node = batch_of(work, on_error, ordered=False)
    source: Any = node if shape is batch_of else Pipeline(node, buffer=1)
    leaves: Any = contextlib.nullcontext()
    if on_error == "raise" and way != "swallowed":
        leaves = pytest.raises(ConnectionError if way == "converted" else ValueError)
    with leaves:
        async with in_time(), aclosing(source.stream({})) as results:
            async for _ in results:
                await begun(asyncio.current_task(), work)  # type: ignore[arg-type]
                break
    assert asyncio.all_tasks() == before


def node_of(shape: Any, work: Swallowing, on_error: str) -> Any:
    """Return a batch, or a pipeline that is stuck behind one."""
    node = batch_of(work, on_error, ordered=shape is ordered_pipeline)
    return node if shape is batch_of else Pipeline(node, Stuck(), buffer=1)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("on_error", ON_ERROR)
@pytest.mark.parametrize("shape", [batch_of, pipeline, ordered_pipeline])
async def test_a_deadline_ends_what_swallows_its_cancellation(
    shape: Any, on_error: str, way: str
) -> None:
    """The graph around says that its deadline has passed, and keeps what failed in the meantime."""
    before = asyncio.all_tasks()
    work = Swallowing(way)
    inner = node_of(shape, work, on_error)
    async with in_time():
        with pytest.raises(DeadlineExceededError):
            await Graph(inner, deadline=0.05).run_async({})
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("on_error", ON_ERROR)
@pytest.mark.parametrize("shape", [batch_of, pipeline, ordered_pipeline])
async def test_a_drain_ends_what_swallows_its_cancellation(
    shape: Any, on_error: str, way: str
) -> None:
    """When the grace is over what is in flight is cancelled, and the run ends."""
    before = asyncio.all_tasks()
    work = Swallowing(way)
    inner = node_of(shape, work, on_error)
    run = Graph(inner).launch({})
    await begun(run._task, work)
    run.drain(grace=0.01)
    async with in_time():
        with contextlib.suppress(DeadlineExceededError, ExceptionGroup):
            await run
    assert asyncio.all_tasks() == before


class Rounds(BatchGraph):
    def prep(self, shared: Any) -> Any:
        return [{}, {}]


@pytest.mark.parametrize(
    "whole", [settle, lambda line: Rounds(line), lambda line: Rounds(line, max_workers=2)]
)
async def test_a_drain_ends_a_chain_that_is_in_flight_as_a_whole(whole: Any) -> None:
    """Its nodes begin although the run drains, but not when the grace is over."""

    class First(Node):
        async def exec(self, _: Any) -> None:
            waiting.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    waiting = asyncio.Event()
    run = Graph(whole(First() >> Stuck())).launch({})
    await waiting.wait()
    run.drain(grace=0.01)
    async with in_time():
        with contextlib.suppress(DeadlineExceededError):
            await run


# --- other places that wait after user code ------------------------------------------------------


class Late(ParallelBatchNode):
    """Swallows its cancellation in prep, and has items without end."""

    def __init__(self) -> None:
        super().__init__()
        self.preparing = asyncio.Event()

    async def prep(self, shared: Any) -> Any:
        self.preparing.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return count()

    async def exec(self, item: int) -> None:
        raise AssertionError("no item is worked on")


@pytest.mark.parametrize("whole", [Graph, Pipeline, lambda node: Pipeline(Stuck(), node)])
async def test_nothing_begins_after_prep_has_swallowed_the_cancellation(whole: Any) -> None:
    """A batch and a pipeline end: an endless source never would."""
    late = Late()
    task = asyncio.create_task(whole(late).run_async({}))
    await late.preparing.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, LONGEST_S)


async def test_a_loop_ends_although_its_node_swallows_the_cancellation() -> None:
    """An agent that catches everything is still stopped."""

    class Stubborn(AsyncNode):
        async def exec(self, _: Any) -> None:
            begun.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.001)

        def post(self, *_: Any) -> str:
            return "again"

    begun = asyncio.Event()
    node = Stubborn()
    node - "again" >> node
    task = asyncio.create_task(Graph(node).run_async({}))
    await begun.wait()
    task.cancel()
    async with in_time():
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_nobody_stands_in_the_line_of_a_rate_after_swallowing_the_cancellation() -> None:
    """The next call would be let in an hour later."""

    class Call(AsyncNode):
        async def exec(self, _: Any) -> None:
            with contextlib.suppress(asyncio.CancelledError):
                if not begun.is_set():
                    begun.set()
                    await asyncio.Event().wait()

    begun = asyncio.Event()
    hourly = RateLimit(1, per=3600)
    graph = Graph(Call(rate=hourly) >> Call(rate=hourly))
    task = asyncio.create_task(graph.run_async({}))
    await begun.wait()
    task.cancel()
    async with in_time():
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_the_losers_of_a_race_end_although_they_swallow_their_cancellation() -> None:
    """The group waits for them, and they come to their end at once."""

    class Wins(AsyncNode):
        async def exec(self, _: Any) -> str:
            await work.held.wait()
            return "won"

        def post(self, shared: Any, *_: Any) -> None:
            shared["won"] = True

    work = Swallowing("swallowed")
    shared: dict[str, Any] = {}
    async with in_time():
        await first_of(Wins(), batch_of(work, "collect")).run_async(shared)
    assert shared == {"won": True}


async def test_an_async_source_that_swallows_its_cancellation_is_not_read_on() -> None:
    """Its batch ends as cancelled, and its generator is closed."""

    class Reads(ParallelBatchNode):
        async def prep(self, shared: Any) -> AsyncIterator[int]:
            try:
                for number in count():
                    begun.set()
                    with contextlib.suppress(asyncio.CancelledError):
                        await asyncio.sleep(0.001)
                    yield number
            finally:
                closed.append(True)

        async def exec(self, item: int) -> None: ...

    begun, closed = asyncio.Event(), list[bool]()
    task = asyncio.create_task(Reads(max_workers=2).run_async({}))
    await begun.wait()
    task.cancel()
    async with in_time():
        with pytest.raises(asyncio.CancelledError):
            await task
    assert closed == [True]


@pytest.mark.parametrize("way", ["run_async", "launch", "stream"])
async def test_one_worker_that_swallows_an_anyio_cancellation_ends_its_scope(way: str) -> None:
    """The cancellation that comes out is the scope's own, which the scope takes."""
    work = Swallowing("swallowed")
    node = Endless()
    node.work, node.max_workers = work, 1
    with anyio.move_on_after(0.05) as scope:
        if way == "stream":
            async for _ in node.stream({}):
                pass
        else:
            await getattr(node, way)({})
    assert scope.cancelled_caught


# --- a run in clean-up code is not the run that was cancelled ------------------------------------


async def in_an_except_clause(compensate: Callable[[], Awaitable[Any]]) -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await compensate()
        raise


async def in_a_finally_clause(compensate: Callable[[], Awaitable[Any]]) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        await compensate()


async def under_a_shield(compensate: Callable[[], Awaitable[Any]]) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        with anyio.CancelScope(shield=True):
            await compensate()


async def after_swallowing_it(compensate: Callable[[], Awaitable[Any]]) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    await compensate()


@pytest.mark.parametrize("end", ["cancel", "asyncio.timeout"])
@pytest.mark.parametrize(
    "place", [in_an_except_clause, in_a_finally_clause, under_a_shield, after_swallowing_it]
)
async def test_a_run_in_clean_up_code_takes_its_error_route(place: Any, end: str) -> None:
    """It tries again, too, and loops: what was cancelled is the task, and before it began."""

    class Refund(Node):
        async def exec(self, _: Any) -> None:
            calls.append("refund")
            raise ConnectionError

    class Note(AsyncNode):
        def post(self, *_: Any) -> str | None:
            calls.append("noted")
            return "again" if len(calls) < 4 else None

    async def compensate() -> None:
        refund, note = Refund(max_retries=2), Note()
        refund - "error" >> note
        note - "again" >> note
        await Graph(refund).run_async({})

    async def ends() -> None:
        if end == "asyncio.timeout":
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0):
                    await place(compensate)
        else:
            await place(compensate)

    calls: list[str] = []
    task = asyncio.create_task(ends())
    await asyncio.sleep(0)
    if end == "cancel":
        task.cancel()
    await asyncio.wait([task], timeout=LONGEST_S)
    if not task.cancelled():
        task.result()
    assert calls == ["refund", "refund", "noted", "noted"]
