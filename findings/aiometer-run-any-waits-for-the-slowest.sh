#!/usr/bin/env bash
# run_any() of aiometer 1.0.0 returns when the last function has ended.
#
# Expected: it returns the result of the first function that completes as soon as there is one; the
# others are cancelled, or go on.
# Seen: it returns the first result after the slowest function has ended.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check aiometer==1.0.0

cat > "$folder/look.py" << 'PYTHON'
import asyncio
from functools import partial

import aiometer


async def main():
    slow, ended = asyncio.Event(), []

    async def first():
        return "first"

    async def second():
        await slow.wait()
        ended.append("second")

    running = asyncio.create_task(aiometer.run_any([first, partial(second)]))
    done, _ = await asyncio.wait([running], timeout=0.2)
    slow.set()
    result = await running
    print(f"done after 0.2 s: {bool(done)}; after the slow one has ended: {result!r}")
    assert not done, "aiometer has changed"
    assert (result, ended) == ("first", ["second"]), "aiometer has changed"


asyncio.run(main())
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
