#!/usr/bin/env bash
# as_generated() of aioitertools 0.13.0 ends early at a timeout, and passes over errors.
#
# Expected: asyncio.timeout() around ``async for … in as_generated(…)`` raises TimeoutError, as it
# does around any other iteration; with return_exceptions=True all exceptions are yielded as results.
# Seen: it swallows the cancellation and ends as if there were no further results. No TimeoutError is
# raised, and a task that is cancelled in it goes on. Of two iterables that fail at the same time, it
# yields only one error.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check aioitertools==0.13.0

cat > "$folder/look.py" << 'PYTHON'
import asyncio

from aioitertools.asyncio import as_generated


async def rows(count):
    for number in range(count):
        await asyncio.sleep(0.01)
        yield number


async def failing(event, text):
    await event.wait()
    raise OSError(text)
    yield


async def within_50_ms(results):
    seen = 0
    try:
        async with asyncio.timeout(0.05):
            async for _ in results:
                seen += 1
    except TimeoutError:
        return "a timeout"
    return "complete" if seen == 100 else "neither a timeout nor complete"


async def collected(results):
    return [result async for result in results]


async def main():
    alone = await within_50_ms(rows(100))
    mixed = await within_50_ms(as_generated([rows(100)]))

    task = asyncio.create_task(collected(as_generated([rows(100)])))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.wait([task])

    both = asyncio.Event()
    generators = [failing(both, "one"), failing(both, "two")]
    task_of_errors = asyncio.create_task(collected(as_generated(generators, return_exceptions=True)))
    await asyncio.sleep(0.01)
    both.set()
    errors = await task_of_errors

    print(f"alone: {alone}; as_generated: {mixed}; cancelled: {task.cancelled()}")
    print(f"two errors: {errors}")
    assert (alone, mixed) == ("a timeout", "neither a timeout nor complete"), "it has changed"
    assert not task.cancelled(), "it has changed"
    assert len(errors) == 1, "it has changed"


asyncio.run(main())
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
