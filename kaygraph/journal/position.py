"""The position of a call in a run, by which the next process finds what is recorded for it.

A position consists of what does not change between processes: the names of the enclosing nodes,
how often a walk has come to each of them, and the content of items, never where they are in a batch
or when they came.
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
    """A place in a run: a node that a walk visits, or an item whose ``exec`` runs nodes.

    Attributes:
        path: The names from the run to here, each with its visit number from the second visit on.
        name: The full name of the visited node, which is a prefix of the names of nodes within it.
        blocked: Only recorded work may run here: the rest is known to have been cut short.
        around: The enclosing position.
        ended: The items of a batch that failed, to be recorded when the batch has ended.
        turn: The turn of the visit's result in the recorded order, once it is recorded.
        began: The key of what was last handed over before the visit's ``prep`` was called.
        slot: For a round: what it holds while it runs, but not while it waits for its turn.
        shown: Whether the visit's ``exec`` has recorded a result of its own.
        noted: Separately recorded facts that hooks asked for, by key.
        here: What hooks ask that depends on the position, once one has asked.
        writes: What was written here to the journal's own database; see ``Once``.
        moves, still: See ``Motion``.
        cut: What ran here was cut short by the end of the run, so its result must not be recorded,
            nor anything that follows from it.
    """

    # One is made per called item, so rarely used attributes are read from the class.
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
        """What is held while a round takes back what it had given up."""
        return asyncio.Lock()

    @property
    def rounds(self) -> "list[Position]":
        """The enclosing rounds, the outermost first."""
        found = []
        at: Position | None = self
        while at is not None:
            if at.slot is not None:
                found.append(at)
            at = at.around
        return found[::-1]

    @property
    def is_cut(self) -> bool:
        """Whether anything was cut short here, or in an enclosing position."""
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
        """How often each node has been visited here."""
        return dict(self._visits or {})

    def restore(self, visits: dict[str, int]) -> None:
        """Continue counting from the visits of an earlier process."""
        self._visits = dict(visits)

    def item(self, key: bytes) -> "Position":
        """Return the position of what runs within the item with this key."""
        return Position(None, self.name, self.blocked, self, key)

    def path_of(self, key: bytes) -> str:
        """Return the path of an item; with an empty key, that within a visit's only ``exec``."""
        return f"{self.path}[{key.hex()}]"

    def inside(self) -> "Position":
        """Return the position of what runs within the only ``exec`` of a visit.

        It differs from that of ``prep`` and ``post``, which must find what they asked for even if
        ``exec`` is not called again.
        """
        return Position(None, self.name, self.blocked, self)

    def key(self, what: str) -> bytes:
        """Return the key of something recorded once here."""
        return blake2b(what.encode(), digest_size=SIZE, key=self.digest).digest()

    def key_of_next(self, what: str, attempt: int) -> tuple[bytes, int]:
        """Return the key and the number of the next of several; each attempt starts at 0."""
        if self._asked is None or attempt != self.attempt:
            self._asked, self.attempt = {}, attempt
        number = self._asked.get(what, 0)
        self._asked[what] = number + 1
        return self.key(f"{what}#{number}"), number


POSITION: ContextVar[Position] = ContextVar("kaygraph_position")
