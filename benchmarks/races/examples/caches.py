"""Examples of caches: aiocache, async-cache, async-lru, cachetools-async and cashews."""

import asyncio
from typing import Any

from benchmarks.races.examples.documented import MS, Inside, Source, cancelled, ends, example

# --- async-lru ----------------------------------------------------------------------------------


@example("async-lru", "async_lru")
async def calls_share_one_in_flight(async_lru: Any) -> None:
    """Concurrent calls with the same key share a single result in flight."""
    source = Source()
    cached = async_lru.alru_cache(maxsize=32)(source.__call__)
    answers = await ends(cached(1) for _ in range(3))
    assert set(answers) == {"1, call 1"}
    assert await cached(1) == "1, call 1"


@example("async-lru", "async_lru")
async def another_caller_is_cancelled(async_lru: Any) -> None:
    """A caller gets its answer when another, who asked for the same, is cancelled."""
    source = Source()
    cached = async_lru.alru_cache(maxsize=32)(source.__call__)
    first, second = (asyncio.create_task(cached(1)) for _ in range(2))
    await cancelled(first, 3 * MS)
    assert await second == "1, call 1"


@example("async-lru", "async_lru")
async def all_callers_are_cancelled(async_lru: Any) -> None:
    """A call that nobody waits for any more ends, and the next one begins anew."""
    source = Source()
    cached = async_lru.alru_cache(maxsize=32)(source.__call__)
    for _ in range(2):
        await cancelled(asyncio.create_task(cached(1)), 3 * MS)
    assert await ends([cached(1)]) == [f"1, call {source.calls[1]}"]


@example("async-lru", "async_lru")
async def invalidated_while_in_flight(async_lru: Any) -> None:
    """After cache_invalidate() the next call asks again, and its answer is kept."""
    source = Source()
    cached = async_lru.alru_cache(maxsize=32)(source.__call__)
    first = asyncio.create_task(cached(1))
    await asyncio.sleep(3 * MS)
    cached.cache_invalidate(1)
    assert await cached(1) == f"1, call {source.calls[1]}"
    await first
    assert await cached(1) == f"1, call {source.calls[1]}"
    assert source.calls[1] <= 2


@example("async-lru", "async_lru")
async def shared_after_an_invalidation(async_lru: Any) -> None:
    """Calls share the one in flight also when a call from before cache_invalidate() ends."""
    source = Source()
    cached = async_lru.alru_cache(maxsize=32)(source.__call__)
    first = asyncio.create_task(cached(1))
    await asyncio.sleep(3 * MS)
    cached.cache_invalidate(1)
    second = asyncio.create_task(cached(1))
    await cancelled(first, 2 * MS)
    third = asyncio.create_task(cached(1))
    assert await second == await third, "two calls were in flight at the same time"


# --- cachetools-async ---------------------------------------------------------------------------


def lru_of(cachetools_async: Any, source: Any) -> Any:
    return cachetools_async.cached(cache={})(source)


@example("cachetools-async", "cachetools_async")
async def later_calls_wait_for_the_first(cachetools_async: Any) -> None:
    """Calls that come before the first has completed wait for it: three places, three requests."""
    source = Source()
    cached = lru_of(cachetools_async, source.__call__)
    await ends(cached(place) for place in (1, 2, 2, 3, 1, 3, 2, 1))
    assert source.calls == {1: 1, 2: 1, 3: 1}


@example("cachetools-async", "cachetools_async")
async def the_first_caller_is_cancelled(cachetools_async: Any) -> None:
    """The others get the answer when the first caller is cancelled."""
    source = Source()
    cached = lru_of(cachetools_async, source.__call__)
    first, second = (asyncio.create_task(cached(1)) for _ in range(2))
    await cancelled(first, 3 * MS)
    assert await second == "1, call 1"


@example("cachetools-async", "cachetools_async")
async def failures_are_not_kept(cachetools_async: Any) -> None:
    """An error goes to all that wait, and the next call asks again."""
    calls = 0

    async def fetch() -> int:
        nonlocal calls
        calls += 1
        await asyncio.sleep(5 * MS)
        if calls == 1:
            raise OSError
        return calls

    cached = lru_of(cachetools_async, fetch)
    failed = await asyncio.gather(cached(), cached(), return_exceptions=True)
    assert all(isinstance(error, OSError) or error == 2 for error in failed)
    assert await cached() == 2


@example("cachetools-async", "cachetools_async")
async def what_it_waits_for_is_cancelled(cachetools_async: Any) -> None:
    """A call that ended without an answer is not kept: the next call asks again."""
    source = Source()
    request: asyncio.Task[str]

    async def fetch() -> str:
        nonlocal request
        request = asyncio.create_task(source())
        return await request

    cached = lru_of(cachetools_async, fetch)
    first = asyncio.create_task(cached())
    await asyncio.sleep(3 * MS)
    request.cancel()  # a reconnect, for example
    await asyncio.wait([first])
    second = asyncio.create_task(cached())
    await asyncio.wait([second])
    assert not second.cancelled(), "the cancellation was kept"
    assert second.result() == "key, call 2"


# --- async-cache --------------------------------------------------------------------------------


@example("async-cache", "cache")
async def one_load_for_a_herd(cache: Any) -> None:
    """A hundred concurrent misses of a key are one call of the loader (ten here)."""
    source, values = Source(), cache.AsyncCache()
    await ends(values.get("key", loader=source) for _ in range(10))
    assert source.calls["key"] == 1


@example("async-cache", "cache")
async def the_one_that_loads_is_cancelled(cache: Any) -> None:
    """The others of the herd get an answer when the caller that loads is cancelled."""
    source, values = Source(), cache.AsyncCache()
    herd = [asyncio.create_task(values.get("key", loader=source)) for _ in range(3)]
    await cancelled(herd[0], 3 * MS)
    await ends(asyncio.wait_for(one, 0.5) for one in herd[1:])


@example("async-cache", "cache")
async def gets_are_batched(cache: Any) -> None:
    """Concurrent gets within the window of 5 ms become one call of the batch loader."""
    batches: list[list[int]] = []

    async def load(keys: list[int]) -> dict[int, int]:
        batches.append(list(keys))
        await asyncio.sleep(5 * MS)
        return {key: key * 10 for key in keys}

    values = cache.AsyncCache()
    assert await ends(values.get(key, batch_loader=load) for key in (1, 2, 3)) == [10, 20, 30]
    assert len(batches) == 1


@example("async-cache", "cache")
async def another_of_the_batch_is_cancelled(cache: Any) -> None:
    """The others of a batch get their answers when a caller is cancelled."""

    async def load(keys: list[int]) -> dict[int, int]:
        await asyncio.sleep(5 * MS)
        return {key: key * 10 for key in keys}

    values = cache.AsyncCache()
    first, second = (asyncio.create_task(values.get(key, batch_loader=load)) for key in (1, 2))
    await cancelled(first, 3 * MS)
    assert await asyncio.wait_for(second, 0.5) == 20


@example("async-cache", "cache")
async def forgotten_during_a_load(cache: Any) -> None:
    """A call after invalidate_cache() asks again, also when an older load ends after it."""
    price = 10

    @cache.AsyncLRU(maxsize=128)
    async def fetch(name: str) -> int:
        seen = price
        await asyncio.sleep(5 * MS)
        return seen

    first = asyncio.create_task(fetch("tea"))
    await asyncio.sleep(3 * MS)
    price = 20
    fetch.invalidate_cache("tea")
    await first
    assert await fetch("tea") == 20, "the price from before invalidate_cache()"


# --- aiocache -----------------------------------------------------------------------------------


@example("aiocache")
async def one_call_under_a_lease(aiocache: Any) -> None:
    """cached_stampede(): calls wait for the first, as long as it takes less than the lease."""
    source = Source()

    @aiocache.cached_stampede(lease=1)
    async def fetch(key: int) -> str:
        return await source(key)

    answers = await ends((fetch(1) for _ in range(4)), 2)
    assert set(answers) == {"1, call 1"}


@example("aiocache")
async def cancelled_under_a_lease(aiocache: Any) -> None:
    """cached_stampede(): a caller that is cancelled gives the lock back."""
    source = Source()

    @aiocache.cached_stampede(lease=30)
    async def fetch(key: int) -> str:
        return await source(key)

    first, second = (asyncio.create_task(fetch(1)) for _ in range(2))
    await cancelled(first, 3 * MS)
    await asyncio.wait_for(second, 1)


@example("aiocache")
async def two_caches_under_leases(aiocache: Any) -> None:
    """cached_stampede(): two classes whose methods have the same name do not get in the way."""
    source = Source()

    class Users:
        @aiocache.cached_stampede(lease=1, noself=True)
        async def find(self, number: int) -> str:
            return await source(f"user {number}")

    class Orders:
        @aiocache.cached_stampede(lease=1, noself=True)
        async def find(self, number: int) -> str:
            return await source(f"order {number}")

    found = await ends([Users().find(1), Orders().find(1)], 5)
    assert found == ["user 1, call 1", "order 1, call 1"]


@example("aiocache")
async def of_two_writers_one_loses(aiocache: Any) -> None:
    """OptimisticLock: who was overtaken gets an error, so that no update is lost."""
    values = aiocache.SimpleMemoryCache()
    await values.set("count", 0)

    async def add() -> int:
        try:
            async with aiocache.lock.OptimisticLock(values, "count") as lock:
                count = await values.get("count")
                await asyncio.sleep(2 * MS)
                await lock.cas(count + 1)
        except aiocache.lock.OptimisticLockError:
            return 0
        return 1

    written = sum(await ends(add() for _ in range(3)))
    assert await values.get("count") == written


@example("aiocache")
async def a_new_lifetime_replaces_the_old(aiocache: Any) -> None:
    """A value lives as long as its last set() says."""
    values = aiocache.SimpleMemoryCache()

    async def write(ttl: float) -> None:
        await values.set("key", ttl, ttl=ttl)

    await ends([write(0.02), write(1)])
    await asyncio.sleep(0.5)
    kept = await values.get("key")
    assert kept in (1, None)
    await values.set("key", "new", ttl=1)
    await asyncio.sleep(0.9)
    assert await values.get("key") == "new"


# --- cashews ------------------------------------------------------------------------------------


def memory(cashews: Any) -> Any:
    cache = cashews.Cache()
    cache.setup("mem://", check_interval=0)
    return cache


@example("cashews")
async def a_decorated_function_is_called_once(cashews: Any) -> None:
    """@cache(ttl=…): concurrent calls wait for the first."""
    source, cache = Source(), memory(cashews)

    @cache(ttl="1h", key="{key}")
    async def fetch(key: int) -> str:
        return await source(key)

    assert set(await ends(fetch(1) for _ in range(3))) == {"1, call 1"}


@example("cashews")
async def another_caller_is_cancelled_in_the_cache(cashews: Any) -> None:
    """@cache(ttl=…): a caller that nobody cancels gets its answer."""
    source, cache = Source(), memory(cashews)

    @cache(ttl="1h", key="{key}")
    async def fetch(key: int) -> str:
        return await source(key)

    first, second = (asyncio.create_task(fetch(1)) for _ in range(2))
    await cancelled(first, 3 * MS)
    await asyncio.wait([second])
    assert not second.cancelled(), "the other was cancelled as well"
    second.result()


@example("cashews")
async def locked_calls_come_one_by_one(cashews: Any) -> None:
    """@cache.locked(ttl=…): following calls wait until the first is finished, or cancelled."""
    inside, cache = Inside(), memory(cashews)

    @cache.locked(ttl="10s", key="{key}", check_interval=0.002)
    async def work(key: int) -> None:
        await inside.visit()

    tasks = [asyncio.create_task(work(1)) for _ in range(4)]
    await cancelled(tasks[0], 3 * MS)
    await ends(asyncio.wait_for(task, 1) for task in tasks[1:])
    assert inside.most == 1


@example("cashews")
async def no_more_calls_than_the_limit(cashews: Any) -> None:
    """@cache.rate_limit(limit=10, …): of twelve calls ten go through."""
    inside, cache = Inside(), memory(cashews)

    @cache.rate_limit(limit=10, period="1m", key="all")
    async def work() -> None:
        await inside.visit()

    ended = await asyncio.gather(*(work() for _ in range(12)), return_exceptions=True)
    assert sum(isinstance(error, cashews.RateLimitError) for error in ended) == 2
    assert len(inside.times) == 10


@example("cashews")
async def counts_are_not_lost(cashews: Any) -> None:
    """incr() is one step, also under a transaction that is rolled back next to it."""
    cache = memory(cashews)

    async def add() -> None:
        await cache.incr("count")

    async def give_up() -> None:
        async with cache.transaction() as transaction:
            await cache.incr("other")
            await asyncio.sleep(2 * MS)
            await transaction.rollback()

    await ends([add(), give_up(), add(), add()])
    assert await cache.get("count") == 3
    assert await cache.get("other") is None
