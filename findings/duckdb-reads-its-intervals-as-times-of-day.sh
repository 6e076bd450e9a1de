#!/usr/bin/env bash
# DuckDB 2.0.1 reads an interval that it has written to JSON as a time of day.
#
# Expected: one column of intervals comes back as intervals, or as text.
# Seen: the type depends on the values. One hour is written as "01:00:00" and comes back as TIME,
# which cannot be added to others; with 25 hours among them the same column is text.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.1

cat > "$folder/look.py" << 'PYTHON'
import sys

import duckdb

path = f"{sys.argv[1]}/hours.json"


def written_and_read(*hours):
    rows = ", ".join(f"(INTERVAL {hour} HOUR)" for hour in hours)
    duckdb.sql(f"COPY (SELECT * FROM (VALUES {rows}) AS t(took)) TO '{path}'")
    return duckdb.sql(f"SELECT took, typeof(took) FROM '{path}'").fetchall()


short, long = written_and_read(1, 2), written_and_read(1, 25)
print("1 and 2 hours: ", short)
print("1 and 25 hours:", long)
assert {kind for _, kind in short} == {"TIME"}, "DuckDB has changed"
assert {kind for _, kind in long} == {"VARCHAR"}, "DuckDB has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
