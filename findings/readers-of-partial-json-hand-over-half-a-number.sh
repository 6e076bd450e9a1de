#!/usr/bin/env bash
# pydantic-core 2.50.5 and jiter 0.14.0 hand over a number of which only the first digits have come.
#
# Expected: where an answer of a model is read while it comes, a value is left out until it is
# whole.
# Seen: that is so for a text, for true, false and null, and for "12." and "1e". Of 1299 they give
# 1, 12, 129: numbers like any other, which are valid in whatever model they are put into.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    pydantic-core==2.50.5 jiter==0.14.0

cat > "$folder/look.py" << 'PYTHON'
import jiter
import pydantic_core

READERS = {
    "pydantic-core": lambda text: pydantic_core.from_json(text, allow_partial=True),
    "jiter": lambda text: jiter.from_json(text.encode(), partial_mode=True),
}
ANSWERS = {"number": "1299", "text": '"1299"', "word": "true"}
for name, read in READERS.items():
    seen = {}
    for kind, value in ANSWERS.items():
        cuts = [value[:length] for length in range(1, len(value))]
        seen[kind] = [read('{"price": ' + cut).get("price") for cut in cuts]
    print(f"{name}: {seen}")
    assert not any(seen["text"] + seen["word"])
    assert seen["number"] == [1, 12, 129], f"{name} has changed"
    assert read('{"price": 12.') == read('{"price": 1e') == {}
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
