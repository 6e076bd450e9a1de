#!/usr/bin/env bash
# toml 0.10.2 drops the values of a table that stands in a list of lists.
#
# Expected: what toml cannot write it refuses; the rest, tomllib reads as it was.
# Seen: [[{"a": 1}]] is written as [[["a"]]], the names without the values. Of a table in an array
# of tables an empty table is left out. Both without a word. tomli-w 1.2.0 and tomlkit 0.15.2 write
# them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    toml==0.10.2 tomli-w==1.2.0 tomlkit==0.15.2

cat > "$folder/look.py" << 'PYTHON'
import tomllib

import toml
import tomli_w
import tomlkit

EXPECTED = (
    ({"rows": [[{"a": 1}]]}, {"rows": [[["a"]]]}),
    ({"jobs": [{"name": "x", "settings": {}}]}, {"jobs": [{"name": "x"}]}),
)
for value, expected in EXPECTED:
    for dumps in (tomli_w.dumps, tomlkit.dumps):
        assert tomllib.loads(dumps(value)) == value
    seen = tomllib.loads(toml.dumps(value))
    print(value, "->", seen)
    assert seen == expected, "toml has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
