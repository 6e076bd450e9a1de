#!/usr/bin/env bash
# psycopg-binary 3.3.9 reads an interval of ten million years as one of minus two million.
#
# Expected: a timedelta holds 999,999,999 days at most, so that a longer interval is an error, as
# the one of five million years is ("must have magnitude <= 999999999").
# Seen: 10000000 years, which PostgreSQL can store, are -644967296 days, without a word: days are
# counted in 32 bits, before anything looks at them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'psycopg[binary]==3.3.9'

cat > "$folder/look.py" << 'PYTHON'
import psycopg
from psycopg.adapt import Transformer

loader = Transformer().get_loader(psycopg.adapters.types["interval"].oid, 0)
try:
    loader.load(b"5000000 years")
except psycopg.DataError as error:
    print(error)
else:
    raise AssertionError("psycopg has changed")
for text in (b"10000000 years", b"178000000 years"):
    print(text.decode(), "->", loader.load(text))
assert loader.load(b"4 years").days == 4 * 365
assert loader.load(b"10000000 years").days == 3_650_000_000 - 2**32, "psycopg has changed"
assert loader.load(b"178000000 years").days == 64_970_000_000 - 15 * 2**32, "psycopg has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
