"""Tasks that end together: gather, outlast, stop."""

import asyncio
import contextlib
import gc
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from kaygraph.aio.tasks import Gathering, current_task, errors_of, gather, outlast, stop

pytestmark = pytest.mark.anyio


async def forever(started: asyncio.Event, ended: list[str], name: str = "forever") -> None:
    try:
        started.set()
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)
        ended.append(name)


async def fail(error: BaseException, when: asyncio.Event | None = None) -> None:
    if when is not None:
        await when.wait()
    raise error


async def fail_to_clean_up(started: asyncio.Event) -> None:
    try:
        started.set()
        await asyncio.Event().wait()
    finally:
        raise KeyError("cleanup")


async def give(value: int, turns: int = 0) -> int:
    for _ in range(turns):
        await asyncio.sleep(0)
    return value


async def test_gather_returns_results_in_order() -> None:
    """Results stand where their coroutines stood, whichever ended first."""
    assert await gather(give(number, turns=5 - number) for number in range(5)) == [0, 1, 2, 3, 4]


async def test_gather_of_nothing_is_an_empty_list() -> None:
    """No coroutines, no results, no waiting."""
    assert await gather([]) == []


async def test_one_failure_cancels_the_siblings_and_waits_for_them() -> None:
    """When gather raises, every sibling has been cancelled and its finally has run."""
    started, ended = asyncio.Event(), list[str]()
    before = asyncio.all_tasks()
    with pytest.raises(ValueError, match="first"):
        await gather([forever(started, ended), fail(ValueError("first"), started)])
    assert ended == ["forever"]
    assert asyncio.all_tasks() == before


async def test_a_task_may_add_others_which_end_with_the_rest() -> None:
    """The wait lasts until those that were added have ended; a failure of one cancels all."""
    gathering, ended = Gathering[None](), list[str]()

    async def add(number: int) -> None:
        if number:
            gathering.add(add(number - 1))
        await asyncio.sleep(0)
        ended.append(str(number))

    gathering.add(add(3))
    await gathering.ended()
    assert ended == ["3", "2", "1", "0"]
    started = asyncio.Event()
    gathering = Gathering()
    gathering.add(forever(started, ended))

    async def add_a_failure() -> None:
        gathering.add(fail(ValueError("added"), started))

    gathering.add(add_a_failure())
    with pytest.raises(ValueError, match="added"):
        await gathering.ended()
    assert ended[-1] == "forever"


async def test_several_failures_are_a_group_that_keeps_all() -> None:
    """Errors of the same step are all there, in the coroutines' order."""
    errors = [ValueError("a"), KeyError("b"), OSError("c")]
    with pytest.raises(ExceptionGroup) as caught:
        await gather(map(fail, errors))
    assert caught.value.exceptions == tuple(errors)


async def test_a_failure_while_being_cancelled_is_kept() -> None:
    """A sibling whose cleanup fails is in the group with the first error."""
    started = asyncio.Event()
    with pytest.raises(ExceptionGroup) as caught:
        await gather([fail_to_clean_up(started), fail(ValueError("first"), started)])
    assert [type(error) for error in caught.value.exceptions] == [KeyError, ValueError]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="a task begins on the loop")
@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
async def test_what_ends_the_program_at_once_comes_when_the_siblings_have_ended(
    error: BaseException,
) -> None:
    """As any other failure; nothing else begins."""
    started, ended = asyncio.Event(), list[str]()
    gathering = Gathering[object]()
    works = iter([give(1), forever(started, ended), fail(error), last := give(2)])
    assert len(gathering.add_all(works, at_once=True)) == 3
    assert started.is_set()
    with pytest.raises(type(error)):
        await gathering.ended()
    assert ended == ["forever"]
    last.close()


async def test_cancelling_gather_cancels_and_waits_for_all() -> None:
    """A cancelled gather ends as cancelled, after every finally."""
    started, ended = asyncio.Event(), list[str]()
    task = asyncio.create_task(gather([forever(started, ended, name) for name in "ab"]))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(ended) == ["a", "b"]


async def test_an_error_during_a_cancellation_does_not_replace_it() -> None:
    """What failed while being cancelled is the cause of the CancelledError."""
    started = asyncio.Event()
    task = asyncio.create_task(gather([fail_to_clean_up(started)]))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert isinstance(caught.value.__cause__, BaseExceptionGroup)
    assert [type(error) for error in caught.value.__cause__.exceptions] == [KeyError]


async def test_a_child_that_cancels_itself_cancels_all() -> None:
    """A CancelledError of a child's own is neither swallowed nor an error of the group."""
    started, ended = asyncio.Event(), list[str]()
    with pytest.raises(asyncio.CancelledError):
        await gather([forever(started, ended), fail(asyncio.CancelledError(), started)])
    assert ended == ["forever"]


async def test_a_failure_knows_nothing_of_a_cancellation_that_came_later() -> None:
    """Each would hold the other, until the garbage collector comes."""
    failure, stopping = ValueError("first"), asyncio.Event()

    async def cleans_up() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopping.set()
            await asyncio.sleep(0)

    task = asyncio.create_task(gather([cleans_up(), fail(failure)]))
    await stopping.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as raised:
        await task
    assert isinstance(raised.value.__cause__, ExceptionGroup)
    assert raised.value.__cause__.exceptions == (failure,)
    assert failure.__context__ is None


async def test_a_second_cancel_does_not_leave_a_child_behind() -> None:
    """Cancelled again while it waits for the children, gather still waits for them."""

    async def stubborn() -> None:
        try:
            started.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cleaning.set()
            while not may_end.is_set():
                try:
                    await may_end.wait()
                except asyncio.CancelledError:
                    again.append("cancelled")
            ended.append("stubborn")
            raise

    started, cleaning, may_end = asyncio.Event(), asyncio.Event(), asyncio.Event()
    ended, again = list[str](), list[str]()
    task = asyncio.create_task(gather([stubborn(), fail(ValueError(), started)]))
    await cleaning.wait()
    task.cancel()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not task.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["stubborn"]


async def test_outlast_waits_through_cancellations_and_lets_them_through_after() -> None:
    """The waiter stays until the future is done, however often it is cancelled."""
    future = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(outlast([future]))
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
    future.set_result(None)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_outlast_of_what_is_done_does_not_suspend() -> None:
    """Nothing to wait for costs no turn of the loop."""
    future = asyncio.get_running_loop().create_future()
    future.set_result(None)
    with pytest.raises(StopIteration):
        outlast([future]).send(None)


async def test_stop_returns_when_every_finally_has_run() -> None:
    """Stopped tasks have ended; tasks that were done stay as they were."""
    started, ended = asyncio.Event(), list[str]()
    running = asyncio.create_task(forever(started, ended))
    done = asyncio.create_task(give(7))
    await started.wait()
    await done
    await stop([running, done])
    assert ended == ["forever"]
    assert done.result() == 7


async def test_errors_of_leaves_cancellations_out() -> None:
    """Only errors, in the tasks' order."""
    error = ValueError()
    tasks = [asyncio.create_task(give(1)), asyncio.create_task(fail(error))]
    tasks.append(asyncio.create_task(fail(asyncio.CancelledError())))
    await asyncio.wait(tasks)
    assert errors_of(tasks) == [error]


async def test_a_failed_gather_keeps_nothing_alive() -> None:
    """Once its errors are handled, no cycle keeps what the tasks held until the collector comes."""

    class Witness:
        pass

    async def work() -> None:
        witness = Witness()
        seen.append(weakref.ref(witness))
        await asyncio.sleep(0)
        raise ValueError

    async def handled() -> None:
        with contextlib.suppress(ExceptionGroup):
            await gather([work(), work()])

    seen: list[weakref.ref[Witness]] = []
    gc.disable()
    try:
        await handled()
        await asyncio.sleep(0)
        assert [ref() for ref in seen] == [None, None]
    finally:
        gc.enable()


async def test_the_current_task_is_that_of_this_thread_and_loop() -> None:
    """Also while other threads run tasks, and in a loop within a loop."""

    async def asked() -> bool:
        return current_task() is asyncio.current_task()

    async def held() -> bool:
        there.set()
        gone.wait(10)  # a task that runs, and blocks its loop
        return await asked()

    there, gone = threading.Event(), threading.Event()
    assert await asked()
    with ThreadPoolExecutor(1) as threads:
        other = threads.submit(asyncio.run, held())
        there.wait(10)
        assert await asked()
        gone.set()
        assert other.result()
    running = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        assert asyncio.run(asked())
    finally:
        asyncio._set_running_loop(running)
    assert await asked()
