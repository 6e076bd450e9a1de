"""Where in a run a call stands, so that the next process finds what is recorded of it.

A position is named by what does not change from one process to the next: the names of the nodes
around, how often a walk has come to each of them, and what items are, never where in a batch they
stand or when they came.
"""

from contextvars import ContextVar
from hashlib import blake2b
from typing import Any

SIZE = 16  # bytes of a key


class Position:
    """A place in a run: a node that a walk has come to, or an item whose ``exec`` runs nodes.

    Attributes:
        path: The names from the run to here, each with the number of the visit from the second on.
        name: The full name of the node that is visited here; nodes within it have it as a prefix.
        blocked: What is not recorded does not run here: it is known to have been cut short.
        ended: What of the items of a batch failed, to be recorded when the batch has ended.
        point: The place of the visit's result in the recorded order; None: it is not recorded.
        shown: That the visit's ``exec`` has recorded a result of its own.
    """

    __slots__ = (
        "_visits", "blocked", "digest", "ended", "failed", "index", "name", "notes", "path",
        "point", "shown",
    )  # fmt: skip

    def __init__(self, path: str = "", name: str = "", blocked: bool = False) -> None:
        self.path, self.name, self.blocked = path, name, blocked
        self.digest = blake2b(path.encode(errors="surrogatepass"), digest_size=SIZE).digest()
        self._visits: dict[str, int] | None = None
        self.ended: list[list[Any]] | None = None
        self.failed: dict[str, Position] | None = None
        self.point: int | None = None
        self.index = 0
        self.notes = 0
        self.shown = False

    def visit(self, name: str) -> "Position":
        """Return the position of the next visit of a node, which has this full name."""
        prefix = f"{self.name}/"
        label = name.removeprefix(prefix) if self.name else name
        if self._visits is None:
            self._visits = {}
        number = self._visits.get(label, 0)
        self._visits[label] = number + 1
        label = f"{label}#{number}" if number else label
        return Position(f"{self.path}/{label}" if self.path else label, name, self.blocked)

    def item(self, key: bytes) -> "Position":
        """Return the position of what runs within an item that has this key."""
        return Position(f"{self.path}[{key.hex()}]", self.name, self.blocked)

    def key(self, what: str) -> bytes:
        """Return the key of something that is recorded once here."""
        return blake2b(what.encode(), digest_size=SIZE, key=self.digest).digest()


POSITION: ContextVar[Position] = ContextVar("kaygraph_position")
