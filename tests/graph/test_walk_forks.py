"""How the branches of a fork begin: in their order, each in a task, and not behind a cancellation.

From Python 3.12 on they take their first step where the walk forks; all this holds there as well.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from typing import Any

import pytest

from kaygraph import AsyncNode, Graph
from tests.oracle import Trace, Visit, visits

pytestmark = pytest.mark.anyio

# A first walk is checked for conflicting writes: its branches begin as on Python 3.11.
unchecked = partial(Graph, on_conflict="ignore")

WHO: ContextVar[str] = ContextVar("who", default="nobody")


class Notes(AsyncNode):
    """Notes that it has begun, calls something, and notes that it has ended."""

    def __init__(self, name: str, call: Callable[[], object] = lambda: None) -> None:
        super().__init__(name=name)
        self.call = call

    def prep(self, shared: Any) -> Any:
        shared.append(self.name)
        return shared

    async def exec(self, noted: Any) -> None:
        try:
            self.call()
            await self.work()
        finally:
            noted.append(f"{self.name} over")

    async def work(self) -> None:
        pass


class Waits(Notes):
    """Is not done before it is cancelled."""

    async def work(self) -> None:
        await asyncio.Event().wait()


def failing(error: BaseException) -> Callable[[], object]:
    def fail() -> None:
        raise error

    return fail


async def test_each_branch_has_a_task_and_a_context_of_its_own() -> None:
    """What one sets before it first suspends is not seen by the next, nor behind the fork."""
    tasks, seen = set[Any](), list[str]()

    def look() -> None:
        seen.append(WHO.get())
        tasks.add(asyncio.current_task())
        WHO.set("a branch")

    branches = [Notes(name, look) for name in "abc"]
    await unchecked(branches >> Notes("end", look)).run_async([])
    assert seen == ["nobody"] * 4
    assert len(tasks) == 4


async def test_a_loop_with_a_task_factory_has_it_make_the_tasks() -> None:
    """Code that counts, names or traces tasks sees those of branches too."""
    made: list[asyncio.Task[Any]] = []

    def factory(loop: Any, work: Any, **options: Any) -> Any:
        made.append(asyncio.Task(work, loop=loop, **options))
        return made[-1]

    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory)
    try:
        await unchecked([Notes("a"), Notes("b")]).run_async([])
    finally:
        loop.set_task_factory(None)
    assert len(made) == 2


async def test_a_branch_that_fails_at_once_does_not_keep_the_others_from_beginning() -> None:
    """All begin, in their order; those that wait are cancelled, and then it is raised."""
    noted: list[str] = []
    failed = Notes("a", failing(ValueError("a")))
    with pytest.raises(ValueError, match="a"):
        await unchecked([failed, Waits("b"), Notes("c")]).run_async(noted)
    assert noted == ["a", "a over", "b", "c", "c over", "b over"]


async def test_all_that_fail_at_once_are_raised_together() -> None:
    """As a group, in the order of the branches."""
    failed = [Notes(name, failing(ValueError(name))) for name in "abc"]
    with pytest.raises(ExceptionGroup) as raised:
        await unchecked(failed).run_async([])
    assert [str(error) for error in raised.value.exceptions] == ["a", "b", "c"]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_a_branch_that_ends_the_program_ends_its_siblings(error: BaseException) -> None:
    """Those that have begun are cancelled, and no other branch begins."""
    noted: list[str] = []
    graph = unchecked(Notes("a") >> [Waits("b"), Notes("c", failing(error)), Notes("d")])
    with pytest.raises(type(error)):
        graph.run(noted)
    assert noted == ["a", "a over", "b", "c", "c over", "b over"]


@pytest.mark.parametrize("others", [[Notes("c")], [Notes("c", failing(ValueError()))]])
async def test_a_walk_that_a_branch_cancels_does_not_go_on_behind_the_fork(others: Any) -> None:
    """Also where no branch has suspended: it ends as cancelled, whatever has failed."""
    noted: list[str] = []
    task: asyncio.Task[Any]
    graph = unchecked([Notes("b", lambda: task.cancel()), *others] >> Notes("d"))
    task = asyncio.create_task(graph.run_async(noted))
    with suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert "d" not in noted


async def test_the_loop_has_a_turn_at_each_fork() -> None:
    """Others go on during a thousand forks of nodes that never suspend."""
    last = Visit("c", *["again"] * 1000)
    first, b, d = visits("abd")
    first >> [b, d] >> last - "again" >> first
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    background = asyncio.create_task(others())
    await unchecked(first).run_async(Trace())
    background.cancel()
    assert turns >= 1000


async def test_forks_within_each_other_are_not_on_one_stack() -> None:
    """300 graphs in each other, each of which forks, and 300 forks one in the other."""
    inner: Any = Notes("inner")
    for _ in range(300):
        inner = unchecked([inner, Notes("background")])
    first: Any = Notes("last")
    for number in range(300):
        following, first = first, Notes(f"fork {number}")
        first >> [following, Notes(f"next to {number}")]
    noted: list[str] = []
    await unchecked([inner, first]).run_async(noted)
    assert {"inner over", "last over"} <= set(noted)
