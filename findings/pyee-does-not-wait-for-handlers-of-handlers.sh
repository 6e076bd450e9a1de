#!/usr/bin/env bash
# wait_for_complete() of pyee 13.0.1 returns while handlers are running.
#
# Expected: it waits until all handlers have completed, as the documentation says for a graceful
# shutdown; then ``complete`` is true.
# Seen: it waits for the handlers that were running when it was called. One that they start by emitting
# an event is still running then.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyee==13.0.1

cat > "$folder/look.py" << 'PYTHON'
import asyncio

from pyee.asyncio import AsyncIOEventEmitter


async def main():
    events, ended = AsyncIOEventEmitter(), []

    @events.on("order")
    async def take():
        await asyncio.sleep(0.01)
        events.emit("invoice")
        ended.append("order")

    @events.on("invoice")
    async def write():
        await asyncio.sleep(0.01)
        ended.append("invoice")

    events.emit("order")
    await events.wait_for_complete()
    first = events.complete, list(ended)
    await events.wait_for_complete()
    second = events.complete, list(ended)
    print(f"complete, and what has ended: {first}; after another wait: {second}")
    assert first == (False, ["order"]), "pyee has changed"
    assert second == (True, ["order", "invoice"])


asyncio.run(main())
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
