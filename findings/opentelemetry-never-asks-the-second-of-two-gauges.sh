#!/usr/bin/env bash
# Of two observable gauges of one name, OpenTelemetry (opentelemetry-sdk 1.45.2) asks only the
# first.
#
# Expected: a library that makes an observable gauge for each of its objects, with attributes that
# tell them apart, has the values of all; or the second is refused.
# Seen: create_observable_gauge() gives the second program part the first gauge, and drops its
# callback. It is never called, and no warning is logged, as there is where the unit or the
# description differs. Two counters of one name that are not observable are one, and count for both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check opentelemetry-sdk==1.45.2

cat > "$folder/look.py" << 'PYTHON'
import logging

from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

records = []
handler = logging.Handler()
handler.emit = records.append
logging.getLogger().addHandler(handler)
reader = InMemoryMetricReader()
meter = MeterProvider(metric_readers=[reader]).get_meter("findings")


class Queue:
    def __init__(self, name):
        self.name = name
        meter.create_observable_gauge("waiting", callbacks=[self.waiting])
        meter.create_counter("queues").add(1)

    def waiting(self, options):
        return [Observation(5, {"queue": self.name})]


queues = [Queue("first"), Queue("second")]
metrics = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
points = {metric.name: metric.data.data_points for metric in metrics}
seen = [dict(point.attributes) for point in points["waiting"]]
print("observed:", seen, "and counted:", points["queues"][0].value)
print("logged:", [record.getMessage() for record in records])
assert points["queues"][0].value == 2
assert seen == [{"queue": "first"}], "OpenTelemetry has changed"
assert not records, "OpenTelemetry has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
