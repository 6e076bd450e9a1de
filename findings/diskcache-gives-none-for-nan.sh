#!/usr/bin/env bash
# diskcache 5.6.3 gives None where NaN was stored.
# 
# Expected: a value comes back equal or is refused; NaN, as a float, comes back as NaN.
# Seen: SQLite has no NaN and stores NULL. cache[key], Index, Deque and memoize() give None for it,
# so that a function answers NaN the first time and None ever after; None for what is not there
# cannot be distinguished from it. As a key, NaN is never found again, and each assignment adds a row.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check diskcache==5.6.3

cat > "$folder/look.py" << 'PYTHON'
import math
import tempfile

import diskcache

cache = diskcache.Cache(tempfile.mkdtemp(dir="."))


@cache.memoize()
def mean(numbers):
    return sum(numbers) / len(numbers) if numbers else math.nan


answers = [mean([]), mean([])]
print("mean([]) is", answers[0], "and, from the cache,", answers[1])
assert math.isnan(answers[0]) and answers[1] is None, "diskcache has changed"

deque = diskcache.Deque([1.5, math.nan, math.inf], tempfile.mkdtemp(dir="."))
print("a Deque of 1.5, NaN and infinity:", list(deque))
assert list(deque) == [1.5, None, math.inf], "diskcache has changed"

cache.clear()
for number in range(3):
    cache[math.nan] = number
print("a cache in which one key was set three times:", list(cache), cache.get(math.nan))
assert list(cache) == [None] * 3 and cache.get(math.nan) is None, "diskcache has changed"
PYTHON
cd "$folder" && venv/bin/python look.py
