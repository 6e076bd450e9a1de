#!/usr/bin/env bash
# A circuit of purgatory 3.0.1 opens when callers cancel their calls.
#
# Expected: a breaker watches the service; a call that its caller has cancelled says nothing of it.
# Seen: with a threshold of 2, two calls that are cancelled while they wait open the circuit, and
# the third is refused. aiobreaker 1.2.0 and circuitbreaker 2.1.3 count none of them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    purgatory==3.0.1 aiobreaker==1.2.0 circuitbreaker==2.1.3

cat > "$folder/look.py" << 'PYTHON'
import asyncio

import aiobreaker
import circuitbreaker
import purgatory


async def waits() -> None:
    await asyncio.Event().wait()


async def cancel_twice_and_call(call) -> str:
    for _ in range(2):
        task = asyncio.ensure_future(call())
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
    task = asyncio.ensure_future(call())
    await asyncio.wait([task], timeout=0.01)
    if task.done():
        return f"refused: {type(task.exception()).__name__}"
    task.cancel()
    return "called"


async def main() -> None:
    first = aiobreaker.CircuitBreaker(fail_max=2)
    second = circuitbreaker.CircuitBreaker(failure_threshold=2)(waits)
    factory = purgatory.AsyncCircuitBreakerFactory(default_threshold=2)
    third = factory("service")(waits)
    seen = {
        "aiobreaker": await cancel_twice_and_call(lambda: first.call_async(waits)),
        "circuitbreaker": await cancel_twice_and_call(second),
        "purgatory": await cancel_twice_and_call(third),
    }
    print(seen)
    assert seen == {
        "aiobreaker": "called",
        "circuitbreaker": "called",
        "purgatory": "refused: OpenedState",
    }, "one of them has changed"


asyncio.run(main())
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
