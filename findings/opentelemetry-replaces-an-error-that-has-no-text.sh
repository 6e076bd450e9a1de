#!/usr/bin/env bash
# OpenTelemetry (opentelemetry-sdk 1.45.2) replaces an error whose text cannot be made.
#
# Expected: a span watches. What leaves "with tracer.start_as_current_span(...)" is what was raised
# in it, with the span recorded as well as it can be.
# Seen: for the event, the SDK asks for str(error). Where __str__ fails, as it does where it reads
# what an error that came from another process has lost, that error leaves the span, and "except"
# around it does not match. record_exception() raises it too.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check opentelemetry-sdk==1.45.2

cat > "$folder/look.py" << 'PYTHON'
from opentelemetry.sdk.trace import TracerProvider


class RowError(ValueError):
    def __str__(self):
        return f"row {self.row}"  # AttributeError: pickle has lost it


tracer = TracerProvider().get_tracer("findings")
try:
    with tracer.start_as_current_span("import"):
        raise RowError
except Exception as error:
    print("what leaves the span:", repr(error))
    seen = error
assert type(seen) is AttributeError, "OpenTelemetry has changed"
assert type(seen.__context__) is RowError
span = tracer.start_span("import")
try:
    span.record_exception(RowError())
except AttributeError:
    print("record_exception() raises, too")
else:
    raise AssertionError("OpenTelemetry has changed")
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
