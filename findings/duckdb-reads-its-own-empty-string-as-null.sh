#!/usr/bin/env bash
# DuckDB 2.0.1 does not read back the CSV that it has written.
#
# Expected: COPY TO writes NULL as nothing and the empty string as "", so that read_csv, with its
# defaults, can tell them apart, and does.
# Seen: the file tells them apart; read_csv gives NULL for both. Polars 2.1.0 reads the same file
# as it was meant, and DuckDB reads what Polars has written in the same wrong way.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.1 polars==2.1.0

cat > "$folder/look.py" << 'PYTHON'
import sys

import duckdb
import polars

path = f"{sys.argv[1]}/values.csv"
values = "(VALUES (1, 'x'), (2, NULL), (3, '')) AS t(id, text)"
duckdb.sql(f"COPY (SELECT * FROM {values}) TO '{path}' (HEADER)")
written = open(path).read()
print("DuckDB writes:", repr(written))
assert written == 'id,text\n1,x\n2,\n3,""\n'

by_duckdb = duckdb.sql(f"SELECT * FROM read_csv('{path}')").fetchall()
by_polars = polars.read_csv(path).rows()
print("DuckDB reads: ", by_duckdb)
print("Polars reads: ", by_polars)
assert by_polars == [(1, "x"), (2, None), (3, "")]
assert by_duckdb == [(1, "x"), (2, None), (3, None)], "DuckDB has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
