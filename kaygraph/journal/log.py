"""The log of a run: its entries, and the state that they add up to."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from .._extras import extra
from .store import Row
from .turns import Point, key_of, with_items

# The kinds of entries. An entry is a list: its kind, its key (16 bytes), the number of its node,
# and the fields listed here.
NODE = 0  # a node with recorded results: [NODE, number, name, code]
RESULT = 1  # of one item: payload, attempts, seconds; of an unordered node, also: place, batch
POINT = 2  # of a node with one exec: payload, attempts, seconds, path, digest of its input, began
ENDED = 3  # the exec of a node without its own result: path, began
FAILED = 4  # a failed item that the run tolerated: error, attempts, seconds, place, batch
DROPPED = 5  # an item left out: None, attempts, seconds, place, batch
LEFT = 6  # a node whose error went to an "error" edge: error, path, after, began
DECIDED = 7  # the outcome of a group's branches: [[status, error], …], path, began
NOTED = 8  # a fact that a hook asked for, such as the time: payload
VOID = 9  # what was recorded under this key is no longer valid: [VOID, key]
SET = 10  # a result that was changed by a fork: payload
WAITING = 11  # for an answer: question, schema, when, path, until when, id, name
ALIVE = 14  # a process starts running it: [ALIVE, True]; or stops: [ALIVE, False]
SNAPSHOT = 13  # of shared: [SNAPSHOT, name of the node, payload, visits, nodes]
ANSWERED = 12  # the outcome of a wait: payload, the name of the answer or None
WRITTEN = 15  # written once by an item to the journal's own database: what the database returned
REDONE = 16  # items of these nodes run again: [REDONE, names]

Entry = list[Any]

KEY, NUMBER, PAYLOAD, ATTEMPTS, SECONDS, PATH, DIGEST = 1, 2, 3, 4, 5, 6, 7
ANSWER = 4  # of ANSWERED
# For all but items: the key of the last point handed over before its prep was called.
BEGAN = 8
# For what is handed over as soon as it is recorded: the key of the point before. What follows it
# in the log was waiting for its commit at that time.
AFTER = 7
# For items of an unordered node: how many had ended before, and in which batch.
PLACE, BATCH = 6, 7
ITEMS = frozenset({RESULT, FAILED, DROPPED})


def packed(entries: list[Entry]) -> bytes:
    """Return entries as one row of the log holds them."""
    return _library().packb(entries)  # type: ignore[no-any-return]


def unpacked(blob: bytes) -> list[Entry]:
    """Return the entries of a row."""
    return _library().unpackb(blob)  # type: ignore[no-any-return]


@cache
def _library() -> Any:
    return extra("ormsgpack", "journal")


class _Cell:
    """A place in the order: of a point, or of one that is no longer valid."""

    __slots__ = ("began", "following", "number", "point")

    def __init__(self, point: tuple[bytes, str, str] | None, began: "_Cell | None") -> None:
        self.point, self.began = point, began
        self.following: _Cell | None = None
        self.number = 0  # how many points there are up to here

    def made(self) -> Point | None:
        if self.point is None or self.began is None:
            return None
        return Point(*self.point, self.began.number)


class Log:
    """The recorded state of a run.

    Attributes:
        entries: By key; the latest entry is valid.
        elapsed_s: How many seconds processes have worked on it, as far as that is recorded.
        snapshot: Where the run continues, if not at its beginning.
        changed: A result in it was changed, so what follows may differ from the record.
        nodes: Name and code of each node, by number.
        waits: The waits, by key, in the order in which they were asked.
        answered: The keys of the waits that have ended.
        taken: The names of the answers that they used.
        asked_again: The keys of the waits to ask once more.
        batches: How many items have ended, for each unordered batch.
    """

    def __init__(self) -> None:
        self.waits: dict[bytes, Entry] = {}
        self.answered: set[bytes] = set()
        self.taken: set[str] = set()
        self.asked_again: set[bytes] = set()
        self.entries: dict[bytes, Entry] = {}
        self.nodes: dict[int, tuple[str, bytes]] = {}
        self.batches: dict[bytes, int] = {}
        self.changed = False
        self.snapshot: Entry | None = None
        self.elapsed_s = 0.0
        self._last: float | None = None
        self._first = self._end = _Cell(None, None)
        self._cells = {b"": self._first}

    @property
    def names(self) -> set[str]:
        """The full names of the nodes."""
        return {name for name, _ in self.nodes.values()}

    @property
    def points(self) -> list[Point]:
        """In the order in which nodes received their results."""
        cells = []
        cell: _Cell | None = self._first
        number = 0
        while cell is not None:
            if cell.point is not None:
                number += 1
                cells.append(cell)
            cell.number = number
            cell = cell.following
        return [point for cell in cells if (point := cell.made()) is not None]

    def read(self, entries: Sequence[Entry], at: float = 0.0) -> None:
        """Apply the entries of a row, in the order in which they were written.

        ``at`` is when it was written, in seconds since 1970.
        """
        begins = bool(entries) and entries[0][0] == ALIVE and entries[0][1]
        if self._last is not None and not begins:
            self.elapsed_s += max(0.0, at - self._last)
        self._last = at
        known = self.entries
        for entry in entries:
            kind, key = entry[0], entry[1]
            if kind in ITEMS or kind in (NOTED, WRITTEN):
                known[key] = entry
                if len(entry) > BATCH:
                    batch = entry[BATCH]
                    self.batches[batch] = max(self.batches.get(batch, 0), entry[PLACE] + 1)
            elif kind == NODE:
                self.nodes[key] = (entry[2], entry[3])
            elif kind == ALIVE:
                self._last = at if key else None
            elif kind == SNAPSHOT:
                self._begin_at(entry)
            elif kind == VOID:
                known.pop(key, None)
                if key in self._cells:
                    self._cells[key].point = None
                self.waits.pop(key, None)
                self.answered.discard(key)
            elif kind == REDONE:
                self.forget_items(key)
            elif kind == SET:
                self.changed = True
                known[key] = [*known[key][:PAYLOAD], entry[2], *known[key][PAYLOAD + 1 :]]
            elif kind == WAITING:
                self.waits[key] = entry  # replaces an earlier one if it was asked again
                self.answered.discard(key)
                known.pop(key, None)
            elif kind == ANSWERED:
                known[key] = entry
                self.answered.add(key)
                self.taken.add(entry[ANSWER])
            else:
                known[key] = entry
                self._place(entry)

    def _place(self, entry: Entry) -> None:
        """Give a point its place in the order, if it has none."""
        key, cells = entry[KEY], self._cells
        if key in cells and cells[key].point is not None:
            return
        began = cells.get(entry[BEGAN], self._first)
        cell = _Cell((key, entry[PATH], self.nodes[entry[NUMBER]][0]), began)
        before = cells.get(entry[AFTER], self._first) if entry[0] == LEFT else self._end
        for path in with_items(entry[PATH]):  # a batch that had ended got new items
            if (end := cells.get(key_of(path))) is not None and end.point is not None:
                before = self._before(end)
                break
        cell.following, before.following = before.following, cell
        if before is self._end:
            self._end = cell
        cells[key] = cell

    def _before(self, cell: _Cell) -> _Cell:
        before = self._first
        while before.following is not cell:
            assert before.following is not None
            before = before.following
        return before

    def _begin_at(self, snapshot: Entry) -> None:
        """Apply a snapshot, which replaces everything before it."""
        self.snapshot = snapshot
        self.nodes = {number: (name, code) for number, name, code in snapshot[4]}
        for known in (self.entries, self.waits, self.batches):
            known.clear()
        self._first = self._end = _Cell(None, None)
        self._cells = {b"": self._first}

    def forget(self, names: Iterable[str]) -> list[Entry]:
        """Drop the results of nodes that will run again; return the dropped entries."""
        chosen = tuple(names)
        numbers = {number for number, (name, _) in self.nodes.items() if any_means(chosen, name)}
        dropped = [
            entry
            for entry in self.entries.values()
            if entry[0] not in (NOTED, ENDED, DECIDED, LEFT) and entry[NUMBER] in numbers
        ]
        for entry in dropped:
            del self.entries[entry[KEY]]
            if entry[0] == ANSWERED:
                self.asked_again.add(entry[KEY])
        return dropped

    def forget_items(self, names: Iterable[str]) -> bool:
        """Drop the results of the items of nodes; return whether there were any."""
        chosen = tuple(names)
        numbers = {number for number, (name, _) in self.nodes.items() if any_means(chosen, name)}
        dropped = [
            key
            for key, entry in self.entries.items()
            if entry[0] in ITEMS and entry[NUMBER] in numbers
        ]
        for key in dropped:
            del self.entries[key]
        return bool(dropped)

    def forget_failures(self) -> None:
        """Drop all failures that the run tolerated, so that they are tried again."""
        for key, entry in list(self.entries.items()):
            failed = entry[0] in (FAILED, LEFT)
            if failed or (entry[0] == DECIDED and any(b[0] != "ok" for b in entry[PAYLOAD])):
                del self.entries[key]


def log_of(rows: Iterable[Row]) -> Log:
    """Return the state that the rows of a run add up to."""
    log = Log()
    for row in rows:
        log.read(unpacked(row.blob), row.at)
    return log


def means(written: str, name: str) -> bool:
    """Whether what a user typed names a node: by its full name, or the last part of it."""
    return name == written or name.endswith(f"/{written}")


def any_means(written: Sequence[str], name: str) -> bool:
    return any(means(one, name) for one in written)
