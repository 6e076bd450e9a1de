#!/usr/bin/env bash
# python-dateutil 4.0.0 reads the text of a JavaScript Date with the sign of its offset turned
# around.
#
# Expected: "Mon Jan 01 2024 12:00:00 GMT+0200", as String(new Date()) gives it, is 10:00 UTC.
# Seen: 14:00 UTC, without an error: a zone name with an offset is read as POSIX's TZ is, in which
# west is positive. The same text without "GMT" is 10:00, and dateparser 1.5.0 says 10:00 for both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    python-dateutil==4.0.0 dateparser==1.5.0

cat > "$folder/look.py" << 'PYTHON'
from datetime import timezone

import dateparser
from dateutil import parser

TEXTS = ["Mon Jan 01 2024 12:00:00 GMT+0200", "Mon Jan 01 2024 12:00:00 +0200"]


def hours(read):
    return [read(text).astimezone(timezone.utc).hour for text in TEXTS]


by_dateutil, by_dateparser = hours(parser.parse), hours(dateparser.parse)
print("hours in UTC by dateutil:  ", by_dateutil)
print("hours in UTC by dateparser:", by_dateparser)
assert by_dateparser == [10, 10]
assert by_dateutil == [14, 10], "dateutil has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
