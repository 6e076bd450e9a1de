#!/usr/bin/env bash
# A Live of Rich 15.0.0 on stderr takes what the program prints to standard output.
#
# Expected: Live(console=Console(stderr=True)) keeps out of the way of "program > file", for which a
# program shows its progress on stderr; text goes where it was written to.
# Seen: while it is shown, print() goes to the terminal, broken at its width, and the file is empty.
# sys.stdout.write() says that it has written 0 characters. redirect_stdout is True by default,
# whichever stream the console is on.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check rich==15.0.0

cat > "$folder/look.py" << 'PYTHON'
import fcntl
import os
import struct
import subprocess
import sys
import termios

PROGRAM = """
import sys
from rich.console import Console
from rich.live import Live
with Live("working", console=Console(stderr=True)):
    print("x" * 100)
    written = sys.stdout.write("two\\n")
print(written)
"""
folder = sys.argv[1]
terminal, its_other_end = os.openpty()
fcntl.ioctl(its_other_end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
environment = os.environ | {"TERM": "xterm"}
environment.pop("COLUMNS", None)
with open(f"{folder}/file", "w") as file:
    command = [sys.executable, "-c", PROGRAM]
    process = subprocess.run(
        command, stdout=file, stderr=its_other_end, check=True, env=environment
    )
os.close(its_other_end)
shown = b""
try:
    while piece := os.read(terminal, 65536):
        shown += piece
except OSError:  # as Linux says that the other end is closed
    pass
with open(f"{folder}/file") as file:
    written = file.read()
print("in the file:", repr(written))
print("on the terminal:", shown.count(b"x"), "x in lines of up to 40:", b"x" * 41 not in shown)
assert written == "0\n", "Rich has changed"
assert shown.count(b"x") == 100 and b"two" in shown and b"x" * 41 not in shown, "Rich has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
