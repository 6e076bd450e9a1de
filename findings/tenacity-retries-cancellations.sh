#!/usr/bin/env bash
# tenacity 9.2.1 retries a task that is cancelled, where it retries all but some errors.
#
# Expected: asyncio.timeout() around a call ends it, whichever errors are retried, as CancelledError
# is not an Exception; the default of tenacity and retry_if_exception_type(Exception) let it through.
# Seen: retry_if_not_exception_type(ValueError) retries every BaseException but this. A cancellation
# during an attempt counts as a failure, and the next attempt begins: a call with a timeout of 50 ms
# returns an answer after 100 ms, with neither TimeoutError nor CancelledError.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tenacity==9.2.1

cat > "$folder/look.py" << 'PYTHON'
import asyncio

import tenacity


async def outcome(retry):
    attempts = 0

    @tenacity.retry(retry=retry, stop=tenacity.stop_after_attempt(5))
    async def ask():
        nonlocal attempts
        attempts += 1
        await asyncio.sleep(0.07 if attempts == 1 else 0.05)
        return "an answer"

    try:
        async with asyncio.timeout(0.05):
            return await ask(), attempts
    except TimeoutError:
        return "a timeout", attempts


async def main():
    seen = {
        "the default": await outcome(tenacity.retry_if_exception_type()),
        "all but ValueError": await outcome(tenacity.retry_if_not_exception_type(ValueError)),
    }
    print(seen)
    assert seen == {
        "the default": ("a timeout", 1),
        "all but ValueError": ("an answer", 2),
    }, "tenacity has changed"


asyncio.run(main())
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
