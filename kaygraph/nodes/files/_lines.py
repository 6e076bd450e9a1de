"""The lines of a text file, and what is wrong with one of them."""

import codecs
import io
import re
from collections import deque
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from ...errors import KayGraphError

CHUNK = 16_384  # bytes that are read at once: their rows stay in a processor's cache

# A byte that is not text becomes a lone surrogate, which no text in any encoding decodes to. So it
# fails the row that it stands in, and not all that follows.
_UNDECODABLE = re.compile("[\ud800-\udfff]")
_KEPT = "kaygraph.undecodable"


def _keep(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    wrong = error.object[error.start : error.end]
    return "".join(chr(0xDC00 + byte) for byte in wrong), error.end


codecs.register_error(_KEPT, _keep)


class RowError(KayGraphError, ValueError):
    """A row of a file is not what it should be.

    Attributes:
        path: The file, as it was given.
        line: The line that the row begins on, from 1.
        reason: What is wrong with it.
    """

    def __init__(self, path: str, line: int, reason: str) -> None:
        self.path, self.line, self.reason = path, line, reason
        super().__init__(path, line, reason)

    def __str__(self) -> str:
        return f"{self.path}, line {self.line}: {self.reason}"


class Row(NamedTuple):
    """What a reader's ``exec`` takes: a record as it was read, or why there is none."""

    line: int
    record: Any = None
    error: RowError | None = None

    def __repr__(self) -> str:
        return f"line {self.line}"


class Chunk(NamedTuple):
    """Lines that have been read at once, of which the first begins a row.

    Attributes:
        lines: Each with its end.
        text: All of them.
        is_last: Whether the file ends with them.
        is_short: Whether no row in it can have more than ``max_row`` characters.
        is_sound: Whether no line has more than that, and each byte is text.
    """

    lines: list[str]
    text: str
    is_last: bool
    is_short: bool
    is_sound: bool


class Lines(Iterator[str]):
    """The lines of a file with their ends: a chunk of them at once, or one after another.

    A row is made of one line or, where a quoted field holds line ends, of several. ``begin`` says
    where the next one begins: a row of more than ``max_row`` characters is a RowError, after which
    reading goes on. While the rest of a line that is too long is passed over, "" comes for
    each chunk of it.

    Attributes:
        number: Of the line that came last, from 1.
        first: Of the line that the row begins on.
        chunks: How often the file was read.
    """

    def __init__(self, file: BinaryIO, path: str, encoding: str, max_row: int) -> None:
        self.path, self.encoding, self.max_row = path, encoding, max_row
        self.number = self.chunks = 0
        self.first = 1
        self._given_back = 0  # the last line that was
        self._file = file
        decoder = codecs.getincrementaldecoder(encoding)(_KEPT)
        # It keeps \r\n together where a chunk ends between the two.
        self._decoder = io.IncrementalNewlineDecoder(decoder, translate=False)
        self._waiting = deque[str]()
        self._begun: list[str] = []  # of a line that has not come to its end
        self._row: list[str] = []
        self._size = 0  # of the row, in characters
        self._started = self._passing = self._ended = False

    def chunk(self) -> Chunk | None:
        """Read on, and return the lines that no row has taken; None at the end of the file.

        There are none while the rest of a line that is too long is passed over.
        """
        if not self._ended:
            self._read()
        lines = [*self._waiting]
        if self._ended and not lines:
            return None
        text = "".join(lines)
        is_short = len(text) <= self.max_row
        is_sound = is_short or max(map(len, lines), default=0) <= self.max_row
        return Chunk(lines, text, self._ended, is_short, is_sound and _is_decodable(text))

    def take(self, count: int) -> None:
        """Pass over so many lines of the chunk: they were whole rows."""
        self.number += count
        if count == len(self._waiting):
            self._waiting.clear()
        else:
            for _ in range(count):
                self._waiting.popleft()

    def begin(self) -> None:
        """The line that comes next begins a row."""
        self.first = self.number + 1
        self._row.clear()
        self._size = 0

    @property
    def begun(self) -> bool:
        """Whether a line of the row has come."""
        return self.number >= self.first

    def back(self) -> None:
        """Take all lines of the row back but its first one: that alone is a bad row.

        No line is given twice for a row that begins with a line given twice itself: what comes of
        that would be read again and again.
        """
        if self.first <= self._given_back:
            return
        self._given_back = self.number
        rest = self._row[1:]
        self._waiting.extendleft(reversed(rest))
        self.number -= len(rest)

    def __next__(self) -> str:
        while not self._waiting:
            if self._ended:
                raise StopIteration
            self._read()
            if self._passing and not self._waiting:
                return ""
        line = self._waiting.popleft()
        self.number += 1
        self._row.append(line)
        self._size += len(line)
        if self._size > self.max_row:
            raise self.error(f"is longer than {self.max_row} characters (max_row)")
        return line

    def error(self, reason: str) -> RowError:
        """Return what to raise about the row."""
        return RowError(self.path, self.first, reason)

    def undecodable(self, text: str) -> RowError | None:
        """Return what to raise where bytes of the row are not text."""
        if text.isascii() or (found := _UNDECODABLE.search(text)) is None:
            return None
        return self.error(f"the byte 0x{ord(found[0]) & 0xFF:02x} is not {self.encoding}")

    def _read(self) -> None:
        try:
            data = self._file.read(CHUNK)
        except OSError as error:
            error.filename = self.path
            raise
        self.chunks += 1
        self._ended = not data
        text = self._decoder.decode(data, final=not data)
        if text and not self._started:
            self._started = True
            text = text.removeprefix("\ufeff")
        read = list(io.StringIO(text, newline=""))
        if read and (self._begun or self._passing):  # it goes on with its first line
            self._add(read[0])
            del read[0]
        if read and not read[-1].endswith(("\n", "\r")):
            self._waiting.extend(read[:-1])
            self._add(read[-1])
        else:
            self._waiting.extend(read)
        if self._ended and self._begun:
            self._hand_over()

    def _add(self, part: str) -> None:
        """Add to the line that has not come to its end, unless it is too long already."""
        whole = part.endswith(("\n", "\r"))
        if self._passing:
            self._passing = not whole
            return
        self._begun.append(part)
        self._passing = not whole and sum(map(len, self._begun)) > self.max_row
        if whole or self._passing:
            self._hand_over()

    def _hand_over(self) -> None:
        self._waiting.append("".join(self._begun))
        self._begun.clear()


def _is_decodable(text: str) -> bool:
    """Whether no byte was kept that is not text; much faster than a search for it."""
    if text.isascii():
        return True
    try:
        text.encode()  # no encoding takes a lone surrogate
    except UnicodeEncodeError:
        return False
    return True
