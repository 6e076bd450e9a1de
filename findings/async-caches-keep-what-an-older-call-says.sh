#!/usr/bin/env bash
# async-cache 2.0.3 keeps a value from before its invalidation; async-lru 2.4.0 drops one from after.
#
# Expected: after an invalidation the next call asks again, and its answer is the one that is kept;
# calls at the same time share one, whatever becomes of a call from before.
# Seen: an older call that ends after the invalidation stores its answer in async-cache, for all later
# calls. In async-lru, an older call that is cancelled, or fails, takes the entry of the newer one out
# of the cache: a third call asks again while the second is in flight.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check async-cache==2.0.3 async-lru==2.4.0

cat > "$folder/look.py" << 'PYTHON'
import asyncio

import async_lru
import cache


async def stale_price(decorate, invalidate):
    price = 10

    @decorate
    async def fetch(name):
        seen = price
        await asyncio.sleep(0.01)
        return seen

    first = asyncio.create_task(fetch("tea"))
    await asyncio.sleep(0.005)
    price = 20
    getattr(fetch, invalidate)("tea")
    await first
    return await fetch("tea")


async def calls_in_flight():
    running = most = 0

    @async_lru.alru_cache
    async def fetch(name):
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            await asyncio.sleep(0.02)
        finally:
            running -= 1

    first = asyncio.create_task(fetch("tea"))
    await asyncio.sleep(0.005)
    fetch.cache_invalidate("tea")
    first.cancel()
    second = asyncio.create_task(fetch("tea"))
    await asyncio.wait([first])
    await asyncio.sleep(0.005)
    third = asyncio.create_task(fetch("tea"))
    await asyncio.gather(second, third)
    return most


async def main():
    seen = {
        "async-cache": await stale_price(cache.AsyncLRU(), "invalidate_cache"),
        "async-lru": await stale_price(async_lru.alru_cache, "cache_invalidate"),
    }
    most = await calls_in_flight()
    print(f"the price is 20: {seen}; calls of async-lru for one key at once: {most}")
    assert seen == {"async-cache": 10, "async-lru": 20}, "one of them has changed"
    assert most == 2, "async-lru has changed"


asyncio.run(main())
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
