"""Files as records: what is read, and what happens to a bad row."""

import asyncio
import csv
import io
import os
import tracemalloc
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaygraph import BatchNode, Graph, Node, Outcome, Pipeline, TooManyFailuresError
from kaygraph.nodes import ReadCSV, ReadJSONLines, ReadText, RowError, TransformNode, WriteCSV
from kaygraph.nodes.errors import MissingInputError
from kaygraph.nodes.files._lines import CHUNK, Lines
from kaygraph.nodes.files._rows import (
    CSVFormat,
    Format,
    _blocks,
    blocks_of,
    json_format,
    text_format,
)
from kaygraph.nodes.types import Row
from kaygraph.testing import cancel_everywhere
from tests.children import ROOT, python
from tests.databases import POSTGRES, needs_postgres
from tests.stages import Stage

pytestmark = pytest.mark.anyio

PEOPLE = "name,age,city\nAda,36,London\nBob,7\nCy,8,Rome\n"


def written(folder: Path, content: str | bytes, name: str = "rows.txt") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


async def read(node: Any, shared: dict[str, Any] | None = None) -> Any:
    """Run a node that writes "rows" and return them."""
    shared = {} if shared is None else shared
    node.writes = "rows"
    await Graph(node >> Node()).run_async(shared)
    return shared["rows"]


def open_paths() -> set[str]:
    """Return what this process has open."""
    found = set()
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            found.add(os.readlink(f"/proc/self/fd/{descriptor}"))
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
    return found


# --- CSV ---


async def test_a_csv_file_gives_a_dict_for_each_row(tmp_path: Path) -> None:
    """From the names of the header to the text of the fields."""
    path = written(tmp_path, 'name,note\r\nAda,"a, ""b"""\r\n\r\nBob,\r\n')
    assert await read(ReadCSV(path)) == [
        {"name": "Ada", "note": 'a, "b"'},
        {"name": "Bob", "note": ""},
    ]


async def test_quoted_fields_hold_line_ends_as_they_are(tmp_path: Path) -> None:
    """And the lines of the rows that follow are counted from there."""
    path = written(tmp_path, 'a,b\n"1\r\n2\r3\n4",x\nonly\n')
    first, second = await read(ReadCSV(path, on_error="collect"))
    assert first == {"a": "1\r\n2\r3\n4", "b": "x"}
    assert second.error.line == 6


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
async def test_all_line_ends_are_read(end: str, last: bool, tmp_path: Path) -> None:
    """With one behind the last row, or without."""
    path = written(tmp_path, end.join(["a,b", "1,2", "3,4"]) + end * last)
    assert await read(ReadCSV(path)) == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
    assert await read(ReadText(path)) == ["a,b", "1,2", "3,4"]


async def test_fields_and_delimiter_can_be_set(tmp_path: Path) -> None:
    """A file without a header, on the instance or on the class."""

    class Semicolons(ReadCSV):
        delimiter = ";"
        fields = ("a", "b")

    path = written(tmp_path, "1;2\n")
    assert await read(ReadCSV(path, fields=["a", "b"], delimiter=";")) == [{"a": "1", "b": "2"}]
    assert await read(Semicolons(path)) == [{"a": "1", "b": "2"}]
    (bad,) = await read(ReadCSV(path, fields=["a", "b"], on_error="collect"))
    assert bad.error.reason == "1 field, but fields= names 2"


async def test_an_empty_file_has_no_records(tmp_path: Path) -> None:
    """Nor has one that is a header alone."""
    for content in ("", "\n\n", "a,b\n", "\ufeff"):
        assert await read(ReadCSV(written(tmp_path, content))) == []


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("a,b,a", "the header names 'a' twice"),
        ("a,,c", "the header has no name for field 2"),
        ("a,b, ", "the header has no name for field 3"),
        ("a,b,c,d", "the header names 4 fields; max_fields is 3"),
        ('a,"b', "a quoted field begins here and does not end"),
        ("a,\udcff", "the byte 0xff is not utf-8"),
    ],
)
async def test_a_header_that_cannot_be_used_fails_the_node(
    header: str, reason: str, tmp_path: Path
) -> None:
    """Whatever on_error says: no row would mean anything."""
    path = written(tmp_path, header.encode(errors="surrogateescape") + b"\n1,2,3\n")
    with pytest.raises(RowError) as caught:
        await read(ReadCSV(path, max_fields=3, on_error="collect"))
    assert str(caught.value) == f"{path}, line 1: {reason}"


async def test_a_row_that_does_not_fit_the_header_is_an_error_with_its_line(
    tmp_path: Path,
) -> None:
    """Three parts: the file, the line, the reason; and each is an attribute."""
    path = written(tmp_path, PEOPLE)
    with pytest.raises(RowError) as caught:
        await read(ReadCSV(path))
    error = caught.value
    assert str(error) == f"{path}, line 3: 2 fields, but the header names 3"
    assert (error.path, error.line) == (str(path), 3)
    assert error.__notes__ == ["in node 'ReadCSV', item 1 (line 3)"]


async def test_on_error_says_what_becomes_of_a_bad_row(tmp_path: Path) -> None:
    """As on any node: collected, skipped, tolerated up to a number or a share."""
    path = written(tmp_path, PEOPLE)
    ada = {"name": "Ada", "age": "36", "city": "London"}
    cy = {"name": "Cy", "age": "8", "city": "Rome"}
    assert await read(ReadCSV(path, on_error="skip")) == [ada, cy]
    for tolerant in ("collect", 1, 0.5):
        first, bad, last = await read(ReadCSV(path, on_error=tolerant))
        assert (first, last) == (ada, cy)
        assert isinstance(bad, Outcome)
        assert bad.status == "failed"
        assert bad.item.line == 3
    with pytest.raises(TooManyFailuresError):
        await read(ReadCSV(path, on_error=0.1))


@pytest.mark.parametrize(
    ("rows", "bad"),
    [
        ('1,2\n"3"x,4\n5,6\n', {3: "',' expected after '\"'"}),
        ('1,2\n"3,4\n5,6\n', {3: "a quoted field begins here and does not end"}),
        ('1,2\n"3,4\n5,6\n"7",8\n', {3: "',' expected after '\"'"}),
        ("1,2\n3,4,5\n5,6\n", {3: "3 fields, but the header names 2"}),
        ("1,2\n3\n5,6\n", {3: "1 field, but the header names 2"}),
        ("1,2\n" + "x" * 200 + ",4\n5,6\n", {3: "is longer than 100 characters (max_row)"}),
        ('1,2\n"\n' + "x\n" * 60 + "5,6\n", None),
    ],
)
async def test_reading_goes_on_after_the_line_that_is_bad(
    rows: str, bad: dict[int, str] | None, tmp_path: Path
) -> None:
    """A stray quote spoils its own line, and not all lines up to the next quote."""
    path = written(tmp_path, "a,b\n" + rows)
    found = await read(ReadCSV(path, max_row=100, on_error="collect"))
    good = [row for row in found if isinstance(row, dict)]
    errors: list[Any] = [row.error for row in found if isinstance(row, Outcome)]
    assert good[0] == {"a": "1", "b": "2"}
    assert {"a": "5", "b": "6"} in good
    if bad is not None:
        assert {error.line: error.reason for error in errors} == bad
    else:
        assert [error.line for error in errors] == list(range(3, 64))


@pytest.mark.parametrize("end", ["", "\n"])
async def test_the_length_of_a_row_can_be_set(end: str, tmp_path: Path) -> None:
    """Its end included; by one more it is too long."""
    path = written(tmp_path, "x" * 9 + end)
    for most, good in ((9 + len(end), True), (8 + len(end), False)):
        (row,) = await read(ReadText(path, max_row=most, on_error="collect"))
        assert (row == "x" * 9) is good


def test_rows_come_in_as_many_blocks_as_the_file_has_chunks(tmp_path: Path) -> None:
    """Each is a hop to a thread: one for each line would be many times slower."""
    path = written(tmp_path, "x\n" * 3 * CHUNK)
    blocks = list(_blocks(path, None, "utf-8", 100, text_format(), lined=False))
    assert len(blocks) == 6
    assert sum(map(len, blocks)) == 3 * CHUNK


async def test_a_field_that_is_too_long_is_a_bad_row(tmp_path: Path) -> None:
    """The csv module's own limit holds."""
    path = written(tmp_path, "a\n" + "x" * (csv.field_size_limit() + 1) + "\ny\n")
    bad, good = await read(ReadCSV(path, on_error="collect"))
    assert "field larger than field limit" in str(bad.error)
    assert good == {"a": "y"}


def test_rows_that_end_nowhere_are_read_twice_at_most() -> None:
    """Each line closes a quote and opens another: no line is tried as a beginning for ever."""

    class Counted(Lines):
        given = 0

        def __next__(self) -> str:
            Counted.given += 1
            return super().__next__()

    lines = 20_000
    file: Any = io.BytesIO(b"h1,h2\n" + b'a","b\n' * lines)
    counted = Counted(file, "x", "utf-8", 3_000)
    rows = [row for row in CSVFormat(None, ",", 10).rows(counted) if row]
    assert all(row.error for row in rows)
    assert rows[0].line == 2
    assert Counted.given < 3 * lines


@given(
    st.lists(
        st.lists(st.text("ab \"',\r\n\u00e9\u2028", max_size=6), min_size=2, max_size=2),
        max_size=8,
    ),
    st.integers(1, 9),
)
def test_any_table_that_csv_writes_is_read_as_it_was(table: list[list[str]], chunk: int) -> None:
    """With line ends and quotes in fields, and wherever a chunk of the file ends."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([["h1", "h2"], *table])
    for form, lined in ((CSVFormat(None, ",", 9), True), (CSVFormat(None, ",", 9), False)):
        lines = Lines(Slow(text.getvalue().encode(), chunk), "x", "utf-8", 10_000)
        rows = [row for block in blocks_of(lines, form, lined) for row in block]
        assert [list((row.record if lined else row).values()) for row in rows] == table


@given(st.binary(max_size=80), st.integers(1, 7), st.integers(1, 12))
def test_any_bytes_are_rows_or_errors_with_lines_in_order(
    data: bytes, chunk: int, max_row: int
) -> None:
    """Nothing else is raised, no row is reported twice, and each begins where the file says."""
    lines = Lines(Slow(data, chunk), "x", "utf-8", max_row)
    rows = CSVFormat(("a", "b"), ",", 9).rows(lines)
    numbers = [row.line for row in rows if row is not None]
    assert numbers == sorted(set(numbers))
    for row in text_format().rows(Lines(Slow(data, chunk), "x", "utf-8", 1000)):
        assert row is None or row.error is not None or row.record.encode() in data


FORMATS: list[Callable[[], Format]] = [
    lambda: CSVFormat(None, ",", 2),
    lambda: CSVFormat(("a",), ",", 9),
    lambda: CSVFormat(("a", "b"), ";", 9),
    lambda: json_format(msgspec.json.Decoder().decode, 2),
    text_format,
]


def rows_of(form: Format, data: bytes, chunk: int, max_row: int, lined: bool) -> list[Any]:
    """Return what is read: records, and the line and the text of each error."""
    found: list[Any] = []
    lines = Lines(Slow(data, chunk), "x", "utf-8", max_row)
    try:
        for block in blocks_of(lines, form, lined):
            rows = [row if type(row) is Row else Row(0, row) for row in block]
            found += [(row.line, str(row.error)) if row.error else row.record for row in rows]
    except RowError as error:  # the header
        found.append(str(error))
    return found


@given(
    st.lists(st.sampled_from(
        [b"a", b"b,", b";", b'"', b'""', b"\n", b"\r", b"\r\n", b" ", b"\xff", b"\0", b"\xc3\xa9",
         b"1", b"[", b"]", b"{}", b'"x\ny"', b'a,"b"\n', b"1;2\n", b"\xef\xbb\xbf"]
    ), max_size=40).map(b"".join),
    st.integers(1, 60),
    st.integers(1, 60),
    st.sampled_from(FORMATS),
)  # fmt: skip
def test_rows_are_the_same_a_chunk_at_once_and_one_by_one(
    data: bytes, chunk: int, max_row: int, form: Callable[[], Format]
) -> None:
    """Their errors and lines too, whatever the file holds, and wherever a chunk of it ends."""
    at_once, one_by_one = (rows_of(form(), data, chunk, max_row, lined) for lined in (False, True))
    assert at_once == one_by_one


class Slow(io.BytesIO):
    """A file that gives a few bytes at a time."""

    def __init__(self, data: bytes, chunk: int) -> None:
        super().__init__(data)
        self.chunk = chunk

    def read(self, _: int | None = None) -> bytes:
        return super().read(self.chunk)


@given(st.lists(st.text("a\u00e9\U0001f600", max_size=9), max_size=9), st.integers(1, 5))
def test_lines_are_whole_wherever_a_chunk_ends(lines: list[str], chunk: int) -> None:
    """In the middle of a character, of \\r\\n, or of a line."""
    for encoding in ("utf-8", "utf-16", "utf-32-le", "utf-8-sig"):
        data = "".join(f"{line}\r\n" for line in lines).encode(encoding)
        rows = text_format().rows(Lines(Slow(data, chunk), "x", encoding, 1000))
        assert [row.record for row in rows if row] == lines


# --- encodings ---


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252"])
async def test_text_is_read_in_its_encoding(encoding: str, tmp_path: Path) -> None:
    """Those with a byte order mark included, which is left out."""
    path = written(tmp_path, "näme\nJosé\n".encode(encoding))
    assert await read(ReadCSV(path, encoding=encoding)) == [{"näme": "José"}]


async def test_a_byte_order_mark_is_left_out_unasked(tmp_path: Path) -> None:
    """Spreadsheets write one; it is not part of the first name."""
    path = written(tmp_path, b"\xef\xbb\xbfname\nAda\n")
    assert await read(ReadCSV(path)) == [{"name": "Ada"}]
    path = written(tmp_path, b'\xef\xbb\xbf{"name": 1}\n')
    assert await read(ReadJSONLines(path)) == [{"name": 1}]


@pytest.mark.parametrize(
    ("node", "content"),
    [
        (ReadCSV, b"a,b\n1,2\n\xff,4\n5,6\n"),
        (ReadJSONLines, b'[0]\n[1]\n["\xff"]\n[5]\n'),
        (ReadText, b"0\n1\n\xff\n5\n"),
    ],
)
async def test_bytes_that_are_not_text_fail_their_row_alone(
    node: Any, content: bytes, tmp_path: Path
) -> None:
    """The rows before and behind are read, and the error says the line."""
    path = written(tmp_path, content)
    *_, bad, good = await read(node(path, on_error="collect"))
    assert str(bad.error) == f"{path}, line 3: the byte 0xff is not utf-8"
    assert good in ({"a": "5", "b": "6"}, [5], "5")


async def test_a_file_that_ends_within_a_character_has_a_bad_last_row(tmp_path: Path) -> None:
    """Of an encoding with several bytes a character."""
    path = written(tmp_path, "ab\nc".encode("utf-16-le")[:-1])
    first, bad = await read(ReadText(path, encoding="utf-16-le", on_error="collect"))
    assert first == "ab"
    assert bad.error.line == 2


async def test_a_blank_line_is_a_record_where_there_is_one_field(tmp_path: Path) -> None:
    """It is how an only field that is NULL is written, and "" how one that is empty is."""
    path = written(tmp_path, '\n\na\nx\n\ny\r\n\r\n""\n \n\n')
    assert await read(ReadCSV(path)) == [{"a": text} for text in ("x", "", "y", "", "", " ", "")]
    path = written(tmp_path, "\nx\n\n\nz")
    rows = await read(ReadCSV(path, fields=["a"]))
    assert rows == [{"a": text} for text in ("", "x", "", "", "z")]


async def test_a_blank_line_is_passed_over_where_there_are_several_fields(tmp_path: Path) -> None:
    """It cannot be a record, and the lines after it keep their numbers."""
    path = written(tmp_path, "a,b\n\n1,2\n\n3\n")
    good, bad = await read(ReadCSV(path, on_error="collect"))
    assert good == {"a": "1", "b": "2"}
    assert str(bad.error) == f"{path}, line 5: 1 field, but the header names 2"


async def test_blank_lines_count_among_the_lines(tmp_path: Path) -> None:
    """An error after them has its own line; the rest of a long line is not a blank one."""
    path = written(tmp_path, "a\n\n\n1,2\n" + "x" * 3 * CHUNK + "\n\nlast\n")
    rows = await read(ReadCSV(path, max_row=100, on_error="collect"))
    assert [row["a"] for row in rows if not isinstance(row, Outcome)] == ["", "", "", "last"]
    errors = [row.error for row in rows if isinstance(row, Outcome)]
    assert [error.line for error in errors] == [4, 5]


@needs_postgres
async def test_what_postgres_writes_is_read_record_for_record(tmp_path: Path) -> None:
    """COPY writes NULL as a blank line."""
    values = ["x", None, "y", "", None]
    async with await psycopg.AsyncConnection.connect(str(POSTGRES)) as server:
        copy = "COPY (SELECT unnest(%s::text[]) AS a) TO STDOUT (FORMAT csv, HEADER)"
        async with server.cursor().copy(copy, [values]) as output:
            path = written(tmp_path, b"".join([bytes(block) async for block in output]))
    assert await read(ReadCSV(path)) == [{"a": value or ""} for value in values]


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=3) | st.none()))
async def test_one_field_is_read_as_it_was_written(values: list[str | None]) -> None:
    """What WriteCSV writes is as many records, the empty ones among them."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "rows.csv")
        rows = [{"a": value} for value in values]
        await WriteCSV(path, fields=["a"], reads="rows").run_async({"rows": rows})
        assert await read(ReadCSV(path)) == [{"a": value or ""} for value in values]


# --- JSON lines ---


class Person(msgspec.Struct):
    name: str
    age: int


@dataclass
class Place:
    city: str


async def test_json_lines_are_values_one_a_line(tmp_path: Path) -> None:
    """Blank lines are skipped, a last line needs no end."""
    path = written(tmp_path, '{"a": [1]}\r\n\n  \n7\n"x"')
    assert await read(ReadJSONLines(path)) == [{"a": [1]}, 7, "x"]


async def test_integers_of_json_lines_are_exact(tmp_path: Path) -> None:
    """However many digits they have."""
    numbers = [2**63, 2**64 + 1, -(10**30)]
    path = written(tmp_path, "".join(f"{number}\n" for number in numbers))
    assert await read(ReadJSONLines(path)) == numbers


async def test_json_lines_are_of_the_type_asked_for(tmp_path: Path) -> None:
    """Structs and data classes; errors have msgspec's text, and the line."""
    path = written(tmp_path, '{"name": "Ada", "age": 36}\n\n{"name": "Bob", "age": "x"}\n')
    ada, bad = await read(ReadJSONLines(path, type=Person, on_error="collect"))
    assert ada == Person("Ada", 36)
    assert str(bad.error) == f"{path}, line 3: Expected `int`, got `str` - at `$.age`"
    path = written(tmp_path, '{"city": "Rome"}')
    assert await read(ReadJSONLines[Place](path, type=Place)) == [Place("Rome")]


class Picky(msgspec.Struct):
    n: int

    def __post_init__(self) -> None:
        if self.n == 2:
            raise KeyError(self.n)


async def test_an_error_of_the_code_of_a_type_is_one_of_its_row(tmp_path: Path) -> None:
    """Whatever it is; the message has its type and its origin."""
    path = written(tmp_path, '{"n": 1}\n{"n": 2}\n{"n": 3}\n')
    one, bad, three = await read(ReadJSONLines(path, type=Picky, on_error="collect"))
    assert (one, three) == (Picky(1), Picky(3))
    assert str(bad.error) == f"{path}, line 2: KeyError(2)"


@pytest.mark.parametrize("line", ["{", "nul", "1 2", '{"a": NaN}', "\x00", "'a'"])
async def test_a_line_that_is_not_json_is_a_bad_row(line: str, tmp_path: Path) -> None:
    """And the next one is read."""
    path = written(tmp_path, f"{line}\n1\n")
    bad, good = await read(ReadJSONLines(path, on_error="collect"))
    assert bad.error.line == 1
    assert isinstance(bad.error, RowError)
    assert good == 1


async def test_json_that_is_nested_too_deeply_is_not_decoded(tmp_path: Path) -> None:
    """Whatever the type: a decoder in C would go down with it."""
    path = written(tmp_path, "[" * 500_000 + "\n[[[]]]\n[[]]\n")
    for kind in (None, msgspec.Raw, list[Any]):
        node = ReadJSONLines(path, type=kind, max_depth=2, on_error="collect")
        deep, deeper, good = await read(node)
        assert deep.error.reason == deeper.error.reason
        assert "nested deeper than 2 levels" in deep.error.reason
        assert good == ([[]] if kind is not msgspec.Raw else msgspec.Raw(b"[[]]"))


async def test_a_depth_that_the_decoder_cannot_read_is_a_bad_row(tmp_path: Path) -> None:
    """Where more is allowed than it can do."""
    path = written(tmp_path, "[" * 200_000 + "]" * 200_000 + "\n1\n")
    bad, good = await read(ReadJSONLines(path, max_depth=10**6, on_error="collect"))
    assert "RecursionError" in bad.error.reason
    assert good == 1


def test_a_type_that_json_cannot_become_is_refused_at_construction() -> None:
    """With msgspec's own reason."""
    with pytest.raises(ValueError, match="type must be a type that JSON can be decoded into"):
        ReadJSONLines("a.jsonl", type=dict[str, int] | dict[int, str])


# --- where the path comes from ---


async def test_by_default_the_path_comes_from_the_shared_store(tmp_path: Path) -> None:
    """As text or as a pathlib.Path."""
    path = written(tmp_path, "x\n")
    for given_path in (path, str(path)):
        assert await read(ReadText(reads="path"), {"path": given_path}) == ["x"]
    with pytest.raises(MissingInputError, match="path"):
        await read(ReadText(reads="path"))


async def test_a_subclass_says_where_its_file_is(tmp_path: Path) -> None:
    """For example, from the params of a round."""

    class Named(ReadText):
        def path_of(self, shared: Any) -> Path:
            return tmp_path / str(shared["name"])

    written(tmp_path, "x\n", "a.txt")
    assert await read(Named(), {"name": "a.txt"}) == ["x"]


async def test_a_subclass_makes_something_of_each_record(tmp_path: Path) -> None:
    """By exec, which calls the one it overrides."""

    class Ages(ReadCSV):
        async def exec(self, row: Row) -> Any:
            return int((await super().exec(row))["age"])

    path = written(tmp_path, "age\n1\nx\n")
    with pytest.raises(ValueError, match="invalid literal") as caught:
        await read(Ages(path))
    assert caught.value.__notes__ == ["in node 'Ages', item 1 (line 3)"]


async def test_an_observer_of_rows_sees_their_lines(tmp_path: Path) -> None:
    """A prep of one's own, an exec of one's own, a fallback, and outcomes of a stream."""
    path = written(tmp_path, 'a,b\n1,2\n\n"x\ny",3\n5\n')
    seen: list[tuple[int, Any]] = []

    class Prepared(ReadCSV):
        async def prep(self, shared: Any) -> Any:  # type: ignore[override]
            async for row in super().prep(shared):
                seen.append((row.line, row.record))
                yield row

    class Executed(ReadCSV):
        async def exec(self, row: Row) -> Any:
            seen.append((row.line, row.record))
            return await super().exec(row)

    class Replaced(ReadCSV):
        async def exec_fallback(self, row: Row, exc: Exception) -> Any:
            return row.line

    lines = [(2, {"a": "1", "b": "2"}), (4, {"a": "x\ny", "b": "3"}), (6, None)]
    for kind in (Prepared, Executed):
        seen.clear()
        await read(kind(path, on_error="skip"))
        assert seen == lines
    assert await read(Replaced(path)) == [lines[0][1], lines[1][1], 6]
    outcomes = [one async for one in ReadCSV(path, on_error="collect").stream()]
    assert [(one.item.line, one.item.record) for one in outcomes] == lines
    assert repr(outcomes[0].item) == "line 2"


# --- pipelines ---


class Check(BatchNode[Any, Any]):
    async def exec(self, record: Any) -> Any:
        return record["age"]


async def test_a_reader_is_the_first_stage_of_a_pipeline(tmp_path: Path) -> None:
    """Bad rows pass the later stages by, or are left out, as on_error says."""
    path = written(tmp_path, PEOPLE)
    shared: dict[str, Any] = {}

    class Keeps(Pipeline):
        def post(self, shared: Any, _: Any, results: Any) -> None:
            shared["ages"] = results

    await Keeps(ReadCSV(path, on_error="skip"), Check()).run_async(shared)
    assert shared["ages"] == ["36", "8"]
    await Keeps(ReadCSV(path, on_error="collect"), Check()).run_async(shared)
    assert [type(age) for age in shared["ages"]] == [str, Outcome, str]


async def test_bad_rows_among_many_are_reported_in_their_places(tmp_path: Path) -> None:
    """Wherever a chunk of the file ends, also within the quotes of a field."""
    lines = [f'{n},"a\nb",é' if n % 7 else f"{n},bad" for n in range(30_000)]
    path = written(tmp_path, "n,text,city\n" + "\n".join(lines))
    shared: dict[str, Any] = {}

    class Keeps(Pipeline):
        def post(self, shared: Any, _: Any, results: Any) -> None:
            shared["rows"] = results

    await Keeps(ReadCSV(path, on_error="collect"), TransformNode(fields={"n": int})).run_async(
        shared
    )
    found = shared["rows"]
    assert path.stat().st_size > 5 * CHUNK
    assert [row.index if isinstance(row, Outcome) else row["n"] for row in found] == [
        *range(30_000)
    ]
    for number, row in enumerate(found[::7]):  # each is of one line, those between of two
        assert row.error.line == 2 + number * 13
    assert found[1] == {"n": 1, "text": "a\nb", "city": "é"}


@pytest.mark.parametrize("kind", [ReadCSV, ReadText, ReadJSONLines])
async def test_a_consumer_that_stops_early_closes_the_file(kind: Any, tmp_path: Path) -> None:
    """At once, when the stream is closed; and the rest is not read."""
    path = written(tmp_path, '"x"\n' * 100_000)
    async with aclosing(kind(path).stream()) as outcomes:
        async for outcome in outcomes:
            assert outcome.value in ({"x": "x"}, '"x"', "x")
            assert str(path) in open_paths()
            break
    assert str(path) not in open_paths()


async def test_a_stage_that_fails_closes_the_file(tmp_path: Path) -> None:
    """And so does a cancellation in the middle."""
    path = written(tmp_path, "x\n" * 100_000)

    class Fails(Stage):
        async def exec(self, item: Any) -> Any:
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await Pipeline(ReadText(path), Fails()).run_async({})
    assert str(path) not in open_paths()

    begun = asyncio.Event()

    class Hangs(Stage):
        async def exec(self, item: Any) -> Any:
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(Pipeline(ReadText(path), Hangs()).run_async({}))
    await begun.wait()
    assert str(path) in open_paths()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert str(path) not in open_paths()


def test_a_reader_cancelled_at_any_step_leaves_nothing_open(tmp_path: Path) -> None:
    """No file, no task, no thread, no item that was not accounted for."""
    path = written(tmp_path, "a,b\n1,2\n3\n" * 3)
    pipeline = Pipeline(ReadCSV(path, on_error="collect"), Stage(1.0))
    check = lambda _: str(path) not in open_paths()  # noqa: E731
    assert cancel_everywhere(pipeline, {}, check=check, seeds=3) > 30


def test_a_reader_runs_again_in_another_loop_and_many_times_at_once(tmp_path: Path) -> None:
    """Nothing of a run is kept on the node."""
    path = written(tmp_path, "x\n")
    node = ReadText(path, writes="lines")

    async def many() -> list[dict[str, Any]]:
        stores: list[dict[str, Any]] = [{} for _ in range(20)]
        await asyncio.gather(*(node.run_async(shared) for shared in stores))
        return stores

    for _ in range(2):
        assert asyncio.run(many()) == [{"lines": ["x"]}] * 20


# --- bounds ---


async def test_memory_is_bounded_by_the_chunk_and_not_by_the_file(tmp_path: Path) -> None:
    """A file of twelve megabytes goes through in less than four."""
    path = written(tmp_path, "a,b,c\n" + f"1,2,{'x' * 2000}\n" * 6_000)

    class Counts(Stage):
        async def exec(self, item: Any) -> Any:
            return None

    tracemalloc.start()
    try:
        await Pipeline(ReadCSV(path), Counts(), collect=False).run_async({})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert path.stat().st_size > 12_000_000
    assert peak < 4_000_000


@pytest.mark.parametrize("kind", [ReadCSV, ReadText, ReadJSONLines])
async def test_a_line_without_an_end_does_not_fill_memory(kind: Any, tmp_path: Path) -> None:
    """It is a bad row, its rest is passed over, and what follows is read."""
    path = tmp_path / "endless.txt"
    with path.open("wb") as file:
        file.write(b"1\n2\n")
        file.truncate(20_000_000)  # a hole, which reads as null bytes and takes no room
        file.seek(0, os.SEEK_END)
        file.write(b"\n4\n")
    tracemalloc.start()
    try:
        *_, bad, good = await read(kind(path, max_row=1000, on_error="collect"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert str(bad.error) == f"{path}, line 3: is longer than 1000 characters (max_row)"
    assert good in ({"1": "4"}, "4", 4)
    assert peak < 4_000_000


@pytest.mark.timeout(20)
async def test_a_line_without_an_end_can_be_cancelled(tmp_path: Path) -> None:
    """A thread reads no more than a chunk of what it passes over before the loop is asked."""
    path = tmp_path / "endless.txt"
    with path.open("wb") as file:
        file.truncate(10**12)
    async with aclosing(ReadText(path, on_error="collect").stream()) as outcomes:
        async for outcome in outcomes:
            assert isinstance(outcome.error, RowError)
            break
        for _ in range(100):  # it is passed over by now
            await asyncio.sleep(0)
    assert str(path) not in open_paths()


async def test_a_record_over_many_lines_is_bounded_as_well(tmp_path: Path) -> None:
    """Many short quoted fields, each with a line end, are one row."""
    path = written(tmp_path, "a\n" + '"x\n",' * 1000 + "\nb\n")
    found = await read(ReadCSV(path, max_row=200, on_error="skip"))
    assert found[-1] == {"a": "b"}
    errors = await read(ReadCSV(path, max_row=200, on_error="collect"))
    assert errors[0].error.reason == "is longer than 200 characters (max_row)"


# --- settings ---


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ReadCSV(), "ReadCSV needs a path, or reads="),
        (lambda: ReadCSV(7), "path must be a path"),  # type: ignore[arg-type]
        (lambda: ReadCSV("a", fields=[]), "fields must be a list of names"),
        (lambda: ReadCSV("a", fields="ab"), "fields must be a list of names"),
        (lambda: ReadCSV("a", fields=["a", "a"]), "fields names 'a' twice"),
        (lambda: ReadCSV("a", fields=["a", 7]), "fields has 7 as the name of field 2"),  # type: ignore[list-item]
        (lambda: ReadCSV("a", fields=["a", "b" * 999, "b" * 999]), "bbb twice"),
        (lambda: ReadCSV("a", root=7), "root must be a path, as in root='data': "),  # type: ignore[arg-type]
        (lambda: ReadCSV("a", delimiter=";;"), "delimiter must be one character"),
        (lambda: ReadCSV("a", delimiter='"'), "delimiter must be one character"),
        (lambda: ReadCSV("a", encoding="utf8x"), "encoding must name a text encoding"),
        (lambda: ReadCSV("a", encoding="hex"), "encoding must name a text encoding"),
        (lambda: ReadCSV("a", encoding="undefined"), "encoding must name a text encoding"),
        (lambda: ReadCSV("a", encoding="utf\0"), "encoding must name a text encoding"),
        (lambda: ReadCSV("a", max_row=0), "max_row must be at least 1"),
        (lambda: ReadCSV("a", max_fields=True), "max_fields must be a whole number"),
        (lambda: ReadCSV("a", on_eror="skip"), "Did you mean 'on_error'?"),  # type: ignore[call-arg]
        (lambda: ReadJSONLines("a", max_depth=0), "max_depth must be at least 1"),
    ],
)
def test_settings_are_checked_at_construction(make: Any, message: str) -> None:
    """One clear error each."""
    with pytest.raises((ValueError, TypeError)) as caught:
        make()
    assert message in str(caught.value)


def test_without_msgspec_only_json_lines_are_missing(tmp_path: Path) -> None:
    """The message says what to type."""
    written(tmp_path, "raise ModuleNotFoundError(name='msgspec')", "msgspec.py")
    script = (
        "from kaygraph.nodes import ReadCSV, ReadJSONLines, ReadText, WriteCSV, WriteJSONLines\n"
        "ReadCSV('a'), ReadText('a'), WriteCSV('a')\n"
        "for node in (ReadJSONLines, WriteJSONLines):\n"
        "    try: node('a')\n"
        "    except ImportError as error: print(error)\n"
    )
    places = os.pathsep.join(map(str, (tmp_path, ROOT)))
    done = python("-c", script, env={"PYTHONPATH": places}, check=True)
    message = "msgspec is not installed. Type: python -m pip install 'kaygraph[files]'"
    assert done.stdout.splitlines() == [message, message]
