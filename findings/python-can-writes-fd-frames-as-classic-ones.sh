#!/usr/bin/env bash
# python-can 4.6.1 writes CAN FD frames to CSV and SQLite as frames of classic CAN.
#
# Expected: a Logger for .csv and .db writes what it is given, or says that it cannot, as that for
# .trc does: a frame of 12 bytes can only be CAN FD.
# Seen: flag, bit rate switch, direction and channel are gone, without a word. What is read is a
# classic frame of 12 bytes, which there is not. candump's format (.log) and .blf keep it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check python-can==4.6.1

cat > "$folder/look.py" << 'PYTHON'
import sys

import can

sent = can.Message(
    timestamp=1.5,
    arbitration_id=5,
    is_extended_id=False,
    data=bytes(12),
    is_fd=True,
    bitrate_switch=True,
    is_rx=False,
    channel=1,
)
seen = {}
for kind in ("log", "blf", "csv", "db"):
    path = f"{sys.argv[1]}/frames.{kind}"
    with can.Logger(path) as logger:
        logger(sent)
    with can.LogReader(path) as reader:
        (back,) = reader
    assert back.data == sent.data
    seen[kind] = (back.is_fd, back.bitrate_switch, back.is_rx)
print("is_fd, bitrate_switch, is_rx:", seen)
assert seen["log"] == seen["blf"] == (True, True, False)
assert seen["csv"] == seen["db"] == (False, False, True), "python-can has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
