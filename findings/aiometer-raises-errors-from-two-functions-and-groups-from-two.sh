#!/usr/bin/env bash
# aiometer 1.0.0 raises the error of a call from amap(), and a group around it from run_on_each().
#
# Expected: its functions run the same calls, and tell of a failed one in the same way.
# Seen: "except ValueError" hears of it around amap() and run_all(), and does not around
# run_on_each() and run_any(), which raise an ExceptionGroup, also for a single failure.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check aiometer==1.0.0

cat > "$folder/look.py" << 'PYTHON'
import asyncio
import functools

import aiometer


async def fails(item):
    raise ValueError(item)


async def kinds():
    seen = {}

    async def by_amap():
        async with aiometer.amap(fails, [1]) as results:
            return [result async for result in results]

    calls = {
        "amap": by_amap,
        "run_on_each": lambda: aiometer.run_on_each(fails, [1]),
        "run_all": lambda: aiometer.run_all([functools.partial(fails, 1)]),
        "run_any": lambda: aiometer.run_any([functools.partial(fails, 1)]),
    }
    for name, call in calls.items():
        try:
            await call()
        except Exception as error:
            seen[name] = type(error).__name__
    return seen


seen = asyncio.run(kinds())
print(seen)
groups = dict.fromkeys(("run_on_each", "run_any"), "ExceptionGroup")
errors = dict.fromkeys(("amap", "run_all"), "ValueError")
assert seen == errors | groups, "aiometer has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
