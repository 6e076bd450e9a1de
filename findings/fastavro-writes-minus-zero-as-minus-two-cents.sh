#!/usr/bin/env bash
# fastavro 1.13.1 writes -0.00 as -0.02.
#
# Expected: a decimal that fits its field comes back equal. -0.00 is what rounding makes of a small
# negative amount: Decimal("-0.004").quantize(Decimal("0.01")).
# Seen: in a field of type fixed it comes back as -0.02, with a scale of 4 as -0.0002, and of 0 as
# -2. In a field of type bytes it is 0.00.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check fastavro==1.13.1

cat > "$folder/look.py" << 'PYTHON'
import io
from decimal import Decimal

import fastavro


def written_and_read(kind, scale, value):
    field = kind | {"logicalType": "decimal", "precision": 8, "scale": scale}
    row = {"type": "record", "name": "Row", "fields": [{"name": "value", "type": field}]}
    file = io.BytesIO()
    fastavro.writer(file, fastavro.parse_schema(row), [{"value": value}])
    file.seek(0)
    return next(fastavro.reader(file))["value"]


FIXED = {"type": "fixed", "name": "Amount", "size": 8}
seen = {}
for scale in (0, 2, 4):
    value = Decimal("-0.000004").quantize(Decimal(1).scaleb(-scale))
    seen[scale] = str(written_and_read(FIXED, scale, value))
    print(f"{value} is {seen[scale]}")
    assert written_and_read({"type": "bytes"}, scale, value) == 0
assert written_and_read(FIXED, 2, Decimal("-0.01")) == Decimal("-0.01")
assert seen == {0: "-2", 2: "-0.02", 4: "-0.0002"}, "fastavro has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
