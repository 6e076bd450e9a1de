#!/usr/bin/env bash
# fastavro 1.13.1 writes 1.9 as the integer 1.
#
# Expected: a value that does not fit its field is refused, as fastavro refuses bytes for a string,
# and a decimal that has more digits than its scale.
# Seen: floats in a field of type int or long lose what stands behind the point, without a word;
# also those in [null, int], where validate() says that they do not fit.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check fastavro==1.13.1

cat > "$folder/look.py" << 'PYTHON'
import io

import fastavro
from fastavro.validation import validate


def written_and_read(kind, value):
    schema = fastavro.parse_schema(
        {"type": "record", "name": "Row", "fields": [{"name": "value", "type": kind}]}
    )
    file = io.BytesIO()
    fastavro.writer(file, schema, [{"value": value}])
    file.seek(0)
    return next(fastavro.reader(file))["value"]


seen = {kind: written_and_read(kind, 1.9) for kind in ("int", "long", "double")}
print(seen)
assert not validate(1.9, "int", raise_errors=False)
assert seen == {"int": 1, "long": 1, "double": 1.9}, "fastavro has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
