#!/usr/bin/env bash
# cashews 7.6.0 and aiocache 0.12.3 answer for another argument that has the same text.
# 
# Expected: the key that a caching decorator makes by itself tells arguments apart that are unequal,
# as functools.lru_cache does, or the call is refused.
# Seen: cashews formats them: None and "", 1 and "1", b"a" and "a", [1] and ["1"] share an answer.
# Both take two arrays of more than 1,000 numbers for one where their first and last three are the
# same, since the text of an array leaves out what is between them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    aiocache==0.12.3 cashews==7.6.0 numpy==2.4.6

cat > "$folder/look.py" << 'PYTHON'
import asyncio

import aiocache
import cashews
import numpy

cashews.cache.setup("mem://")
numbers = numpy.arange(2000)
others = numpy.where(numbers == 1000, 0, numbers)
PAIRS = [(None, ""), (1, "1"), (b"a", "a"), ([1], ["1"]), (numbers, others)]


def text(argument):
    if isinstance(argument, numpy.ndarray):
        return f"an array, sum {argument.sum()}"
    return repr(argument)


@cashews.cache(ttl="1h")
async def by_cashews(argument):
    return text(argument)


@aiocache.cached()
async def by_aiocache(argument):
    return text(argument)


async def main():
    shared = {}
    for function in (by_cashews, by_aiocache):
        shared[function] = []
        for one, two in PAIRS:
            await cashews.cache.clear()
            first, second = await function(one), await function(two)
            assert first == text(one)
            if second != text(two):
                print(f"{function.__name__}({text(two)}) gives that of {second}")
                shared[function].append(two)
    assert len(shared[by_cashews]) == 5, "cashews has changed"
    assert [two is others for two in shared[by_aiocache]] == [True], "aiocache has changed"


asyncio.run(main())
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
