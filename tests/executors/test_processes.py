"""exec in worker processes: results, errors, deaths, and none left behind."""

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kaygraph import (
    AttemptTimeoutError,
    Graph,
    Node,
    NodeDefinitionError,
    Outcome,
    Retry,
    RunReport,
    WorkerDiedError,
)
from tests.executors.failing import Each, Refused, Unloadable, Unread
from tests.executors.working import InProcess, ManyInProcess, PidOf, PidOfEach

pytestmark = pytest.mark.anyio


# --- processes ---


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def test_exec_in_processes_uses_no_more_of_them_than_workers() -> None:
    """An `async def` too; the processes are reused, and gone when the run ends."""
    shared: dict[str, Any] = {}
    await ManyInProcess(max_workers=2).run_async(shared)
    values, pids = zip(*shared["results"], strict=True)
    assert values == (0, 1, 4, 9, 16, 25)
    assert os.getpid() not in pids
    assert len(set(pids)) <= 2
    assert all(gone(pid) for pid in pids)


async def test_an_error_in_a_process_comes_back_with_its_class_and_its_traceback() -> None:
    """The class and the message are exec's; a note holds the traceback."""
    with pytest.raises(KeyError, match="lost") as caught:
        await InProcess().run_async({"item": ("raise", "lost")})
    assert any("raise KeyError(value)" in note for note in caught.value.__notes__)
    assert any("in node 'InProcess'" in note for note in caught.value.__notes__)


async def each_of(items: Sequence[Any], node: type[Each] = Each) -> list[Any]:
    """Return what one process makes of each item, an error in place of what failed."""
    shared: dict[str, Any] = {}
    async with asyncio.timeout(60):
        await node(items, max_workers=1).run_async(shared)
    return [one.error if isinstance(one, Outcome) else one for one in shared["results"]]


def whats_noted(error: BaseException) -> str:
    return "\n".join(getattr(error, "__notes__", ()))


async def test_item_that_cannot_be_unpickled_fails_alone() -> None:
    """With its own error; the process goes on, and the other items work."""
    failed, *others = await each_of([Refused(1, "x"), 2, 3, 4])
    assert others == [2, 3, 4]
    assert isinstance(failed, TypeError)
    assert "missing 1 required positional argument: 'text'" in str(failed)
    assert "while the item was unpickled in the process" in whats_noted(failed)
    assert "in node 'Each', item 0" in whats_noted(failed)


async def test_item_that_cannot_be_pickled_fails_alone() -> None:
    """Before it is sent: nothing of it reaches the process."""
    one, failed, two = await each_of([1, threading.Lock(), 2])
    assert (one, two) == (1, 2)
    assert isinstance(failed, TypeError)
    assert "while the item was pickled for a process" in whats_noted(failed)


async def test_result_that_does_not_travel_fails_alone() -> None:
    """Whether it cannot be pickled in the process or cannot be unpickled here."""
    one, lock, unloadable, two = await each_of([1, "lock", "unloadable", 2])
    assert (one, two) == (1, 2)
    assert isinstance(lock, TypeError)
    assert "while the result of exec was pickled in the process" in whats_noted(lock)
    assert isinstance(unloadable, ValueError)
    assert "while the result of exec was unpickled" in whats_noted(unloadable)
    item = (await each_of([Unloadable()]))[0]
    assert isinstance(item, ValueError)


async def test_large_item_and_result_come_whole() -> None:
    """More than a pipe takes at once, both ways."""
    large = b"x" * 3_000_000
    assert await each_of([large, "small", large]) == [large, "small", large]


async def test_node_that_cannot_be_unpickled_fails_with_its_own_error() -> None:
    """For each item, and not only for the first."""
    errors = await each_of([1, 2, 3], Unread)
    assert [str(error) for error in errors] == ["'no state'"] * 3
    assert all("while the node was unpickled" in whats_noted(error) for error in errors)


async def test_a_process_that_ends_in_the_middle_is_an_error_worth_another_attempt() -> None:
    """WorkerDiedError names the exit code; every attempt gets a fresh process."""
    with pytest.raises(WorkerDiedError, match="exit code 7") as caught:
        await InProcess(retry=Retry(attempts=2)).run_async({"item": ("exit", 7)})
    assert any("attempt 2 of 2" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("how", ["timeout", "cancel"])
async def test_a_process_is_killed(how: str, tmp_path: Path) -> None:
    """At its timeout, or when the run is cancelled: its pid is gone when the run has ended."""
    pipe = tmp_path / "pid"
    os.mkfifo(pipe)
    hang = InProcess(timeout=2 if how == "timeout" else None)
    graph = Graph(PidOf() >> hang)  # the process is there before the time is counted
    task = asyncio.create_task(graph.run_async({"item": ("hang", str(pipe))}))
    pid = int(await asyncio.to_thread(pipe.read_text))  # waits until exec runs in the process
    if how == "cancel":
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        with pytest.raises(AttemptTimeoutError) as caught:
            await task
        assert "cannot be stopped" not in str(caught.value)
    assert gone(pid)


async def test_a_node_that_cannot_be_pickled_is_refused_with_the_way_out() -> None:
    """What it holds cannot go to a process: the error says what to do."""
    node = InProcess()
    node.lock = threading.Lock()  # type: ignore[attr-defined]
    with pytest.raises(NodeDefinitionError, match=r"make what cannot be pickled in exec\(\)"):
        await node.run_async({"item": ("square", 3)})


async def test_a_process_that_is_cancelled_at_once_leaves_nothing() -> None:
    """Cancelled before it has started, it does not start later."""
    before = threading.active_count()
    task = asyncio.create_task(InProcess().run_async({"item": ("square", 3)}))
    for _ in range(4):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert threading.active_count() == before


class EndsThat(Node[Any, Any]):
    """Kills the process noted last, and waits until it is gone."""

    def prep(self, shared: Any) -> int:
        return int(shared["pids"][-1])

    def exec(self, pid: int) -> None:
        child = next(c for c in multiprocessing.active_children() if c.pid == pid)
        os.kill(pid, signal.SIGKILL)
        child.join()


async def test_process_that_died_idle_is_replaced() -> None:
    """It had no item in flight, so no item has to fail for it."""
    shared: dict[str, Any] = {}
    await Graph(PidOf(name="a") >> EndsThat() >> PidOf(name="b")).run_async(shared)
    assert len(set(shared["pids"])) == 2


async def test_the_start_of_a_process_is_no_time_in_exec() -> None:
    """An outcome and a report have it apart; the second item finds the process there."""
    report = RunReport()
    node = PidOfEach(max_workers=1, on_error="collect")
    seconds = [outcome.seconds async for outcome in node.stream({}, observers=[report])]
    figures = report.nodes["PidOfEach"]
    assert sum(seconds) == pytest.approx(figures.work_s)
    assert figures.start_s > 5 * max(seconds)
    assert figures.start_s + figures.work_s <= report.wall_s
