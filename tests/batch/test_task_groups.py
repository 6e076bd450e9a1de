"""``exec`` with an ``asyncio.TaskGroup`` of its own that fails."""

import asyncio
from typing import Any

import pytest

from kaygraph import AsyncNode, BatchNode, Graph, Node, Outcome, ParallelBatchNode

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


async def got(node: Any, **settings: Any) -> Any:
    """Return the results of a run in a task of its own, which nobody else cancels."""
    shared: dict[str, Any] = {}
    await asyncio.wait_for(Graph(node, **settings).launch(shared), 20)
    return shared["got"]


async def got_here(node: Any, **settings: Any) -> Any:
    """Return the results of a run in the task of its caller, which others may cancel."""
    shared: dict[str, Any] = {}
    async with asyncio.timeout(20):
        await Graph(node, **settings).run_async(shared)
    return shared["got"]


async def got_in_thread(node: Any, **settings: Any) -> Any:
    """Return the results of a ``run()``."""
    shared: dict[str, Any] = {}
    await asyncio.to_thread(Graph(node, **settings).run, shared)
    return shared["got"]


class OneByOne(Handles, BatchNode[Any, Any]):
    """Works on its items in the task of the node."""

    max_workers = 1


class FetchOneByOne(Fetch, BatchNode[Any, Any]):
    max_workers = 1


@pytest.mark.parametrize(("kind", "way"), [
    (Handles, got), (Handles, got_here), (Handles, got_in_thread),
    (OneByOne, got), (OneByOne, got_in_thread),
])  # fmt: skip
@pytest.mark.parametrize("settings", [{}, {"max_retries": 2}, {"timeout": 5}, {"deadline": 5}])
@pytest.mark.parametrize("around", [{}, {"deadline": 20}])
async def test_a_group_whose_failure_is_handled_does_not_end_the_run(
    kind: Any, way: Any, settings: dict[str, Any], around: dict[str, Any]
) -> None:
    """What it leaves behind in the task, before Python 3.13, is not a cancellation."""
    assert await way(kind(**settings), **around) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("kind", [Fetch, FetchOneByOne])
@pytest.mark.parametrize("way", [got, got_here, got_in_thread])
@pytest.mark.parametrize("limits", [{}, {"timeout": 5}, {"deadline": 5}])
async def test_a_group_that_fails_is_the_failure_of_its_item(
    kind: Any, way: Any, limits: dict[str, Any]
) -> None:
    """The others are worked on, and it is tried again."""
    assert await way(kind(on_error="collect", **limits)) == [0, 1, "ExceptionGroup", 3, 4, 5]
    assert await way(kind(on_error="skip", **limits)) == [0, 1, 3, 4, 5]
    assert await way(kind(max_retries=2, **limits), deadline=20) == [0, 1, 2, 3, 4, 5]


class Agent(AsyncNode[Any, Any]):
    """Goes on in a loop, with a group that fails in each round."""

    handles = True

    async def exec(self, prep_res: Any, /) -> Any:
        if self.handles:
            await group_handled()
        else:
            await group()
        return "done"

    def exec_fallback(self, prep_res: Any, error: Exception, /) -> Any:
        return type(error).__name__

    def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> Any:
        shared.setdefault("got", []).append(exec_res)
        return "again" if len(shared["got"]) < 3 else "end"


class Fails(Agent):
    handles = False


class End(Node[Any, Any]):
    pass


def looped(agent: Agent) -> Agent:
    agent - "again" >> agent
    agent - "end" >> End()
    return agent


@pytest.mark.parametrize("way", [got, got_in_thread])
async def test_a_loop_goes_on_behind_a_group_whose_failure_is_handled(way: Any) -> None:
    """Also within the deadline of its graph."""
    assert await way(looped(Agent())) == ["done"] * 3
    assert await way(looped(Agent()), deadline=20) == ["done"] * 3


@pytest.mark.parametrize("way", [got, got_here, got_in_thread])
async def test_a_node_whose_group_fails_is_tried_again_and_falls_back(way: Any) -> None:
    """As after any other failure."""
    assert await way(looped(Fails(max_retries=2))) == ["ExceptionGroup"] * 3
    assert await way(looped(Fails()), deadline=20) == ["ExceptionGroup"] * 3


class Routed(Agent):
    """Its failure has a route of its own."""

    async def exec(self, prep_res: Any, /) -> Any:
        await group()

    exec_fallback = AsyncNode.exec_fallback


class Takes(Node[Any, Any]):
    def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> None:
        shared["got"] = type(self.error).__name__


@pytest.mark.parametrize("way", [got, got_here, got_in_thread])
async def test_the_failure_of_a_group_takes_the_route_of_errors(way: Any) -> None:
    """It would not after a cancellation."""
    routed = Routed()
    routed - "error" >> Takes()
    assert await way(routed) == "ExceptionGroup"
    assert await way(routed, deadline=20) == "ExceptionGroup"


class Numbers(Node[Any, Any]):
    def prep(self, shared: Any, /) -> Any:
        return range(6)


class Collects(Handles):
    def prep(self, shared: Any, /) -> Any:
        return None

    def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> None:
        shared["got"] = exec_res.results


@pytest.mark.parametrize("settings", [{}, {"max_workers": 1}, {"max_retries": 2}])
async def test_a_stage_goes_on_behind_it(settings: dict[str, Any]) -> None:
    """As a batch does."""
    assert await got(Numbers() | Collects(**settings)) == [0, 1, 2, 3, 4, 5]


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
    """Also in addition to what a group leaves behind."""
    node = Swallows()
    node.max_workers = 3
    run = node.launch({})
    await node.begun.wait()
    await asyncio.sleep(0)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert node.after == 0
