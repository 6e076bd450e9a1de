#!/usr/bin/env bash
# croniter 7.0.0 and APScheduler 3.11.3 run a nightly job twice when summer time ends.
#
# Expected: "30 2 * * *" is once a day, also in the night in which 02:30 comes twice, as Debian's
# cron and cronsim 2.8 have it: only jobs with a wildcard hour are repeated in the hour that is.
# Seen: both run it at 02:30+02:00 and again at 02:30+01:00.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    apscheduler==3.11.3 croniter==7.0.0 cronsim==2.8 tzdata==2026.6

cat > "$folder/look.py" << 'PYTHON'
from datetime import datetime
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger
from croniter import croniter
from cronsim import CronSim

LINE = "30 2 * * *"
zone = ZoneInfo("Europe/Berlin")
start = datetime(2024, 10, 26, 12, tzinfo=zone)  # the day before the end of summer time


def by_apscheduler():
    trigger = CronTrigger.from_crontab(LINE, timezone=zone)
    first = trigger.get_next_fire_time(None, start)
    return [first, trigger.get_next_fire_time(first, first)]


cron, simulated = croniter(LINE, start), CronSim(LINE, start)
runs = {
    "croniter": [cron.get_next(datetime), cron.get_next(datetime)],
    "APScheduler": by_apscheduler(),
    "cronsim": [next(simulated), next(simulated)],
}
for name, times in runs.items():
    print(f"{name}: {[time.isoformat() for time in times]}")
days = {name: [time.day for time in times] for name, times in runs.items()}
assert days["cronsim"] == [27, 28]
assert days["croniter"] == [27, 27], "croniter has changed"
assert days["APScheduler"] == [27, 27], "APScheduler has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
