#!/usr/bin/env bash
# python-dateutil 4.0.0 writes a rule without its zone, and reads one occurrence fewer.
#
# Expected: str() of a rule, which rrulestr() reads, has the zone in it (DTSTART;TZID=...), and a Z
# behind an UNTIL in UTC; or it is refused.
# Seen: both are left out, without a word. Five mornings at 09:00 in Berlin come back as four: times
# are without a zone, and the UNTIL of 08:00 UTC has become one of 08:00.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    python-dateutil==4.0.0 tzdata==2026.6

cat > "$folder/look.py" << 'PYTHON'
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

from dateutil.rrule import DAILY, rrule, rrulestr

rule = rrule(
    DAILY,
    dtstart=datetime(2024, 1, 1, 9, tzinfo=ZoneInfo("Europe/Berlin")),
    until=datetime(2024, 1, 5, 8, tzinfo=timezone.utc),
)
before, after = list(rule), list(rrulestr(str(rule)))
print(str(rule))
print(len(before), "times from", before[0].isoformat(), "to", before[-1].isoformat())
print(len(after), "times from", after[0].isoformat(), "to", after[-1].isoformat())
assert len(before) == 5
assert (len(after), after[0].tzinfo) == (4, None), "dateutil has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
