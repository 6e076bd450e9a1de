#!/usr/bin/env bash
# Baggage of OpenTelemetry (1.45.2) comes to Datadog's and Sentry's tracers with + for spaces.
#
# Expected: a value travels as the W3C's Baggage says, with %20 for a space and + for itself, and is
# what it was on the other side. A property behind a semicolon is no part of it.
# Seen: OpenTelemetry for Python writes "a b" as a+b, which ddtrace 4.16.0 and sentry-sdk 2.75.0
# read as it stands; ddtrace writes "c++" as c++, of which OpenTelemetry makes a c and two spaces,
# and then strips them. All three take properties for a part of the value.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    opentelemetry-api==1.45.2 ddtrace==4.16.0 sentry-sdk==2.75.0

cat > "$folder/look.py" << 'PYTHON'
from ddtrace.propagation.http import HTTPPropagator
from ddtrace.trace import Context
from opentelemetry import baggage
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from sentry_sdk.tracing_utils import Baggage


def written_by_opentelemetry(**values):
    context, headers = None, {}
    for name, value in values.items():
        context = baggage.set_baggage(name, value, context)
    W3CBaggagePropagator().inject(headers, context)
    return headers["baggage"]


def written_by_datadog(**values):
    context, headers = Context(trace_id=1, span_id=2), {}
    for name, value in values.items():
        context.set_baggage_item(name, value)
    HTTPPropagator.inject(context, headers)
    return headers["baggage"]


def read_by_opentelemetry(header):
    return dict(baggage.get_all(W3CBaggagePropagator().extract({"baggage": header})))


def read_by_datadog(header):
    return HTTPPropagator.extract({"baggage": header}).get_all_baggage_items()


def read_by_sentry(header):
    items = Baggage.from_incoming_header(header).sentry_items
    return {f"sentry-{name}": value for name, value in items.items()}


header = written_by_opentelemetry(**{"sentry-user": "a b"})
print("OpenTelemetry writes", header)
assert header == "sentry-user=a+b", "OpenTelemetry has changed"
assert read_by_opentelemetry(header) == {"sentry-user": "a b"}
assert read_by_datadog(header) == {"sentry-user": "a+b"}, "ddtrace has changed"
assert read_by_sentry(header) == {"sentry-user": "a+b"}, "sentry-sdk has changed"

header = written_by_datadog(language="c++")
print("ddtrace writes", header, "and OpenTelemetry reads", read_by_opentelemetry(header))
assert (header, read_by_datadog(header)) == ("language=c++", {"language": "c++"})
assert read_by_opentelemetry(header) == {"language": "c"}, "OpenTelemetry has changed"

header = "sentry-user=1;secret=no"
for read in (read_by_opentelemetry, read_by_datadog, read_by_sentry):
    print(read.__name__, read(header))
    assert read(header) == {"sentry-user": "1;secret=no"}, "one of them has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
