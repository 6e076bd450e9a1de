"""Where in a run a call stands, so that the next process finds what is recorded of it.

A position is named by what does not change from one process to the next: the names of the nodes
around, how often a walk has come to each of them, and what items are, never where in a batch they
stand or when they came.
"""

import asyncio
from contextvars import ContextVar
from functools import cached_property
from hashlib import blake2b
from typing import Any

from ..limits.slots import Slot
from ..run.here import Here
from .turns import SIZE, Turn, key_of


class Position:
    """A place in a run: a node that a walk has come to, or an item whose ``exec`` runs nodes.

    Attributes:
        path: The names from the run to here, each with the number of the visit from the second on.
        name: The full name of the node that is visited here; nodes within it have it as a prefix.
        blocked: What is not recorded does not run here: it is known to have been cut short.
        around: The position around it.
        ended: What of the items of a batch failed, to be recorded when the batch has ended.
        turn: Of the visit's result in the recorded order, as soon as it is recorded.
        began: The key of what was handed over last before the visit's ``prep`` was called.
        slot: That of a round: what is held while it runs, and not while it waits for its turn.
        shown: That the visit's ``exec`` has recorded a result of its own.
        noted: What hooks have asked for and is recorded by itself, by its key.
        here: What hooks ask that follows from the position, once one has asked.
        writes: What was written here to the journal's own database, see ``Once``.
        moves, still: See ``Motion``.
        cut: What ran here was cut short by the end of the run, so that what it comes to is not to
            be recorded, nor what follows from that.
    """

    # One is made for each item that is called: what few of them need is read from the class.
    attempt = 1
    ended: list[list[Any]] | None = None
    failed: "dict[str, Position] | None" = None
    here: Here | None = None
    turn: Turn | None = None
    slot: Slot | None = None
    began = b""
    index = 0
    shown = cut = False
    writes: Any = None
    moves, still = False, 0
    _digest = b""
    _visits: dict[str, int] | None = None
    _asked: dict[str, int] | None = None

    def __init__(
        self,
        path: str | None = "",
        name: str = "",
        blocked: bool = False,
        around: "Position | None" = None,
        key: bytes = b"",
    ) -> None:
        self.name, self.blocked, self.around, self._key = name, blocked, around, key
        if path is not None:
            self.path = path

    @cached_property
    def path(self) -> str:
        assert self.around is not None
        return self.around.path_of(self._key)

    @property
    def digest(self) -> bytes:
        """The key of the position itself."""
        if not self._digest:
            self._digest = key_of(self.path)
        return self._digest

    @cached_property
    def noted(self) -> dict[bytes, Any]:
        return {}

    @cached_property
    def taking(self) -> asyncio.Lock:
        """What is held by who takes again what a round has given back."""
        return asyncio.Lock()

    @property
    def rounds(self) -> "list[Position]":
        """The rounds that it stands within, the outermost first."""
        found = []
        at: Position | None = self
        while at is not None:
            if at.slot is not None:
                found.append(at)
            at = at.around
        return found[::-1]

    @property
    def is_cut(self) -> bool:
        """Whether something was cut short here, or around."""
        at: Position | None = self
        while at is not None:
            if at.cut:
                return True
            at = at.around
        return False

    def visit(self, name: str) -> "Position":
        """Return the position of the next visit of a node, which has this full name."""
        prefix = f"{self.name}/"
        label = name.removeprefix(prefix) if self.name else name
        if self._visits is None:
            self._visits = {}
        number = self._visits.get(label, 0)
        self._visits[label] = number + 1
        label = f"{label}#{number}" if number else label
        return Position(f"{self.path}/{label}" if self.path else label, name, self.blocked, self)

    @property
    def visits(self) -> dict[str, int]:
        """How often each node was visited here."""
        return dict(self._visits or {})

    def restore(self, visits: dict[str, int]) -> None:
        """Count on from visits in an earlier process."""
        self._visits = dict(visits)

    def item(self, key: bytes) -> "Position":
        """Return the position of what runs within an item that has this key."""
        return Position(None, self.name, self.blocked, self, key)

    def path_of(self, key: bytes) -> str:
        """Return the path of an item; of an empty key, that within the only ``exec`` of a visit."""
        return f"{self.path}[{key.hex()}]"

    def inside(self) -> "Position":
        """Return the position of what runs within the only ``exec`` of a visit.

        It differs from that of ``prep`` and ``post``: where ``exec`` is not called again, these
        shall find what they have asked for all the same.
        """
        return Position(None, self.name, self.blocked, self)

    def key(self, what: str) -> bytes:
        """Return the key of something that is recorded once here."""
        return blake2b(what.encode(), digest_size=SIZE, key=self.digest).digest()

    def key_of_next(self, what: str, attempt: int) -> tuple[bytes, int]:
        """Return the key of the next of several, and its number; each attempt begins with 0."""
        if self._asked is None or attempt != self.attempt:
            self._asked, self.attempt = {}, attempt
        number = self._asked.get(what, 0)
        self._asked[what] = number + 1
        return self.key(f"{what}#{number}"), number


POSITION: ContextVar[Position] = ContextVar("kaygraph_position")
