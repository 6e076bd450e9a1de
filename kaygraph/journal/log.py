"""The log of a run: what an entry says, and what all of them come to when they are read again."""

from collections.abc import Iterable, Sequence
from typing import Any

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

Entry = list[Any]

KEY, NUMBER, PAYLOAD, ATTEMPTS, SECONDS, PATH, DIGEST = 1, 2, 3, 4, 5, 6, 7
# What is handed over without a wait for its commit says how many points were handed over before:
# those that stand before it in the log may still have waited for theirs.
PLACE = 7
ITEMS = frozenset({RESULT, FAILED, DROPPED})


class Log:
    """What is recorded of a run.

    Attributes:
        entries: By key; the latest holds.
        points: In the order in which nodes were given their results.
        nodes: Name and code of each node, by its number.
    """

    def __init__(self) -> None:
        self.entries: dict[bytes, Entry] = {}
        self.points: list[Point] = []
        self.nodes: dict[int, tuple[str, bytes]] = {}
        self._placed: set[bytes] = set()

    def read(self, entries: Iterable[Entry]) -> None:
        """Take up entries, in the order in which they were written."""
        known, points = self.entries, self.points
        for entry in entries:
            kind, key = entry[0], entry[1]
            if kind in ITEMS or kind == NOTED:
                known[key] = entry
                continue
            if kind == NODE:
                self.nodes[key] = (entry[2], entry[3])
            elif kind == VOID:
                known.pop(key, None)
            else:
                if key not in self._placed:
                    self._placed.add(key)
                    point = Point(key, entry[PATH], self.nodes[entry[NUMBER]][0])
                    place = entry[PLACE] if kind in (ENDED, LEFT) else None
                    points.insert(len(points) if place is None else place, point)
                known[key] = entry

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


def means(written: str, name: str) -> bool:
    """Whether what a user has written names a node: by its full name, or the last part of it."""
    return name == written or name.endswith(f"/{written}")


def any_means(written: Sequence[str], name: str) -> bool:
    return any(means(one, name) for one in written)
