"""Examples of retries and timeouts: aioretry, async-timeout, stamina and tenacity."""

import asyncio
from contextlib import suppress
from typing import Any

from benchmarks.races.examples.documented import MS, cancelled, ends, example


class Flaky:
    """A service that fails the first two times that a caller asks."""

    def __init__(self, failures: int = 2) -> None:
        self.calls: dict[str, int] = {}
        self._failures = failures

    async def __call__(self, caller: str) -> int:
        self.calls[caller] = number = self.calls.get(caller, 0) + 1
        await asyncio.sleep(MS)
        if number <= self._failures:
            raise OSError(caller)
        return number


# --- aioretry -----------------------------------------------------------------------------------


@example("aioretry")
async def callers_fail_apart(aioretry: Any) -> None:
    """``info.fails`` counts the failures of one call, not those of another at the same time."""
    flaky = Flaky()
    retried = aioretry.retry(lambda info: (info.fails > 2, 0.003))(flaky.__call__)
    assert await ends(retried(caller) for caller in "abc") == [3, 3, 3]


@example("aioretry")
async def cancelled_between_attempts(aioretry: Any) -> None:
    """A call that is cancelled makes no further attempt."""
    flaky = Flaky(failures=100)
    retried = aioretry.retry(lambda info: (False, 0.003))(flaky.__call__)
    await cancelled(asyncio.create_task(retried("a")), 6 * MS)
    made = flaky.calls["a"]
    await asyncio.sleep(20 * MS)
    assert flaky.calls["a"] == made


@example("aioretry")
async def before_each_retry(aioretry: Any) -> None:
    """``before_retry`` is called before every retry, and may wait."""
    flaky, seen = Flaky(), list[str]()

    async def note(info: Any) -> None:
        await asyncio.sleep(MS)
        seen.append(str(info.exception))

    retried = aioretry.retry(lambda info: (False, 0), before_retry=note)(flaky.__call__)
    await ends(retried(caller) for caller in "ab")
    assert sorted(seen) == ["a", "a", "b", "b"]


# --- stamina ------------------------------------------------------------------------------------


def silenced(stamina: Any) -> None:
    """Keep stamina from printing each retry, as it does where structlog is installed."""
    stamina.instrumentation.set_on_retry_hooks([])


@example("stamina")
async def attempts_of_each_call(stamina: Any) -> None:
    """@retry(attempts=3): each call has its own attempts."""
    silenced(stamina)
    flaky = Flaky()

    @stamina.retry(on=OSError, attempts=3, wait_initial=0.003, wait_jitter=0.003)
    async def ask(caller: str) -> int:
        return await flaky(caller)

    assert await ends(ask(caller) for caller in "abc") == [3, 3, 3]


@example("stamina")
async def blocks_are_retried(stamina: Any) -> None:
    """retry_context(): a block is retried in each task that has one."""
    silenced(stamina)
    flaky = Flaky()

    async def ask(caller: str) -> int:
        async for attempt in stamina.retry_context(
            on=OSError, attempts=3, wait_initial=0.003, wait_jitter=0.003
        ):
            with attempt:
                await flaky(caller)
        return flaky.calls[caller]

    assert await ends(ask(caller) for caller in "ab") == [3, 3]


@example("stamina")
async def no_attempt_after_a_timeout(stamina: Any) -> None:
    """A timeout around a call ends it, and its attempts."""
    silenced(stamina)
    flaky = Flaky(failures=100)

    @stamina.retry(on=Exception, attempts=None, wait_initial=0.003, wait_max=0.003, timeout=None)
    async def ask(caller: str) -> int:
        return await flaky(caller)

    with suppress(TimeoutError):
        async with asyncio.timeout(20 * MS):
            await ask("a")
    made = flaky.calls["a"]
    await asyncio.sleep(50 * MS)
    assert flaky.calls["a"] == made


# --- tenacity -----------------------------------------------------------------------------------


@example("tenacity")
async def decorated_calls_do_not_meet(tenacity: Any) -> None:
    """@retry(stop=stop_after_attempt(3)): each call has its own attempts."""
    flaky = Flaky()

    @tenacity.retry(stop=tenacity.stop_after_attempt(3), wait=tenacity.wait_fixed(0.003))
    async def ask(caller: str) -> int:
        return await flaky(caller)

    assert await ends(ask(caller) for caller in "abc") == [3, 3, 3]


@example("tenacity")
async def each_task_has_its_loop(tenacity: Any) -> None:
    """``async for attempt in AsyncRetrying(…)``: a block is retried in each task that has one."""
    flaky = Flaky()

    async def ask(caller: str) -> int:
        async for attempt in tenacity.AsyncRetrying(stop=tenacity.stop_after_attempt(3)):
            with attempt:
                await flaky(caller)
        return flaky.calls[caller]

    assert await ends(ask(caller) for caller in "ab") == [3, 3]


@example("tenacity")
async def two_calls_of_one_object(tenacity: Any) -> None:
    """An AsyncRetrying calls any function, as often as you like: each call has its own attempts."""
    flaky = Flaky()
    retrying = tenacity.AsyncRetrying(stop=tenacity.stop_after_attempt(3))
    assert await ends(retrying(flaky, caller) for caller in "abc") == [3, 3, 3]


@example("tenacity")
async def conditions_that_wait(tenacity: Any) -> None:
    """A condition may be ``async def``; calls of one AsyncRetrying do not meet in it."""
    flaky = Flaky()

    async def worth_it(error: BaseException) -> bool:
        await asyncio.sleep(MS)  # asks a service
        return isinstance(error, OSError)

    retrying = tenacity.AsyncRetrying(
        stop=tenacity.stop_after_attempt(3),
        retry=tenacity.asyncio.retry_if_exception(worth_it),
    )
    answers = await ends(retrying(flaky, caller) for caller in "ab")
    assert answers == [3, 3], f"answers {answers} after {flaky.calls} calls"


@example("tenacity")
async def a_timeout_around_retries(tenacity: Any) -> None:
    """A timeout around a call ends it, and its attempts, whichever errors are retried."""
    flaky = Flaky(failures=100)

    @tenacity.retry(
        retry=tenacity.retry_if_not_exception_type(ValueError),
        stop=tenacity.stop_after_attempt(20), wait=tenacity.wait_fixed(0.003),
    )  # fmt: skip
    async def ask(caller: str) -> int:
        return await flaky(caller)

    with suppress(TimeoutError, tenacity.RetryError):
        async with asyncio.timeout(20.5 * MS):
            await ask("a")
    assert flaky.calls["a"] < 10, f"{flaky.calls['a']} attempts"


# --- async-timeout ------------------------------------------------------------------------------


@example("async-timeout", "async_timeout")
async def faster_or_cancelled(async_timeout: Any) -> None:
    """Work either ends in time, or is cancelled and TimeoutError raised; ``expired`` says which."""
    ended = []

    async def work(seconds: float) -> str:
        limit = async_timeout.timeout(10 * MS)
        try:
            async with limit:
                await asyncio.sleep(seconds)
                ended.append(seconds)
        except TimeoutError:
            assert limit.expired()
            return "late"
        assert not limit.expired()
        return "in time"

    said = await ends(work(seconds) for seconds in (5 * MS, 10 * MS, 15 * MS))
    assert (said[0], said[2]) == ("in time", "late")
    assert (10 * MS in ended) == (said[1] == "in time")


@example("async-timeout", "async_timeout")
async def moved_while_it_waits(async_timeout: Any) -> None:
    """A deadline that another task moves in time is the later one."""
    async with async_timeout.timeout(10 * MS) as limit:

        async def move() -> None:
            await asyncio.sleep(5 * MS)
            limit.reschedule(limit.when() + 20 * MS)

        moving = asyncio.create_task(move())
        await asyncio.sleep(20 * MS)
    await moving


@example("async-timeout", "async_timeout")
async def cancelled_at_the_deadline(async_timeout: Any) -> None:
    """A task that is cancelled from outside ends cancelled, unless its time was over before."""

    async def work() -> str:
        try:
            async with async_timeout.timeout(10 * MS):
                await asyncio.sleep(1)
        except TimeoutError:
            pass
        await asyncio.sleep(1)
        return "goes on"

    task = asyncio.create_task(work())
    await asyncio.sleep(10 * MS)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
