#!/usr/bin/env bash
# joblib 1.6.0 computes again, in each process, what it has kept for a frozenset of strings.
# 
# Expected: Memory finds the result of an equal argument in a later process, as it does for a set,
# whose elements it sorts before it hashes them.
# Seen: a frozenset is hashed in the order in which it is walked, which Python changes in every
# process. The function runs again in nearly each of them, and the folder grows.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check joblib==1.6.0

cat > "$folder/look.py" << 'PYTHON'
import sys

import joblib


def count(words):
    print("called", end=" ")
    return len(words)


memory = joblib.Memory("cache", verbose=0)
kind = {"set": set, "frozenset": frozenset}[sys.argv[1]]
memory.cache(count)(kind(["red", "green", "blue", "black", "white"]))
PYTHON
cd "$folder"
calls() {  # how often the function is called for a set or a frozenset in five processes
    for seed in 1 2 3 4 5; do
        PYTHONHASHSEED=$seed venv/bin/python look.py "$1"
    done | wc -w
}
set_calls=$(calls set)
frozenset_calls=$(calls frozenset)
echo "calls in five processes: $set_calls for a set, $frozenset_calls for a frozenset"
test "$set_calls" = 1
test "$frozenset_calls" -gt 1 || { echo "joblib has changed"; exit 1; }
