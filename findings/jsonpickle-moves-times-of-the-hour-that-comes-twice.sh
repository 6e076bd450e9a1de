#!/usr/bin/env bash
# jsonpickle 4.1.4 moves a time of the hour that comes twice by an hour.
# 
# Expected: what pickle brings back, jsonpickle brings back too, a datetime with its zone and its
# fold, which says whether it is the first or the second 02:30 of the night.
# Seen: the zone comes back and the fold does not. 02:30+01:00 is 02:30+02:00 afterwards, an hour
# earlier; == between the two says that they are equal, as Python does within a zone.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check jsonpickle==4.1.4 tzdata==2026.6

cat > "$folder/look.py" << 'PYTHON'
import pickle
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import jsonpickle

TIME = datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin"))
assert pickle.loads(pickle.dumps(TIME)).isoformat() == TIME.isoformat()
again = jsonpickle.decode(jsonpickle.encode(TIME, keys=True), keys=True)
moved = again.astimezone(UTC) - TIME.astimezone(UTC)
print(f"{TIME.isoformat()} comes back as {again.isoformat()}, {moved.total_seconds():+.0f} s")
assert again.tzinfo is TIME.tzinfo and again == TIME
assert (again.fold, moved.total_seconds()) == (0, -3600), "jsonpickle has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
