#!/usr/bin/env bash
# PyYAML 6.0.4 writes zip codes and hashes so that ruamel.yaml 0.19.1 reads numbers.
#
# Expected: a text comes back as a text; one that looks like a number is written in quotes, as
# PyYAML writes "07001".
# Seen: by YAML 1.1, which PyYAML speaks, a number that begins with 0 is octal, and an exponent has
# a sign and a point before it. "08001" and "12e4567" are written without quotes, and by YAML 1.2
# they are 8001 and infinity. The other way round, "12:30:45" is 45045, and the float 1e-07 is a
# text.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check PyYAML==6.0.4 ruamel.yaml==0.19.1

cat > "$folder/look.py" << 'PYTHON'
import io

import yaml
from ruamel.yaml import YAML


def by_ruamel(value):
    file = io.StringIO()
    YAML(typ="safe").dump(value, file)
    return file.getvalue()


codes = {"Newark": "07001", "Avenel": "08001", "commit": "12e4567"}
seen = YAML(typ="safe").load(yaml.safe_dump(codes))
print("PyYAML to ruamel.yaml:", codes, "->", seen)
assert seen == {"Newark": "07001", "Avenel": 8001, "commit": float("inf")}, "one has changed"
values = {"time": "12:30:45", "rate": 1e-07}
seen = yaml.safe_load(by_ruamel(values))
print("ruamel.yaml to PyYAML:", values, "->", seen)
assert seen == {"time": 45045, "rate": "1e-07"}, "one has changed"
for value in (codes, values):
    assert yaml.safe_load(yaml.safe_dump(value)) == value
    assert YAML(typ="safe").load(by_ruamel(value)) == value
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
