"""Records to files: what is written, and that a file appears as a whole or not at all."""

import asyncio
import csv
import fcntl
import json
import os
import re
import resource
import signal
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaygraph import (
    BatchGraph,
    BatchNode,
    Drop,
    Graph,
    Node,
    Outcome,
    Pipeline,
    TooManyFailuresError,
)
from kaygraph.nodes import ReadCSV, ReadJSONLines, TransformNode, WriteCSV, WriteJSONLines
from kaygraph.nodes.files import _parts
from kaygraph.testing import cancel_everywhere
from tests.children import python
from tests.stages import Stage

pytestmark = pytest.mark.anyio

KINDS = [WriteCSV, WriteJSONLines]
each_kind = pytest.mark.parametrize("kind", KINDS)
ROWS = [{"name": "Ada", "age": 36}, {"name": "Bob", "age": None}]


def content(path: Path) -> bytes:
    return path.read_bytes()


async def content_of(node: Any, rows: Any = ROWS) -> bytes:
    """Write rows and return what the file holds."""
    node.reads, node.writes = "rows", "count"
    shared: dict[str, Any] = {"rows": rows}
    await node.run_async(shared)
    assert shared["count"] == len(rows)
    return content(Path(node.path))


def numbers(count: int = 50_000) -> list[dict[str, Any]]:
    """Return rows that are more than a buffer holds."""
    return [{"n": number, "text": "x" * 20} for number in range(count)]


@pytest.fixture(params=["nameless", "named"])
def parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file being written has a name, as on systems without nameless files, or none."""
    if request.param == "named":
        monkeypatch.setattr(_parts, "NAMELESS", 0)


class Given(Node[Any, Any]):
    """A source of rows."""

    def prep(self, shared: Any) -> Any:
        return shared["rows"]


def draft_in(folder: Path) -> Path:
    """Return the one file that is being written in a folder."""
    found = [path for path in folder.iterdir() if path.name.endswith(".part")]
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            place = os.readlink(descriptor)
            if place.startswith(f"{folder}/") and place.endswith(" (deleted)"):
                found.append(descriptor)
    (draft,) = found
    return draft


# --- formats ---


async def test_csv_has_a_header_and_a_row_for_each_record(tmp_path: Path) -> None:
    """In the order of the first record; None is nothing."""
    assert await content_of(WriteCSV(tmp_path / "a.csv")) == b"name,age\r\nAda,36\r\nBob,\r\n"


async def test_fields_and_delimiter_can_be_set(tmp_path: Path) -> None:
    """The fields also give the order, and the header of a file without records."""
    node = WriteCSV(tmp_path / "a.csv", fields=["age", "name"], delimiter=";")
    assert await content_of(node) == b"age;name\r\n36;Ada\r\n;Bob\r\n"
    assert await content_of(node, []) == b"age;name\r\n"
    assert await content_of(WriteCSV(tmp_path / "a.csv"), []) == b""


async def test_the_encoding_of_csv_can_be_set(tmp_path: Path) -> None:
    """A byte order mark comes once."""
    rows = [{"ä": "é"}, {"ä": "ü"}]
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "latin-1"):
        node = WriteCSV(tmp_path / "a.csv", encoding=encoding)
        assert await content_of(node, rows) == "ä\r\né\r\nü\r\n".encode(encoding)


@pytest.mark.parametrize("settings", [{}, {"fields": ["€"]}])
async def test_a_header_that_an_encoding_does_not_know_fails_every_row(
    settings: Any, tmp_path: Path
) -> None:
    """Neither the next record nor the next attempt makes a file without a header."""
    node = WriteCSV(tmp_path / "a.csv", encoding="latin-1", reads="rows", **settings)
    rows = [{"€": 1}, {"€": 2}]
    for changes in ({"on_error": 1}, {"on_error": "raise", "max_retries": 2}):
        for name, value in changes.items():
            setattr(node, name, value)
        with pytest.raises((UnicodeEncodeError, TooManyFailuresError)):
            await node.run_async({"rows": rows})
    node.on_error = "collect"
    if not settings:
        await node.run_async({"rows": [*rows, {"a": 1}]})
        assert content(tmp_path / "a.csv") == b"a\r\n1\r\n"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "iso2022_jp", "iso2022_kr", "hz"])
async def test_a_row_that_cannot_be_encoded_leaves_the_next_ones_as_they_are(
    encoding: str, tmp_path: Path
) -> None:
    """Even in encodings in which characters depend on those before them."""
    rows = [{"a": text} for text in ("x", "日\udcff", "日", "本")]
    node = WriteCSV(tmp_path / "a.csv", encoding=encoding, reads="rows", on_error="skip")
    await node.run_async({"rows": rows})
    assert content(tmp_path / "a.csv").decode(encoding) == "a\r\nx\r\n日\r\n本\r\n"


async def test_an_error_of_a_record_is_short_and_quick(tmp_path: Path) -> None:
    """However many names there are, and however long."""
    fields = [f"field{number}" for number in range(10_000)]
    node = WriteCSV(tmp_path / "a.csv", fields=fields, reads="rows")
    many, long = dict.fromkeys(range(100_000)), {**dict.fromkeys(fields), "x" * 100_000: 1}
    for record in (many, long):
        with pytest.raises(ValueError, match="'field99', …") as caught:
            await node.run_async({"rows": [record]})
        assert len(str(caught.value)) < 2000


async def test_json_lines_are_what_msgspec_encodes(tmp_path: Path) -> None:
    """One value a line."""

    class Person(msgspec.Struct):
        name: str

    node = WriteJSONLines(tmp_path / "a.jsonl")
    rows = [Person("Ada"), [1, "é\n"], None]
    assert await content_of(node, rows) == '{"name":"Ada"}\n[1,"é\\n"]\nnull\n'.encode()


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufeff"), max_size=8)


@given(st.lists(st.dictionaries(st.sampled_from("ab"), texts, min_size=2), max_size=6))
def test_any_records_are_read_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, str]]
) -> None:
    """Quotes, line ends, separators and all: CSV and JSON lines."""
    folder = tmp_path_factory.mktemp("round")
    for write, read in (
        (WriteCSV(folder / "a", reads="rows"), ReadCSV(folder / "a", writes="back")),
        (WriteJSONLines(folder / "b", reads="rows"), ReadJSONLines(folder / "b", writes="back")),
    ):
        shared: dict[str, Any] = {"rows": rows}
        Graph(write >> read).run(shared)
        assert shared["back"] == rows


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"name": "x"}, "has no 'age'; the fields are 'name', 'age'."),
        (
            {"name": "x", "agee": 1},
            "has no 'age'; the fields are 'name', 'age'. Did you mean 'agee'?",
        ),
        (
            {"name": "x", "age": 1, "aje": 2},
            "has 'aje', which is not one of the fields 'name', 'age'. Did you mean 'age'?",
        ),
        (["x", 1], "must be a mapping, got a list"),
        ("token: hunter2", "must be a mapping, got a str"),
        ({"name": "\udcff", "age": 1}, "surrogates not allowed"),
    ],
)
async def test_a_record_that_does_not_fit_is_an_item_that_fails(
    record: Any, message: str, tmp_path: Path
) -> None:
    """The error names the field; with on_error the others are written."""
    path = tmp_path / "a.csv"
    shared: dict[str, Any] = {"rows": [*ROWS, record, ROWS[0]]}
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        await WriteCSV(path, reads="rows").run_async(shared)
    assert "hunter2" not in f"{caught.value} {caught.value.__notes__}"
    assert os.listdir(tmp_path) == []
    await WriteCSV(path, reads="rows", writes="count", on_error="skip").run_async(shared)
    assert shared["count"] == 3
    assert path.read_bytes() == b"name,age\r\nAda,36\r\nBob,\r\nAda,36\r\n"


@pytest.mark.parametrize("record", [{}, {"a": 1, "": 2}, {1: 2}])
async def test_a_first_record_without_names_makes_no_header(record: Any, tmp_path: Path) -> None:
    """Nobody could read such a file."""
    message = r"the first record (names no fields|has no name for field 2|has 1 as the name of)"
    with pytest.raises(ValueError, match=message):
        await WriteCSV(tmp_path / "a.csv", reads="rows").run_async({"rows": [record]})


async def test_formulas_are_escaped_where_that_is_asked_for(tmp_path: Path) -> None:
    """In the header as well; numbers are numbers, and all else is the text that it becomes."""
    harmful = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "\nx", "\0x", "\uff1d1", Path("=1+1")]
    harmless = ["x=1", -1, -1.5, Decimal(-1), None]
    rows = [{"=a": value} for value in (*harmful, *harmless)]
    plain = await content_of(WriteCSV(tmp_path / "a.csv"), rows)
    assert plain.startswith(b"=a\r\n=1+1\r\n")
    await content_of(WriteCSV(tmp_path / "a.csv", escape_formulas=True), rows)
    with (tmp_path / "a.csv").open(newline="") as file:
        cells = [row[0] for row in csv.reader(file)]
    assert cells[0] == "'=a"
    assert cells[1:] == [*(f"'{value}" for value in harmful), "x=1", "-1", "-1.5", "-1", ""]


# --- whole, or not at all ---


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """An existing file."""
    path = tmp_path / "target"
    path.write_text("old")
    path.chmod(0o640)
    return path


@pytest.fixture
def untouched(target: Path) -> Iterator[Path]:
    """A target that must be unchanged at the end of the test, with nothing next to it."""
    before = target.stat()
    descriptors = os.listdir("/proc/self/fd")
    yield target
    assert target.read_text() == "old"
    assert target.stat().st_ino == before.st_ino
    assert os.listdir(target.parent) == [target.name]
    assert len(os.listdir("/proc/self/fd")) == len(descriptors)


@each_kind
async def test_a_failure_leaves_the_old_file(kind: Any, untouched: Path) -> None:
    """Of the source, in the middle of it."""

    class Source(BatchNode[Any, Any]):
        def prep(self, _: Any) -> Any:
            yield from numbers(10_000)
            raise OSError("the source is gone")

        async def exec(self, item: Any) -> Any:
            return item

    with pytest.raises(OSError, match="the source is gone"):
        await Pipeline(Source(), kind(untouched)).run_async({})


@each_kind
async def test_a_failed_row_leaves_the_old_file(kind: Any, untouched: Path) -> None:
    """Of a stage before, or of the writer itself; and so it is on an error route."""
    shared: dict[str, Any] = {"rows": [*numbers(10_000), object()]}
    with pytest.raises((TypeError, ValueError)):
        await kind(untouched, reads="rows").run_async(shared)

    class Noted(Node[Any, Any]):
        def post(self, shared: Any, *_: Any) -> None:
            shared["error"] = self.error

    write, noted = kind(untouched, reads="rows"), Noted()
    _ = write - "error" >> noted
    await Graph(write).run_async(shared)
    assert shared["error"] is not None


@each_kind
@pytest.mark.usefixtures("parts")
async def test_a_cancelled_run_leaves_the_old_file(kind: Any, untouched: Path) -> None:
    """Rows already written next to it are removed, too."""
    waits = asyncio.Event()

    class Source(BatchNode[Any, Any]):
        async def prep(self, _: Any) -> Any:
            for row in numbers(10_000):
                yield row
            waits.set()
            await asyncio.Event().wait()

        async def exec(self, item: Any) -> Any:
            return item

    task = asyncio.ensure_future(Pipeline(Source(), kind(untouched), collect=False).run_async({}))
    await waits.wait()
    assert draft_in(untouched.parent).stat().st_size > 0
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@each_kind
@pytest.mark.parametrize("grace", [None, 0.01])
async def test_a_drained_run_leaves_the_old_file(
    kind: Any, grace: float | None, untouched: Path
) -> None:
    """Rows that were to come are missing, whether the work in flight has ended or was cut short."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    class Source(BatchNode[Any, Any]):
        def prep(self, _: Any) -> Any:
            return numbers()

        async def exec(self, item: Any) -> Any:
            if item["n"] == 20_000:
                begun.set()
                await go_on.wait()
            return item

    shared: dict[str, Any] = {}
    writer = kind(untouched, writes="count")
    run = Graph(Pipeline(Source(), writer, collect=False)).launch(shared)
    await begun.wait()
    run.drain(grace)
    if grace is None:
        go_on.set()
    await run
    assert shared == {}


@each_kind
async def test_a_round_that_is_in_flight_when_a_run_drains_comes_to_its_end(
    kind: Any, tmp_path: Path
) -> None:
    """A round is a whole: its file is complete, and later ones are not begun."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    class Rows(Node[Any, Any]):
        async def exec(self, _: Any) -> Any:
            begun.set()
            await go_on.wait()

        def post(self, shared: Any, *_: Any) -> None:
            shared["rows"] = numbers(3)

    class Named(kind):  # type: ignore[misc]
        def path_of(self, _: Any) -> Path:
            return tmp_path / str(self.params["name"])

    class Rounds(BatchGraph):
        def prep(self, _: Any) -> Any:
            return [{"name": "a"}, {"name": "b"}]

    run = Rounds(Rows() >> Named(reads="rows")).launch({})
    await begun.wait()
    run.drain()
    go_on.set()
    await run
    assert os.listdir(tmp_path) == ["a"]
    assert len((tmp_path / "a").read_text().splitlines()) == 3 + (kind is WriteCSV)


@each_kind
def test_a_writer_cancelled_at_any_step_leaves_the_old_file_or_the_new_one(
    kind: Any, target: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Nothing next to it, nothing open, nothing running."""
    new = asyncio.run(content_of(kind(target), ROWS))
    target.write_text("old")

    class Source(Stage):
        def prep(self, _: Any) -> Any:
            return ROWS

    def check(_: Any) -> bool:
        found = target.read_bytes()
        target.write_text("old")
        return found in (b"old", new) and os.listdir(target.parent) == [target.name]

    before = len(os.listdir("/proc/self/fd"))
    assert cancel_everywhere(Pipeline(Source(1.0), kind(target)), {}, check=check, seeds=3) > 30
    given = tmp_path_factory.mktemp("given") / "rows.csv"
    given.write_text("name,age\nAda,36\nBob,\n")
    blocks = Pipeline(
        ReadCSV(given),
        TransformNode(fields={"age": lambda age: int(age) if age else None}),
        kind(target),
    )
    assert cancel_everywhere(blocks, {}, check=check, seeds=3, watched=False) > 20
    assert len(os.listdir("/proc/self/fd")) <= before + 2


FULL_DISK = """
import asyncio, os, resource, sys
from kaygraph.nodes import {kind}
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
rows = [{{"n": n, "text": "x" * 20}} for n in range(6_000)]
shared = {{"rows": rows}}
try:
    {kind}(sys.argv[1], reads="rows", writes="count", on_error={on_error!r}).run(shared)
except OSError as error:
    print(error.errno, error.filename, "count" in shared)
"""


@pytest.mark.proofs
@each_kind
@pytest.mark.parametrize(
    "on_error", ["raise", "collect", pytest.param("skip", marks=pytest.mark.proofs)]
)
def test_a_disk_that_is_full_in_the_middle_leaves_the_old_file(
    kind: Any, on_error: str, untouched: Path
) -> None:
    """Whatever on_error says of rows: the rows of a whole buffer are lost."""
    script = FULL_DISK.format(kind=kind.__name__, on_error=on_error)
    done = python("-c", script, untouched, check=True)
    assert done.stdout.split() == ["27", str(untouched), "False"]  # EFBIG


@each_kind
async def test_what_has_failed_once_is_not_written_any_more(
    kind: Any, untouched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that has room again makes no file with a gap in it; each row has its own error."""
    real, calls = os.write, 0

    def fails_once(descriptor: int, data: Any) -> int:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(28, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", fails_once)
    errors: list[Any] = []

    class Noted(kind):  # type: ignore[misc]
        async def post(self, shared: Any, prep_res: Any, results: Any) -> None:
            errors.extend(row.error for row in results if row is not None)
            await super().post(shared, prep_res, results)

    with pytest.raises(OSError, match="No space left on device"):
        await Noted(untouched, reads="rows", on_error="collect").run_async({"rows": numbers(9000)})
    assert calls == 2
    assert len(errors) == len(set(map(id, errors))) > 1000
    assert {type(error) for error in errors} == {OSError}


async def test_a_write_that_takes_only_a_part_goes_on_with_the_rest(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the system may, near a full disk or at a signal."""
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:7]))
    assert await content_of(WriteCSV(target)) == b"name,age\r\nAda,36\r\nBob,\r\n"


@each_kind
async def test_drafts_that_cannot_be_removed_leave_nothing_open(
    kind: Any, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is reported, and the other drafts are removed nevertheless."""
    monkeypatch.setattr(_parts, "NAMELESS", 0)
    real, calls, before = os.unlink, 0, len(os.listdir("/proc/self/fd"))

    def fails_once(*args: Any, **kwargs: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise PermissionError(1, "Operation not permitted")
        real(*args, **kwargs)

    monkeypatch.setattr(os, "unlink", fails_once)
    meet = asyncio.Barrier(3)

    async def rows() -> Any:
        yield ROWS[0]
        await meet.wait()
        raise ValueError("no")

    class Writer(kind):  # type: ignore[misc]
        def prep(self, shared: Any) -> Any:
            super().prep(shared)
            return rows()

    class Rounds(BatchGraph):
        def prep(self, _: Any) -> Any:
            return [{}] * 3

    with pytest.raises((PermissionError, BaseExceptionGroup)):
        await Rounds(Writer(target), max_workers=3).run_async({})
    assert calls == 3
    assert len(os.listdir(target.parent)) == 2  # the target, and what could not be removed
    assert len(os.listdir("/proc/self/fd")) == before


@each_kind
async def test_a_file_that_cannot_be_made_is_an_error(kind: Any, tmp_path: Path) -> None:
    """Its folder is missing: with the first row, and without one."""
    for rows in ([], ROWS):
        with pytest.raises(FileNotFoundError):
            await kind(tmp_path / "no" / "a", reads="rows").run_async({"rows": rows})


@pytest.mark.usefixtures("parts")
async def test_a_file_is_written_while_rows_come_and_takes_its_name_at_the_end(
    target: Path,
) -> None:
    """Rows do not pile up in memory; readers see the old file until the new one is whole."""
    sizes = []

    class Source(BatchNode[Any, Any]):
        async def prep(self, _: Any) -> Any:
            for row in numbers():
                if row["n"] == 40_000:
                    sizes.append(draft_in(target.parent).stat().st_size)
                    assert content(target) == b"old"
                yield row

        async def exec(self, item: Any) -> Any:
            return item

    await Pipeline(Source(), WriteCSV(target), collect=False).run_async({})
    assert sizes[0] > 500_000
    assert len(content(target).splitlines()) == 50_001
    assert os.listdir(target.parent) == [target.name]


async def test_a_file_is_on_the_disk_before_it_takes_its_name(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a power loss could leave an empty file under the name of the old one."""
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)

        def noted(*args: Any, real: Any = real, name: str = name, **kwargs: Any) -> Any:
            calls.append(name)
            return real(*args, **kwargs)

        monkeypatch.setattr(os, name, noted)
    await content_of(WriteCSV(target))
    assert calls == ["fsync", "replace"]


# --- modes ---


@each_kind
@pytest.mark.usefixtures("parts")
async def test_the_mode_of_a_file_is_kept(kind: Any, target: Path) -> None:
    """And no one sees more in the meantime."""
    seen = []

    class Looks(BatchNode[Any, Any]):
        async def prep(self, _: Any) -> Any:
            for row in numbers():
                yield row
            seen.append(draft_in(target.parent).stat().st_mode & 0o777)

        async def exec(self, item: Any) -> Any:
            return item

    os.chmod(target, 0o604)
    await Pipeline(Looks(), kind(target), collect=False).run_async({})
    assert seen == [0o600]
    assert os.stat(target).st_mode & 0o7777 == 0o604


@each_kind
async def test_a_new_file_follows_the_umask(kind: Any, tmp_path: Path) -> None:
    """As any file that a program makes."""
    before = os.umask(0o027)
    try:
        await content_of(kind(tmp_path / "new"))
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o640


async def test_a_link_stays_and_its_file_is_written(tmp_path: Path, target: Path) -> None:
    """What the path comes to is the target."""
    (tmp_path / "link").symlink_to("target")
    await content_of(WriteCSV(tmp_path / "link"))
    assert (tmp_path / "link").is_symlink()
    assert content(target).startswith(b"name,age")


@pytest.mark.usefixtures("parts")
async def test_names_that_are_taken_stay_as_they_are(tmp_path: Path) -> None:
    """What is not a file, and what another writer of the same file works on."""
    temporary = tmp_path / ".a.kaygraph.part"
    for make in (temporary.mkdir, lambda: temporary.symlink_to("b"), lambda: os.mkfifo(temporary)):
        make()
        mode = temporary.lstat().st_mode
        assert await content_of(WriteJSONLines(tmp_path / "a"), [1]) == b"1\n"
        assert temporary.lstat().st_mode == mode
        temporary.rmdir() if temporary.is_dir() else temporary.unlink()
    with temporary.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert await content_of(WriteJSONLines(tmp_path / "a"), [2]) == b"2\n"
    assert sorted(os.listdir(tmp_path)) == [".a.kaygraph.part", "a"]
    assert await content_of(WriteJSONLines(tmp_path / "a"), [3]) == b"3\n"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.usefixtures("parts")
async def test_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    """Several at once each write a whole file; one of them is the last."""

    class Rounds(BatchGraph):
        def prep(self, _: Any) -> Any:
            return [{"round": n} for n in range(20)]

    class Writer(WriteJSONLines):
        async def prep(self, shared: Any) -> Any:
            super().prep(shared)
            for row in numbers(200):
                await asyncio.sleep(0)
                yield {**row, "round": self.params["round"]}

    await Rounds(Writer(tmp_path / "a"), max_workers=20).run_async({})
    rows = [json.loads(line) for line in content(tmp_path / "a").splitlines()]
    assert len(rows) == 200
    assert len({row["round"] for row in rows}) == 1
    assert os.listdir(tmp_path) == ["a"]


KILLED = """
import os, signal, sys
from kaygraph import BatchNode, Pipeline
from kaygraph.nodes import WriteCSV
from kaygraph.nodes.files import _parts

if sys.argv[2] == "named":
    _parts.NAMELESS = 0
if sys.argv[3] == "renaming":
    os.replace = lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGKILL)

class Rows(BatchNode):
    def prep(self, _):
        for n in range(20_000):
            yield {"n": n}
        if sys.argv[3] == "writing":
            os.kill(os.getpid(), signal.SIGKILL)
    async def exec(self, row):
        return row

Pipeline(Rows(), WriteCSV(sys.argv[1]), collect=False).run({})
"""


@pytest.mark.proofs
@pytest.mark.parametrize("killed", ["writing", "renaming"])
@pytest.mark.parametrize("kind", ["nameless", "named"])
async def test_a_process_that_is_killed_leaves_nothing_for_ever(
    kind: str, killed: str, target: Path
) -> None:
    """At most one file, hidden next to its target, which the next writer removes."""
    for _ in range(2):
        done = python("-c", KILLED, str(target), kind, killed, check=False)
        assert done.returncode == -signal.SIGKILL
        assert content(target) == b"old"
        left = [] if (kind, killed) == ("nameless", "writing") else [".target.kaygraph.part"]
        assert sorted(os.listdir(target.parent)) == [*left, "target"]
    await content_of(WriteCSV(target))
    assert os.listdir(target.parent) == ["target"]


async def test_a_name_may_be_as_long_as_the_system_allows(tmp_path: Path) -> None:
    """The file next to it has a name of its own."""
    assert await content_of(WriteJSONLines(tmp_path / ("x" * 255)), [1]) == b"1\n"


# --- one node, many executions ---


@each_kind
async def test_the_same_node_writes_many_files_at_once(kind: Any, tmp_path: Path) -> None:
    """Simultaneous rounds of a BatchGraph, each with its own file and count."""

    class Rows(Node[Any, Any]):
        async def prep(self, shared: Any) -> None:
            shared[self.params["name"]] = numbers(500 * int(self.params["name"]))

    class Named(kind):  # type: ignore[misc]
        def path_of(self, _: Any) -> Path:
            return tmp_path / str(self.params["name"])

        async def prep(self, shared: Any) -> Any:
            super().prep(shared)
            for row in shared[self.params["name"]]:
                if not row["n"] % 100:
                    await asyncio.sleep(0)
                yield row

    class Rounds(BatchGraph):
        def prep(self, _: Any) -> Any:
            return [{"name": str(number)} for number in range(1, 9)]

    await Rounds(Rows() >> Named(), max_workers=4).run_async({})
    for number in range(1, 9):
        lines = (tmp_path / str(number)).read_text().splitlines()
        assert len(lines) == 500 * number + (kind is WriteCSV)
        assert str(500 * number - 1) in lines[-1]
    assert len(os.listdir(tmp_path)) == 8


@each_kind
async def test_the_same_node_writes_again_in_a_loop(kind: Any, tmp_path: Path) -> None:
    """A round that failed before it leaves nothing that is mistaken for its own."""
    path = tmp_path / "a"

    class Next(Node[Any, Any]):
        def post(self, shared: Any, *_: Any) -> str | None:
            shared["left"] = os.listdir(tmp_path)
            shared["rows"] = numbers(len(shared["log"]))
            if len(shared["log"]) % 2:
                shared["rows"].append(object())
            shared["log"].append(self.error)
            return "write" if len(shared["log"]) < 20 else None

    following, write = Next(), kind(path, reads="rows", writes="count")
    _ = following - "write" >> write
    _ = write >> following
    _ = write - "error" >> following
    shared: dict[str, Any] = {"log": []}
    await Graph(following).run_async(shared)
    assert shared["count"] == 18
    assert len(content(path).splitlines()) == 18 + (kind is WriteCSV)
    assert len(shared["left"]) <= 2
    assert os.listdir(tmp_path) == ["a"]


@each_kind
@pytest.mark.parametrize("in_pipeline", [True, False])
async def test_writers_that_fail_in_branches_hold_nothing_open_while_the_run_goes_on(
    kind: Any, in_pipeline: bool, tmp_path: Path
) -> None:
    """Round by round, each in its own tasks: a run of many rounds would run out of files."""
    most = before = len(os.listdir("/proc/self/fd"))

    class Source(Stage):
        async def prep(self, _: Any) -> Any:
            nonlocal most
            most = max(most, len(os.listdir("/proc/self/fd")))
            yield ROWS[0]
            await asyncio.sleep(0)
            raise ValueError("no")

    class Writer(kind):  # type: ignore[misc]
        def path_of(self, _: Any) -> Path:
            return tmp_path / "a"

        def prep(self, shared: Any) -> Any:
            super().prep(shared)
            return None if in_pipeline else Source().prep(shared)

    branch = Pipeline(Source(), Writer()) if in_pipeline else Writer()
    results: list[Any] = []

    class Rounds(BatchGraph):
        def prep(self, _: Any) -> Any:
            return [{}] * 50

        def post(self, _: Any, __: Any, outcomes: Any) -> None:
            results.extend(outcomes)

    await Rounds(Node() >> [branch, Node()], on_error="collect").run_async({})
    assert [outcome.status for outcome in results] == ["failed"] * 50
    assert most - before < 20
    assert os.listdir(tmp_path) == []


def test_a_writer_runs_again_in_another_loop(tmp_path: Path) -> None:
    """Nothing of a run is kept on the node."""
    node = WriteJSONLines(tmp_path / "a")
    for count in (1, 2):
        assert len(asyncio.run(content_of(node, [1] * count)).splitlines()) == count


async def test_two_writers_stand_in_one_pipeline_and_in_branches(tmp_path: Path) -> None:
    """Each with its own file."""

    class Through(WriteCSV):
        async def exec(self, record: Any) -> Any:
            await super().exec(record)
            return record

    class Source(Stage):
        def prep(self, _: Any) -> Any:
            return ROWS

    first, second = Through(tmp_path / "a"), WriteCSV(tmp_path / "b")
    await Graph(Pipeline(Source(), first, second)).run_async({})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() != b""
    begin = Node()
    branches = [WriteCSV(tmp_path / name, reads="rows", name=name) for name in "cd"]
    await Graph(begin >> branches).run_async({"rows": ROWS})
    assert (tmp_path / "c").read_bytes() == (tmp_path / "d").read_bytes() != b""


# --- attempts ---


@each_kind
async def test_an_attempt_that_fails_has_added_nothing(kind: Any, tmp_path: Path) -> None:
    """With retries each row is there once."""

    class Flaky(kind):  # type: ignore[misc]
        async def exec(self, record: Any) -> None:
            if record["n"] % 7 == 0 and self.attempt < 3:
                raise ConnectionError("try again")
            await super().exec(record)

    node = Flaky(tmp_path / "a", max_retries=3)
    lines = (await content_of(node, numbers(5000))).splitlines()
    assert len(lines) == 5000 + (kind is WriteCSV)
    assert len(set(lines)) == len(lines)


async def test_rows_that_are_dropped_are_not_counted(tmp_path: Path) -> None:
    """The count is that of the rows in the file."""

    class Even(WriteJSONLines):
        async def exec(self, record: Any) -> None:
            if record % 2:
                raise Drop
            await super().exec(record)

    shared: dict[str, Any] = {"rows": range(5)}
    await Even(tmp_path / "a", reads="rows", writes="count").run_async(shared)
    assert shared["count"] == 3
    assert (tmp_path / "a").read_text() == "0\n2\n4\n"


@each_kind
async def test_a_record_that_fails_among_many_is_left_out_alone(kind: Any, tmp_path: Path) -> None:
    """From a pipeline as from a list: it is reported with its place, and the others are written."""
    records: list[Any] = [{"n": str(number)} for number in range(500)]
    records[123] = records[400] = {"n": object()} if kind is WriteJSONLines else {"m": "1"}
    shared: dict[str, Any] = {"rows": records}
    listed = kind(tmp_path / "listed", on_error="collect", reads="rows", writes="count")
    await Graph(listed).run_async(shared)
    assert shared["count"] == 498
    streamed = Pipeline(Given(), kind(tmp_path / "streamed", on_error="collect"))
    found = [one async for one in streamed.stream(shared)]
    assert [one.index for one in found if one is not None] == [123, 400]
    text = (tmp_path / "listed").read_text()
    assert text == (tmp_path / "streamed").read_text()
    assert text.count("\n") == 498 + (kind is WriteCSV)


async def test_outcomes_pass_a_writer_by_in_a_pipeline(tmp_path: Path) -> None:
    """What an earlier stage collected is not a row."""
    (tmp_path / "a").write_text("x,y\n1,2\n3\n4,5\n")
    shared: dict[str, Any] = {}
    read = ReadCSV(tmp_path / "a", on_error="collect")
    write = WriteJSONLines(tmp_path / "b", writes="count")
    await Pipeline(read, write).run_async(shared)
    assert shared == {"count": 2}
    rows = [json.loads(line) for line in (tmp_path / "b").read_text().splitlines()]
    assert rows == [{"x": "1", "y": "2"}, {"x": "4", "y": "5"}]
    shared = {"rows": [Outcome[Any]("x", 0, "failed")]}
    with pytest.raises(ValueError, match="must be a mapping, got a Outcome"):
        await WriteCSV(tmp_path / "c", reads="rows").run_async(shared)


# --- settings and mistakes ---


@each_kind
async def test_a_writer_that_nobody_gives_records_leaves_the_old_file(
    kind: Any, untouched: Path
) -> None:
    """Neither `reads` nor a previous stage: a file without rows cannot be intended."""
    with pytest.raises(TypeError, match="must return an iterable"):
        await Graph(Node() >> kind(untouched)).run_async({})


async def test_a_prep_that_forgets_the_one_it_overrides_is_reported(tmp_path: Path) -> None:
    """There is no file to add rows to."""

    class Forgets(WriteCSV):
        def prep(self, _: Any) -> Any:
            return ROWS

    with pytest.raises(RuntimeError, match=r"prep\(\) of Forgets must call super\(\)"):
        await Forgets(tmp_path / "a").run_async({})

    class ForgetsLater(WriteCSV):
        def prep(self, shared: Any) -> Any:
            shared["rounds"] = shared.get("rounds", 0) + 1
            return super().prep(shared) if shared["rounds"] == 1 else ROWS

    again, write = Node(), ForgetsLater(tmp_path / "b", reads="rows")
    _ = again >> write >> again
    with pytest.raises(RuntimeError, match="ForgetsLater has no file open"):
        await Graph(again).run_async({"rows": ROWS})
    assert os.listdir(tmp_path) == ["b"]


@each_kind
async def test_a_stream_of_a_writer_is_refused_and_one_of_its_pipeline_is_not(
    kind: Any, tmp_path: Path
) -> None:
    """A stream of its own would tell of rows that are written to no file."""
    with pytest.raises(TypeError, match="run it, or stream a pipeline that contains it"):
        kind(tmp_path / "a", reads="rows").stream({"rows": ROWS})

    class Source(Stage):
        def prep(self, _: Any) -> Any:
            return ROWS

    assert [row async for row in Pipeline(Source(), kind(tmp_path / "a")).stream()] == [None, None]
    assert len(content(tmp_path / "a").splitlines()) == 2 + (kind is WriteCSV)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WriteCSV(reads="rows"), "WriteCSV needs a path"),
        (lambda: WriteJSONLines("", reads="rows"), "path must be a path"),
        (lambda: WriteCSV("a", fields=["a", ""]), "fields has no name for field 2"),
        (lambda: WriteCSV("a", escape_formulas=1), "escape_formulas must be True or False"),  # type: ignore[arg-type]
        (lambda: WriteCSV("a", encoding="rot13"), "encoding must name a text encoding"),
        (lambda: WriteCSV("a", run_in="process"), "unknown setting 'run_in'"),
        (lambda: WriteCSV("a", feilds=["a"]), "Did you mean 'fields'?"),  # type: ignore[call-arg]
    ],
)
def test_settings_are_checked_at_construction(make: Any, message: str) -> None:
    """One clear error each."""
    with pytest.raises((ValueError, TypeError)) as caught:
        make()
    assert message in str(caught.value)


async def test_memory_stays_bounded_over_many_rows(tmp_path: Path) -> None:
    """A source without end goes through a buffer of fixed size."""

    class Source(BatchNode[Any, Any]):
        def prep(self, _: Any) -> Any:
            return range(100_000)

        async def exec(self, item: Any) -> Any:
            return {"n": item, "text": "x" * 100}

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await Pipeline(Source(), WriteCSV(tmp_path / "a"), collect=False).run_async({})
    assert (tmp_path / "a").stat().st_size > 10_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8_000  # KiB
