"""A terminal in memory, and one that is a device of the system: what stands on the screen."""

import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fcntl import ioctl
from io import TextIOBase
from typing import Any
from unittest.mock import patch

from kaygraph.progress import screen
from tests.children import child

STEPS = re.compile(r"\x1b\[(\??[\d;]*)([A-Za-z])|([\r\n\b])|([^\x1b\r\n\b]+)")


class Lines:
    """What a terminal shows, and what has scrolled away: all its lines."""

    def __init__(self, width: int = 80) -> None:
        self.width = width
        self.lines: list[str] = [""]
        self.row = self.column = 0

    def write(self, text: str) -> None:
        for count, code, control, words in STEPS.findall(text):
            if code:
                self._do(code, count)
            elif control:
                self._control(control)
            else:
                self._print(words)

    def _do(self, code: str, count: str) -> None:
        if code == "A":
            self.row = max(0, self.row - int(count or 1))
        elif code == "K":
            self.lines[self.row] = self.lines[self.row][: self.column]
        elif code == "J":
            self.lines[self.row] = self.lines[self.row][: self.column]
            del self.lines[self.row + 1 :]
        else:
            assert code == "m", f"unknown: {code}"

    def _control(self, control: str) -> None:
        if control == "\n":
            self.row += 1
            if self.row == len(self.lines):
                self.lines.append("")
        self.column = 0

    def _print(self, words: str) -> None:
        for char in words:
            if self.column == self.width:
                self._control("\n")
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + char + line[self.column + 1 :]
            self.column += 1

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.lines).rstrip()


class Terminal(TextIOBase):
    """A stream that is a terminal in memory.

    Attributes:
        shows: What it shows.
    """

    encoding = "utf-8"

    def __init__(self, width: int = 80) -> None:
        self.shows = Lines(width)
        self.written: list[str] = []

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.written.append(text)
        self.shows.write(text)
        return len(text)

    @property
    def text(self) -> str:
        return self.shows.text


@contextmanager
def at_terminal(width: int = 80) -> Iterator[Terminal]:
    """Have standard output and error be one terminal in memory; no drawing is held back."""
    terminal = Terminal(width)
    settings = {"TERM": "xterm", "NO_COLOR": "1", "COLUMNS": ""}
    with (
        patch.object(sys, "stdout", terminal),
        patch.object(sys, "stderr", terminal),
        patch.object(screen, "APART_S", -1.0),
        patch.dict(os.environ, settings),
    ):
        yield terminal
        assert sys.stdout is terminal
        assert sys.stderr is terminal


class InTerminal:
    """A program in a pseudo-terminal.

    Args:
        command: The words of the command; Python runs it.
        width: Columns.
        height: Lines.
        settings: Of ``child``: ``stdout`` to send its output elsewhere, say.
    """

    def __init__(
        self,
        *command: str,
        width: int = 100,
        height: int = 30,
        env: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        self._ours, self._theirs = pty.openpty()
        ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        streams: dict[str, Any] = {
            "stdin": self._theirs,
            "stdout": self._theirs,
            "stderr": self._theirs,
            "preexec_fn": lambda: ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C is a signal
        }
        environment = {"TERM": "xterm-256color", "NO_COLOR": "1", "COLUMNS": "", **(env or {})}
        self._child = child(sys.executable, *command, env=environment, **(streams | settings))
        self.shows = Lines(width)
        self.sent = ""

    def __enter__(self) -> "InTerminal":
        self.process: subprocess.Popen[str] = self._child.__enter__()
        os.close(self._theirs)
        return self

    def __exit__(self, *error: Any) -> None:
        self._child.__exit__(*error)
        os.close(self._ours)

    @property
    def text(self) -> str:
        return self.shows.text

    def type(self, text: str) -> None:
        """Type something."""
        os.write(self._ours, text.encode())

    def until(self, shows: Callable[[str], object], seconds: float = 60.0) -> str:
        """Read until the screen shows something, and return what it shows."""
        end = time.monotonic() + seconds
        while not shows(self.text):
            assert time.monotonic() < end, self.text
            if not self._read(end - time.monotonic()):
                assert shows(self.text), self.text
        return self.text

    def ended(self, seconds: float = 60.0) -> int:
        """Read to the end; return the exit code."""
        end = time.monotonic() + seconds
        while self._read(end - time.monotonic()):
            pass
        return self.process.wait(timeout=seconds)

    def _read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._ours], [], [], max(0.0, seconds))
        assert ready, f"nothing comes any more: {self.text}"
        try:
            data = os.read(self._ours, 65536).decode(errors="replace")
        except OSError:  # the program has ended
            return False
        self.sent += data
        self.shows.write(data)
        return bool(data)
