"""One rule for what comes late: it has timed out."""

import asyncio
import contextlib
import time
from typing import Any

import pytest

from kaygraph import (
    AttemptTimeoutError,
    DeadlineExceededError,
    Graph,
    Node,
    ParallelBatchNode,
)
from kaygraph.testing import simulate
from tests.clock import VIRTUAL

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


class Swallows(Node[Any, Any]):
    """Returns something two seconds after it was cancelled."""

    async def exec(self, _: Any) -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.sleep(2)
        return "late"


class Blocks(Node[Any, Any]):
    """Takes three seconds, in a thread."""

    def exec(self, _: Any) -> str:
        time.sleep(3)
        return "late"


async def test_a_coroutine_that_swallows_its_timeout_has_timed_out() -> None:
    """What it returns is dropped, and the error says how late it was."""
    with pytest.raises(AttemptTimeoutError, match=r"timeout=1 s; .* ended 2\.00 s after it"):
        await Swallows(timeout=1).run_async({})


async def test_it_is_tried_again_as_after_any_timeout() -> None:
    """An attempt that keeps to the limit counts."""

    class Once(Swallows):
        async def exec(self, _: Any) -> str:
            return "in time" if self.attempt == 2 else await super().exec(_)

        def post(self, shared: Any, _: Any, result: str) -> None:
            shared["result"] = result

    shared: dict[str, Any] = {}
    await Once(timeout=1, max_retries=2).run_async(shared)
    assert shared == {"result": "in time"}


@pytest.mark.parametrize(
    "whole",
    [
        Swallows(deadline=1),
        Graph(Swallows(), deadline=1),
        Graph(Graph(Swallows()), deadline=1),
    ],
)
async def test_a_deadline_is_kept_in_the_same_way(whole: Any) -> None:
    """Of an item, a graph, and around what is within it."""
    with pytest.raises(DeadlineExceededError):
        await whole.run_async({})


async def test_the_deadline_of_a_run_and_of_a_batch_too() -> None:
    """All that they hold is late."""

    class Many(ParallelBatchNode[Any, Any]):
        def prep(self, shared: Any) -> range:
            return range(2)

        async def exec(self, item: int) -> None:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    with pytest.raises(DeadlineExceededError):
        await Swallows().run_async({}, deadline=1)
    with pytest.raises(DeadlineExceededError):
        await Many(batch_deadline=1).run_async({})


@pytest.mark.parametrize("limit", ["timeout", "deadline"])
def test_a_thread_that_overruns_is_reported_in_the_same_way(limit: str) -> None:
    """It cannot be cancelled; it is late anyway."""
    with pytest.raises(AttemptTimeoutError, match=r"ended 2\.00 s after it"):
        simulate(Graph(Blocks(**{limit: 1})))


async def test_what_comes_in_time_is_a_result() -> None:
    """Also where it has swallowed a cancellation of its own making."""

    class InTime(Node[Any, Any]):
        async def exec(self, _: Any) -> str:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await asyncio.Event().wait()
            return "in time"

        def post(self, shared: Any, _: Any, result: str) -> None:
            shared["result"] = result

    shared: dict[str, Any] = {}
    await InTime(timeout=2, deadline=3).run_async(shared, deadline=4)
    assert shared == {"result": "in time"}
