"""Batches of a `def exec` in the calling thread of `run()`."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from kaygraph import (
    BatchNode,
    DeadlineExceededError,
    Drop,
    Graph,
    Node,
    NodeDefinitionError,
    RunInterrupted,
)

COLOUR: ContextVar[str] = ContextVar("colour", default="white")


class Doubles(BatchNode[Any, Any]):
    """Doubles the items that are in the store."""

    def prep(self, shared: Any) -> Any:
        return shared["items"]

    def exec(self, item: Any) -> Any:
        return item * 2

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["results"] = exec_res


def results_of(node: BatchNode[Any, Any], items: Any) -> Any:
    shared: dict[str, Any] = {"items": items}
    Graph(node).run(shared)
    return shared["results"]


@pytest.mark.parametrize("kind", [list, tuple, iter, lambda items: (item for item in items)])
def test_results_come_in_the_order_of_the_items(kind: Any) -> None:
    """Whatever gives the items."""
    assert results_of(Doubles(), kind(range(10_000))) == list(range(0, 20_000, 2))
    assert results_of(Doubles(), kind(())) == []


def test_an_error_names_the_item() -> None:
    """And those after it are not called."""
    called: list[int] = []

    class Fails(Doubles):
        def exec(self, item: int) -> int:
            called.append(item)
            if item == 3:
                raise ValueError("no")
            return item

    with pytest.raises(ValueError, match="no") as caught:
        results_of(Fails(), range(10))
    assert any("item 3" in note for note in caught.value.__notes__)
    assert called == [0, 1, 2, 3]


def test_items_that_fail_are_left_out_on_request() -> None:
    """So are those that are dropped."""

    class Odd(Doubles):
        def exec(self, item: int) -> int:
            if item % 4 == 0:
                raise ValueError("no")
            if item % 2 == 0:
                raise Drop
            return item

    assert results_of(Odd(on_error="skip"), range(10)) == [1, 3, 5, 7, 9]


def test_outcomes_tell_of_attempts_and_time() -> None:
    """Where they are asked for, each item is measured."""

    class Fails(Doubles):
        def exec(self, item: int) -> float:
            return 1 / item

    one, failed = results_of(Fails(on_error="collect"), [1, 0])
    assert one == 1
    assert (failed.status, failed.attempts, failed.seconds > 0) == ("failed", 1, True)


@pytest.mark.parametrize("error", [StopIteration, KeyError, SystemExit])
def test_what_an_item_raises_ends_the_batch(error: type[BaseException]) -> None:
    """No error is taken for the end of the items."""

    class Raises(Doubles):
        def exec(self, item: int) -> Any:
            raise error

    expected = RuntimeError if error is StopIteration else error
    with pytest.raises(expected):
        results_of(Raises(), range(3))


def test_a_call_that_returns_a_coroutine_is_refused() -> None:
    """It was meant to be an `async def`."""

    class Forgets(Doubles):
        def exec(self, item: int) -> Any:
            return asyncio.sleep(0)

    with pytest.raises(NodeDefinitionError, match="exec of Forgets is written 'def' and returned"):
        results_of(Forgets(), range(3))


def test_an_item_does_not_see_what_another_has_bound() -> None:
    """Each is called in a context of its own."""

    class Binds(Doubles):
        def exec(self, item: int) -> str:
            seen = COLOUR.get()
            COLOUR.set(str(item))
            return seen

    assert results_of(Binds(), range(3)) == ["white"] * 3


def test_a_generator_sees_the_loop_and_exec_does_not() -> None:
    """So items may bring a loop of their own."""

    class Brings(Doubles):
        def exec(self, item: int) -> int:
            return asyncio.run(asyncio.sleep(0, item))

    def items() -> Iterator[int]:
        for number in range(3):
            asyncio.get_running_loop()
            yield number

    assert results_of(Brings(), items()) == [0, 1, 2]
    assert results_of(Brings(), range(3)) == [0, 1, 2]


class Endless(Doubles):
    """Takes items until something ends it."""

    def prep(self, shared: Any) -> Any:
        return iter(int, 1)


def test_a_deadline_ends_it_and_names_the_item() -> None:
    """Though no item takes a microsecond."""
    with pytest.raises(DeadlineExceededError) as caught:
        Graph(Endless()).run(deadline=0.05)
    assert any("'Endless', item " in note for note in caught.value.__notes__)


def test_a_signal_drains_it() -> None:
    """What is done is handed over, and in order."""

    class Signalled(Doubles):
        def exec(self, item: int) -> int:
            if item == 5:
                os.kill(os.getpid(), signal.SIGINT)
            return item

    shared: dict[str, Any] = {"items": range(1_000_000_000)}
    with pytest.raises(RunInterrupted):
        Graph(Signalled()).run(shared)
    done = shared["results"]
    assert done == list(range(len(done)))
    assert 5 < len(done) < 1000


def test_tasks_of_hooks_go_on_meanwhile() -> None:
    """The loop has its turns."""

    class Until(Endless):
        def prep(self, shared: Any) -> Any:
            shared["task"] = asyncio.ensure_future(self.steps())
            return iter(lambda: self.over, True)

        over = False

        async def steps(self) -> None:
            for _ in range(3):
                await asyncio.sleep(0)
            Until.over = True

    Graph(Until()).run({})
    assert Until.over


def test_an_item_that_cancels_its_run_and_fails_is_the_last() -> None:
    """The cancellation is not put off to the loop's next turn, which may be a millisecond away."""
    called: list[int] = []

    class Cancels(Doubles):
        def prep(self, shared: Any) -> Any:
            self.task = asyncio.current_task()
            return range(10)

        def exec(self, item: int) -> int:
            called.append(item)
            if item == 3:
                assert self.task is not None
                self.task.cancel()
                raise ValueError("no")
            return item

    with pytest.raises(asyncio.CancelledError):
        Graph(Cancels(on_error="skip")).run({})
    assert called == [0, 1, 2, 3]


def test_an_exec_that_is_replaced_by_an_async_one_is_awaited() -> None:
    """As a reload of its module does, between two runs: results stay in order."""

    class Reloaded(Doubles):
        pass

    async def later(self: Any, item: int) -> int:
        await asyncio.sleep(0)
        return item * 3

    node = Reloaded()
    assert results_of(node, range(3)) == [0, 2, 4]
    Reloaded.exec = later  # type: ignore[method-assign,assignment]
    assert results_of(node, range(3)) == [0, 3, 6]


def test_a_run_that_a_hook_has_begun_gets_the_permit_between_two_items() -> None:
    """Both take turns with the one worker that the node has."""
    called: list[str] = []

    class Shares(Doubles):
        def prep(self, shared: Any) -> Any:
            if "inner" not in shared:
                shared["task"] = asyncio.ensure_future(Graph(self).run_async({"inner": True}))
            return [f"{'inner' if 'inner' in shared else 'outer'} {number}" for number in range(3)]

    async def later(self: Any, item: str) -> None:
        called.append(item)
        await asyncio.sleep(0.01)

    node = Shares()
    Shares.exec = later  # type: ignore[method-assign,assignment]
    Graph(node).run({})
    assert called[:2] == ["outer 0", "inner 0"]


def test_the_rest_goes_to_threads_where_something_runs_in_parallel() -> None:
    """A run that a hook has begun in a task of its own has the loop to itself then."""
    here = threading.get_ident()
    begun = threading.Event()

    class Other(Node):
        async def exec(self, prep_res: Any) -> None:
            begun.set()
            await asyncio.sleep(60)

    class Threads(Endless):
        def prep(self, shared: Any) -> Any:
            shared["task"] = asyncio.ensure_future(Graph(Other()).run_async({}))
            return iter(lambda: shared["task"].done(), True)

        def exec(self, item: Any) -> int:
            return threading.get_ident()

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["threads"] = exec_res

    class Cancels(Threads):
        def prep(self, shared: Any) -> Any:
            super().prep(shared)
            asyncio.get_running_loop().call_later(0.05, shared["task"].cancel)
            return iter(lambda: shared["task"].done(), True)

    shared: dict[str, Any] = {}
    Graph(Cancels()).run(shared)
    assert begun.is_set()
    assert shared["threads"][0] == here
    assert set(shared["threads"][-5:]) != {here}
