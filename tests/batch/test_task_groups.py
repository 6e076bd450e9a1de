"""``exec`` with an ``asyncio.TaskGroup`` of its own that fails."""

import asyncio
from typing import Any

import pytest

from kaygraph import Graph, Node, Outcome, ParallelBatchNode

pytestmark = pytest.mark.anyio


async def fails() -> None:
    raise KeyError("two")


async def group() -> None:
    """Fail while the block waits for its end."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(asyncio.sleep(0))
        tasks.create_task(fails())


class Fetch(ParallelBatchNode[Any, Any]):
    handles = False

    def prep(self, shared: Any, /) -> Any:
        return range(6)

    async def exec(self, item: Any, /) -> Any:
        if item == 2 and self.attempt == 1:
            if not self.handles:
                await group()
            try:
                await group()
            except* KeyError:
                pass
        return item

    def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> None:
        shared["got"] = [
            type(one.error).__name__ if isinstance(one, Outcome) else one for one in exec_res
        ]


class Handles(Fetch):
    handles = True


async def got(node: Any) -> Any:
    shared: dict[str, Any] = {}
    await asyncio.wait_for(Graph(node).run_async(shared), 20)
    return shared["got"]


async def test_a_group_whose_failure_is_handled_is_none_of_the_run() -> None:
    """What it leaves behind in the task, before Python 3.13, is no cancellation."""
    assert await got(Handles()) == [0, 1, 2, 3, 4, 5]
    assert await got(Handles(max_retries=2)) == [0, 1, 2, 3, 4, 5]
    assert await got(Handles(timeout=5)) == [0, 1, 2, 3, 4, 5]


async def test_a_group_that_fails_is_the_failure_of_its_item() -> None:
    """The others are worked on, and it is tried again."""
    assert await got(Fetch(on_error="collect")) == [0, 1, "ExceptionGroup", 3, 4, 5]
    assert await got(Fetch(on_error="skip")) == [0, 1, 3, 4, 5]
    assert await got(Fetch(max_retries=2)) == [0, 1, 2, 3, 4, 5]


class Numbers(Node[Any, Any]):
    def prep(self, shared: Any, /) -> Any:
        return range(6)


class Takes(Handles):
    def prep(self, shared: Any, /) -> Any:
        return None

    def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> None:
        shared["got"] = exec_res.results


@pytest.mark.parametrize("settings", [{}, {"max_workers": 1}, {"max_retries": 2}])
async def test_a_stage_goes_on_behind_it(settings: dict[str, Any]) -> None:
    """As a batch does."""
    assert await got(Numbers() | Takes(**settings)) == [0, 1, 2, 3, 4, 5]


class Swallows(Fetch):
    """Goes on although it was cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.after = asyncio.Event(), 0

    async def exec(self, item: Any, /) -> Any:
        if item > 2:
            self.after += 1
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await group_handled()


async def group_handled() -> None:
    try:
        await group()
    except* KeyError:
        pass


async def test_a_cancellation_that_is_swallowed_is_seen_all_the_same() -> None:
    """Also beside what a group leaves behind."""
    node = Swallows()
    node.max_workers = 3
    run = node.launch({})
    await node.begun.wait()
    await asyncio.sleep(0)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert node.after == 0
