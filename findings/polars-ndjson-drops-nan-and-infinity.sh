#!/usr/bin/env bash
# Polars 2.1.0 writes NaN and infinities to NDJSON as null, and says nothing.
#
# Expected: JSON has no such numbers, so write_ndjson refuses the value, or writes NaN and Infinity
# as Python's json module does; a missing value and NaN stay apart, as they do in a data frame.
# Seen: null for all of them. DuckDB 2.0.1 writes the same values as bare NaN and Infinity, which
# strict readers of JSON refuse.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.1 polars==2.1.0

cat > "$folder/look.py" << 'PYTHON'
import sys

import duckdb
import polars

path = f"{sys.argv[1]}/numbers.json"
frame = polars.DataFrame({"n": [1.5, None, float("nan"), float("inf")]})
frame.write_ndjson(path)
by_polars = open(path).read().splitlines()
print("Polars writes:", by_polars)
assert by_polars == ['{"n":1.5}', '{"n":null}', '{"n":null}', '{"n":null}'], "Polars has changed"

rows = "(VALUES (1.5::DOUBLE), (NULL), ('nan'::DOUBLE), ('inf'::DOUBLE)) AS t(n)"
duckdb.sql(f"COPY (SELECT * FROM {rows}) TO '{path}'")
by_duckdb = open(path).read().splitlines()
print("DuckDB writes:", by_duckdb)
assert by_duckdb == ['{"n":1.5}', '{"n":null}', '{"n":NaN}', '{"n":Infinity}'], "DuckDB has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
