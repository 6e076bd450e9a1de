#!/usr/bin/env bash
# cattrs 26.2.1 reads the key False of its own JSON as True.
# 
# Expected: loads(dumps(value), type) is equal to value, or one of the two raises. A dict[bool, int]
# may be refused, as in msgspec 0.23.0, or come back, as in pydantic 2.14.4.
# Seen: JSON's keys are text, and bool("false") is True: both keys become one, and half of the
# counts is gone. With the keys of an IntEnum it reads nothing of what it has written.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    cattrs==26.2.1 orjson==3.13.0 msgspec==0.23.0 pydantic==2.14.4

cat > "$folder/look.py" << 'PYTHON'
import enum

import cattrs.preconf.json
import cattrs.preconf.orjson
import msgspec
import pydantic

COUNTS = {True: 10, False: 3}


class Level(enum.IntEnum):
    LOW = 1


by_pydantic = pydantic.TypeAdapter(dict[bool, int])
assert by_pydantic.validate_json(by_pydantic.dump_json(COUNTS)) == COUNTS
try:
    msgspec.json.encode(COUNTS)
except TypeError as error:
    print("msgspec:", error)
else:
    raise AssertionError("msgspec has changed")
for library in (cattrs.preconf.json, cattrs.preconf.orjson):
    converter = library.make_converter()
    text = converter.dumps(COUNTS, unstructure_as=dict[bool, int])
    counts = converter.loads(text, dict[bool, int])
    print(f"{library.__name__}: {text!r} is read as {counts}")
    assert counts == {True: 3}, "cattrs has changed"
    text = converter.dumps({Level.LOW: 1}, unstructure_as=dict[Level, int])
    try:
        converter.loads(text, dict[Level, int])
    except cattrs.BaseValidationError as error:
        print(f"{text!r}: {error.exceptions[0]!r}")
    else:
        raise AssertionError("cattrs has changed")
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
