#!/usr/bin/env bash
# orjson 3.13.0 writes NaT, a time that is missing, as a day in 1970 or in 1677.
# 
# Expected: NaT in an array of numpy is null, or is refused.
# Seen: it depends on the unit. Seconds, milliseconds and microseconds are refused. Nanoseconds are
# 1677-09-21, minutes, hours and days 1970-01-01: a date like any other to its reader.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    orjson==3.13.0 numpy==2.4.6

cat > "$folder/look.py" << 'PYTHON'
import numpy
import orjson


def written(unit):
    times = numpy.array(["2024-01-31", "NaT"], f"datetime64[{unit}]")
    assert numpy.isnat(times).tolist() == [False, True]
    try:
        return orjson.loads(orjson.dumps(times, option=orjson.OPT_SERIALIZE_NUMPY))[1]
    except orjson.JSONEncodeError:
        return "refused"


seen = {unit: written(unit) for unit in ("ns", "us", "ms", "s", "m", "h", "D")}
for unit, text in seen.items():
    print(f"NaT in datetime64[{unit}]: {text}")
assert all(seen[unit] == "refused" for unit in ("us", "ms", "s")), "orjson has changed"
assert all(seen[unit] == "1970-01-01T00:00:00" for unit in ("m", "h", "D")), "orjson has changed"
assert seen["ns"].startswith("1677-09-21T00:12:43"), "orjson has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
