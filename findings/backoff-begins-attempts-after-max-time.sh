#!/usr/bin/env bash
# backoff 2.2.1 begins an attempt long after max_time.
#
# Expected: with max_time=5 no attempt begins when five seconds have passed.
# Seen: with attempts of 3 s the third begins after 6 s, and ends after 9 s: what is compared with
# max_time is when the attempt that has failed began. stamina 26.1.0 stops after the second.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check backoff==2.2.1 stamina==26.1.0

cat > "$folder/look.py" << 'PYTHON'
import time

import backoff
import stamina


def begins(decorator):
    began, seen = time.monotonic(), []

    @decorator
    def fails():
        seen.append(time.monotonic() - began)
        time.sleep(3)
        raise OSError

    try:
        fails()
    except OSError:
        return seen


waits = {"attempts": None, "wait_initial": 0, "wait_max": 0, "wait_jitter": 0}
by_stamina = begins(stamina.retry(on=OSError, timeout=5, **waits))
by_backoff = begins(
    backoff.on_exception(backoff.constant, OSError, max_time=5, interval=0, jitter=None)
)
print("attempts begin after so many seconds:")
print("stamina:", [round(second) for second in by_stamina])
print("backoff:", [round(second) for second in by_backoff])
assert max(by_stamina) < 5
assert max(by_backoff) > 5.5, "backoff has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
