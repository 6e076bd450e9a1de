"""Files as a stream of records: a bad row is an item that fails, and says its line."""

from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any, ClassVar, Generic, Unpack

from ..._extras import extra
from ..._validation import check_count
from ...batch.batch import BatchNode
from ...batch.fan_out import FanOut
from ...node.blocks import exec_block_of
from ...node.keywords import Result
from ...node.settings import Checks
from ...run.frame import Frame
from .._json import MAX_DEPTH
from .._store import StoreBatchSettings, Stored, configure
from ._lines import Row
from ._paths import FILE_CHECKS, AnyPath
from ._rows import CSVFormat, Format, Rows, json_format, text_format, wrong_with

MAX_ROW = 1_048_576  # characters
MAX_FIELDS = 10_000


def check_fields(name: str, value: Any) -> Any:
    """Return ``value`` as a tuple when it names the fields of a table, or None."""
    if value is None:
        return None
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(
            f"{name} must be a list of names, as in {name}=['name', 'age']; got {value!r}"
        )
    if wrong := wrong_with(value):
        raise ValueError(f"{name} {wrong}")
    return tuple(value)


def check_delimiter(name: str, value: Any) -> str:
    """Return ``value`` when it is one character that can stand between two fields."""
    if not isinstance(value, str) or len(value) != 1 or value in '"\r\n ':
        raise ValueError(f"{name} must be one character, as in {name}=';'; got {value!r}")
    return value


class _Reader(Stored, BatchNode[Row, Result], Generic[Result]):
    """What all readers of files are: ``prep`` reads rows, ``exec`` gives one or raises."""

    path: AnyPath | None = None
    root: AnyPath | None = None
    encoding: str = "utf-8"
    max_row: int = MAX_ROW

    _accepts = BatchNode._accepts | {"reads", "writes", "path", "root", "encoding", "max_row"}
    _checks: ClassVar[Checks] = {**FILE_CHECKS, "max_row": check_count}
    is_source = True

    def _set(self, settings: Any, **own: Any) -> None:
        configure(self, own, settings)
        has_path_of = type(self).path_of is not _Reader.path_of
        if self.path is None and self.reads is None and not has_path_of:
            raise TypeError(
                f"{type(self).__name__} needs a path, or reads= with the key of the shared store "
                "that holds it"
            )

    def path_of(self, shared: Any, /) -> AnyPath:
        """Return the file to read: ``path``, or what is read from the shared store."""
        path: AnyPath = Stored.prep(self, shared) if self.path is None else self.path
        return path

    def prep(self, shared: Any, /) -> AsyncGenerator[Row, None]:
        """Return the rows of the file; it is opened when the first is asked for."""
        path = self.path_of(shared)
        # Whether anybody but `exec` below sees a row, and its line.
        has_own = exec_block_of(self) is None or type(self).prep is not _Reader.prep
        lined = has_own or not self.exec_is_plain
        return Rows(path, self.root, self.encoding, self.max_row, self._format(), lined)

    def fan_out_of(self, items: Any, frame: Frame, *sink: Any) -> FanOut:
        if sink and isinstance(items, Rows):  # an Outcome has the row that it comes of
            items.lined = True
        return super().fan_out_of(items, frame, *sink)

    async def exec(self, row: Row, /) -> Result:
        """Return the record that a row holds.

        Raises:
            RowError: It holds none.
        """
        record: Result = _record_of(row)
        return record

    async def exec_block(self, rows: list[Any]) -> Iterator[Any] | list[Any]:
        return map(_record_of, rows) if Row in set(map(type, rows)) else rows

    def _format(self) -> Format:
        raise NotImplementedError


def _record_of(row: Any) -> Any:
    if type(row) is not Row:  # a good one, whose line nobody asks for
        return row
    if row.error is not None:
        raise row.error
    return row.record


class ReadText(_Reader[str]):
    """The lines of a text file, without their ends (``\\n``, ``\\r\\n`` or ``\\r``).

    The file is read a chunk at a time. A line that is too long, or that holds bytes which are not
    text, is an item that fails with a RowError: ``on_error`` says what happens then. In a
    pipeline it stands first: ``ReadText("a.log") | Parse() | …``.

    Args:
        path: The file; without it, ``reads`` names the key that holds the path. A subclass may
            say it in ``path_of(self, shared)``.
        root: The folder that the path is taken from and must not lead out of, by ``..`` or links.
        encoding: "utf-8" by default. A byte order mark is left out.
        max_row: How many characters a line may have, its end included; 1,048,576 by default.

    The other settings are those of BatchNode, and ``writes``: the key for the list of lines.

    Raises:
        PathError: from a run: the path leads out of the root, or to what is not a file.
        OSError: from a run: the file cannot be opened or read.
    """

    def __init__(
        self,
        path: AnyPath | None = None,
        *,
        root: AnyPath | None = None,
        encoding: str | None = None,
        max_row: int | None = None,
        **settings: Unpack[StoreBatchSettings],
    ) -> None:
        self._set(settings, path=path, root=root, encoding=encoding, max_row=max_row)

    def _format(self) -> Format:
        return text_format()


class ReadCSV(_Reader[dict[str, str]]):
    """The records of a CSV file, each a dict from the names of the fields to their text.

    Quoted fields may hold line ends; quotes are read strictly. A blank line is passed over, but is
    a record in a file of one field, which is empty then: psql, DuckDB and polars write NULL so. A
    row with too many or too few fields, a broken quote, bytes that are not text: each is an item
    that fails with a RowError, which says the line, and reading goes on with the next line. An
    empty file has no records. A header with an empty name or the same name twice fails the node.

    Args:
        path: The file; without it, ``reads`` names the key that holds the path. A subclass may
            say it in ``path_of(self, shared)``.
        fields: The names of the fields, of a file without a header.
        delimiter: What stands between two fields; "," by default.
        root: The folder that the path is taken from and must not lead out of, by ``..`` or links.
        encoding: "utf-8" by default. A byte order mark is left out.
        max_row: How many characters a row may have, line ends included; 1,048,576 by default. A
            field may have ``csv.field_size_limit()``, which is 131,072 unless a program says
            otherwise.
        max_fields: How many fields a header may name; 10,000 by default.

    The other settings are those of BatchNode, and ``writes``: the key for the list of records.

    Raises:
        RowError: from a run: the header cannot be used, or with ``on_error="raise"`` a row.
        PathError: from a run: the path leads out of the root, or to what is not a file.
        OSError: from a run: the file cannot be opened or read.
    """

    fields: Sequence[str] | None = None
    delimiter: str = ","
    max_fields: int = MAX_FIELDS

    _accepts = _Reader._accepts | {"fields", "delimiter", "max_fields"}
    _checks: ClassVar[Checks] = {
        "fields": check_fields,
        "delimiter": check_delimiter,
        "max_fields": check_count,
    }

    def __init__(
        self,
        path: AnyPath | None = None,
        *,
        fields: Sequence[str] | None = None,
        delimiter: str | None = None,
        root: AnyPath | None = None,
        encoding: str | None = None,
        max_row: int | None = None,
        max_fields: int | None = None,
        **settings: Unpack[StoreBatchSettings],
    ) -> None:
        self._set(
            settings, path=path, fields=fields, delimiter=delimiter, root=root, encoding=encoding,
            max_row=max_row, max_fields=max_fields,
        )  # fmt: skip

    def _format(self) -> Format:
        return CSVFormat(self.fields, self.delimiter, self.max_fields)


def check_type(name: str, value: Any) -> Any:
    """Return ``value`` when JSON can be decoded into it, or None."""
    if value is None:
        return None
    try:
        extra("msgspec.json", "files").Decoder(value)
    except TypeError as error:
        raise ValueError(
            f"{name} must be a type that JSON can be decoded into, as a msgspec.Struct or a "
            f"dataclass: {error}"
        ) from None
    return value


class ReadJSONLines(_Reader[Result], Generic[Result]):
    """The values of a file of JSON lines: one a line, blank lines are passed over.

    A line that is not JSON, or not of the type asked for, is an item that fails with a RowError,
    which says the line and where in it; reading goes on with the next. Needs msgspec:
    ``pip install 'kaygraph[files]'``.

    Args:
        path: The file; without it, ``reads`` names the key that holds the path. A subclass may
            say it in ``path_of(self, shared)``.
        type: What a line must be, and is made: a msgspec.Struct, a dataclass, a TypedDict,
            ``dict[str, int]``, …; anything by default.
        root: The folder that the path is taken from and must not lead out of, by ``..`` or links.
        encoding: "utf-8" by default. A byte order mark is left out.
        max_row: How many characters a line may have, its end included; 1,048,576 by default.
        max_depth: How deep arrays and objects may be nested; 100 by default.

    The other settings are those of BatchNode, and ``writes``: the key for the list of values.

    Raises:
        ImportError: msgspec is not installed.
        RowError: from a run, with ``on_error="raise"``: a line.
        PathError: from a run: the path leads out of the root, or to what is not a file.
        OSError: from a run: the file cannot be opened or read.
    """

    type: Any = None
    max_depth: int = MAX_DEPTH

    _accepts = _Reader._accepts | {"type", "max_depth"}
    _checks: ClassVar[Checks] = {"type": check_type, "max_depth": check_count}

    def __init__(
        self,
        path: AnyPath | None = None,
        *,
        type: "type[Result] | Any" = None,
        root: AnyPath | None = None,
        encoding: str | None = None,
        max_row: int | None = None,
        max_depth: int | None = None,
        **settings: Unpack[StoreBatchSettings],
    ) -> None:
        extra("msgspec", "files")
        self._set(
            settings, path=path, type=type, root=root, encoding=encoding, max_row=max_row,
            max_depth=max_depth,
        )  # fmt: skip

    def _format(self) -> Format:
        decoder = extra("msgspec.json", "files").Decoder(Any if self.type is None else self.type)
        return json_format(decoder.decode, self.max_depth)
