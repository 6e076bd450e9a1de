#!/usr/bin/env bash
# The executor of Dask (distributed 2026.8.0) makes a call once that was submitted twice.
#
# Expected: Client.get_executor() is an executor of concurrent.futures: each submit() is a call,
# and cancel() of a call that is running does nothing and returns False.
# Seen: two equal calls have one key, and are one call, though get_executor(pure=False) says that
# they need not be. A running call says that it was cancelled, and runs on.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    distributed==2026.8.0 dask==2026.8.0

cat > "$folder/look.py" << 'PYTHON'
import sys
import time
import uuid
from pathlib import Path

import distributed

folder = Path(sys.argv[1])


def mark(number):
    return uuid.uuid4().hex


def wait_for(path):
    while not path.exists():
        time.sleep(0.01)


def waits(folder):
    (folder / "started").touch()
    wait_for(folder / "go on")
    (folder / "ended").touch()


def main():
    settings = {"processes": False, "n_workers": 1, "threads_per_worker": 2}
    with (
        distributed.LocalCluster(dashboard_address=None, **settings) as cluster,
        distributed.Client(cluster) as client,
    ):
        plain, impure = client.get_executor(), client.get_executor(pure=False)
        marks = {}
        for name, executor in (("plain", plain), ("pure=False", impure)):
            futures = [executor.submit(mark, 1) for _ in range(3)]
            marks[name] = len({future.result() for future in futures})
        print("different results of three equal calls:", marks)
        future = plain.submit(waits, folder)
        wait_for(folder / "started")
        cancelled = future.cancel()
        (folder / "go on").touch()
        wait_for(folder / "ended")  # for ever, if it had been cancelled
        print("cancel() of a running call:", cancelled, "and yet it came to its end")
    assert marks == {"plain": 1, "pure=False": 3}, "distributed has changed"
    assert cancelled, "distributed has changed"


main()
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
