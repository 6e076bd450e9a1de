#!/usr/bin/env bash
# Hamilton (apache-hamilton 1.90.0) gives the cached result of another input, where it is in a list.
#
# Expected: with_cache() computes a node again for an input that is unequal, as it does for another
# pandas.Timestamp, which it cannot hash and says so.
# Seen: in a list or a dict, all values of such a type have one hash: the result of one day is given
# for every other, and so with UUIDs and paths. "1" is taken for 1, b"a" for "a", a tuple for a
# list, a Series for that of another name, and an array of 2 × 3 for one of 3 × 2.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    apache-hamilton==1.90.0 pandas==3.1.1 numpy==2.4.6

cat > "$folder/look.py" << 'PYTHON'
import logging
import pathlib
import sys
import uuid
from typing import Any

import numpy
import pandas
from hamilton import ad_hoc_utils, driver

PAIRS = {
    "a day": (pandas.Timestamp("2024-01-01"), pandas.Timestamp("2024-01-02")),
    "days": ([pandas.Timestamp("2024-01-01")], [pandas.Timestamp("2024-01-02")]),
    "ids": ([uuid.UUID(int=1)], [uuid.UUID(int=2)]),
    "paths": ({"path": pathlib.Path("a")}, {"path": pathlib.Path("b")}),
    "text": ("1", 1),
    "bytes": (b"a", "a"),
    "pair": ((1, 2), [1, 2]),
    "names": (pandas.Series([1], name="net"), pandas.Series([1], name="gross")),
    "shapes": (numpy.arange(6).reshape(2, 3), numpy.arange(6).reshape(3, 2)),
}
logging.disable(logging.WARNING)
calls = []


def report(value: Any) -> str:
    calls.append(value)
    return f"of {value!r}"


module = ad_hoc_utils.create_temporary_module(report, module_name="reports")
seen = {}
for name, pair in PAIRS.items():
    path = f"{sys.argv[1]}/{name}"
    runner = driver.Builder().with_modules(module).with_cache(path=path).build()
    calls.clear()
    results = [runner.execute(["report"], inputs={"value": value})["report"] for value in pair]
    print(f"{name}: {len(calls)} calls; the second one gives {results[1]!r}")
    seen[name] = len(calls)
assert seen == {"a day": 2} | dict.fromkeys([*PAIRS][1:], 1), "Hamilton has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
