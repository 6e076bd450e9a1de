"""``Journal``: where a run is recorded, and how it is resumed."""

import os
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from secrets import token_hex
from typing import Any, Literal, Self, TypeVar

from .._addresses import shown
from .._validation import check_choice, check_count
from .encoding import Encoding
from .log import PAYLOAD, Entry, log_of, packed, unpacked
from .opening import open_store
from .records import RunRecord, fork_entries, point_of, record_of
from .retention import check_keep, prune
from .running import Owned, new_id, run_recorded
from .settings import KeyOf, Settings, names
from .store import RunInfo, Store, check_run
from .waiting import Wait, WaitNotice, addressed, pending, wait_of

T = TypeVar("T")

Work = Callable[[Any, Any], Coroutine[Any, Any, T]]


class Journal:
    """A file or database in which runs are recorded, so that they can be resumed.

    ``graph.run(shared, journal=Journal("runs.db", run="import-7"))`` records what each ``exec``
    returns. The same call in a later process resumes the run: it uses recorded results instead of
    calling ``exec`` again. ``prep`` and ``post`` run again to rebuild ``shared``.
    A finished run returns its last action and calls nothing.

    ``with Journal("runs.db"):`` keeps the file open for everything that any Journal of this process
    records in it meanwhile; use it for many short runs, because closing a SQLite file for the last
    time waits for the disk.

    Args:
        address: The path of a SQLite file, or ``postgresql://…`` (extra ``postgres``).
        run: The id of the run. By default one is generated, and printed on standard error.
        types: Classes whose values may be recorded, in addition to Python's own.
        key: What identifies the items of a node, by the node's name, as in
            ``{"Fetch": lambda item: item["id"]}``. By default, their content.
        redo: Names of nodes to run again, or ``"failed"`` for the failures that the run tolerated.
            Nodes whose inputs change as a result run again as well.
        accept: Names of nodes whose results stay valid although their code has changed.
        on_wait: What to do when everything left waits for answers: with ``"exit"``, the run returns
            and is resumed after an answer; with ``"stay"``, it keeps waiting.
        durable: For SQLite: whether recorded results survive a loss of power. By default, they
            survive the end of the process.
        keep: Which finished runs to keep whenever one finishes: see ``prune``. By default, all.
        snapshot_every: For an endless loop: after this many nodes, record ``shared`` as
            well, when a single node of the outermost graph is next, and remove the records before
            it. Everything in ``shared`` must be recordable then.

    Attributes:
        replayed: How many results the last finished run took from the journal.
        called: How many calls of ``exec`` it made; the attempts of one item count as one call.
    """

    def __init__(
        self,
        address: str | os.PathLike[str],
        *,
        run: str | None = None,
        types: Iterable[type] = (),
        key: Mapping[str, KeyOf] | None = None,
        redo: Iterable[str] | Literal["failed"] = (),
        accept: Iterable[str] = (),
        on_wait: Literal["exit", "stay"] = "exit",
        durable: bool = False,
        keep: str | float | int | None = None,
        snapshot_every: int | None = None,
    ) -> None:
        if not isinstance(address, str | os.PathLike):
            raise TypeError(
                "the address of a journal must be a path or a url, as in Journal('runs.db') and "
                f"Journal('postgresql://…'); got {address!r}"
            )
        self.address, self.durable = address, durable
        self.keep = None if keep is None else check_keep(keep)
        self.run = None if run is None else check_run(run)
        self.replayed = self.called = 0
        self._held: list[Store] = []  # by blocks that have not ended
        self._encoding = Encoding(types)
        self._settings = Settings(
            dict(key or {}),
            () if redo == "failed" else names("redo", redo),
            redo == "failed",
            names("accept", accept),
            check_choice("exit", "stay")("on_wait", on_wait),
            None if snapshot_every is None else check_count("snapshot_every", snapshot_every),
        )

    def __repr__(self) -> str:
        run = "" if self.run is None else f", run={self.run!r}"
        return f"<Journal {shown(self.address)!r}{run}>"

    def __enter__(self) -> Self:
        self._held.append(self.open_store())
        return self

    def __exit__(self, *_: object) -> None:
        self._held.pop().close()

    def answer(self, run: str, name: str, value: Any, *, early: bool = False) -> None:
        """Answer what a run waits for, whether or not a process is running it.

        Args:
            run: The id of the run.
            name: What it waits for: the id of the wait, or its name if only one wait has it. If
                nothing has been asked yet, the answer goes to the first wait with that name.
            value: The answer, which must fit the schema of the wait, if there is one.
            early: Whether to answer what has not been asked yet, although other waits exist.

        Raises:
            RunUnknownError: There is no such run.
            WaitUnknownError: It does not wait for that, or in several places; the
                message lists what it waits for.
            AlreadyAnsweredError: It has been answered before; the first answer stands.
            ValueError: The value does not fit the schema.
            NotRecordableError: The value cannot be recorded.
        """
        with closing(self.open_store(create=False)) as store:
            log, answers = log_of(store.rows(run)), store.answers(run)
            kept = addressed(run, name, value, log, answers, early)
            store.answer(run, kept, self._encoding.encode(value, f"the answer to {name!r}"))

    def waits(self, run: str | None = None) -> list[Wait]:
        """Return the unanswered waits of a run, in the order in which they were asked.

        Raises:
            RunUnknownError: There is no such run.
        """
        with closing(self.open_store(create=False)) as store:
            return self._waits(store, self._named(run))

    def _waits(self, store: Store, run: str) -> list[Wait]:
        entries = pending(log_of(store.rows(run)), store.answers(run))
        return [wait_of(entry, self._encoding) for entry in entries]

    def open_store(self, *, create: bool = True) -> Store:
        """Open the store at its address, in the thread that uses it."""
        return open_store(self.address, durable=self.durable, create=create)

    # --- what is recorded -------------------------------------------------------------------------

    def runs(self) -> list[RunInfo]:
        """Return what the journal knows about its runs, newest first."""
        with closing(self.open_store(create=False)) as store:
            return store.runs()

    def show(self, run: str | None = None) -> RunRecord:
        """Return what is recorded about a run; by default, this journal's own.

        Raises:
            RunUnknownError: There is no such run.
        """
        with closing(self.open_store(create=False)) as store:
            name = self._named(run)
            return replace(self._record(store, name), waits=self._waits(store, name))

    def result(self, path: str, run: str | None = None) -> Any:
        """Return the result recorded at a point, given its path or the name of its node."""
        with closing(self.open_store(create=False)) as store:
            name = self._named(run)
            point = point_of(self._record(store, name), path)
            if not point.has_result:
                raise ValueError(f"{point.path!r} of run {name!r} has no result of its own")
            entries = next(
                entries for row, _, entries in self._rows(store, name) if row == point.row
            )
            return self._encoding.decode(entries[point.index][PAYLOAD])

    def fork(
        self,
        run: str | None = None,
        *,
        at: str | None = None,
        set: Mapping[str, Any] | None = None,
        new: str | None = None,
    ) -> str:
        """Make a new run from what another one has recorded, and return its id.

        Resume it like any other run. What depends on a changed result runs again; everything else
        is kept.

        Args:
            run: The run; by default, this journal's own.
            at: The last point to keep, as its path (see ``show``) or the name of its node.
                None keeps all.
            set: Results to change, by path or node name.
            new: The id of the new run; by default, a generated one.

        Raises:
            RunUnknownError: There is no such run.
            RunExistsError: There is already a run with the new id.
            ValueError: A path or name matches none of its points, or several; or a result to
                change comes after the last point to keep.
        """
        name = self._named(run)
        new = f"{name}-{token_hex(2)}" if new is None else check_run(new)
        with closing(self.open_store(create=False)) as store:
            record = self._record(store, name)
            last = None if at is None else point_of(record, at)
            changes = []
            for written, value in (set or {}).items():
                point = point_of(record, written)
                if not point.has_result:
                    raise ValueError(f"{point.path!r} of run {name!r} has no result to change")
                changes.append((point, self._encoding.encode(value, f"set[{written!r}]")))
            entries = fork_entries(self._rows(store, name), last, changes)
            store.copy(name, new, record.info.rows if last is None else last.row)
            epoch = store.claim(new, record.info.graph).epoch
            if entries:
                store.append(new, epoch, packed(entries))
            store.finish(new, epoch, "interrupted", None, None)
        return new

    def prune(self, keep: str | float | int, *, unfinished: bool = False) -> list[str]:
        """Remove finished runs, and free their space; return their ids.

        Args:
            keep: How many of the newest to keep, as a whole number; or how long to keep each after
                its end: ``"30d"``, ``"12h"``, or seconds as a float.
            unfinished: Whether to remove failed, interrupted and waiting runs, too.
        """
        with closing(self.open_store(create=False)) as store:
            return prune(store, keep, unfinished)

    def _named(self, run: str | None) -> str:
        name = self.run if run is None else run
        if name is None:
            raise TypeError("which run? Type its id, as in show('import-7')")
        return name

    def _rows(self, store: Store, run: str) -> Iterator[tuple[int, float, list[Entry]]]:
        return ((row.number, row.at, unpacked(row.blob)) for row in store.rows(run))

    def _record(self, store: Store, run: str) -> RunRecord:
        info = store.info(run)
        return record_of(info, self._rows(store, run), self._encoding.decode_error)

    # --- running ----------------------------------------------------------------------------------

    def recording(self, node: Any, work: Callable[[float], Work[T]]) -> Work[T]:
        """Return the work of a run of ``node``, recorded or replayed; for the engine."""

        async def recorded(shared: Any, frame: Any) -> T:
            run = self.run or new_id(self.address)
            owned = Owned(self.open_store, run, node.name, self.keep)

            def begin(elapsed_s: float) -> Coroutine[Any, Any, T]:
                return work(elapsed_s)(shared, frame)

            goes_on = self._settings.on_wait == "stay"
            notice = WaitNotice(run, self.address, goes_on)
            asked = owned, self._settings, self._encoding, node, frame.run, begin, notice
            try:
                return await run_recorded(*asked)
            finally:
                self.replayed, self.called = owned.replayed, owned.called

        return recorded
