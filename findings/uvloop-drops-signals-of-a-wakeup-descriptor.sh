#!/usr/bin/env bash
# While a loop of uvloop (0.23.0) runs, the descriptor of signal.set_wakeup_fd hears of no signal.
#
# Expected: a program that has set a wakeup descriptor gets a byte there for each signal that has a
# handler, as the documentation of `signal` says, whichever event loop runs meanwhile.
# Seen: on a loop of asyncio it does. uvloop puts a descriptor of its own there for as long as it
# runs, and passes nothing on of signals that it was not asked to handle. The handler is called.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check uvloop==0.23.0

cat > "$folder/look.py" << 'PYTHON'
import asyncio
import os
import signal

import uvloop

handled = []
signal.signal(signal.SIGUSR1, lambda number, frame: handled.append(number))
receiving, sending = os.pipe()
for end in (receiving, sending):
    os.set_blocking(end, False)


def received():
    try:
        return list(os.read(receiving, 100))
    except BlockingIOError:
        return []


async def main():
    signal.raise_signal(signal.SIGUSR1)
    await asyncio.sleep(0.05)


seen = {}
for name, factory in (("asyncio", asyncio.new_event_loop), ("uvloop", uvloop.new_event_loop)):
    handled.clear()
    signal.set_wakeup_fd(sending)
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
    put_back = signal.set_wakeup_fd(-1) == sending
    seen[name] = received(), len(handled), put_back
    print(f"{name}: bytes {seen[name][0]}, calls of the handler {seen[name][1]}, put back {put_back}")

number = int(signal.SIGUSR1)
assert seen["asyncio"] == ([number], 1, True), "asyncio has changed"
assert seen["uvloop"] == ([], 1, True), "uvloop has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
