"""Records to a file, which appears as a whole or not at all."""

import codecs
import csv
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from itertools import islice
from numbers import Number
from typing import Any, ClassVar, Unpack

from ..._extras import extra
from ..._validation import check_flag
from ...batch.batch import BatchNode
from ...batch.fan_out import FanOut
from ...errors import closest
from ...node.facts import resource_of
from ...node.settings import Checks
from ...outcome import Outcome
from ...run.frame import Frame
from .._store import StoreBatchSettings, Stored, configure, store
from ._draft import Draft, begin, cut_short, draft_of, share
from ._paths import FILE_CHECKS, AnyPath, in_thread
from ._rows import wrong_with
from .reading import check_delimiter, check_fields

# Characters that make a spreadsheet calculate, some only in full-width scripts.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "\uff1d", "\uff0b", "\uff0d", "\uff20")
SAID = 100  # names that an error looks at, and characters of an unexpected one
# An open file cannot be sent to a process.
ELSEWHERE = {"run_in", "memory_limit", "start_timeout", "chunksize"}


class _Writer(Stored, BatchNode[Any, None]):
    """The common part of all file writers: ``exec`` adds a record, ``post`` creates the file."""

    path: AnyPath | None = None
    root: AnyPath | None = None

    _accepts = (BatchNode._accepts | {"reads", "writes", "path", "root"}) - ELSEWHERE
    _checks: ClassVar[Checks] = FILE_CHECKS

    def _set(self, settings: Any, **own: Any) -> None:
        configure(self, own, settings)
        if self.path is None and type(self).path_of is _Writer.path_of:
            raise TypeError(f"{type(self).__name__} needs a path, as in path='data/rows.csv'")

    def path_of(self, shared: Any, /) -> AnyPath:
        """Return the file to write: ``path``. A subclass may take it from ``self.params``."""
        assert self.path is not None
        return self.path

    @asynccontextmanager
    async def lifespan(self, shared: Any, /) -> AsyncGenerator[set[Draft], None]:
        """Hold the drafts of a run; unpublished ones leave nothing behind."""
        drafts = set[Draft]()
        try:
            yield drafts
        finally:
            left = ExitStack()  # continues with the others if one cannot be removed
            for draft in drafts:
                left.callback(draft.discard)
            await in_thread(left.close)

    def prep(self, shared: Any, /) -> Any:
        """Begin a file and return the records; in a pipeline they come from the previous stage.

        A subclass that reads its records from elsewhere must call this, too.
        """
        begin(resource_of(self), self.path_of(shared), self.root)
        return super().prep(shared)

    def fan_out_of(self, items: Any, frame: Frame, *sink: Any) -> FanOut:
        share(resource_of(self))
        return super().fan_out_of(items, frame, *sink)

    async def exec(self, record: Any, /) -> None:
        """Add a record to the file.

        Raises:
            ValueError, TypeError: It cannot be written in this format: it is left out, subject to
                ``on_error``.
            OSError: The file cannot be written, and no part of it will be.
        """
        draft = self._draft()
        if draft.full:  # before adding, so that a failed attempt has added nothing
            await in_thread(draft.write)
        self._add(draft, record)

    async def exec_block(self, records: list[Any]) -> Iterator[None] | list[None]:
        draft = self._draft()
        if draft.full:
            await in_thread(draft.write)
        return self._add_all(draft, records)

    def _add(self, draft: Draft, record: Any) -> None:
        draft.add(self._encoded(draft, record))

    def _add_all(self, draft: Draft, records: list[Any]) -> Iterator[None] | list[None]:
        """Add records at once, or one by one as they are requested."""
        return map(partial(self._add, draft), records)

    async def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> Any:
        """Give the file its name, and write the number of rows to the shared store.

        A draining run may have lost rows still to come: the file then keeps its old content.
        """
        draft = self._draft()
        if cut_short():
            return
        self._begin(draft)
        await in_thread(draft.publish)
        if self.writes is not None:
            store(shared, self.writes, draft.rows, self.name)

    def stream(self, shared: Any = None, /, **_: Any) -> AsyncGenerator[Outcome[None], None]:
        """Refuse: ``post`` creates the file, and streaming a node does not call it."""
        raise TypeError(
            f"{self.name} creates its file when all rows are written, and a stream of its own "
            "never gets there: run it, or stream a pipeline that contains it"
        )

    def _draft(self) -> Draft:
        draft = draft_of(resource_of(self))
        if draft is None:
            raise RuntimeError(
                f"{self.name} has no file open: prep() of {type(self).__name__} must call "
                "super().prep(shared)"
            )
        draft.check()
        return draft

    def _encoded(self, draft: Draft, record: Any) -> bytes:
        """Return the form of a record in the file."""
        raise NotImplementedError

    def _begin(self, draft: Draft) -> None:
        """Add what comes first even in a file without records."""


class WriteJSONLines(_Writer):
    """Write values as JSON, one per line, in UTF-8.

    Values are those that msgspec encodes: dicts, lists, text, numbers, None, dates, UUIDs, Structs,
    dataclasses, …; NaN and infinity become null. The file is written next to its target and takes
    its name when all rows are written: if anything fails before, or the run is cancelled or
    drained, the old file is unchanged. Needs msgspec: ``pip install 'kaygraph[files]'``.

    In a graph, ``reads`` names the records; in a pipeline they come from the previous stage:
    ``ReadCSV("a.csv") | Check() | WriteJSONLines("b.jsonl")``.

    Args:
        path: The file. Its mode is kept; a new one follows the umask. A subclass may override
            ``path_of(self, shared)``.
        root: The folder that the path is relative to and must not lead out of, by ``..`` or links.

    The other settings are those of BatchNode, and ``reads`` and ``writes``: the keys of the
    records and for the number of rows written.

    Raises:
        ImportError: msgspec is not installed.
        PathError: from a run: the path leads out of the root, or to what is not a file.
        OSError: from a run: the file cannot be written.
    """

    def __init__(
        self,
        path: AnyPath | None = None,
        *,
        root: AnyPath | None = None,
        **settings: Unpack[StoreBatchSettings],
    ) -> None:
        extra("msgspec", "files")
        self._set(settings, path=path, root=root)

    def _encoded(self, draft: Draft, record: Any) -> bytes:
        if draft.format is None:
            draft.format = extra("msgspec.json", "files").Encoder().encode
        line: bytes = draft.format(record)
        return line + b"\n"

    def _add_all(self, draft: Draft, records: list[Any]) -> Iterator[None] | list[None]:
        try:
            lines = extra("msgspec.json", "files").Encoder().encode_lines(records)
        except Exception:  # the bad one is found one by one
            return super()._add_all(draft, records)
        draft.add(lines, len(records))
        return [None] * len(records)


class WriteCSV(_Writer):
    """Write records as CSV: a header, then one row for each, with ``\\r\\n`` as line end.

    A record is a mapping with exactly the fields of the file; None is written as an empty field,
    other values by ``str``. The file is written next to its target and takes its name when all rows
    are written: if anything fails before, or the run is cancelled or drained, the old file stays
    is unchanged.

    In a graph, ``reads`` names the records; in a pipeline they come from the previous stage:
    ``ReadCSV("a.csv") | Check() | WriteCSV("b.csv")``.

    Args:
        path: The file. Its mode is kept; a new one follows the umask. A subclass may override
            ``path_of(self, shared)``.
        fields: The names of the fields, in order; by default, those of the first record.
        delimiter: The separator of fields; by default, ",".
        escape_formulas: Put a ``'`` before a value that is not a number and begins with ``=``,
            ``+``, ``-``, ``@`` (also full-width), a tab, a line end or a null, which a spreadsheet
            would calculate. For files that people open in one and that contain untrusted text;
            ReadCSV does not remove it again.
        root: The folder that the path is relative to and must not lead out of, by ``..`` or links.
        encoding: By default, "utf-8"; "utf-8-sig" adds a byte order mark, which Excel needs.

    The other settings are those of BatchNode, and ``reads`` and ``writes``: the keys of the
    records and for the number of rows written.

    Raises:
        PathError: from a run: the path leads out of the root, or to what is not a file.
        OSError: from a run: the file cannot be written.
    """

    fields: Sequence[str] | None = None
    delimiter: str = ","
    escape_formulas: bool = False
    encoding: str = "utf-8"

    _accepts = _Writer._accepts | {"fields", "delimiter", "escape_formulas", "encoding"}
    _checks: ClassVar[Checks] = {
        "fields": check_fields,
        "delimiter": check_delimiter,
        "escape_formulas": check_flag,
    }

    def __init__(
        self,
        path: AnyPath | None = None,
        *,
        fields: Sequence[str] | None = None,
        delimiter: str | None = None,
        escape_formulas: bool | None = None,
        root: AnyPath | None = None,
        encoding: str | None = None,
        **settings: Unpack[StoreBatchSettings],
    ) -> None:
        self._set(
            settings, path=path, fields=fields, delimiter=delimiter, root=root, encoding=encoding,
            escape_formulas=escape_formulas,
        )  # fmt: skip

    def _encoded(self, draft: Draft, record: Any) -> bytes:
        if not isinstance(record, Mapping):
            kind = type(record).__name__
            raise ValueError(f"a record for {self.name} must be a mapping, got a {kind}")
        table = self._table(draft, self.fields or tuple(record))
        if record.keys() != table.known:
            raise ValueError(_difference(record, table, str(draft.path)))
        return table.line([record[field] for field in table.fields])

    def _begin(self, draft: Draft) -> None:
        if self.fields is not None:
            self._table(draft, self.fields)

    def _table(self, draft: Draft, names: Sequence[str]) -> "_Table":
        """Return the table of a draft; the first record creates it, and its header."""
        table: _Table | None = draft.format
        if table is None:
            if wrong := wrong_with(names):
                raise ValueError(f"the first record {wrong}")
            table = _Table(names, self)
            draft.add(table.line(names), 0)
            draft.format = table  # after the header, which the encoding may not be able to write
        return table


class _Table:
    """The fields of a CSV file that is being written, and how to format a row of them."""

    def __init__(self, fields: Sequence[str], writer: WriteCSV) -> None:
        self.fields, self.known = fields, frozenset(fields)
        self._escapes = writer.escape_formulas
        self._encoder = codecs.getincrementalencoder(writer.encoding)()
        self._writer = csv.writer(_Echo(), delimiter=writer.delimiter)

    def line(self, values: Sequence[Any]) -> bytes:
        if self._escapes:
            values = [
                f"'{value}"
                if not isinstance(value, Number) and str(value).startswith(FORMULA)
                else value
                for value in values
            ]
        text: Any = self._writer.writerow(values)
        before = self._encoder.getstate()
        try:
            return self._encoder.encode(text)
        except UnicodeError:
            self._encoder.setstate(before)  # a broken row must not affect the next one
            raise


class _Echo:
    """A target for the csv writer: ``writerow`` returns what this returns, the text."""

    def write(self, text: str) -> Any:
        return text


def _difference(record: Mapping[str, Any], table: _Table, path: str) -> str:
    """Say which field a record lacks, or has in excess."""
    fields = table.fields[:SAID]
    listed = ", ".join(map(repr, fields)) + ", …" * (len(table.fields) > SAID)
    beyond = [str(key)[:SAID] for key in islice((k for k in record if k not in table.known), SAID)]
    for field in table.fields:
        if field not in record:
            text = f"a record for {path} has no {field!r}; the fields are {listed}."
            return text + closest(field, beyond)
    text = f"a record for {path} has {beyond[0]!r}, which is not one of the fields {listed}."
    return text + closest(beyond[0], fields)
