"""Worker processes under a memory limit: killed at it, replaced, and none left behind."""

import asyncio
import errno
import mmap
import multiprocessing
import os
import sys
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import pytest

from kaygraph import Node, NodeDefinitionError
from kaygraph._validation import check_memory, human
from kaygraph.errors import MemoryLimitError, WorkerDiedError
from kaygraph.executors import memory, worker_process
from kaygraph.executors.memory import resident
from kaygraph.executors.process import ProcessPool
from kaygraph.limits.slots import Slot
from tests.executors.working import END, MB, Heavy, Works

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.proofs,  # each test starts processes
    pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc to see by"),
]

LIMIT = 150 * MB
SLACK = 100 * MB  # what may be filled between two looks on a busy machine


class Runner:
    """A pool, and a node that its calls are for."""

    def __init__(self, pool: ProcessPool) -> None:
        self.pool = pool
        self.node: Node[Any, Any] = Works()

    async def __call__(self, kind: str, value: Any = None, limit: int | None = LIMIT) -> Any:
        return await self.pool.call(self.node, (kind, value), {}, 1, limit)


@pytest.fixture
def threads() -> Any:
    with ThreadPoolExecutor(8) as executor:
        yield executor


@pytest.fixture
async def run(threads: ThreadPoolExecutor) -> AsyncIterator[Runner]:
    """A pool whose processes are gone when the test is over, without exception."""
    resource_tracker.ensure_running()  # Python's own: it stays, with its descriptor
    before = len(os.listdir("/proc/self/fd"))
    pool = ProcessPool(threads)
    yield Runner(pool)
    await pool.close()
    assert not children()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.fixture
def notes(tmp_path: Path) -> str:
    path = tmp_path / "notes"
    path.write_bytes(b"")
    return str(path)


def children() -> set[int]:
    """Return the processes of this one, also those that have ended and nobody has waited for.

    The trackers of shared memory, Python's and loky's, stay.
    """
    tasks = Path("/proc/self/task").glob("*/children")
    pids = {int(pid) for task in tasks for pid in task.read_text().split()}
    return {pid for pid in pids if b"resource_tracker" not in command_of(pid)}


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""


def reached(notes: str) -> int:
    """Return how many bytes an item has held at least."""
    return int(Path(notes).read_text()) * MB


# --- past the limit ---


@pytest.mark.parametrize("kind", ["grow", "grow shared"])
async def test_process_that_grows_is_killed_near_its_limit(
    run: Runner, notes: str, kind: str
) -> None:
    """Private memory or shared: it does not get further than the limit and some slack."""
    with pytest.raises(MemoryLimitError):
        await run(kind, notes)
    assert reached(notes) < LIMIT + SLACK
    assert not children()


async def test_error_says_what_was_held_and_what_to_do(run: Runner, notes: str) -> None:
    """It names the process, what it held and the limit in units of people."""
    pid = await run("pid")
    with pytest.raises(MemoryLimitError) as caught:
        await run("grow shared", notes)
    text = str(caught.value)
    assert text.startswith(f"the worker process {pid} grew to ")
    assert text.endswith(
        "past memory_limit=150 MB, and was killed. Raise memory_limit, or give exec smaller items"
    )
    assert isinstance(caught.value, WorkerDiedError)


@pytest.mark.parametrize(
    "item", [("reserve", END), pytest.param(("map", END), marks=pytest.mark.proofs)]
)
async def test_single_huge_request_is_refused(run: Runner, item: Any) -> None:
    """Memory that is not touched is not held, and yet asking for so much is the mistake."""
    pid = await run("pid")
    with pytest.raises(MemoryLimitError, match=rf"process {pid} holds [\d.]+ MB and asked") as e:
        await run(*item)
    assert any("Traceback" in note for note in e.value.__cause__.__notes__)  # type: ignore[union-attr]
    assert await run("pid") != pid


@pytest.mark.parametrize(
    "item",
    [
        ("refuse", 3),
        pytest.param(("raise", MemoryError("full")), marks=pytest.mark.proofs),
        pytest.param(("raise", OSError(errno.ENOMEM, "full")), marks=pytest.mark.proofs),
    ],
)
async def test_out_of_memory_under_a_limit_is_the_limit(run: Runner, item: Any) -> None:
    """However the request was refused, and whatever the error is."""
    pid = await run("pid")
    with pytest.raises(MemoryLimitError, match="memory_limit=150 MB"):
        await run(*item)
    assert await run("pid") != pid


async def test_out_of_memory_without_a_limit_is_an_error_like_any_other(run: Runner) -> None:
    """It comes as it was raised, and the process goes on."""
    pid = await run("pid", limit=None)
    with pytest.raises(MemoryError, match="full") as caught:
        await run("raise", MemoryError("full"), limit=None)
    assert not isinstance(caught.value, MemoryLimitError)
    assert await run("pid", limit=None) == pid


async def test_other_errors_under_a_limit_are_as_they_were_raised(run: Runner) -> None:
    """A KeyError is no matter of memory, and the process goes on."""
    pid = await run("pid")
    with pytest.raises(KeyError, match="lost"):
        await run("raise", KeyError("lost"))
    assert await run("pid") == pid


async def test_other_items_succeed_next_to_those_that_grow(run: Runner, tmp_path: Path) -> None:
    """Two of six, two at once: four results, two errors, at most two processes."""
    many = asyncio.Semaphore(2)

    async def work(number: int) -> Any:
        async with many:
            if number % 3:
                return await run("square", number)
            path = tmp_path / str(number)
            path.write_bytes(b"")
            return await run("grow", str(path))

    results = await asyncio.gather(*map(work, range(6)), return_exceptions=True)
    for number, result in enumerate(results):
        if number % 3:
            assert result == number * number
        else:
            assert isinstance(result, MemoryLimitError)
    assert 1 <= len(children()) <= 2


# --- not past the limit ---


async def test_limit_is_that_of_the_call(run: Runner) -> None:
    """One process, three calls: 100 MB do not fit into 80, do into 200, and 300 do into none."""
    pid = await run("pid", limit=80 * MB)
    assert await run("fill", 100 * MB, limit=200 * MB) == 100 * MB
    assert await run("fill", 300 * MB, limit=None) == 300 * MB
    assert await run("pid", limit=80 * MB) == pid
    with pytest.raises(MemoryLimitError):
        await run("fill", 100 * MB, limit=80 * MB)


async def test_memory_of_this_process_is_not_charged(run: Runner) -> None:
    """A process that has just been made is not taken for its parent."""
    ballast = b"x" * (2 * LIMIT)
    results = await asyncio.gather(*(run("square", number) for number in range(2)))
    assert results == [0, 1]
    assert resident() > len(ballast)


# --- what earlier items leave ---


async def test_garbage_of_one_item_is_not_charged_to_the_next(run: Runner) -> None:
    """100 of 150 MB are left: the next item gets a fresh process, and all the room."""
    pid = await run("leave", 100 * MB)
    assert await run("fill", 100 * MB) == 100 * MB
    assert await run("pid") != pid
    assert len(children()) == 1


async def test_process_with_little_garbage_is_kept(run: Runner) -> None:
    """Less than half of the room is no reason to start another."""
    pid = await run("leave", 20 * MB)
    assert await run("leave", 20 * MB) == pid
    assert await run("pid") == pid


@pytest.mark.proofs
async def test_garbage_does_not_matter_without_a_limit(run: Runner) -> None:
    """The process is kept for items that have none, and replaced for one that has."""
    pid = await run("leave", 100 * MB, limit=None)
    assert await run("pid", limit=None) == pid
    assert await run("pid") != pid


async def test_what_a_process_needs_by_itself_is_not_garbage(run: Runner) -> None:
    """A fresh one would be no better: it is kept, though it idles far above half of the limit."""
    run.node = Heavy()
    held = await run("held")
    assert held > LIMIT / 2
    assert len({await run("pid") for _ in range(3)}) == 1
    assert await run("reserve", LIMIT - 50 * MB) == LIMIT - 50 * MB
    run.node = Works()
    assert await run("pid") in children()


# --- ends ---


async def test_cancelled_call_under_a_limit_kills_its_process(run: Runner, tmp_path: Path) -> None:
    """While its memory is being watched; the pid is gone when the cancellation is through."""
    pipe = tmp_path / "pid"
    os.mkfifo(pipe)
    task = asyncio.create_task(run("hang", str(pipe)))
    pid = int(await asyncio.to_thread(pipe.read_text))  # waits until exec runs in the process
    assert children() == {pid}
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not children()


@pytest.mark.proofs
async def test_call_that_is_cancelled_while_a_process_is_replaced_leaves_none(
    run: Runner,
) -> None:
    """Neither the full one nor the fresh one."""
    for steps in range(4):
        await run("leave", 100 * MB)
        task = asyncio.create_task(run("pid"))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        if steps:  # else the call has not begun, and the process is idle
            assert not children()


async def test_call_that_is_cancelled_as_it_is_answered_leaves_no_process() -> None:
    """The answer is there, the loop has not seen it: somebody still waits for the process."""
    with ThreadPoolExecutor(1) as threads:
        pool = ProcessPool(threads)
        task = asyncio.create_task(pool.call(Works(), ("square", 3), {}, 1))
        await asyncio.sleep(0)
        threads.submit(int).result()  # holds the loop until the only thread is done with the call
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not children()
        await pool.close()


async def test_call_that_is_cancelled_before_a_thread_takes_it_starts_no_process(
    tmp_path: Path,
) -> None:
    """Nobody would be left to end it: the item would run to its end."""
    with ThreadPoolExecutor(1) as threads:
        pool, busy = ProcessPool(threads), threading.Event()
        threads.submit(busy.wait)
        task = asyncio.create_task(pool.call(Works(), ("hang", str(tmp_path / "pid")), {}, 1))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        busy.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not children()
        await pool.close()


async def test_process_that_does_not_leave_is_killed(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that exec has left running does not keep the run from ending."""
    monkeypatch.setattr(worker_process, "LEAVE_S", 0.1)
    pid = await run("leave a thread")
    assert children() == {pid}
    await run.pool.close()
    assert not children()


@pytest.mark.proofs
async def test_many_processes_past_their_limit_leave_nothing(run: Runner) -> None:
    """Ten that were refused, one by one: no process, and (see the fixture) no descriptor."""
    for _ in range(10):
        with pytest.raises(MemoryLimitError):
            await run("reserve", END)
        assert not children()
    assert not multiprocessing.active_children()


async def test_limit_without_a_way_to_see_is_refused(
    run: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No silent promise: the first call says what is missing; without a limit all is well."""
    monkeypatch.setattr(memory, "PROC", str(tmp_path))
    with pytest.raises(NodeDefinitionError, match=r"memory_limit needs Linux's .* Leave"):
        await run("square", 3)
    monkeypatch.undo()
    assert not children()
    assert await run("square", 3, limit=None) == 9


# --- sizes ---


def test_memory_is_counted_when_it_is_used() -> None:
    """Not when it is asked for; and none is counted of a process that is gone."""
    before = resident()
    with mmap.mmap(-1, 100 * MB) as room:
        assert resident() - before < 20 * MB
        room.write(b"x" * (100 * MB))
        assert 100 * MB <= resident() - before + 20 * MB < 150 * MB
    gone = multiprocessing.get_context("fork").Process()
    gone.start()
    gone.join()
    assert resident(gone.pid) == 0


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (None, None),
        (1_000_000, 1_000_000),
        (2**70, 2**70),
        ("512 MB", 512_000_000),
        ("512MB", 512_000_000),
        (" 512 mb ", 512_000_000),
        ("1000 KB", 1_000_000),
        ("2GB", 2_000_000_000),
        ("1.5 GB", 1_500_000_000),
        ("1.1 GB", 1_100_000_000),
        ("256 MiB", 268_435_456),
        ("1024 KiB", 1_048_576),
        ("2 GiB", 2_147_483_648),
    ],
)
def test_size_is_read(value: Any, size: int | None) -> None:
    """Bytes, or a number and a unit."""
    assert check_memory("memory_limit", value) == size


@pytest.mark.parametrize(
    "value",
    [
        True, 1e9, "512", "MB", "", "512 M", "512 Mb/s", "-1 GB", "1e3 MB", "nan GB", "\u0661 GB",
        "1_000 MB", "1 000 MB", "9" * 5000 + " GB", b"512 MB", [512], 5.0,
    ],
)  # fmt: skip
def test_what_is_no_size_is_refused_with_what_to_type(value: Any) -> None:
    """The error gives two examples and what it got."""
    with pytest.raises(ValueError, match=r"m must be a size such as '512 MB' or '2 GiB', or a "):
        check_memory("m", value)


@pytest.mark.parametrize("value", [0, -5, 512, 999_999, "0 GB", "999 KB", "0.5 MB"])
def test_size_that_is_too_small_is_refused(value: Any) -> None:
    """Someone who types 512 has meant megabytes."""
    with pytest.raises(ValueError, match=r"m must be at least '1 MB' \(a number is bytes\), got"):
        check_memory("m", value)


@pytest.mark.parametrize(
    ("size", "text"),
    [(512 * MB, "512 MB"), (1 << 28, "268.4 MB"), (1500 * MB, "1.5 GB"), (4096, "4.096 KB")],
)
def test_size_is_shown_in_a_unit_that_suits_it(size: int, text: str) -> None:
    """Four digits at most."""
    assert human(size) == text


async def test_peak_of_a_process_is_its_own(run: Runner) -> None:
    """Linux hands down ``ru_maxrss`` to a process from the one that starts it."""
    ballast = b"x" * (200 * MB)
    slot = Slot(())
    await run.pool.call(run.node, ("fill", 30 * MB), {}, 1, slot=slot, measures=True)
    assert 30 * MB < slot.usage.memory < 150 * MB
    assert slot.usage.cpu_s > 0
    del ballast


async def test_limit_beyond_all_memory_is_none(run: Runner) -> None:
    """A number that no system could hold is no reason to fail."""
    assert await run("square", 3, limit=2**70) == 9


async def test_process_works_where_there_is_no_memory_to_see(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, which has no os.sysconf either: nothing is asked for that is not there."""
    monkeypatch.setattr(memory, "PROC", "/nowhere")
    monkeypatch.delattr(os, "sysconf")
    assert resident() == 0
    assert await run("square", 3, limit=None) == 9
