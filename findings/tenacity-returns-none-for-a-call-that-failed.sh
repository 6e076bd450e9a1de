#!/usr/bin/env bash
# tenacity 9.2.1 mixes up two calls of one AsyncRetrying where a condition is ``async def``.
#
# Expected: several tasks may call ``retrying(function, …)`` at the same time: each call has its own
# attempts, and returns what its function has returned, or raises.
# Seen: the state of a call is kept on the object, once for each thread. While one call waits in its
# condition, another replaces this state, and the first returns None after an attempt that failed: it
# raises no error and makes no further attempt. Decorated functions copy the object for each call.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tenacity==9.2.1

cat > "$folder/look.py" << 'PYTHON'
import asyncio

import tenacity


async def worth_a_retry(error):
    await asyncio.sleep(0.01)  # asks a service, for example
    return isinstance(error, OSError)


async def main():
    calls = []

    async def ask(name):
        calls.append(name)
        await asyncio.sleep(0.005)
        if calls.count(name) < 3:
            raise OSError
        return name

    retrying = tenacity.AsyncRetrying(
        retry=tenacity.asyncio.retry_if_exception(worth_a_retry),
        stop=tenacity.stop_after_attempt(3),
    )
    alone = await retrying(ask, "alone")
    both = await asyncio.gather(retrying(ask, "first"), retrying(ask, "second"))
    decorated = retrying.wraps(ask)
    copies = await asyncio.gather(decorated("third"), decorated("fourth"))
    print(f"alone: {alone}; two at once: {both}; two of a decorated function: {copies}")
    print(f"attempts of the first: {calls.count('first')}")
    assert (alone, copies) == ("alone", ["third", "fourth"])
    assert both == [None, "second"], "tenacity has changed"
    assert calls.count("first") == 1


asyncio.run(main())
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
