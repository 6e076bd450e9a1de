#!/usr/bin/env bash
# In hyx 0.0.2 retry(attempts=3) makes four calls.
#
# Expected: three attempts are three calls, as in tenacity 9.2.1 (stop_after_attempt(3)), backoff
# 2.2.1 (max_tries=3) and stamina 26.1.0 (attempts=3).
# Seen: four. What is counted are the calls after the first.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    hyx==0.0.2 tenacity==9.2.1 backoff==2.2.1 stamina==26.1.0

cat > "$folder/look.py" << 'PYTHON'
import asyncio

import backoff
import stamina
import tenacity
from hyx.retry import retry

DECORATORS = {
    "backoff": backoff.on_exception(backoff.constant, OSError, max_tries=3, interval=0),
    "hyx": retry(on=OSError, attempts=3, backoff=0.001),
    "stamina": stamina.retry(on=OSError, attempts=3, wait_initial=0, wait_max=0, wait_jitter=0),
    "tenacity": tenacity.retry(stop=tenacity.stop_after_attempt(3)),
}


async def count(decorator):
    calls = 0

    @decorator
    async def fails():
        nonlocal calls
        calls += 1
        raise OSError

    try:
        await fails()
    except Exception:
        return calls


seen = {name: asyncio.run(count(decorator)) for name, decorator in DECORATORS.items()}
print(seen)
assert seen == {"backoff": 3, "hyx": 4, "stamina": 3, "tenacity": 3}, "one of them has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
