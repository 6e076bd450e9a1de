"""Text files as rows: each is a record, or an error with its line.

All of this is plain, synchronous code that runs in a thread, one chunk of the file at a time. The
rows of a chunk are made at once; if that fails, the chunk is read again, row by row.
"""

import csv
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

from ...node.blocks import Blocks
from .._json import check_depth
from ._lines import Chunk, Lines, Row, RowError
from ._paths import AnyPath, in_thread, opened

END: Any = object()  # after the last row

# What a reader emits: the record of a row, or a Row with what is wrong with it. If the line of
# each is needed, a Row for each.
Block = list[Any]


class Format(Protocol):
    """One pass over a file; in two ways with the same results."""

    def records(self, chunk: Chunk, lines: Lines) -> Block | None:
        """Return the rows of a sound chunk, and take their lines: all at once.

        Return None, and take nothing, if that is impossible because a row may be bad.
        """

    def rows(self, lines: Lines) -> Iterator[Row | None]:
        """Yield the rows one by one, and None while there is none."""


class EachLine:
    """A format in which each line is a row.

    Args:
        parse: Makes a record of a line, or raises a ValueError.
        blank: Whether lines without text are rows too.
    """

    def __init__(self, parse: Callable[[str], Any], blank: bool) -> None:
        self._parse, self._blank = parse, blank

    def records(self, chunk: Chunk, lines: Lines) -> Block:
        parse, blank = self._parse, self._blank
        block: Block = []
        for number, line in enumerate(chunk.lines, lines.number + 1):
            if blank or line.strip():
                try:
                    block.append(parse(line))
                except ValueError as error:
                    wrong = RowError(lines.path, number, str(error))
                    block.append(Row(number, error=wrong))
        lines.take(len(chunk.lines))
        return block

    def rows(self, lines: Lines) -> Iterator[Row | None]:
        while True:
            lines.begin()
            try:
                line = next(lines)
                wrong = lines.undecodable(line)
                if wrong is not None:
                    row = Row(lines.first, error=wrong)
                elif line.strip() or (self._blank and line):
                    row = Row(lines.first, self._parse(line))
                else:
                    row = None
            except StopIteration:
                return
            except RowError as error:  # the line is too long
                row = Row(lines.first, error=error)
            except ValueError as error:
                row = Row(lines.first, error=lines.error(str(error)))
            yield row


def text_format() -> EachLine:
    """The lines without their ends."""
    return EachLine(lambda line: line.rstrip("\r\n"), blank=True)


def json_format(decode: Callable[[str], Any], max_depth: int) -> EachLine:
    """The JSON value of each line."""

    def parse(line: str) -> Any:
        if line.count("[") + line.count("{") > max_depth:  # it cannot be deeper than that
            check_depth(line.encode(), max_depth)
        try:
            return decode(line)
        except ValueError:
            raise
        except Exception as error:  # from the code of a type, or deeper than the decoder's limit
            raise ValueError(repr(error)) from error

    return EachLine(parse, blank=False)


class CSVFormat:
    """The records of a CSV file.

    Args:
        fields: Their names; without them, the first row of the file has the names.
    """

    def __init__(self, fields: Sequence[str] | None, delimiter: str, max_fields: int) -> None:
        self._fields, self._delimiter, self._max_fields = fields, delimiter, max_fields
        self._named = "the header names" if fields is None else "fields= names"

    def records(self, chunk: Chunk, lines: Lines) -> Block | None:
        if not chunk.is_short and '"' in chunk.text:
            return None  # a row of several lines may be too long
        read = chunk.lines if chunk.is_last else _closed(chunk)
        reader = csv.reader(read, delimiter=self._delimiter, strict=True)
        fields, odd = self._fields, list[list[str]]()
        try:
            if fields is None:
                fields = next(reader, None)
                if fields is None:
                    return []
                if len(fields) > self._max_fields or wrong_with(fields):
                    return None
            width = len(fields)
            block = [  # what append returns counts as False
                dict(zip(fields, values))  # noqa: B905 - same length; checking costs a quarter
                for values in reader
                if len(values) == width or odd.append(values)  # type: ignore[func-returns-value]
            ]
        except csv.Error:
            return None
        if odd and (width == 1 or any(odd)):  # a blank line is a row, or a row is bad
            return None
        self._fields = fields
        lines.take(len(read))
        return block

    def rows(self, lines: Lines) -> Iterator[Row | None]:
        """Yield the rows.

        Raises:
            RowError: The header cannot be used.
        """
        reader = csv.reader(lines, delimiter=self._delimiter, strict=True)
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
            if error is not None and self._fields is None:
                raise error
            yield Row(lines.first, error=error) if error is not None else self._row(values, lines)

    def _row(self, values: list[str], lines: Lines) -> Row | None:
        fields = self._fields
        if not values:
            if fields is not None and len(fields) == 1 and lines.begun:
                return Row(
                    lines.first, {fields[0]: ""}
                )  # so that an only field that is empty is written
            return None  # a blank line, or part of an overlong one
        if fields is None:
            self._fields = _header(lines, values, self._max_fields)
            return None
        if len(values) != len(fields):
            had = f"{len(values)} field{'' if len(values) == 1 else 's'}"
            error = lines.error(f"{had}, but {self._named} {len(fields)}")
            return Row(lines.first, error=error)
        return Row(lines.first, dict(zip(fields, values, strict=True)))


def _closed(chunk: Chunk) -> list[str]:
    """Return the lines of a chunk up to one that ends outside of quotes, if all are well-formed.

    If one is not, the last line shows it: the parser has not reached the end of a row.
    """
    lines = chunk.lines
    if not chunk.text.count('"') % 2:
        return lines
    for number in range(len(lines) - 1, -1, -1):
        if lines[number].count('"') % 2:
            return lines[:number]
    return lines


def _header(lines: Lines, names: Sequence[str], max_fields: int) -> Sequence[str]:
    """Return the names in a header.

    Raises:
        RowError: There are too many, or one is empty or occurs twice.
    """
    if len(names) > max_fields:
        raise lines.error(f"the header names {len(names)} fields; max_fields is {max_fields}")
    if wrong := wrong_with(names):
        raise lines.error(f"the header {wrong}")
    return names


def wrong_with(names: Sequence[Any]) -> str:
    """Return what is wrong with the names of fields, or an empty string."""
    seen = set[str]()
    for number, name in enumerate(names, 1):
        if not isinstance(name, str):
            return f"has {name!r:.100} as the name of field {number}; expected text"
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
    path: AnyPath, root: AnyPath | None, encoding: str, max_row: int, form: Format, lined: bool
) -> Generator[Block, None, None]:
    """Yield the rows that each chunk of the file completes; a block may be empty."""
    with opened(path, root) as file:
        yield from blocks_of(Lines(file, str(path), encoding, max_row), form, lined)


def blocks_of(lines: Lines, form: Format, lined: bool) -> Iterator[Block]:
    """Yield the rows of each chunk; ``lined``: each with its line."""
    rows = form.rows(lines)
    while (chunk := lines.chunk()) is not None:
        if not lined and chunk.is_sound:
            block = form.records(chunk, lines)
            if block is not None:
                yield block
                continue
        block, last = [], lines.number + len(chunk.lines)
        while lines.number < last and (row := next(rows, END)) is not END:
            if row is not None:
                block.append(row if lined or row.error is not None else row.record)
        yield block


class Rows(Blocks[Any]):
    """The rows of a file, read in a thread chunk by chunk.

    Attributes:
        lined: Whether each comes as a Row, with its line. Read when the first row is requested.
    """

    def __init__(
        self,
        path: AnyPath,
        root: AnyPath | None,
        encoding: str,
        max_row: int,
        form: Format,
        lined: bool,
    ) -> None:
        self.lined = lined
        super().__init__(self._read(partial(_blocks, path, root, encoding, max_row, form)))

    async def _read(
        self, opened: Callable[[bool], Generator[Block, None, None]]
    ) -> AsyncGenerator[Block, None]:
        """Yield the rows of each chunk. Leaving early closes the file."""
        blocks = opened(self.lined)
        try:
            while (block := await in_thread(next, blocks, None)) is not None:
                yield block
        finally:
            blocks.close()
