#!/usr/bin/env bash
# In vobject 0.9.9 a weekly meeting keeps the offset of its first day, and then loses its
# exceptions.
#
# Expected: a meeting at 10:00 Europe/Berlin that began in March is at 10:00+02:00 in April, and
# not on the day that EXDATE leaves out.
# Seen: 10:00+01:00, an hour late, for all of summer. The exception, which has the right offset,
# meets none of them: the meeting that was cancelled takes place.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check vobject==0.9.9 tzdata==2026.6

cat > "$folder/look.py" << 'PYTHON'
import vobject

CALENDAR = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//findings//EN
BEGIN:VEVENT
UID:1
DTSTAMP:20240101T000000Z
DTSTART;TZID=Europe/Berlin:20240318T100000
RRULE:FREQ=WEEKLY;COUNT=4
EXDATE;TZID=Europe/Berlin:20240408T100000
SUMMARY:Meeting
END:VEVENT
END:VCALENDAR
"""
meetings = vobject.readOne(CALENDAR.replace("\n", "\r\n")).vevent.rruleset
seen = [meeting.isoformat() for meeting in meetings]
print("\n".join(seen))
assert seen == [
    "2024-03-18T10:00:00+01:00",
    "2024-03-25T10:00:00+01:00",
    "2024-04-01T10:00:00+01:00",
    "2024-04-08T10:00:00+01:00",
], "vobject has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
