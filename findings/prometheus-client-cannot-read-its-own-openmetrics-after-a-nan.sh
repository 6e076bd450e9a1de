#!/usr/bin/env bash
# One NaN makes the whole page of prometheus_client 0.26.0 unreadable to prometheus_client 0.26.0.
#
# Expected: what generate_latest() of OpenMetrics writes, its own parser reads;
# observe(float("nan")) is refused, as inc(-1) is, or is written in a form that is allowed.
# Seen: the sum of a histogram or a summary is NaN for ever after, which OpenMetrics does not allow
# there: the parser raises, and all other metrics of the page are lost with that one. The text
# format is read.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check prometheus_client==0.26.0

cat > "$folder/look.py" << 'PYTHON'
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, parser
from prometheus_client.openmetrics import exposition
from prometheus_client.openmetrics import parser as parser_of_openmetrics

registry = CollectorRegistry()
Counter("items", "Items that were done", registry=registry).inc()
seconds = Histogram("seconds", "How long they took", registry=registry)
seconds.observe(0.5)
page = exposition.generate_latest(registry).decode()
assert len(list(parser_of_openmetrics.text_string_to_metric_families(page))) == 2

seconds.observe(float("nan"))
page = exposition.generate_latest(registry).decode()
print([line for line in page.splitlines() if "NaN" in line])
try:
    print(list(parser_of_openmetrics.text_string_to_metric_families(page)))
except ValueError as error:
    print("ValueError:", error)
    message = str(error)
assert message == "Counter-like samples cannot be NaN: seconds_sum NaN", "it has changed"
families = parser.text_string_to_metric_families(generate_latest(registry).decode())
assert {"items", "seconds"} <= {family.name for family in families}
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
