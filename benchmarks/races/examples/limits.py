"""Examples of limits: aiojobs, aiolimiter, aiometer and throttler."""

import asyncio
from functools import partial
from typing import Any

from benchmarks.races.examples.documented import (
    MS,
    Inside,
    cancelled,
    ends,
    example,
    most_within,
)

# --- aiolimiter ---------------------------------------------------------------------------------


@example("aiolimiter")
async def entries_leak_at_the_rate(aiolimiter: Any) -> None:
    """A leaky bucket: in any time there are no more than its capacity, and what has leaked."""
    limiter, inside = aiolimiter.AsyncLimiter(4, 0.1), Inside()

    async def enter() -> None:
        async with limiter:
            await inside.visit()

    await ends(enter() for _ in range(12))
    for seconds in (0.02, 0.1, 0.15):
        assert most_within(inside.times, seconds) <= 4 + 4 / 0.1 * seconds + 1


@example("aiolimiter")
async def entries_in_a_period(aiolimiter: Any) -> None:
    """The README: a block is entered at most 100 times in a period of 30 s (4 in 0.1 s here)."""
    limiter, inside = aiolimiter.AsyncLimiter(4, 0.1), Inside()

    async def enter() -> None:
        async with limiter:
            await inside.visit()

    await ends(enter() for _ in range(12))
    entered = most_within(inside.times, 0.1)
    assert entered <= 4, f"{entered} entries"


@example("aiolimiter")
async def a_waiter_of_the_bucket_is_cancelled(aiolimiter: Any) -> None:
    """The next in line gets its turn when one that waits is cancelled."""
    limiter, inside = aiolimiter.AsyncLimiter(2, 0.1), Inside()

    async def enter() -> None:
        async with limiter:
            await inside.visit()

    tasks = [asyncio.create_task(enter()) for _ in range(5)]
    await cancelled(tasks[2], 50 * MS)  # when it would have had its turn
    await ends(asyncio.wait_for(task, 0.5) for task in tasks if task is not tasks[2])


# --- throttler ----------------------------------------------------------------------------------


@example("throttler")
async def entries_are_throttled(throttler: Any) -> None:
    """Throttler(rate_limit=3, period=…): a block is entered at most three times in a period."""
    limit, inside = throttler.Throttler(rate_limit=3, period=0.1), Inside()
    await asyncio.sleep(1)

    async def enter() -> None:
        async with limit:
            await inside.visit()

    await ends(enter() for _ in range(8))
    assert most_within(inside.times, 0.1) <= 3


@example("throttler")
async def no_more_at_once(throttler: Any) -> None:
    """ThrottlerSimultaneous(count=2): two at once, also after one that waits is cancelled."""
    limit, inside = throttler.ThrottlerSimultaneous(count=2), Inside()

    async def enter() -> None:
        async with limit:
            await inside.visit()

    tasks = [asyncio.create_task(enter()) for _ in range(5)]
    await cancelled(tasks[2], 5 * MS)
    await ends(asyncio.wait_for(task, 1) for task in tasks if task is not tasks[2])
    await ends(enter() for _ in range(4))
    assert inside.most <= 2


@example("throttler")
async def a_decorated_function_is_limited(throttler: Any) -> None:
    """@throttle_simultaneous(count=2): no more than two calls run, whatever becomes of one."""
    inside = Inside()

    @throttler.throttle_simultaneous(count=2)
    async def work(fails: bool) -> None:
        await inside.visit()
        if fails:
            raise OSError

    ended = await asyncio.gather(*(work(n == 0) for n in range(5)), return_exceptions=True)
    assert sum(isinstance(error, OSError) for error in ended) == 1
    assert inside.most <= 2


# --- aiometer -----------------------------------------------------------------------------------


@example("aiometer")
async def results_are_in_order(aiometer: Any) -> None:
    """run_all(): results in the order of the functions, at most max_at_once running."""
    inside = Inside()

    async def work(number: int) -> int:
        await inside.visit((5 - number) * MS)
        return number

    jobs = [partial(work, number) for number in range(5)]
    assert await aiometer.run_all(jobs, max_at_once=2) == list(range(5))
    assert inside.most <= 2


@example("aiometer")
async def no_more_in_a_second(aiometer: Any) -> None:
    """run_on_each(max_per_second=10): tasks are spawned a tenth of a second apart."""
    inside = Inside()
    await aiometer.run_on_each(lambda _: inside.visit(), range(4), max_per_second=10)
    apart = [b - a for a, b in zip(inside.times, inside.times[1:], strict=False)]
    assert all(seconds > 0.1 - 2 * MS for seconds in apart)


@example("aiometer")
async def results_come_as_they_are_available(aiometer: Any) -> None:
    """amap(): every result once, in the order in which they become available."""

    async def work(number: int) -> int:
        await asyncio.sleep(number * 10 * MS)
        return number

    async with aiometer.amap(work, [3, 1, 2], max_at_once=3) as results:
        assert [result async for result in results] == [1, 2, 3]


@example("aiometer")
async def cancelled_with_its_tasks(aiometer: Any) -> None:
    """A run that is cancelled leaves none of its tasks behind."""
    inside = Inside()
    run = asyncio.create_task(aiometer.run_on_each(lambda _: inside.visit(), range(5)))
    await cancelled(run, 3 * MS)
    assert inside.now == 0


@example("aiometer")
async def the_first_result_is_enough(aiometer: Any) -> None:
    """run_any() returns the result of the first function that completes, when it completes."""

    async def work(seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    async with asyncio.timeout(1):
        assert await aiometer.run_any([partial(work, 0.01), partial(work, 10)]) == 0.01


# --- aiojobs ------------------------------------------------------------------------------------


@example("aiojobs")
async def no_more_jobs_than_the_limit(aiojobs: Any) -> None:
    """Scheduler(limit=2): two jobs run at once; all have ended after ``async with``."""
    inside = Inside()
    async with aiojobs.Scheduler(limit=2) as scheduler:
        for _ in range(5):
            await scheduler.spawn(inside.visit())
    assert inside.most == 2
    assert len(inside.times) == 5


@example("aiojobs")
async def a_pending_job_is_closed(aiojobs: Any) -> None:
    """Scheduler(limit=1): one job runs at once, also after a pending one is closed."""
    inside = Inside()
    async with aiojobs.Scheduler(limit=1) as scheduler:
        await scheduler.spawn(inside.visit())
        pending = await scheduler.spawn(inside.visit())
        await scheduler.spawn(inside.visit())
        await pending.close()
    assert inside.most == 1, f"{inside.most} jobs ran at once"


@example("aiojobs")
async def spawners_wait_for_a_place(aiojobs: Any) -> None:
    """Scheduler(pending_limit=1): spawn() waits for a place; every job runs."""
    inside = Inside()
    async with aiojobs.Scheduler(limit=1, pending_limit=1) as scheduler:
        spawning = [asyncio.create_task(scheduler.spawn(inside.visit())) for _ in range(5)]
        await cancelled(spawning[2], 7 * MS)
        await ends(asyncio.wait_for(one, 1) for one in spawning if one is not spawning[2])
    assert inside.most == 1
    assert len(inside.times) >= 4


@example("aiojobs")
async def shielded_from_a_cancellation(aiojobs: Any) -> None:
    """Scheduler.shield(): what is shielded ends within ``async with``, with its caller gone."""
    ended = []

    async def important() -> None:
        await asyncio.sleep(20 * MS)
        ended.append("done")

    async def run(scheduler: Any) -> None:
        await scheduler.shield(important())

    async with aiojobs.Scheduler() as scheduler:
        task = asyncio.create_task(run(scheduler))
        await cancelled(task, 5 * MS)
    assert ended == ["done"]


@example("aiojobs")
async def left_after_a_timeout(aiojobs: Any) -> None:
    """No job is running after ``async with``, also when it is left because of a timeout."""
    inside = Inside()
    try:
        async with asyncio.timeout(20 * MS), aiojobs.Scheduler() as scheduler:
            await scheduler.spawn(inside.visit(1))
    except TimeoutError:
        pass
    assert inside.now == 0, f"{inside.now} job is running"


@example("aiojobs")
async def closed_by_two(aiojobs: Any) -> None:
    """close() waits until all jobs have ended, whoever else closes the scheduler."""
    inside = Inside()

    async def work() -> None:
        try:
            await inside.visit(1)
        finally:
            await asyncio.sleep(5 * MS)  # says good-bye
            ended.append(True)

    ended: list[bool] = []
    scheduler = aiojobs.Scheduler()
    await scheduler.spawn(work())
    await asyncio.sleep(2 * MS)

    async def close() -> None:
        await scheduler.close()
        assert ended, "close() has returned before the job has ended"

    await ends([close(), close()])
