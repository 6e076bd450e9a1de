#!/usr/bin/env bash
# tenacity 9.2.1 and backoff 2.2.1 decorate a generator, and never try it again.
#
# Expected: a decorator of retries begins the generator anew when it fails, as stamina 26.1.0 does,
# or refuses the function when it is decorated.
# Seen: what is tried is the call that makes the generator, which never fails. Sync or async, there
# is one attempt, and nothing says so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    tenacity==9.2.1 backoff==2.2.1 stamina==26.1.0

cat > "$folder/look.py" << 'PYTHON'
import asyncio

import backoff
import stamina
import tenacity

DECORATORS = {
    "backoff": backoff.on_exception(backoff.constant, OSError, max_tries=3, interval=0),
    "stamina": stamina.retry(on=OSError, attempts=3, wait_initial=0, wait_max=0, wait_jitter=0),
    "tenacity": tenacity.retry(stop=tenacity.stop_after_attempt(3)),
}


def count(decorator):
    attempts = {"def": 0, "async def": 0}

    @decorator
    def rows():
        attempts["def"] += 1
        yield 1
        raise OSError

    @decorator
    async def pages():
        attempts["async def"] += 1
        yield 1
        raise OSError

    async def read():
        return [page async for page in pages()]

    for reader in (lambda: list(rows()), lambda: asyncio.run(read())):
        try:
            reader()
        except OSError:
            pass
    return attempts


seen = {name: count(decorator) for name, decorator in DECORATORS.items()}
print(seen)
assert seen == {
    "backoff": {"def": 1, "async def": 1},
    "stamina": {"def": 3, "async def": 3},
    "tenacity": {"def": 1, "async def": 1},
}, "one of them has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
