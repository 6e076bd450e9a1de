"""The lines of a text file, and their errors."""

import codecs
import io
import re
from collections import deque
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from ...errors import KayGraphError

CHUNK = 16_384  # bytes read at once: their rows stay in the processor's cache

# A byte that is not text becomes a lone surrogate, which no encoding produces otherwise. So only
# its own row fails, not everything after it.
_UNDECODABLE = re.compile("[\ud800-\udfff]")
_KEPT = "kaygraph.undecodable"


def _keep(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    wrong = error.object[error.start : error.end]
    return "".join(chr(0xDC00 + byte) for byte in wrong), error.end


codecs.register_error(_KEPT, _keep)


class RowError(KayGraphError, ValueError):
    """A row of a file is invalid.

    Attributes:
        path: The file, as it was given.
        line: The line on which the row begins, from 1.
        reason: What is wrong with it.
    """

    def __init__(self, path: str, line: int, reason: str) -> None:
        self.path, self.line, self.reason = path, line, reason
        super().__init__(path, line, reason)

    def __str__(self) -> str:
        return f"{self.path}, line {self.line}: {self.reason}"


class Row(NamedTuple):
    """What a reader's ``exec`` takes: a record, or why there is none."""

    line: int
    record: Any = None
    error: RowError | None = None

    def __repr__(self) -> str:
        return f"line {self.line}"


class Chunk(NamedTuple):
    """Lines that were read at once, the first of which begins a row.

    Attributes:
        lines: The lines with their line ends.
        text: All of them.
        is_last: Whether the file ends with them.
        is_short: Whether no row in it can have more than ``max_row`` characters.
        is_sound: Whether no line is longer than that, and every byte is text.
    """

    lines: list[str]
    text: str
    is_last: bool
    is_short: bool
    is_sound: bool


class Lines(Iterator[str]):
    """The lines of a file with their ends: a chunk at once, or one after another.

    A row consists of one line or, if a quoted field contains line ends, of several. ``begin`` marks
    the start of the next one: a row of more than ``max_row`` characters is a RowError, after which
    reading continues. While the rest of an overlong line is skipped, each chunk of it gives "".
    each chunk of it.

    Attributes:
        number: The number of the last line read, from 1.
        first: The number of the line on which the row begins.
        chunks: How often the file was read.
    """

    def __init__(self, file: BinaryIO, path: str, encoding: str, max_row: int) -> None:
        self.path, self.encoding, self.max_row = path, encoding, max_row
        self.number = self.chunks = 0
        self.first = 1
        self._given_back = 0  # the last line that was given back
        self._file = file
        decoder = codecs.getincrementaldecoder(encoding)(_KEPT)
        # It keeps \r\n together if a chunk ends between the two.
        self._decoder = io.IncrementalNewlineDecoder(decoder, translate=False)
        self._waiting = deque[str]()
        self._begun: list[str] = []  # of an incomplete line
        self._row: list[str] = []
        self._size = 0  # of the row, in characters
        self._started = self._passing = self._ended = False

    def chunk(self) -> Chunk | None:
        """Read on, and return the lines that no row has taken; None at the end of the file.

        The list is empty while the rest of an overlong line is skipped.
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
        """Skip a number of lines of the chunk, which were whole rows."""
        self.number += count
        if count == len(self._waiting):
            self._waiting.clear()
        else:
            for _ in range(count):
                self._waiting.popleft()

    def begin(self) -> None:
        """The next line begins a row."""
        self.first = self.number + 1
        self._row.clear()
        self._size = 0

    @property
    def begun(self) -> bool:
        """Whether a line of the row has been read."""
        return self.number >= self.first

    def back(self) -> None:
        """Give back all lines of the row except the first: that one alone is a bad row.

        No line is given back again for a row that begins with a line given back before: the same
        lines would be read over and over.
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
        """Return the error for the row."""
        return RowError(self.path, self.first, reason)

    def undecodable(self, text: str) -> RowError | None:
        """Return the error for bytes of the row that are not text."""
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
        if read and (self._begun or self._passing):  # it continues with its first line
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
        """Add to the incomplete line, unless it is too long already."""
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
    """Whether every byte is text; much faster than searching for one that is not."""
    if text.isascii():
        return True
    try:
        text.encode()  # no encoding accepts a lone surrogate
    except UnicodeEncodeError:
        return False
    return True
