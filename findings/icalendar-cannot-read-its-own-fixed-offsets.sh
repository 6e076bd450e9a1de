#!/usr/bin/env bash
# icalendar 7.3.2 loses the offset of a time that it has written itself.
#
# Expected: datetime(2024, 1, 1, 12, tzinfo=+02:00), which is what datetime.fromisoformat gives, is
# written as 10:00 UTC, or in a form that comes back as the same instant.
# Seen: it is written with TZID="UTC+02:00", a zone that nothing describes, and comes back as 12:00
# without a zone. Times of a ZoneInfo come back as they were.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check icalendar==7.3.2 tzdata==2026.6

cat > "$folder/look.py" << 'PYTHON'
from datetime import datetime
from zoneinfo import ZoneInfo

import icalendar


def written_and_read(time):
    event = icalendar.Event()
    event.add("dtstart", time)
    text = event.to_ical()
    return text.split(b"\r\n")[1].decode(), icalendar.Event.from_ical(text)["DTSTART"].dt


named = datetime(2024, 1, 1, 12, tzinfo=ZoneInfo("Europe/Helsinki"))
fixed = datetime.fromisoformat("2024-01-01T12:00:00+02:00")
assert named == fixed
for time in (named, fixed):
    print(*written_and_read(time), sep="  ->  ")
assert written_and_read(named)[1] == named
line, back = written_and_read(fixed)
assert line == 'DTSTART;TZID="UTC+02:00":20240101T120000', "icalendar has changed"
assert back == datetime(2024, 1, 1, 12), "icalendar has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
