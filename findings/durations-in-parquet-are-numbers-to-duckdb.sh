#!/usr/bin/env bash
# DuckDB 2.0.1 reads durations that Polars 2.1.0 and PyArrow 26.0.1 have written to Parquet as
# numbers.
#
# Expected: a column of durations is one of INTERVALs, as dates, times and timestamps of the same
# file come back as what they were.
# Seen: BIGINT, without a unit: one hour is 3,600,000,000 from Polars, and 3,600,000 from PyArrow
# with the unit "ms". Polars and PyArrow read each other's as durations.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    duckdb==2.0.1 polars==2.1.0 pyarrow==26.0.1

cat > "$folder/look.py" << 'PYTHON'
import sys
from datetime import timedelta

import duckdb
import polars
import pyarrow
from pyarrow import parquet

ours, theirs = f"{sys.argv[1]}/polars.parquet", f"{sys.argv[1]}/pyarrow.parquet"
hour = timedelta(hours=1)
polars.DataFrame({"took": [hour]}).write_parquet(ours)
parquet.write_table(pyarrow.table({"took": pyarrow.array([hour], pyarrow.duration("ms"))}), theirs)
assert polars.read_parquet(theirs).rows() == [(hour,)]
assert parquet.read_table(ours).to_pylist() == [{"took": hour}]

seen = [
    duckdb.sql(f"SELECT took, typeof(took) FROM '{path}'").fetchall()[0] for path in (ours, theirs)
]
print("of Polars and of PyArrow:", seen)
assert seen == [(3_600_000_000, "BIGINT"), (3_600_000, "BIGINT")], "DuckDB has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
