#!/usr/bin/env bash
# ruamel.yaml 0.19.1 with typ="safe" cannot read a text back that begins with a question mark.
#
# Expected: what dump() has written, load() reads as it was: a text that would mean something else
# is put into quotes, as typ="rt" does, and PyYAML 6.0.4.
# Seen: ["? what"] is written as [? what], in which the question mark marks a key: [{"what": None}]
# is read, without an error. Of {"? what": 1} the question mark is gone, and {"k": "? what"} cannot
# be read at all.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ruamel.yaml==0.19.1 PyYAML==6.0.4

cat > "$folder/look.py" << 'PYTHON'
import io

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError


def written(value, kind):
    file = io.StringIO()
    YAML(typ=kind).dump(value, file)
    return file.getvalue()


EXPECTED = (
    (["? what"], [{"what": None}]),
    ({"? what": 1}, {"what": 1}),
    ({"k": "? what"}, "an error"),
)
for value, expected in EXPECTED:
    assert yaml.safe_load(yaml.safe_dump(value)) == value
    assert YAML(typ="safe").load(written(value, "rt")) == value
    text = written(value, "safe")
    try:
        seen = YAML(typ="safe").load(text)
    except YAMLError:
        seen = "an error"
    print(f"{value} is written as {text.strip()} and read as {seen}")
    assert seen == expected, "ruamel.yaml has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
