#!/usr/bin/env bash
# aiojobs 1.4.0 leaves jobs running after ``async with Scheduler()``, and after close().
#
# Expected: after ``async with`` no job is running, also when a timeout ends the block. close() cancels
# the jobs and waits for them, so that none is running after it, even if another task closes as well.
# Seen: at its end the block waits for its jobs. A timeout at this point ends the waiting, but neither
# cancels the jobs nor closes the scheduler. A close() during another close() returns at once.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check aiojobs==1.4.0

cat > "$folder/look.py" << 'PYTHON'
import asyncio
from contextlib import suppress

import aiojobs


async def main():
    running = 0

    async def work():
        nonlocal running
        running += 1
        try:
            await asyncio.sleep(0.2)
        finally:
            await asyncio.sleep(0.01)  # says good-bye
            running -= 1

    with suppress(TimeoutError):
        async with asyncio.timeout(0.05), aiojobs.Scheduler() as scheduler:
            await scheduler.spawn(work())
    after_timeout = running, scheduler.closed
    await scheduler.close()
    assert running == 0

    scheduler = aiojobs.Scheduler()
    await scheduler.spawn(work())
    await asyncio.sleep(0.01)
    first = asyncio.create_task(scheduler.close())
    await asyncio.sleep(0)
    await scheduler.close()
    after_second = running
    await first
    print(f"after a timeout: {after_timeout[0]} running, closed: {after_timeout[1]}")
    print(f"after the second close(): {after_second} running; after the first: {running}")
    assert after_timeout == (1, False), "aiojobs has changed"
    assert (after_second, running) == (1, 0), "aiojobs has changed"


asyncio.run(main())
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
