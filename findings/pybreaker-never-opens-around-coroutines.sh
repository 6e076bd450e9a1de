#!/usr/bin/env bash
# A circuit of pybreaker 1.4.1 never opens around an async def.
#
# Expected: a CircuitBreaker may decorate an async def, as it takes the function without a word and
# knows Tornado's coroutines; or it refuses it.
# Seen: the call that the breaker watches is the one that makes the coroutine, which always
# succeeds. Failures are not counted, and the circuit stays closed. aiobreaker 1.2.0 opens.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    pybreaker==1.4.1 aiobreaker==1.2.0

cat > "$folder/look.py" << 'PYTHON'
import asyncio

import aiobreaker
import pybreaker


async def ask(breaker):
    @breaker
    async def fails():
        raise ConnectionError

    seen = []
    for _ in range(4):
        try:
            await fails()
        except Exception as error:
            seen.append(type(error).__name__)
    return seen


by_aiobreaker = asyncio.run(ask(aiobreaker.CircuitBreaker(fail_max=2)))
by_pybreaker = asyncio.run(ask(pybreaker.CircuitBreaker(fail_max=2)))
print("aiobreaker:", by_aiobreaker)
print("pybreaker: ", by_pybreaker)
assert by_aiobreaker[2:] == ["CircuitBreakerError"] * 2
assert by_pybreaker == ["ConnectionError"] * 4, "pybreaker has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
