#!/usr/bin/env bash
# pandas 3.1.1 reads another integer than the one that stands in the JSON.
#
# Expected: an integer that needs more than 64 bits is read exactly, as a float, or refused, as
# 2**64 is ("Value is too big").
# Seen: 123456789012345678901 is not refused. What is read is that number modulo 2**64. In CSV
# pandas reads it exactly, as an object of Python.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pandas==3.1.1

cat > "$folder/look.py" << 'PYTHON'
import io

import pandas

NUMBER = 123456789012345678901


def by_json(number):
    text = io.StringIO(f'{{"n": {number}}}\n')
    return int(pandas.read_json(text, lines=True)["n"][0])


try:
    by_json(2**64)
except ValueError as error:
    print("2**64:", error)
else:
    raise AssertionError("pandas has changed")
print(NUMBER, "is read as", by_json(NUMBER))
assert int(pandas.read_csv(io.StringIO(f"n\n{NUMBER}\n"))["n"][0]) == NUMBER
assert by_json(2**64 - 1) == 2**64 - 1
assert by_json(NUMBER) == NUMBER % 2**64, "pandas has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
