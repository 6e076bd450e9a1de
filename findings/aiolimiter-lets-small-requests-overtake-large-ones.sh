#!/usr/bin/env bash
# A large request waits in aiolimiter 1.3.0 for as long as smaller ones come.
#
# Expected: acquire() is served in the order of the calls, as asyncio.Lock and asyncio.Semaphore
# do; a caller that asks for 8 of 10 is served before later callers that ask for 1.
# Seen: all twelve that came later go first. While others keep coming, the large one never begins.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check aiolimiter==1.3.0

cat > "$folder/look.py" << 'PYTHON'
import asyncio

import aiolimiter


async def main():
    limiter = aiolimiter.AsyncLimiter(10, 0.5)
    await limiter.acquire(10)  # the bucket is full
    order = []

    async def acquire(name, amount):
        await limiter.acquire(amount)
        order.append(name)

    tasks = [asyncio.create_task(acquire("large", 8))]
    await asyncio.sleep(0)
    tasks += [asyncio.create_task(acquire("small", 1)) for _ in range(12)]
    await asyncio.gather(*tasks)
    print(order)
    assert order == ["small"] * 12 + ["large"], "aiolimiter has changed"


asyncio.run(main())
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
