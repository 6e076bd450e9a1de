#!/usr/bin/env bash
# A model of pydantic 2.14.4 keeps the value that it has refused.
#
# Expected: with validate_assignment=True an assignment that raises a ValidationError leaves the
# model as it was, as it does when a field's own type or validator refuses the value.
# Seen: when a model_validator(mode="after") refuses it, the error is raised, and the value stays.
# The object is invalid from then on, and every later assignment to any other field fails.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pydantic==2.14.4

cat > "$folder/look.py" << 'PYTHON'
import pydantic


class Range(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(validate_assignment=True)
    low: int = 1
    high: int = 10
    name: str = "a"

    @pydantic.model_validator(mode="after")
    def is_in_order(self):
        if self.low > self.high:
            raise ValueError("low > high")
        return self


def is_refused(model, name, value):
    try:
        setattr(model, name, value)
    except pydantic.ValidationError:
        return True
    return False


model = Range()
assert is_refused(model, "low", "many") and model.low == 1
assert is_refused(model, "low", 11)
print("low=11 was refused, and the model is", repr(model))
assert model.low == 11, "pydantic has changed"
assert is_refused(model, "name", "b"), "pydantic has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
