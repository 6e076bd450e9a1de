#!/usr/bin/env bash
# To APScheduler 3.11.3 "0 0 * * 1" is every Tuesday.
#
# Expected: CronTrigger.from_crontab reads the fields of a crontab, in which the days of the week
# begin with Sunday as 0: 1 is Monday.
# Seen: they begin with Monday as 0, also there. 0 is Monday, 7, the other Sunday, is refused, and
# names ("mon") mean what they say. croniter 7.0.0 and cronsim 2.8 read the line as cron does.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    apscheduler==3.11.3 croniter==7.0.0 cronsim==2.8

cat > "$folder/look.py" << 'PYTHON'
from datetime import datetime, timezone

from apscheduler.triggers.cron import CronTrigger
from croniter import croniter
from cronsim import CronSim

LINE = "0 0 * * 1"
start = datetime(2024, 1, 3, tzinfo=timezone.utc)  # a Wednesday


def by_apscheduler(line):
    return f"{CronTrigger.from_crontab(line, timezone='UTC').get_next_fire_time(None, start):%A}"


days = {
    "APScheduler": by_apscheduler(LINE),
    "croniter": f"{croniter(LINE, start).get_next(datetime):%A}",
    "cronsim": f"{next(CronSim(LINE, start)):%A}",
}
print(LINE, days)
assert days["croniter"] == days["cronsim"] == by_apscheduler("0 0 * * mon") == "Monday"
try:
    by_apscheduler("0 0 * * 7")
except ValueError as error:
    print("APScheduler on 7:", error)
else:
    raise AssertionError("APScheduler has changed")
assert days["APScheduler"] == "Tuesday", "APScheduler has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
