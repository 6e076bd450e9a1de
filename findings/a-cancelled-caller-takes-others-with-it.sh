#!/usr/bin/env bash
# When one caller is cancelled, cashews 7.6.0 and aiodataloader 0.4.3 cancel all that share its key.
#
# Expected: callers that ask for the same key at the same time share one call. When one of them is
# cancelled (its client has gone, or its time is over), the others still get their answer.
# Seen: the callers share a task, or a future, without asyncio.shield(). Cancelling one caller cancels
# what they share, and the others end with a CancelledError although nobody has cancelled them.
# async-lru 2.4.0 and cachetools-async 0.0.5 shield theirs.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    aiodataloader==0.4.3 async-lru==2.4.0 cachetools-async==0.0.5 cashews==7.6.0

cat > "$folder/look.py" << 'PYTHON'
import asyncio

import aiodataloader
import async_lru
import cachetools_async
import cashews

cashews.cache.setup("mem://")


async def fetch(key):
    started.set()
    await answer.wait()
    return key * 10


async def fetch_all(keys):
    return [await fetch(key) for key in keys]


async def outcome_of_the_other(load):
    async def call():
        return await load(1)

    started.clear()
    answer.clear()
    first, second = asyncio.create_task(call()), asyncio.create_task(call())
    await started.wait()
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    answer.set()
    await asyncio.wait([second])
    return "cancelled" if second.cancelled() else second.result()


async def main():
    global started, answer
    started, answer = asyncio.Event(), asyncio.Event()
    seen = {
        "aiodataloader": await outcome_of_the_other(aiodataloader.DataLoader(fetch_all).load),
        "async-lru": await outcome_of_the_other(async_lru.alru_cache(fetch)),
        "cachetools-async": await outcome_of_the_other(cachetools_async.cached({})(fetch)),
        "cashews": await outcome_of_the_other(cashews.cache(ttl="1h")(fetch)),
    }
    print(seen)
    assert seen == {
        "aiodataloader": "cancelled",
        "async-lru": 10,
        "cachetools-async": 10,
        "cashews": "cancelled",
    }, "one of them has changed"


asyncio.run(main())
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
