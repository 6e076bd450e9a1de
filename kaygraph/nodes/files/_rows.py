"""Text files as rows: each is a record, or says what is wrong with it and on which line.

All this is plain, synchronous code that runs in a thread, a block of rows at a time.
"""

import codecs
import csv
import io
import re
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

from ...errors import KayGraphError
from .._json import check_depth
from ._paths import AnyPath, in_thread, opened

CHUNK = 65_536  # bytes that are read at once

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


class Lines(Iterator[str]):
    """The lines of a file with their ends, one after another.

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
        for line in io.StringIO(text, newline=""):
            whole = line.endswith(("\n", "\r"))
            if self._passing:
                self._passing = not whole
            elif whole and not self._begun:
                self._waiting.append(line)
            else:
                self._begun.append(line)
                too_long = not whole and sum(map(len, self._begun)) > self.max_row
                if whole or too_long:
                    self._hand_over()
                self._passing = too_long
        if self._ended and self._begun:
            self._hand_over()

    def _hand_over(self) -> None:
        self._waiting.append("".join(self._begun))
        self._begun.clear()


# How a format is read: the rows of a file, and None where there is none to tell of.
Parse = Callable[[Lines], Iterator[Row | None]]


def each_line(lines: Lines, parse: Callable[[str], Any], blank: bool) -> Iterator[Row | None]:
    """Yield a row for each line; ``parse`` makes a record of its text, or raises a ValueError.

    ``blank``: lines without text are rows too.
    """
    while True:
        lines.begin()
        try:
            line = next(lines)
            wrong = lines.undecodable(line)
            if wrong is not None:
                row = Row(lines.first, error=wrong)
            elif line.strip() or (blank and line):
                row = Row(lines.first, parse(line))
            else:
                row = None
        except StopIteration:
            return
        except RowError as error:  # the line is too long
            row = Row(lines.first, error=error)
        except ValueError as error:
            row = Row(lines.first, error=lines.error(str(error)))
        yield row


def text_rows(lines: Lines) -> Iterator[Row | None]:
    """Yield the lines without their ends."""
    return each_line(lines, lambda line: line.rstrip("\r\n"), blank=True)


def json_rows(lines: Lines, decode: Callable[[str], Any], max_depth: int) -> Iterator[Row | None]:
    """Yield what each line of JSON says."""

    def parse(line: str) -> Any:
        check_depth(line.encode(), max_depth)
        try:
            return decode(line)
        except ValueError:
            raise
        except Exception as error:  # of the code of a type, or a depth beyond the decoder's
            raise ValueError(repr(error)) from error

    return each_line(lines, parse, blank=False)


def csv_rows(
    lines: Lines, fields: Sequence[str] | None, delimiter: str, max_fields: int
) -> Iterator[Row | None]:
    """Yield the records of a CSV file; without ``fields`` its first row names them.

    Raises:
        RowError: The header cannot be used.
    """
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    named = "the header names" if fields is None else "fields= names"
    while True:
        lines.begin()
        error, values = None, []
        try:
            values = next(reader)
        except StopIteration:
            return
        except RowError as failure:
            error = failure
            lines.back()
        except csv.Error as failure:
            error = lines.error(_reason(failure))
            lines.back()
        else:
            error = lines.undecodable("".join(values))
        if error is not None and fields is None:
            raise error
        if error is not None:
            yield Row(lines.first, error=error)
        elif not values and fields is not None and len(fields) == 1 and lines.begun:
            yield Row(lines.first, {fields[0]: ""})  # so an only field that is empty is written
        elif not values:  # a blank line, or a part of one that is too long
            yield None
        elif fields is None:
            fields = _header(lines, values, max_fields)
        elif len(values) != len(fields):
            had = f"{len(values)} field{'' if len(values) == 1 else 's'}"
            error = lines.error(f"{had}, but {named} {len(fields)}")
            yield Row(lines.first, error=error)
        else:
            yield Row(lines.first, dict(zip(fields, values, strict=True)))


def _header(lines: Lines, names: Sequence[str], max_fields: int) -> Sequence[str]:
    """Return the names that a header gives.

    Raises:
        RowError: They are too many, or one is empty or stands there twice.
    """
    if len(names) > max_fields:
        raise lines.error(f"the header names {len(names)} fields; max_fields is {max_fields}")
    if wrong := wrong_with(names):
        raise lines.error(f"the header {wrong}")
    return names


def wrong_with(names: Sequence[Any]) -> str:
    """Return what is wrong with the names of fields, or nothing."""
    seen = set[str]()
    for number, name in enumerate(names, 1):
        if not isinstance(name, str):
            return f"has {name!r:.100} as the name of field {number}; text was expected"
        if not name.strip():
            return f"has no name for field {number}"
        if name in seen:
            return f"names {name!r:.100} twice"
        seen.add(name)
    return "" if names else "names no fields"


def _reason(error: csv.Error) -> str:
    if "unexpected end" in str(error):
        return "a quoted field begins here and does not end"
    return str(error)


def _blocks(
    path: AnyPath, root: AnyPath | None, encoding: str, max_row: int, parse: Parse
) -> Iterator[list[Row]]:
    """Yield the rows that each chunk of the file completes; a list may be empty."""
    with opened(path, root) as file:
        lines = Lines(file, str(path), encoding, max_row)
        block: list[Row] = []
        chunks = 1
        for row in parse(lines):
            if row is not None:
                block.append(row)
            if lines.chunks > chunks:
                chunks = lines.chunks
                yield block
                block = []
        yield block


async def rows_of(
    path: AnyPath, root: AnyPath | None, encoding: str, max_row: int, parse: Parse
) -> AsyncGenerator[Row, None]:
    """Yield the rows of a file, with a hop to a thread for each chunk and not for each line.

    Leaving it early closes the file.
    """
    blocks = _blocks(path, root, encoding, max_row, parse)
    try:
        while (block := await in_thread(next, blocks, None)) is not None:
            for row in block:
                yield row
    finally:
        blocks.close()  # type: ignore[attr-defined]  # a generator: it closes the file
