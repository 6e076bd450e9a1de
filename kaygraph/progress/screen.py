"""The bottom of a terminal, redrawn again and again; what a program prints stays above it.

No library does the drawing: the available ones wrap what a program prints, capture output that a
program writes to a file, and cost several times as much processor time.
"""

import logging
import os
import sys
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, TextIO, cast
from weakref import WeakSet

from .text import Style, cells

APART_S = 0.05  # between two drawings
SMALLEST = 4  # lines of one run

# Draws the lines of one run, given the columns and the maximum number of lines.
Part = Callable[[int, int], list[str]]


class Screen:
    """Draws the parts of all runs that are shown in one terminal, one below the other.

    While there is a part, ``sys.stdout`` and ``sys.stderr`` are replaced if they are terminals,
    so that printed and logged text appears above. A line that is started and not ended, as by
    ``input()``, hides the bars until it is ended.
    """

    def __init__(self, stream: TextIO, style: Style) -> None:
        self.style = style
        self._stream = stream
        self._lock = threading.RLock()
        self._parts: dict[object, Part] = {}
        self._drawn: list[int] = []  # how wide the current lines are
        self._begun = False  # the program has started a line and not ended it
        self._drawn_at = 0.0
        self._broken = False
        self._replaced: list[tuple[str, Any, Through]] = []
        SCREENS.add(self)

    def add(self, key: object, part: Part) -> None:
        """Draw a part from now on."""
        with self._lock:
            first = not self._parts
            self._parts[key] = part
        if first:  # without the lock, which logging code needs too
            self._replace()

    def remove(self, key: object, leave: bool) -> None:
        """Stop drawing a part; ``leave`` its last lines above the others."""
        with OPENING.lock:
            with self._lock:
                part = self._parts.pop(key)
                self._erase()
                if leave:
                    self._leave(part)
                if self._parts:
                    self._draw()
            if not self._parts:
                self._put_back()

    def _leave(self, part: Part) -> None:
        if self._begun:
            self._send("\n")
            self._begun = False
        self._send("".join(f"{line}\n" for line in part(*self._size())))

    def draw(self) -> None:
        """Draw all parts, unless the program has started a line, or it was done just now."""
        with self._lock:
            if self._parts and not self._begun and monotonic() - self._drawn_at > APART_S:
                self._draw()

    def write(self, stream: TextIO, text: str) -> None:
        """Write what the program prints, above the parts."""
        with self._lock:
            self._erase()
            stream.write(text)
            if text:
                self._begun = not text.endswith("\n")
            if self._parts and not self._begun:
                stream.flush()
                self.draw()

    def clear(self) -> None:
        """Remove the parts from the terminal until they are drawn again."""
        with self._lock:
            self._erase()

    def forget(self) -> None:
        """Draw nothing in a forked process: the holder of the lock is not in it."""
        self._lock, self._parts, self._drawn = threading.RLock(), {}, []
        self._put_back()

    # --- drawing ----------------------------------------------------------------------------------

    def _draw(self) -> None:
        width, height = self._size()
        share = max(SMALLEST, (height - 1) // max(1, len(self._parts)))
        lines: list[str] = []
        for part in tuple(self._parts.values()):
            lines += part(width, share)
        lines = lines[: height - 1]  # what has scrolled away cannot be redrawn
        text = "".join(f"{line}\x1b[K\n" for line in lines)
        self._send(f"{self._to_top(width)}{text}\x1b[J")
        self._drawn = [cells(unpainted(line)) for line in lines]
        self._drawn_at = monotonic()

    def _erase(self) -> None:
        if self._drawn:
            self._send(f"{self._to_top(self._size()[0])}\x1b[J")
            self._drawn = []

    def _to_top(self, width: int) -> str:
        """Return what moves the cursor to the first line that is drawn.

        A terminal that has become narrower since then has wrapped lines.
        """
        rows = sum(max(1, -(-wide // max(1, width))) for wide in self._drawn)
        return f"\r\x1b[{rows}A" if rows else "\r"

    def _send(self, text: str) -> None:
        if self._broken:
            return
        try:
            encoding = self._stream.encoding or "utf-8"
            self._stream.write(text.encode(encoding, "replace").decode(encoding))
            self._stream.flush()
        except (OSError, ValueError):  # the reader is gone: that must not fail the run
            self._broken = True

    def _size(self) -> tuple[int, int]:
        """Return how many columns a line may have, and how many lines there are."""
        try:
            size = os.get_terminal_size(self._stream.fileno())
        except (OSError, ValueError):
            size = os.terminal_size((0, 0))
        columns = os.environ.get("COLUMNS", "")
        width = int(columns) if columns.isdecimal() and int(columns) else size.columns or 80
        return max(1, width - 1), size.lines or 24

    # --- in place of the streams ------------------------------------------------------------------

    def _replace(self) -> None:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is not None and not isinstance(stream, Through) and is_terminal(stream):
                through = Through(self, stream)
                setattr(sys, name, through)
                self._replaced.append((name, stream, through))
                for handler in _handlers_of(stream):
                    handler.setStream(cast(TextIO, through))

    def _put_back(self) -> None:
        for name, stream, through in self._replaced:
            if getattr(sys, name) is through:  # otherwise it was replaced since
                setattr(sys, name, stream)
            for handler in _handlers_of(through):  # also those that were created in the meantime
                handler.setStream(stream)
        self._replaced = []


class Through:
    """A stream of the program whose text appears above the drawing. All else is the stream's."""

    def __init__(self, screen: Screen, stream: TextIO) -> None:
        self.screen, self._stream = screen, stream

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self.screen.write(self._stream, text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    @property
    def buffer(self) -> Any:
        self.screen.clear()
        return cast(Any, self._stream).buffer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Any:
        return iter(self._stream)


def _handlers_of(stream: Any) -> list["logging.StreamHandler[Any]"]:
    """Return the handlers of ``logging`` that write to a stream: they keep it from before."""
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    found = {handler for logger in loggers for handler in getattr(logger, "handlers", ())}
    return [
        handler
        for handler in found
        if isinstance(handler, logging.StreamHandler) and handler.stream is stream
    ]


SCREENS: "WeakSet[Screen]" = WeakSet()


class Opening:
    """The lock for starting and stopping to draw; a forked process gets a new one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


OPENING = Opening()


class Errors:
    """The current standard error at each write, for a log that is set up before a run."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text) if sys.stderr is not None else len(text)

    def flush(self) -> None:
        if sys.stderr is not None:
            sys.stderr.flush()


def _forget_all() -> None:
    OPENING.lock = threading.Lock()
    for screen in tuple(SCREENS):
        screen.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


def screen_of(stream: Any) -> Screen:
    """Return the screen that draws on a stream, which may already draw other parts."""
    if isinstance(stream, Through):
        return stream.screen
    return Screen(stream, style_of(stream))


def is_terminal(stream: Any) -> bool:
    """Whether a stream is a terminal, and not closed."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


def can_draw(stream: Any) -> bool:
    """Whether the output of a stream can be redrawn."""
    dumb = os.environ.get("TERM", "") in ("dumb", "unknown")
    plain = os.name == "nt" and "WT_SESSION" not in os.environ
    return is_terminal(stream) and not dumb and not plain


def style_of(stream: Any) -> Style:
    """Return what a stream can show."""
    encoding = (getattr(stream, "encoding", None) or "ascii").lower().replace("-", "")
    return Style(
        color=not os.environ.get("NO_COLOR"),
        unicode=encoding.startswith("utf") or encoding == "cp65001",
    )


def unpainted(text: str) -> str:
    """Return a text without its colours."""
    if "\x1b" not in text:
        return text
    return "".join(part.partition("m")[2] for part in f"m{text}".split("\x1b["))
