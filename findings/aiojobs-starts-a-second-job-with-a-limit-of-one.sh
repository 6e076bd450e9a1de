#!/usr/bin/env bash
# With a limit of 1, aiojobs 1.4.0 runs two jobs at once after a pending job has been closed.
#
# Expected: Scheduler(limit=1) runs one job at a time, whatever becomes of those that are pending.
# Seen: job.close() on a pending job leaves it in the queue of pending jobs, where the scheduler
# counts it as one that is not running: it starts the next job although the first is still running.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check aiojobs==1.4.0

cat > "$folder/look.py" << 'PYTHON'
import asyncio

import aiojobs


async def main():
    running = most = 0

    async def work():
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1

    async def most_at_once(close):
        nonlocal most
        most = 0
        async with aiojobs.Scheduler(limit=1) as scheduler:
            await scheduler.spawn(work())
            pending = await scheduler.spawn(work())
            await scheduler.spawn(work())
            if close:
                await pending.close()
        return most

    seen = {close: await most_at_once(close) for close in (False, True)}
    print(f"at once: {seen[False]}; with a pending job that is closed: {seen[True]}")
    assert seen == {False: 1, True: 2}, "aiojobs has changed"


asyncio.run(main())
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
