#!/usr/bin/env bash
# ipykernel 7.4.0 hears Stop in a cell that awaits only when something else wakes the event loop.
#
# Expected: the interrupt cancels what the cell awaits at once, as it interrupts a cell that does
# not await (after 0.5 seconds here).
# Seen: the cell goes on until its own timer wakes the loop (5 seconds); a call to a service that
# takes minutes goes on for minutes. The handler of the signal calls IOLoop.add_callback, which is
# a plain call_soon in the loop's own thread, and does not wake the selector. Where what is awaited
# is done in that very turn, the cell ends as if it had not been stopped.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    ipykernel==7.4.0 ipython==9.18.1 jupyter_client==8.10.0 tornado==6.6.1 pyzmq==27.3.0

cat > "$folder/look.py" << 'PYTHON'
import sys
import time

from jupyter_client.manager import start_new_kernel

LONGEST_S = 60

manager, client = start_new_kernel(kernel_name="python3")


def stopped_after(cell: str) -> tuple[float, str]:
    """Run a cell, press Stop half a second after it has begun, and return when it ended, and how."""
    asked, began, how = client.execute(f"print('begun', flush=True)\n{cell}"), 0.0, "ok"
    while True:
        message = client.get_iopub_msg(timeout=LONGEST_S)
        if message["parent_header"].get("msg_id") != asked:
            continue
        if message["msg_type"] == "stream" and not began:
            began = time.monotonic()
            time.sleep(0.5)
            manager.interrupt_kernel()
        if message["msg_type"] == "error":
            how = message["content"]["ename"]
        if message["content"].get("execution_state") == "idle":
            return time.monotonic() - began, how


try:
    plain = stopped_after("import time; time.sleep(5)")
    awaits = stopped_after("import asyncio; await asyncio.sleep(5)")
finally:
    client.stop_channels()
    manager.shutdown_kernel(now=True)
print(f"a cell that sleeps:            {plain[0]:.1f} s, {plain[1]}")
print(f"a cell that awaits a sleep:    {awaits[0]:.1f} s, {awaits[1]}")
sys.exit(not (plain[0] < 2 and awaits[0] > 4))
PYTHON

"$folder/venv/bin/python" "$folder/look.py"
