"""A hook that awaits what somebody else has cancelled has failed; it was not cancelled itself."""

import asyncio
import concurrent.futures
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from kaygraph import (
    AsyncNode,
    AwaitedCancelledError,
    BatchGraph,
    CircuitBreaker,
    CircuitOpenError,
    Graph,
    MapReduceNode,
    Node,
    Outcome,
    ParallelBatchNode,
    Retry,
    compat,
    first_of,
    settle,
)
from kaygraph.patterns import RaceNode

pytestmark = pytest.mark.anyio


async def in_vain() -> None:
    """Await a task that is cancelled, as that of a client that somebody has closed."""
    other = asyncio.ensure_future(asyncio.sleep(9))
    other.cancel()
    await other


async def in_vain_for(_: Any) -> None:
    await in_vain()


class Waits(Node[Any, Any]):
    async def exec(self, _: Any) -> None:
        await in_vain()


class Many(ParallelBatchNode[Any, Any]):
    """The item 2 awaits in vain, as often as it is tried."""

    def prep(self, shared: Any) -> range:
        return range(5)

    async def exec(self, item: int) -> int:
        if item == 2:
            await in_vain()
        return item

    def post(self, shared: Any, _: Any, results: Any) -> None:
        shared["results"] = results


class Source(AsyncNode[Any, Any]):
    async def prep(self, shared: Any) -> AsyncIterator[int]:
        for number in range(5):
            yield number


class Rounds(BatchGraph):
    def prep(self, shared: Any) -> Any:
        return [{}, {}]


class Maps(MapReduceNode):
    def prep(self, shared: Any) -> range:
        return range(3)

    async def map(self, item: int) -> Any:
        await in_vain()
        return [(item, item)]


class Reduces(Maps):
    async def map(self, item: int) -> Any:
        return [(item, item)]

    async def reduce(self, key: int, values: Any) -> Any:
        await in_vain()


WHOLES: dict[str, Callable[[], Any]] = {
    "node": Waits,
    "node with settings": lambda: Waits(timeout=9, deadline=9, max_retries=2),
    "batch": lambda: Many(max_workers=1),
    "parallel batch": Many,
    "batch with settings": lambda: Many(timeout=9, deadline=9, max_retries=2),
    "stage": lambda: Source() | Waits(),
    "parallel stage": lambda: Source() | Many(),
    "fork": lambda: Graph([Waits(), AsyncNode()]),
    "nested graph": lambda: Graph(Graph(Waits()) >> AsyncNode(), deadline=9),
    "rounds": lambda: Rounds(Waits(), max_workers=2),
    "group": lambda: first_of(Waits(), Waits()),
    "map": Maps,
    "reduce": Reduces,
    "pattern": lambda: RaceNode(in_vain_for, name="Race"),
    "compat": lambda: compat.Flow(start=Compatible()),
}


class Compatible(compat.AsyncNode):
    async def exec_async(self, _: Any) -> None:
        await in_vain()


def leaves_of(error: BaseException) -> Iterator[BaseException]:
    """Yield the error, or those that a group holds."""
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from leaves_of(one)
    else:
        yield error


@pytest.mark.parametrize("whole", WHOLES)
async def test_it_fails_the_run_with_an_error_that_says_where(whole: str) -> None:
    """An ordinary error with the cancellation as its cause, also under a caller's task group."""
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            group.create_task(WHOLES[whole]().run_async({}))
    for error in leaves_of(caught.value):
        assert isinstance(error, AwaitedCancelledError)
        assert isinstance(error.__cause__, asyncio.CancelledError)
        assert error.__notes__[0].startswith("in node ")


@pytest.mark.parametrize("max_workers", [1, 3])
@pytest.mark.parametrize("settings", [{}, {"max_retries": 2}, {"timeout": 9}])
async def test_it_is_the_failure_of_its_item_alone(max_workers: int, settings: Any) -> None:
    """The others are worked on, and on_error says what becomes of it."""
    shared: dict[str, Any] = {}
    node = Many(max_workers=max_workers, on_error="collect", **settings)
    await node.run_async(shared)
    failed = shared["results"][2]
    assert isinstance(failed, Outcome)
    assert (failed.status, failed.attempts) == ("failed", settings.get("max_retries", 1))
    assert isinstance(failed.error, AwaitedCancelledError)
    assert [*shared["results"][:2], *shared["results"][3:]] == [0, 1, 3, 4]


@pytest.mark.parametrize("max_workers", [1, 3])
async def test_it_is_the_failure_of_an_item_of_a_stage(max_workers: int) -> None:
    """It is collected there as well."""
    shared: dict[str, Any] = {}

    class Stage(Many):
        def post(self, shared: Any, _: Any, report: Any) -> None:
            shared["report"] = report

    await (Source() | Stage(max_workers=max_workers, on_error="skip")).run_async(shared)
    report = shared["report"]
    assert (report.ok, report.skipped, report.cancelled) == (4, 1, 0)


async def test_another_attempt_is_made_and_the_fallback_asked() -> None:
    """As for any failure, with the numbers of the attempts."""

    class Fetch(AsyncNode[Any, Any]):
        async def exec(self, _: Any) -> str:
            attempts.append(self.attempt)
            await in_vain()
            return "never"

        async def exec_fallback(self, _: Any, exc: Exception) -> str:
            assert isinstance(exc, AwaitedCancelledError)
            return "from the cache"

        def post(self, shared: Any, _: Any, result: str) -> None:
            shared["result"] = result

    attempts: list[int] = []
    shared: dict[str, Any] = {}
    await Fetch(retry=Retry(attempts=3, on=AwaitedCancelledError)).run_async(shared)
    assert attempts == [1, 2, 3]
    assert shared == {"result": "from the cache"}


async def test_it_takes_the_error_route() -> None:
    """What follows reads it at self.error."""

    class Handles(AsyncNode[Any, Any]):
        def prep(self, shared: Any) -> None:
            shared["error"] = self.error

    waits, shared = Waits(), dict[str, Any]()
    waits - "error" >> Handles()
    await Graph(waits).run_async(shared)
    assert isinstance(shared["error"], AwaitedCancelledError)


async def test_a_breaker_counts_it() -> None:
    """A service whose connections are cancelled is not a service that answers."""
    breaker = CircuitBreaker(failures=2, reset_after=60)
    for expected in (AwaitedCancelledError, AwaitedCancelledError, CircuitOpenError):
        with pytest.raises(expected):
            await Waits(breaker=breaker).run_async({})


class Hooks(AsyncNode[Any, Any]):
    """One of its hooks awaits in vain."""

    vain = ""

    def __init__(self, vain: str) -> None:
        super().__init__(name="Hooks")
        self.vain = vain

    async def tried(self, hook: str) -> None:
        if hook == self.vain:
            await in_vain()

    @contextlib.asynccontextmanager
    async def lifespan(self, shared: Any) -> AsyncIterator[None]:
        await self.tried("entering")
        yield
        await self.tried("leaving")

    async def prep(self, shared: Any) -> Any:
        await self.tried("prep")

    async def exec(self, _: Any) -> Any:
        if self.vain == "fallback":
            raise ValueError
        await self.tried("exec")

    async def exec_fallback(self, _: Any, exc: Exception) -> Any:
        await self.tried("fallback")
        raise exc

    async def post(self, *_: Any) -> None:
        await self.tried("post")


@pytest.mark.parametrize("hook", ["entering", "leaving", "prep", "exec", "fallback", "post"])
@pytest.mark.parametrize("around", [lambda node: node, Graph, settle])
async def test_it_is_the_same_in_every_hook(hook: str, around: Any) -> None:
    """The node is named."""
    shared: dict[str, Any] = {}
    node = around(Hooks(hook))
    if around is settle and hook != "leaving":
        node.post = lambda *_: shared.update(outcomes=node.outcomes)
        await node.run_async(shared)
        error = shared["outcomes"][0].error
    else:
        with pytest.raises(AwaitedCancelledError) as caught:
            await node.run_async(shared)
        error = caught.value
    assert isinstance(error, AwaitedCancelledError)
    assert "Hooks" in error.__notes__[0]


@pytest.mark.parametrize("kind", ["async", "sync"])
@pytest.mark.parametrize("whole", [Many, lambda **kw: Many(**kw) | AsyncNode()])
async def test_a_source_that_awaits_in_vain_has_failed(kind: str, whole: Any) -> None:
    """It is closed, and its node named."""

    async def source() -> AsyncIterator[int]:
        yield 1
        await in_vain()

    def plain_source() -> Iterator[int]:
        yield 1
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        yield future.result()

    class Reads(Many):
        def prep(self, shared: Any) -> Any:
            return source() if kind == "async" else plain_source()

    reads = Reads(max_workers=3)
    with pytest.raises(AwaitedCancelledError) as caught:
        await (reads if whole is Many else reads | AsyncNode()).run_async({})
    assert "Reads" in caught.value.__notes__[0]


@pytest.mark.parametrize("hook", ["prep", "exec"])
async def test_a_stream_raises_it(hook: str) -> None:
    """After the outcomes that were there before."""

    class Streams(Many):
        async def prep(self, shared: Any) -> Any:
            if hook == "prep":
                await in_vain()
            return range(5)

    with pytest.raises(AwaitedCancelledError):
        async for _ in Streams().stream({}):
            pass


@pytest.mark.parametrize("run_in", ["thread", "process"])
async def test_a_call_elsewhere_that_awaits_in_vain_has_failed(run_in: Any) -> None:
    """Its loop is another, and so is what it awaits; its cancellation is an error here."""
    node = Waits(run_in=run_in)
    with pytest.raises(AwaitedCancelledError) as caught:
        await node.run_async({})
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)


@pytest.mark.parametrize("run_in", ["loop", "thread"])
async def test_the_cancellation_of_an_executors_future_is_an_error_as_it_is(run_in: Any) -> None:
    """concurrent.futures has a CancelledError of its own, which is an ordinary error."""

    class Asks(Node[Any, Any]):
        def exec(self, _: Any) -> None:
            future: concurrent.futures.Future[None] = concurrent.futures.Future()
            future.cancel()
            future.result()

    with pytest.raises(concurrent.futures.CancelledError):
        await Asks(run_in=run_in).run_async({})


async def test_an_observer_that_raises_one_does_not_end_the_run() -> None:
    """It is the observer's own error."""

    def observer(_: Any) -> None:
        raise asyncio.CancelledError

    loop, reported = asyncio.get_running_loop(), list[Any]()
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
    try:
        await AsyncNode().run_async({}, observers=[observer])
    finally:
        loop.set_exception_handler(None)
    assert isinstance(reported[0], asyncio.CancelledError)


# --- what still is a cancellation -----------------------------------------------------------------


class CancelsItself(AsyncNode[Any, Any]):
    async def exec(self, _: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)


@pytest.mark.parametrize("whole", [lambda node: node, Graph])
async def test_a_node_that_cancels_the_task_of_the_run_has_cancelled_the_run(whole: Any) -> None:
    """It was asked for; nothing is tried again."""
    task = asyncio.create_task(whole(CancelsItself(max_retries=3)).run_async({}))
    await asyncio.wait([task])
    assert task.cancelled()


async def test_a_node_that_cancels_a_task_of_the_engine_fails_the_run() -> None:
    """The run itself was not cancelled: it does not end as if it had been."""

    class Batch(Many):
        async def exec(self, item: int) -> int:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)
            return item

    for whole in (Graph([CancelsItself(), AsyncNode()]), Batch(), Batch() | AsyncNode()):
        with pytest.raises(AwaitedCancelledError):
            await whole.run_async({})


class Endless(AsyncNode[Any, Any]):
    async def exec(self, _: Any) -> None:
        await asyncio.Event().wait()


ENDLESS: dict[str, Callable[[], Any]] = {
    "node": Endless,
    "batch": lambda: EndlessBatch(on_error="collect", max_retries=2),
    "settled": lambda: settle(Endless(), Endless()),
    "stage": lambda: Source() | Endless(),
}


class EndlessBatch(Many):
    async def exec(self, item: int) -> int:
        await asyncio.Event().wait()
        return item


@pytest.mark.parametrize("whole", ENDLESS)
async def test_scopes_and_limits_around_a_run_cancel_it(whole: str) -> None:
    """The code that cancelled it takes its cancellation: no error comes out in between."""
    node = ENDLESS[whole]()
    with anyio.move_on_after(0.01) as scope:
        await node.run_async({})
    assert scope.cancelled_caught
    with pytest.raises(TimeoutError):
        with anyio.fail_after(0.01):
            await node.run_async({})
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await node.run_async({})
    async with anyio.create_task_group() as group:
        group.start_soon(node.run_async, {})
        await anyio.sleep(0.01)
        group.cancel_scope.cancel()
    task = asyncio.create_task(node.run_async({}))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_scopes_within_a_hook_are_its_own() -> None:
    """Nor do they hide that something else was cancelled, then or later."""

    class Scoped(AsyncNode[Any, Any]):
        async def exec(self, _: Any) -> None:
            with anyio.move_on_after(0.01):
                await anyio.sleep_forever()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.01):
                    await anyio.sleep_forever()
            with anyio.CancelScope() as scope:
                scope.cancel()
                await anyio.sleep_forever()
            seen.append("its own are over")
            await in_vain()

    seen: list[str] = []
    with pytest.raises(AwaitedCancelledError):
        await Scoped().run_async({})
    assert seen == ["its own are over"]


async def test_a_scope_around_that_is_cancelled_while_one_within_ends_is_noticed() -> None:
    """The inner scope takes its own cancellation back and hands on the outer's."""

    class Scoped(AsyncNode[Any, Any]):
        async def exec(self, _: Any) -> None:
            with anyio.CancelScope() as inner:
                inner.cancel()
                try:
                    await anyio.sleep_forever()
                finally:
                    outer.cancel()

    with anyio.CancelScope() as outer:
        await Scoped(max_retries=2).run_async({})
        await (
            anyio.lowlevel.checkpoint()
        )  # in older anyio the inner scope takes the outer's as well
    assert outer.cancelled_caught
