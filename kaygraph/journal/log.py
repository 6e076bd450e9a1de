"""The log of a run: what an entry says, and what all of them come to when they are read again."""

from collections.abc import Iterable, Sequence
from typing import Any

from .._extras import extra
from .store import Row
from .turns import Point

# The kinds of entries. An entry is a list: its kind, its key (16 bytes), the number of its node,
# and what else is named here.
NODE = 0  # a node that results are recorded of: [NODE, number, name, code]
RESULT = 1  # of one item: payload, attempts, seconds
POINT = 2  # of a node with one exec: payload, attempts, seconds, path, digest of its input
ENDED = 3  # the exec of a node without a result of its own: path, place
FAILED = 4  # an item that the run went on without: error, attempts, seconds
DROPPED = 5  # an item that is left out: None, attempts, seconds
LEFT = 6  # a node whose error was taken to an "error" edge: error, path, place
DECIDED = 7  # what the branches of a group came to: [[status, error], …], path
NOTED = 8  # something that a hook has asked for, such as the time: payload
VOID = 9  # what was recorded under this key does not hold any more: [VOID, key]
SET = 10  # a result that was changed when the run was forked: payload
WAITING = 11  # for an answer: what is asked, schema, when, path, until when, id, name
ALIVE = 14  # a process begins with the run: [ALIVE, True]; or ends: [ALIVE, False]
SNAPSHOT = 13  # of shared: [SNAPSHOT, name of the node, payload, visits, handed over, nodes]
ANSWERED = 12  # what a wait came to: payload, the name of the answer or None

Entry = list[Any]

KEY, NUMBER, PAYLOAD, ATTEMPTS, SECONDS, PATH, DIGEST = 1, 2, 3, 4, 5, 6, 7
ANSWER = 4  # of ANSWERED
# What is handed over without a wait for its commit says how many points were handed over before:
# those that stand before it in the log may still have waited for theirs.
PLACE = 7
ITEMS = frozenset({RESULT, FAILED, DROPPED})


def packed(entries: list[Entry]) -> bytes:
    """Return entries as one row of the log holds them."""
    return extra("ormsgpack", "journal").packb(entries)  # type: ignore[no-any-return]


def unpacked(blob: bytes) -> list[Entry]:
    """Return the entries of a row."""
    return extra("ormsgpack", "journal").unpackb(blob)  # type: ignore[no-any-return]


class Log:
    """What is recorded of a run.

    Attributes:
        entries: By key; the latest holds.
        points: In the order in which nodes were given their results.
        elapsed_s: For how long processes have worked on it, in seconds, as far as that is recorded.
        snapshot: What the run goes on from, if it does not from its beginning.
        changed: A result in it was changed, so that what follows may differ from what is recorded.
        nodes: Name and code of each node, by its number.
        waits: What was waited for, by key, in the order in which it was asked.
        answered: The keys of those that have come to an end.
        taken: The names of the answers that they took.
    """

    def __init__(self) -> None:
        self.waits: dict[bytes, Entry] = {}
        self.answered: set[bytes] = set()
        self.taken: set[str] = set()
        self.entries: dict[bytes, Entry] = {}
        self.nodes: dict[int, tuple[str, bytes]] = {}
        self.changed = False
        self.snapshot: Entry | None = None
        self.elapsed_s = 0.0
        self._before = 0
        self._last: float | None = None
        self._order: list[list[Point | None]] = []  # each in a cell, which is emptied
        self._cells: dict[bytes, list[Point | None]] = {}

    @property
    def points(self) -> list[Point]:
        return [cell[0] for cell in self._order if cell[0] is not None]

    @property
    def handed_over(self) -> int:
        """How many points there were, those included that do not hold any more."""
        return self._before + len(self._order)

    def read(self, entries: Sequence[Entry], at: float = 0.0) -> None:
        """Take up the entries of a row, in the order in which they were written.

        ``at``: when that was, in seconds since 1970.
        """
        begins = bool(entries) and entries[0][0] == ALIVE and entries[0][1]
        if self._last is not None and not begins:
            self.elapsed_s += max(0.0, at - self._last)
        self._last = at
        known, order = self.entries, self._order
        for entry in entries:
            kind, key = entry[0], entry[1]
            if kind in ITEMS or kind == NOTED:
                known[key] = entry
                continue
            if kind == NODE:
                self.nodes[key] = (entry[2], entry[3])
            elif kind == ALIVE:
                self._last = at if key else None
            elif kind == SNAPSHOT:
                self._begin_at(entry)
            elif kind == VOID:
                known.pop(key, None)
                if key in self._cells:
                    self._cells.pop(key)[0] = None
                self.waits.pop(key, None)
                self.answered.discard(key)
            elif kind == SET:
                self.changed = True
                known[key] = [*known[key][:PAYLOAD], entry[2], *known[key][PAYLOAD + 1 :]]
            elif kind == WAITING:
                self.waits[key] = entry
            elif kind == ANSWERED:
                known[key] = entry
                self.answered.add(key)
                self.taken.add(entry[ANSWER])
            else:
                if key not in self._cells:
                    point = Point(key, entry[PATH], self.nodes[entry[NUMBER]][0])
                    cell: list[Point | None] = [point]
                    self._cells[key] = cell
                    place = entry[PLACE] if kind in (ENDED, LEFT) else None
                    order.insert(len(order) if place is None else place - self._before, cell)
                known[key] = entry

    def _begin_at(self, snapshot: Entry) -> None:
        """Take up a snapshot, in place of all that was before it."""
        self.snapshot, self._before = snapshot, snapshot[4]
        self.nodes = {number: (name, code) for number, name, code in snapshot[5]}
        for known in (self.entries, self._cells, self._order, self.waits):
            known.clear()

    def forget(self, names: Iterable[str]) -> list[Entry]:
        """Drop the results of nodes, which are to run again; return what they were."""
        chosen = tuple(names)
        numbers = {number for number, (name, _) in self.nodes.items() if any_means(chosen, name)}
        dropped = [
            entry
            for entry in self.entries.values()
            if entry[0] not in (NOTED, ENDED, DECIDED, LEFT) and entry[NUMBER] in numbers
        ]
        for entry in dropped:
            del self.entries[entry[KEY]]
        return dropped

    def forget_failures(self) -> None:
        """Drop all failures that the run went on past; what led there is tried again."""
        for key, entry in list(self.entries.items()):
            failed = entry[0] in (FAILED, LEFT)
            if failed or (entry[0] == DECIDED and any(b[0] != "ok" for b in entry[PAYLOAD])):
                del self.entries[key]


def log_of(rows: Iterable[Row]) -> Log:
    """Return what the rows of a run come to."""
    log = Log()
    for row in rows:
        log.read(unpacked(row.blob), row.at)
    return log


def means(written: str, name: str) -> bool:
    """Whether what a user has written names a node: by its full name, or the last part of it."""
    return name == written or name.endswith(f"/{written}")


def any_means(written: Sequence[str], name: str) -> bool:
    return any(means(one, name) for one in written)
