#!/usr/bin/env bash
# cached_stampede of aiocache 0.12.3 fails where methods of two classes have the same name.
#
# Expected: each decorated method has a cache of its own, and so a lock of its own.
# Seen: the events of the locks are in one dict for all caches, by the name of the module, that of the
# function (without its class) and the arguments. Where ``find(1)`` of two classes runs at the same
# time, the first to end removes the event of the other, and the other raises KeyError after its work.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check aiocache==0.12.3

cat > "$folder/look.py" << 'PYTHON'
import asyncio

import aiocache


class Users:
    @aiocache.cached_stampede(lease=2, noself=True)
    async def find(self, number):
        await asyncio.sleep(0.01)
        return f"user {number}"


class Orders:
    @aiocache.cached_stampede(lease=2, noself=True)
    async def find(self, number):
        await asyncio.sleep(0.02)
        return f"order {number}"


async def main():
    calls = Users().find(1), Orders().find(1)
    user, order = await asyncio.gather(*calls, return_exceptions=True)
    in_turn = [await Users().find(2), await Orders().find(2)]
    print(f"in turn: {in_turn}; at once: {user!r}, {order!r}")
    assert in_turn == ["user 2", "order 2"]
    assert user == "user 1"
    assert isinstance(order, KeyError), "aiocache has changed"


asyncio.run(main())
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
