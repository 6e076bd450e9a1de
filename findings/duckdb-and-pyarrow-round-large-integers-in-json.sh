#!/usr/bin/env bash
# DuckDB 2.0.1 and PyArrow 26.0.1 round the integers of JSON lines that need more than 64 bits.
#
# Expected: such a number is read exactly, or refused. DuckDB has written it itself, and reads it
# exactly from CSV, as a HUGEINT.
# Seen: both make it a float, without a word: of two numbers that differ by one, one is left.
# DuckDB does so when it writes Parquet, too. Polars 2.1.0 and msgspec 0.23.0 read both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    duckdb==2.0.1 pyarrow==26.0.1 polars==2.1.0 msgspec==0.23.0

cat > "$folder/look.py" << 'PYTHON'
import sys

import duckdb
import msgspec
import polars
from pyarrow import json as arrow

folder = sys.argv[1]
NUMBERS = [123456789012345678901, 123456789012345678902]
rows = ", ".join(f"({number}::HUGEINT)" for number in NUMBERS)
for kind in ("json", "csv", "parquet"):
    duckdb.sql(f"COPY (SELECT * FROM (VALUES {rows}) AS t(n)) TO '{folder}/n.{kind}'")
text = open(f"{folder}/n.json").read()
print("DuckDB writes:", text.split())
assert [msgspec.json.decode(line)["n"] for line in text.splitlines()] == NUMBERS

readers = {
    "DuckDB, CSV": lambda: [n for (n,) in duckdb.sql(f"FROM '{folder}/n.csv'").fetchall()],
    "DuckDB": lambda: [n for (n,) in duckdb.sql(f"FROM '{folder}/n.json'").fetchall()],
    "DuckDB, Parquet": lambda: polars.read_parquet(f"{folder}/n.parquet")["n"].to_list(),
    "PyArrow": lambda: arrow.read_json(f"{folder}/n.json")["n"].to_pylist(),
    "Polars": lambda: polars.read_ndjson(f"{folder}/n.json")["n"].to_list(),
}
for name, read in readers.items():
    numbers = read()
    print(f"{name}: {numbers}")
    rounded = name in {"DuckDB", "DuckDB, Parquet", "PyArrow"}
    assert numbers == ([float(n) for n in NUMBERS] if rounded else NUMBERS), f"{name} has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
