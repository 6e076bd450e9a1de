#!/usr/bin/env bash
# cachetools-async 0.0.5 and aiodataloader 0.4.3 keep a cancellation as the answer.
#
# Expected: a call that was cancelled has no answer, so that the next one for the same key asks again,
# as the next one does after an error.
# Seen: aiodataloader keeps the future of a caller that was cancelled, and cachetools-async that of a
# call that waited for something that was cancelled (a request, on reconnect). From then on each call
# for the key ends with CancelledError, although nobody cancels it. async-lru 2.4.0 asks again.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    aiodataloader==0.4.3 async-lru==2.4.0 cachetools-async==0.0.5

cat > "$folder/look.py" << 'PYTHON'
import asyncio

import aiodataloader
import async_lru
import cachetools_async

requests = []


async def request(key):
    await asyncio.sleep(0.01)
    return key * 10


async def fetch(key):
    requests.append(asyncio.create_task(request(key)))
    return await requests[-1]


async def fetch_all(keys):
    return [await request(key) for key in keys]


async def again(load, cancel):
    """Cancel during a first call; return what becomes of three more."""

    async def call():
        return await load(1)

    first = asyncio.create_task(call())
    await asyncio.sleep(0.005)
    (requests[-1] if cancel == "the request" else first).cancel()
    await asyncio.wait([first])
    calls = []
    for _ in range(3):
        task = asyncio.create_task(call())
        await asyncio.wait([task])
        calls.append("cancelled" if task.cancelled() else task.result())
    return calls


async def main():
    lru, cached = async_lru.alru_cache(fetch), cachetools_async.cached({})(fetch)
    seen = {
        "aiodataloader": await again(aiodataloader.DataLoader(fetch_all).load, "the caller"),
        "async-lru, caller": await again(async_lru.alru_cache(fetch), "the caller"),
        "async-lru, request": await again(lru, "the request"),
        "cachetools-async": await again(cached, "the request"),
    }
    for name, calls in seen.items():
        print(f"{name}: {calls}")
    assert seen == {
        "aiodataloader": ["cancelled"] * 3,
        "async-lru, caller": [10] * 3,
        "async-lru, request": [10] * 3,
        "cachetools-async": ["cancelled"] * 3,
    }, "one of them has changed"


asyncio.run(main())
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
