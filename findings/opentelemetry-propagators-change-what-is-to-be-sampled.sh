#!/usr/bin/env bash
# The propagators of OpenTelemetry for B3 and Jaeger (1.45.1) hand on another decision than they
# got.
#
# Expected: what came in with a request goes on with the next: B3's "d" (debug, take all), for which
# the specification of OpenTelemetry says so, a bare "0" (take nothing), and Jaeger's flags.
# Seen: "d" becomes "1", a bare "0" is lost, so that a new trace begins that may be sampled, and
# Jaeger's 1 (sampled) becomes 3 (sampled and debug), which asks all services behind it to keep
# everything.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    opentelemetry-propagator-b3==1.45.1 opentelemetry-propagator-jaeger==1.45.1 \
    opentelemetry-sdk==1.45.2

cat > "$folder/look.py" << 'PYTHON'
import warnings

from opentelemetry import trace
from opentelemetry.propagators.b3 import B3SingleFormat

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from opentelemetry.propagators.jaeger import JaegerPropagator

    jaeger = JaegerPropagator()
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def handed_on(propagator, name, value):
    headers = {}
    propagator.inject(headers, propagator.extract({name: value}))
    return headers.get(name)


b3 = B3SingleFormat()
seen = {}
for name, propagator, value in (
    ("b3", b3, f"{TRACE}-{SPAN}-1"),
    ("b3", b3, f"{TRACE}-{SPAN}-d"),
    ("b3", b3, "0"),
    ("uber-trace-id", jaeger, f"{TRACE}:{SPAN}:0:1"),
):
    seen[value] = handed_on(propagator, name, value)
    print(f"{name}: {value} is handed on as {seen[value]}")
assert seen == {
    f"{TRACE}-{SPAN}-1": f"{TRACE}-{SPAN}-1",
    f"{TRACE}-{SPAN}-d": f"{TRACE}-{SPAN}-1",
    "0": None,
    f"{TRACE}:{SPAN}:0:1": f"{TRACE}:{SPAN}:0000000000000000:03",
}, "one of them has changed"
assert not trace.get_current_span(b3.extract({"b3": "0"})).get_span_context().is_valid
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
