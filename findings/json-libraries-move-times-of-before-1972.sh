#!/usr/bin/env bash
# msgspec 0.23.0, pydantic 2.14.4, orjson 3.13.0 and ormsgpack 1.13.1 move a time by 30 seconds.
# 
# Expected: a datetime with a zone comes back as the same instant, or is refused.
# Seen: old offsets have seconds: Liberia was 44 minutes and 30 seconds behind UTC until 1972. The
# four write offsets of whole minutes and leave the wall time as it is, which is another instant:
# msgspec and pydantic cut the seconds off, orjson and ormsgpack round, so that what they make of
# the same time is a minute apart.
# datetime.isoformat(), which Python reads again, and the timestamps of msgspec's MessagePack are
# exact.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    msgspec==0.23.0 pydantic==2.14.4 orjson==3.13.0 ormsgpack==1.13.1 tzdata==2026.6

cat > "$folder/look.py" << 'PYTHON'
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
import orjson
import ormsgpack
import pydantic

TIME = datetime(1971, 7, 26, 12, tzinfo=ZoneInfo("Africa/Monrovia"))
assert datetime.fromisoformat(TIME.isoformat()) == TIME
assert msgspec.msgpack.decode(msgspec.msgpack.encode(TIME), type=datetime) == TIME

adapter = pydantic.TypeAdapter(datetime)
again = {
    "msgspec": msgspec.json.decode(msgspec.json.encode(TIME), type=datetime),
    "pydantic": adapter.validate_json(adapter.dump_json(TIME)),
    "orjson": datetime.fromisoformat(orjson.loads(orjson.dumps(TIME))),
    "ormsgpack": datetime.fromisoformat(ormsgpack.unpackb(ormsgpack.packb(TIME))),
}
print("written:", TIME.isoformat())
for name, time in again.items():
    print(f"{name}: {time.isoformat()}, {(time - TIME).total_seconds():+.0f} s")
moved = {name: (time - TIME).total_seconds() for name, time in again.items()}
assert moved == {"msgspec": -30, "pydantic": -30, "orjson": 30, "ormsgpack": 30}, "has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
