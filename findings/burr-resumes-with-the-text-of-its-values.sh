#!/usr/bin/env bash
# A run of Burr (apache-burr 0.43.0) that is resumed from SQLite has the text of its values.
# 
# Expected: what SQLitePersister cannot keep is refused when it is saved; a tuple comes back as a
# tuple, or as a list.
# Seen: whatever JSON has no form for is saved as str(value), so that a tuple is the text "(1, 2)"
# in the resumed run, a set "{3}" and a dataclass its repr. They have a length and can be looped
# over: the run goes on, letter by letter. Of the keys 1 and "1" of a dict one is lost.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check apache-burr==0.43.0

cat > "$folder/look.py" << 'PYTHON'
import dataclasses
import datetime
import decimal
import tempfile

from burr.core import State
from burr.core.persistence import SQLitePersister


@dataclasses.dataclass
class Point:
    x: int


persister = SQLitePersister(f"{tempfile.mkdtemp(dir='.')}/runs.db")
persister.initialize()
VALUES = {
    "pair": (1, 2),
    "tags": {3},
    "point": Point(4),
    "day": datetime.date(2024, 1, 31),
    "price": decimal.Decimal("1.10"),
    "data": b"abc",
    "by_key": {1: "a", "1": "b"},
}
persister.save("import", "run-1", 1, "load", State(VALUES), "completed")
resumed = persister.load("import", "run-1")["state"]
for name, value in VALUES.items():
    print(f"{name}: {value!r} is {resumed[name]!r}")
    expected = {"1": "b"} if name == "by_key" else str(value)
    assert resumed[name] == expected, "Burr has changed"
assert [part for part in resumed["pair"]] == list("(1, 2)")
PYTHON
cd "$folder" && venv/bin/python look.py
