#!/usr/bin/env bash
# PyArrow 26.0.1 does not read the rows back that it has written to a CSV file of one column.
#
# Expected: a table of one column with three rows, one of which is null, is written and read as
# three rows. The file holds three: null is written as a blank line, the empty string as "".
# Seen: two rows come back, without an error. The blank line is passed over (ignore_empty_lines is
# True by default). Polars 2.1.0, with its defaults, reads the three that were written.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1 polars==2.1.0

cat > "$folder/look.py" << 'PYTHON'
import sys

import polars
import pyarrow
from pyarrow import csv

path = f"{sys.argv[1]}/values.csv"
csv.write_csv(pyarrow.table({"text": ["a", None, "b"]}), path)
written = open(path).read()
print("written:        ", repr(written))
assert written == '"text"\n"a"\n\n"b"\n'

by_pyarrow = csv.read_csv(path)["text"].to_pylist()
by_polars = polars.read_csv(path)["text"].to_list()
print("read by PyArrow:", by_pyarrow)
print("read by Polars: ", by_polars)
assert by_polars == ["a", None, "b"]
assert by_pyarrow == ["a", "b"], "PyArrow has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
