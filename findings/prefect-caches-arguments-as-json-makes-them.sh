#!/usr/bin/env bash
# Prefect 3.9.1 takes a tuple for a list and 1 for "1" in cached tasks, and misses equal sets.
# 
# Expected: with the cache policy INPUTS a task's result is kept for arguments that are equal, and
# for no others; values that cannot be distinguished are refused.
# Seen: the key is made of their JSON, where it has a form. (1, 2) and [1, 2] have the same, and so
# have {1: "a"} and {"1": "a"}: the second call gets what was computed for the first. A set has the
# order in which it is walked, another one in each process: its result is never found again.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check prefect==3.9.1

cat > "$folder/look.py" << 'PYTHON'
import sys

from prefect import task
from prefect.cache_policies import INPUTS


@task(cache_policy=INPUTS, persist_result=True)
def described(value):
    return repr(value)


@task(cache_policy=INPUTS, persist_result=True)
def count(words):
    print("called")
    return len(words)


if sys.argv[1] == "pairs":
    for one, two in [((1, 2), [1, 2]), ({1: "a"}, {"1": "a"}), (1, 1.0), (b"a", "a")]:
        print(f"{one!r}: {described(one)}, {two!r}: {described(two)}")
else:
    count({"red", "green", "blue", "black", "white"})
PYTHON
export PREFECT_HOME=$folder/prefect
export PREFECT_LOGGING_LEVEL=ERROR PREFECT_SERVER_ANALYTICS_ENABLED=false
cd "$folder"
look() { PYTHONHASHSEED=$1 venv/bin/python -W ignore look.py "$2" 2> /dev/null; }
look 1 pairs | tee pairs
diff pairs - << 'TEXT' || { echo "Prefect has changed"; exit 1; }
(1, 2): (1, 2), [1, 2]: (1, 2)
{1: 'a'}: {1: 'a'}, {'1': 'a'}: {1: 'a'}
1: 1, 1.0: 1.0
b'a': b'a', 'a': 'a'
TEXT
calls=$(for seed in 1 2 1 2; do look "$seed" set; done | wc -l)
echo "calls for one set in four processes, two orders: $calls"
test "$calls" = 2 || { echo "Prefect has changed"; exit 1; }
