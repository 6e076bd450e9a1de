"""Where the data comes from: a file, standard input, or a person's text.

Nothing is dropped silently: unreadable data is an InputError that names the place.
"""

import csv
import difflib
import glob
import io
import json
import os
import re
import select
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

MAX_BYTES = 256 * 2**20
NOBODY_S = 10.0  # how long a named pipe may have no writer
PATIENCE_S = 1.0  # how long standard input may be silent before we say that we are waiting

EMAIL = re.compile(r"[^\s@<>()\"',;:{}\[\]]+@[^\s@<>()\"',;:{}\[\]]*[^\s@<>()\"',;:{}\[\].!?]")
NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?")
QUOTED = re.compile(r"(?<!\S)(?:\"([^\"]+)\"|'([^']+)'|“([^”]+)”)(?=[\s,.;:!?]|$)")
DATA_SUFFIXES = frozenset(
    {".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".txt", ".md", ".py", ".log"}
)


BY_LINES = frozenset({".csv", ".tsv", ".jsonl", ".ndjson"})
SURROGATE = re.compile("[\udc80-\udcff]")  # a byte that is not UTF-8


class InputError(ValueError):
    """The request cannot be carried out; the message is one line that says what to type."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean x?`` for the known name nearest to ``name``, or an empty string."""
    found = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {found[0]}?" if found else ""


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a record: its file and its line in it; None if unknown."""

    file: str | None = None
    line: int | None = None

    def row(self) -> dict[str, Any]:
        """Return the known parts, as in a row of the results."""
        known = {"file": self.file, "line": self.line}
        return {name: value for name, value in known.items() if value is not None}


NOWHERE = Place()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Takes the place of a record whose line is malformed. One bad line is one bad record."""

    reason: str

    def __str__(self) -> str:
        return self.reason


class Records(list[Any]):
    """Records, and the place of each."""

    def __init__(self, records: Iterable[Any] = (), places: Iterable[Place] = ()) -> None:
        super().__init__(records)
        self.places = [*places]
        self.places += [NOWHERE] * (len(self) - len(self.places))

    def __add__(self, others: Any) -> "Records":
        return Records([*self, *others], [*self.places, *places_of(others)])

    def bad_lines(self) -> Iterator[str]:
        """Yield a line for each malformed record: its place, and the reason."""
        for record, place in zip(self, self.places, strict=True):
            if isinstance(record, Unreadable):
                where = place.file or "the input"
                yield f"{where}, line {place.line}: {record.reason}"


def places_of(records: Iterable[Any]) -> list[Place]:
    """Return the places of these records."""
    if isinstance(records, Records):
        return records.places
    return [NOWHERE for _ in records]


# --- records from a file or from standard input -------------------------------------------------


def read_records(name: str) -> Records:
    """Read the records of a file, or of all files that a glob matches: JSON, JSON lines or CSV.

    A malformed line gives an ``Unreadable``.

    Raises:
        InputError: There is no such file, it is unreadable, or nothing in it is readable.
    """
    if glob.has_magic(name) and not Path(name).expanduser().exists():
        found = sorted(glob.glob(str(Path(name).expanduser()), recursive=True))
        if found:
            return sum((read_records(one) for one in found[1:]), read_records(found[0]))
    path = existing_file(name)
    suffix = path.suffix.lower()
    return parse_records(read_text(path, by_lines=suffix in BY_LINES), name, suffix, name)


def existing_file(name: str) -> Path:
    """Return the path of a file that exists; an InputError suggests a similar name."""
    path = Path(name).expanduser()
    if path.is_dir():
        raise InputError(f"{name} is a directory: name a JSON, JSON lines or CSV file in it")
    if not path.exists():
        raise InputError(f"there is no file {name!r} here.{_nearest(path)}")
    return path


def _nearest(path: Path) -> str:
    """Return a hint at the file next to ``path`` whose name is most similar."""
    try:
        names = [child.name for child in path.parent.iterdir()]
    except OSError:
        return f" There is no directory {str(path.parent)!r} either."
    found = difflib.get_close_matches(path.name, names, n=1)
    return f" Did you mean {str(path.parent / found[0])!r}?" if found else ""


def read_text(path: Path, *, by_lines: bool = False) -> str:
    """Return a file's text, which must be UTF-8 (a byte order mark is left out).

    ``by_lines``: bytes that are not UTF-8 are kept as surrogates, to spoil no more than a line.
    """
    try:
        if stat.S_ISFIFO(path.stat().st_mode):
            return _text(_from_pipe(path), str(path))
        with path.open("rb") as file:
            if by_lines:
                return _up_to_the_limit(file, str(path)).decode("utf-8-sig", "surrogateescape")
            return read_stream(file, str(path))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def _from_pipe(path: Path) -> bytes:
    """Read a named pipe to its end; a pipe without a writer has none.

    Raises:
        InputError: No writer has opened it for ``NOBODY_S`` seconds.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        content = bytearray()
        began, noted = time.monotonic(), False
        while len(content) <= MAX_BYTES:
            ready = select.select([descriptor], [], [], PATIENCE_S)[0]
            try:
                chunk = os.read(descriptor, 2**16)
            except BlockingIOError:  # a writer is there and takes its time
                began = time.monotonic()
                chunk = b""
            else:
                if not chunk and (ready or content):
                    break
            content += chunk
            if not chunk and not noted:
                noted = True
                print(f"waiting for data from {path}", file=sys.stderr)
            if not content and time.monotonic() - began > NOBODY_S:
                raise InputError(f"nothing writes to {path}: start its writer, then this program")
    finally:
        os.close(descriptor)
    return _up_to_the_limit(io.BytesIO(content), str(path))


def _up_to_the_limit(file: IO[bytes], name: str) -> bytes:
    content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise InputError(f"{name} is larger than {MAX_BYTES >> 20} MiB: split it")
    return content


def _text(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{name}, line {line}: byte 0x{content[error.start]:02x} is not UTF-8 text; "
            "save the file as UTF-8"
        ) from error


def read_stream(file: IO[bytes], name: str = "standard input") -> str:
    """Return the rest of the text in an open file."""
    return _text(_up_to_the_limit(file, name), name)


def parse_records(
    text: str, name: str = "standard input", suffix: str = "", file: str | None = None
) -> Records:
    """Return the records in ``text``, whose format follows from the suffix or the content.

    An array gives its elements, an object is one record, and a CSV row is a dict by the header, in
    which numbers are numbers, true and false are booleans and an empty field is None. Among
    several lines, a malformed one gives an ``Unreadable``.

    Raises:
        InputError: It is malformed (with the line number), or it contains no record.
    """
    numbered: Iterable[tuple[int | None, Any]]
    if suffix in (".csv", ".tsv"):
        numbered = _csv_rows(text, name)
    elif suffix in (".jsonl", ".ndjson"):
        numbered = _json_lines(text, name)
    elif text.lstrip()[:1] in ("{", "["):
        numbered = _json(text, name)
    elif suffix == ".json" and text.strip():
        load_json(text, name)
        raise InputError(f"{name} contains a single value: write an object or an array of objects")
    else:
        numbered = _by_looking(text, name)
    found = [*numbered]
    if not found:
        raise InputError(f"{name} contains no records")
    records = Records((record for _, record in found), (Place(file, line) for line, _ in found))
    if all(isinstance(record, Unreadable) for record in records):
        raise InputError(f"{name}, line {found[0][0]}: {found[0][1]}")
    return records


def _by_looking(text: str, name: str) -> Iterable[tuple[int | None, Any]]:
    """Return the numbered records of a text that is not JSON and has no suffix."""
    lines = [(n, words) for n, line in enumerate(text.split("\n"), 1) for words in line.split()]
    (_, first), *others = lines or [(0, "")]
    if others and not EMAIL.fullmatch(first) and all(EMAIL.fullmatch(one) for _, one in others):
        return [(n, {first: address}) for n, address in others]  # a CSV of one column
    if lines and all(EMAIL.fullmatch(one) for _, one in lines):
        return [(n, {"email": address}) for n, address in lines]
    if not text.strip() or re.search(r"[,;\t]", text.lstrip().splitlines()[0]):
        return _csv_rows(text, name)
    raise InputError(
        f"{name} is neither JSON, JSON lines nor CSV: it begins with {text.strip()[:20]!r}"
    )


def _json(text: str, name: str) -> Iterable[tuple[int | None, Any]]:
    """Parse one JSON document, or JSON lines if the first line is a document by itself."""
    try:
        document = load_json(text, name)
    except InputError:
        lines = text.strip().splitlines()
        try:
            load_json(lines[0], name)
        except InputError:
            lines = []
        if len(lines) < 2:
            raise
        return _json_lines(text, name)
    return [(None, one) for one in (document if isinstance(document, list) else [document])]


def _json_lines(text: str, name: str) -> Iterator[tuple[int, Any]]:
    # Not splitlines(): a JSON string may contain U+2028, which does not end a line here.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = _whole(line) or load_json(line, name, number)
        except InputError as error:
            cause = error.__cause__
            at = f" at column {cause.colno}" if isinstance(cause, json.JSONDecodeError) else ""
            record = Unreadable(f"malformed JSON{at}: {getattr(cause, 'msg', cause)}")
        yield number, record


def _whole(line: str) -> Unreadable | None:
    """Return the error in the bytes of a line, if there is one."""
    byte = SURROGATE.search(line)
    if byte is None:
        return None
    return Unreadable(f"byte 0x{ord(byte[0]) - 0xDC00:02x} is not UTF-8 text")


def load_json(text: str, name: str, line: int | None = None) -> Any:
    """Parse standard JSON: no NaN, and no repeated key in an object.

    Raises:
        InputError: With the line (``line``, or that in ``text``) and the column.
    """
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno if line is None else line}, column {error.colno}"
        raise InputError(f"{name}, {place}: malformed JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        place = name if line is None else f"{name}, line {line}"
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InputError(f"{place}: malformed JSON: {reason}") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} occurs twice in one object")
    return result


def _no_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant)


def _csv_rows(text: str, name: str) -> Iterator[tuple[int, Any]]:
    first = text.lstrip("\r\n").split("\n", 1)[0]
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), strict=True
    )
    header: list[str] = []
    ended = 0  # the last line of the previous row
    try:
        for fields in reader:
            line, ended = ended + 1, reader.line_num
            place = f"{name}, line {line}"
            if not fields:
                continue
            if bad := _whole("".join(fields)):
                if not header:
                    raise InputError(f"{place}: {bad}; save the file as UTF-8")
                yield line, bad
            elif not header:
                header = [field.strip() for field in fields]
                if "" in header or len(set(header)) < len(header):
                    raise InputError(f"{place}: each column needs its own name; got {header}")
            elif len(fields) != len(header):
                reason = f"{many(len(fields), 'field')} where the header has {len(header)}"
                yield line, Unreadable(reason)
            else:
                yield line, dict(zip(header, map(_value, fields), strict=True))
    except csv.Error as error:
        hint = ": is a quote left open?" if "end of data" in str(error) else ""
        raise InputError(f"{name}, line {reader.line_num}: malformed CSV: {error}{hint}") from error


def _value(field: str) -> Any:
    if NUMBER.fullmatch(field):
        return float(field) if "." in field else int(field)
    return {"": None, "true": True, "false": False}.get(field, field)


def piped_text(stdin: IO[bytes] | None, notify: Callable[[str], object]) -> str:
    """Return what was piped into standard input; an empty string if it is a terminal or empty.

    ``notify`` is called with a line if nothing has arrived for a second.
    """
    if stdin is None or stdin.closed or stdin.isatty():
        return ""
    try:
        descriptor = stdin.fileno()
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISCHR(mode):  # /dev/null and its like
            return ""
        if not stat.S_ISREG(mode) and not select.select([descriptor], [], [], PATIENCE_S)[0]:
            notify("waiting for data on standard input (for the bundled sample: < /dev/null)")
    except (OSError, ValueError):  # not a file of the operating system
        pass
    return read_stream(stdin)


# --- files in a person's text --------------------------------------------------------------------


def is_file(name: str) -> bool:
    """Return whether a word names files that exist; a word that merely could is not a file.

    Raises:
        InputError: It can only be a file, but does not exist.
    """
    if not re.search(r"[/.*?]", name.strip(".?")):
        return False
    path = Path(name).expanduser()
    try:
        if path.exists():
            return True
        if glob.has_magic(name):
            if next(glob.iglob(str(path), recursive=True), None) is not None:
                return True
            if "*" not in name:
                return False
            raise InputError(f"no file matches {name!r}")
    except OSError:  # far too long for a name
        return False
    if name.startswith(("/", "./", "../", "~/")) or path.suffix.lower() in DATA_SUFFIXES:
        raise InputError(f"there is no file {name!r} here.{_nearest(path)}")
    return False


def many(count: int, thing: str, plural: str | None = None) -> str:
    """Return the count and the thing, in the plural unless there is exactly one."""
    return f"{count:,} {thing if count == 1 else plural or thing + 's'}"
