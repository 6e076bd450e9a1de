#!/usr/bin/env bash
# msgspec 0.23.0 does not read the timedelta that pydantic 2.14.4 has written to JSON.
#
# Expected: both write a timedelta as a duration of ISO 8601, so that each reads the other's.
# Seen: pydantic calls 365 days a year (P1Y35D for 400 days), a unit that msgspec refuses. The
# other way round works, and so do durations of less than a year: it fails in production, for old
# records.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check msgspec==0.23.0 pydantic==2.14.4

cat > "$folder/look.py" << 'PYTHON'
from datetime import timedelta

import msgspec
import pydantic

model = pydantic.TypeAdapter(timedelta)


def by_msgspec(text):
    try:
        return msgspec.json.decode(text, type=timedelta)
    except msgspec.ValidationError as error:
        return str(error)


for days in (364, 400):
    ours, theirs = timedelta(days=days), model.dump_json(timedelta(days=days))
    print(f"{days} days: pydantic writes {theirs.decode()}, msgspec: {by_msgspec(theirs)}")
    assert model.validate_json(msgspec.json.encode(ours)) == ours
assert by_msgspec(model.dump_json(timedelta(days=364))) == timedelta(days=364)
assert model.dump_json(timedelta(days=400)) == b'"P1Y35D"', "pydantic has changed"
assert "units" in by_msgspec(b'"P1Y35D"'), "msgspec has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
