#!/usr/bin/env bash
# jsonschema 4.26.0 refuses one price in nine as a multiple of a cent, and msgspec 0.23.0 nearly
# all.
#
# Expected: with multipleOf 0.01 each of 0.01, 0.02, ... 1000.00 is valid: JSON's numbers are
# decimal.
# Seen: jsonschema refuses 11,426 of the first 100,000, 19.99 among them, and msgspec's
# Meta(multiple_of=0.01) all but 17. pydantic 2.14.4, fastjsonschema 2.22.3 and jsonschema-rs
# 0.61.2 take all.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    jsonschema==4.26.0 msgspec==0.23.0 pydantic==2.14.4 fastjsonschema==2.22.3 jsonschema-rs==0.61.2

cat > "$folder/look.py" << 'PYTHON'
from typing import Annotated

import fastjsonschema
import jsonschema
import jsonschema_rs
import msgspec
import pydantic

SCHEMA = {"multipleOf": 0.01}
OF_MSGSPEC = Annotated[float, msgspec.Meta(multiple_of=0.01)]
model = pydantic.TypeAdapter(Annotated[float, pydantic.Field(multiple_of=0.01)])
compiled = fastjsonschema.compile(SCHEMA)


def takes(check):
    def taken(price):
        try:
            check(price)
        except ValueError:  # the errors of all three are
            return False
        return True

    return taken


validators = {
    "jsonschema": jsonschema.Draft202012Validator(SCHEMA).is_valid,
    "jsonschema-rs": jsonschema_rs.validator_for(SCHEMA).is_valid,
    "fastjsonschema": takes(compiled),
    "msgspec": takes(lambda price: msgspec.convert(price, OF_MSGSPEC)),
    "pydantic": takes(model.validate_python),
}
prices = [cents / 100 for cents in range(1, 100_001)]
refused = {name: sum(not valid(price) for price in prices) for name, valid in validators.items()}
print("refused of 100,000 prices:", refused)
assert refused == {
    "jsonschema": 11_426,
    "jsonschema-rs": 0,
    "fastjsonschema": 0,
    "msgspec": 99_983,
    "pydantic": 0,
}, "one of them has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
