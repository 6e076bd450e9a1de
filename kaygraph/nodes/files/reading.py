"""Files as a stream of records: a bad row is an item that fails, with its line in the error."""

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
    """Return ``value`` as a tuple if it names the fields of a table, or None."""
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
    """Return ``value`` if it is one character that can separate two fields."""
    if not isinstance(value, str) or len(value) != 1 or value in '"\r\n ':
        raise ValueError(f"{name} must be one character, as in {name}=';'; got {value!r}")
    return value


class _Reader(Stored, BatchNode[Row, Result], Generic[Result]):
    """The common part of all file readers: ``prep`` reads rows, ``exec`` returns one or raises."""

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
                "that contains it"
            )

    def path_of(self, shared: Any, /) -> AnyPath:
        """Return the file to read: ``path``, or what is read from the shared store."""
        path: AnyPath = Stored.prep(self, shared) if self.path is None else self.path
        return path

    def prep(self, shared: Any, /) -> AsyncGenerator[Row, None]:
        """Return the rows of the file, which is opened when the first one is requested."""
        path = self.path_of(shared)
        # Whether anything but `exec` below sees a row, and its line.
        has_own = exec_block_of(self) is None or type(self).prep is not _Reader.prep
        lined = has_own or not self.exec_is_plain
        return Rows(path, self.root, self.encoding, self.max_row, self._format(), lined)

    def fan_out_of(self, items: Any, frame: Frame, *sink: Any) -> FanOut:
        if sink and isinstance(items, Rows):  # an Outcome contains the row that it came from
            items.lined = True
        return super().fan_out_of(items, frame, *sink)

    async def exec(self, row: Row, /) -> Result:
        """Return the record in a row.

        Raises:
            RowError: There is none.
        """
        record: Result = _record_of(row)
        return record

    async def exec_block(self, rows: list[Any]) -> Iterator[Any] | list[Any]:
        return map(_record_of, rows) if Row in set(map(type, rows)) else rows

    def _format(self) -> Format:
        raise NotImplementedError


def _record_of(row: Any) -> Any:
    if type(row) is not Row:  # a good row, whose line is not needed
        return row
    if row.error is not None:
        raise row.error
    return row.record


class ReadText(_Reader[str]):
    """The lines of a text file, without their ends (``\\n``, ``\\r\\n`` or ``\\r``).

    The file is read a chunk at a time. A line that is too long, or contains bytes that are not
    text, is an item that fails with a RowError: ``on_error`` decides what happens then. In a
    pipeline it comes first: ``ReadText("a.log") | Parse() | …``.

    Args:
        path: The file; without it, ``reads`` names the key with the path. A subclass may
            override ``path_of(self, shared)``.
        root: The folder that the path is relative to and must not lead out of, by ``..`` or links.
        encoding: By default, "utf-8". A byte order mark is left out.
        max_row: The most characters of a line, including its end; by default, 1,048,576.

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

    Quoted fields may contain line ends; quotes are parsed strictly. A blank line is skipped, except
    in a file with one field, where it is a record with an empty field: psql, DuckDB and polars
    write NULL so. A row with too many or too few fields, a broken quote or bytes that are not text
    fails as an item, with a RowError with the line, and reading continues with the next line. An
    empty file has no records. A header with an empty name or the same name twice fails the node.

    Args:
        path: The file; without it, ``reads`` names the key with the path. A subclass may
            override ``path_of(self, shared)``.
        fields: The names of the fields, for a file without a header.
        delimiter: The separator of fields; by default, ",".
        root: The folder that the path is relative to and must not lead out of, by ``..`` or links.
        encoding: By default, "utf-8". A byte order mark is left out.
        max_row: The most characters of a row, including line ends; by default, 1,048,576. A
            field may have ``csv.field_size_limit()``, which is 131,072 unless a program changes
            it.
        max_fields: How many fields a header may have; by default, 10,000.

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
    """Return ``value`` if JSON can be decoded into it, or None."""
    if value is None:
        return None
    try:
        extra("msgspec.json", "files").Decoder(value)
    except TypeError as error:
        raise ValueError(
            f"{name} must be a type that JSON can be decoded into, such as a msgspec.Struct or a "
            f"dataclass: {error}"
        ) from None
    return value


class ReadJSONLines(_Reader[Result], Generic[Result]):
    """The values of a file of JSON lines: one per line; blank lines are skipped.

    A line that is not JSON, or not of the required type, is an item that fails with a RowError
    with the line and the place in it; reading continues with the next line. Needs msgspec:
    ``pip install 'kaygraph[files]'``.

    Args:
        path: The file; without it, ``reads`` names the key with the path. A subclass may
            override ``path_of(self, shared)``.
        type: The type to decode a line into: a msgspec.Struct, a dataclass, a TypedDict,
            ``dict[str, int]``, …; by default, any.
        root: The folder that the path is relative to and must not lead out of, by ``..`` or links.
        encoding: By default, "utf-8". A byte order mark is left out.
        max_row: The most characters of a line, including its end; by default, 1,048,576.
        max_depth: How deeply arrays and objects may be nested; by default, 100.

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
