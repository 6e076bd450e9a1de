"""Reading records, and finding data in free text."""

import io
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.inputs import (
    InputError,
    Place,
    Unreadable,
    parse_records,
    piped_text,
    places_of,
    read_records,
    read_stream,
)
from examples.mentions import find_data

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("text", "suffix", "records"),
    [
        ('[{"a": 1}, {"a": 2}]', ".json", [{"a": 1}, {"a": 2}]),
        ('{"a": 1}', "", [{"a": 1}]),
        ('{\n "a": [1,\n 2]\n}\n', "", [{"a": [1, 2]}]),
        ('{"a": 1}\n\n{"a": 2}\n', "", [{"a": 1}, {"a": 2}]),
        ('{"a": 1}\n{"a": 2}', ".json", [{"a": 1}, {"a": 2}]),
        ('"x"\n1\n', ".jsonl", ["x", 1]),
        ('{"a": "x\u2028y"}\n{"a": 2}', ".jsonl", [{"a": "x\u2028y"}, {"a": 2}]),
        ("email,n\r\na@b.co,1\r\n", ".csv", [{"email": "a@b.co", "n": 1}]),
        ('n;t\n1.5;"a;\nb"\n', "", [{"n": 1.5, "t": "a;\nb"}]),
        ("a\tb\n\ttrue\n", ".tsv", [{"a": None, "b": True}]),
        ("zip,id\n01234,-7\n", "", [{"zip": "01234", "id": -7}]),
        ("mail\na@b.co\nc@d.org\n", "", [{"mail": "a@b.co"}, {"mail": "c@d.org"}]),
        ("a@b.co\nc@d.org\n", "", [{"email": "a@b.co"}, {"email": "c@d.org"}]),
    ],
)
def test_records_are_read_from_every_form(text: str, suffix: str, records: list[Any]) -> None:
    """JSON, JSON lines, CSV with three separators, and lines of addresses give their records."""
    assert parse_records(text, "x", suffix) == records


@pytest.mark.parametrize(
    ("text", "suffix", "words"),
    [
        ('{"a": \n\n{"a" 2}\n', ".jsonl", "x, line 1: malformed JSON at column 7"),
        ('{"a": 1,\n"b": }', "", "x, line 2, column 6: malformed JSON"),
        ('[{"a": 1}', ".json", "malformed JSON"),
        ('{"a": NaN}', "", "NaN is not JSON"),
        ('{"a": 1, "a": 2}', "", "'a' occurs twice"),
        ("[" * 100_000, "", "nested too deeply"),
        ("7", ".json", "single value"),
        ("a,b\n1,2,3\n", ".csv", "x, line 2: 3 fields where the header has 2"),
        ('a,b\n1,"2\n', ".csv", "is a quote left open?"),
        ("a,a\n1,2\n", ".csv", "line 1: each column needs its own name"),
        ("a,\n1,2\n", ".csv", "line 1: each column needs its own name"),
        ("", ".jsonl", "contains no records"),
        ("", ".json", "contains no records"),
        ("a,b\n", ".csv", "contains no records"),
        ("[]", "", "contains no records"),
        ("hello there", "", "neither JSON, JSON lines nor CSV"),
    ],
)
def test_malformed_text_is_refused_with_its_place(text: str, suffix: str, words: str) -> None:
    """What cannot be read gives one line that names the file and the line in it."""
    with pytest.raises(InputError) as caught:
        parse_records(text, "x", suffix)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "suffix", "line", "reason"),
    [
        (
            '{"a": 1}\n{"a": \n{"a": 3}\n',
            ".jsonl",
            2,
            "malformed JSON at column 7: Expecting value",
        ),
        ('{"a": 1}\n\n{"a" 2}\n', "", 3, "malformed JSON at column 6: Expecting ':' delimiter"),
        ('{"a": 1}\n{"a": NaN}\n{"a": 1}', ".jsonl", 2, "malformed JSON: NaN is not JSON"),
        ("a,b\n1,2\n1\n", ".csv", 3, "1 field where the header has 2"),
        ('a,b\n"1\n2",2\n1,2,3\n', ".csv", 4, "3 fields where the header has 2"),
        ("a,b\n1,2\n1,\udcff\n", ".csv", 3, "byte 0xff is not UTF-8 text"),
        ("1\n\udcff\n", ".jsonl", 2, "byte 0xff is not UTF-8 text"),
    ],
)
def test_a_malformed_line_is_one_bad_record(text: str, suffix: str, line: int, reason: str) -> None:
    """The others are read; it keeps its place, and says what is wrong with it."""
    records = parse_records(text, "x", suffix, "x")
    bad = [index for index, record in enumerate(records) if isinstance(record, Unreadable)]
    assert len(records) > len(bad) == 1
    assert records[bad[0]] == Unreadable(reason)
    assert records.places[bad[0]] == Place("x", line)
    assert [*records.bad_lines()] == [f"x, line {line}: {reason}"]


def test_records_know_where_they_stood(tmp_path: Path) -> None:
    """By file and line, also when several files are read; elements of an array have no line."""
    (tmp_path / "a.csv").write_text('n\n1\n\n"2\n3"\n')
    (tmp_path / "b.json").write_text("[\n1,\n2]")
    a, b = str(tmp_path / "a.csv"), str(tmp_path / "b.json")
    records = read_records(a) + read_records(b)
    assert records == [{"n": 1}, {"n": "2\n3"}, 1, 2]
    assert records.places == [Place(a, 2), Place(a, 4), Place(b), Place(b)]
    assert places_of(["a record without a place"]) == [Place()]


@given(st.lists(JSON_VALUES, min_size=1, max_size=5))
def test_json_lines_lose_nothing(values: list[Any]) -> None:
    """Any JSON value survives JSON lines, in order."""
    text = "\n".join(json.dumps(value, ensure_ascii=False) for value in values)
    assert parse_records(text, "x", ".jsonl") == values


def test_a_glob_gives_the_records_of_all_its_files(tmp_path: Path) -> None:
    """In the order of their names; each record knows its own file."""
    for name in ("b", "a"):
        (tmp_path / f"{name}.csv").write_text(f"name\n{name}\n")
    records = read_records(f"{tmp_path}/*.csv")
    assert [record["name"] for record in records] == ["a", "b"]


def test_a_missing_file_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    """A misspelt file name gets a suggestion from the same folder."""
    (tmp_path / "people.json").write_text("[]")
    with pytest.raises(InputError, match=r"Did you mean '.*people\.json'"):
        read_records(str(tmp_path / "poeple.json"))


def test_a_directory_is_refused(tmp_path: Path) -> None:
    """A directory is not a file of records."""
    with pytest.raises(InputError, match="is a directory"):
        read_records(str(tmp_path))


def test_bytes_that_are_no_text_are_refused_with_their_line(tmp_path: Path) -> None:
    """A file that is not UTF-8 names the line of the first wrong byte."""
    (tmp_path / "a.csv").write_bytes(b"a\nb\xff\n")
    with pytest.raises(InputError, match="line 2: byte 0xff is not UTF-8"):
        read_records(str(tmp_path / "a.csv"))


def test_a_byte_order_mark_is_left_out() -> None:
    """The first column of a CSV from a spreadsheet keeps its name."""
    assert parse_records(read_stream(io.BytesIO(b"\xef\xbb\xbfa,b\n1,2"))) == [{"a": 1, "b": 2}]


def test_piped_text_is_read_to_its_end() -> None:
    """The content of a pipe is returned; an empty one gives nothing."""
    reading, writing = os.pipe()
    os.write(writing, b"a b")
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert piped_text(pipe, pytest.fail) == "a b"
    assert piped_text(None, pytest.fail) == ""


def test_null_device_is_no_piped_text() -> None:
    """/dev/null means no input."""
    with open(os.devnull, "rb") as null:
        assert piped_text(null, pytest.fail) == ""


def test_silent_pipe_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing comes, a person learns what is waited for."""
    monkeypatch.setattr("examples.inputs.PATIENCE_S", 0)
    reading, writing = os.pipe()
    lines: list[str] = []

    def tell(line: str) -> None:
        lines.append(line)
        os.write(writing, b"late")
        os.close(writing)

    with os.fdopen(reading, "rb") as pipe:
        assert piped_text(pipe, tell) == "late"
    assert "waiting" in lines[0]


def test_a_named_pipe_is_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long its writer takes."""
    monkeypatch.setattr("examples.inputs.PATIENCE_S", 0.01)
    monkeypatch.setattr("examples.inputs.NOBODY_S", 60)
    path = tmp_path / "pipe.jsonl"
    os.mkfifo(path)

    def write() -> None:
        with path.open("w") as pipe:
            for number in range(3):
                pipe.write(f"{number}\n")
                pipe.flush()
                time.sleep(0.03)

    with ThreadPoolExecutor(1) as thread:
        written = thread.submit(write)
        assert read_records(str(path)) == [0, 1, 2]
        written.result()


def test_a_named_pipe_without_a_writer_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a while, during which a person sees what it waits for."""
    monkeypatch.setattr("examples.inputs.PATIENCE_S", 0.01)
    monkeypatch.setattr("examples.inputs.NOBODY_S", 0.05)
    path = tmp_path / "pipe.jsonl"
    os.mkfifo(path)
    with pytest.raises(InputError, match="nothing writes to"):
        read_records(str(path))
    assert capsys.readouterr().err == f"waiting for data from {path}\n"


# --- free text ------------------------------------------------------------------------------------


def test_json_and_addresses_in_a_text_become_records() -> None:
    """Objects, arrays and e-mail addresses are taken out of the words around them."""
    found = find_data('check {"email": "a@b.co"} and ["c@d.org", {"x": 1}], then e@f.net.')
    assert found.records == [
        {"email": "a@b.co"},
        {"email": "c@d.org"},
        {"x": 1},
        {"email": "e@f.net"},
    ]
    assert "@" not in found.rest
    assert found.what == ["3 records in the text", "1 e-mail address in the text"]


def test_malformed_json_in_a_text_is_refused() -> None:
    """JSON that was meant as such is never taken for words."""
    text = 'check {"email": oops}'
    with pytest.raises(InputError, match=f"malformed at character {text.index('oops') + 1}"):
        find_data(text)


def test_files_that_exist_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths, quoted paths with spaces and globs are files; a bare word is not, even if it is."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.csv", "my data.json", "data"):
        (tmp_path / name).write_text("x")
    found = find_data("validate a.csv, then 'my data.json' and *.csv with data")
    assert found.files == ["my data.json", "a.csv", "*.csv"]
    assert "data" in found.rest.split()


@pytest.mark.parametrize("name", ["b.csv", "./b", "nothing/*.py"])
def test_a_file_that_is_not_there_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What can only be a file must be there."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="no file"):
        find_data(f"validate {name}")


def test_addresses_of_the_web_are_refused() -> None:
    """A URL is not fetched, and not dropped."""
    with pytest.raises(InputError, match="save it to a file"):
        find_data("validate https://example.com/a.json")


def test_quoted_words_are_text() -> None:
    """Quotes enclose text; an apostrophe does not open one."""
    found = find_data("don't count 'the cat' in the users' list")
    assert found.text == "the cat"
    assert found.rest == "don't count in the users' list"
