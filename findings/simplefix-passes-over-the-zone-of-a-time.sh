#!/usr/bin/env bash
# simplefix 1.0.17 writes 12:00+05:00 as 12:00 UTC.
#
# Expected: a datetime that has a zone is converted to UTC where a field is one of UTC, and keeps
# its offset where the field has one; or it is refused.
# Seen: append_utc_timestamp() writes the wall time as that of UTC. append_tz_timestamp() writes the
# wall time with the offset of the machine, whatever the datetime says: here, in UTC, a Z. A time of
# an order is hours off.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check simplefix==1.0.17

cat > "$folder/look.py" << 'PYTHON'
import datetime
import os
import time

import simplefix

os.environ["TZ"] = "UTC"
time.tzset()
zone = datetime.timezone(datetime.timedelta(hours=5))
noon = datetime.datetime(2024, 1, 1, 12, tzinfo=zone)
message = simplefix.FixMessage()
message.append_utc_timestamp(60, noon)  # TransactTime
message.append_tz_timestamp(1132, noon)  # TZTransactTime
seen = {tag: message.get(tag).decode() for tag in (60, 1132)}
print(noon.isoformat(), "is", seen)
assert seen[60] == "20240101-12:00:00.000", "simplefix has changed"
assert seen[1132] == "20240101-12:00:00.000Z", "simplefix has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
