"""Branches that run at once and write the same key: seen by what has changed after each step.

Nothing but the step itself runs between two of a node's waits, so what has changed after it was
written by that node. Of every key the writes are counted, and a branch knows up to which of them
it has seen: those of the nodes before it. A write on top of one that it has not seen would have
come out otherwise in another order.
"""

import warnings
from collections.abc import Awaitable, Coroutine, Iterable, Mapping
from functools import partial
from operator import is_
from types import MappingProxyType
from typing import Any

from ._frame import Frame
from ._steps import rest
from .errors import WriteConflictError, WriteConflictWarning

Seen = Mapping[Any, int]  # key -> how many of its writes

NOTHING: Seen = MappingProxyType({})
GONE = object()


class Writes:
    """What branches that run at once have written to the top level of ``shared``."""

    __slots__ = ("known", "mode", "store", "told", "versions")

    def __init__(self, store: dict[Any, Any], mode: str) -> None:
        self.store, self.mode = store, mode
        self.known = dict(store)
        self.versions: dict[Any, tuple[int, str]] = {}  # key -> its writes, and who was the last
        self.told: set[tuple[Any, str, str]] = set()

    @property
    def changed(self) -> bool:
        store, known = self.store, self.known
        return len(store) != len(known) or not all(map(is_, store.values(), known.values()))


class Token:
    """A branch's own view: what it has seen of the writes.

    Branches share one until they write or wait; it is not changed while it is shared.
    """

    __slots__ = ("error", "seen", "writes")

    def __init__(self, writes: Writes, seen: Seen = NOTHING) -> None:
        self.writes, self.seen = writes, seen
        self.error: Exception | None = None

    def after(self, node: Any, frame: Frame) -> "Token":
        """Return the view after a node's last step.

        Raises:
            WriteConflictError: The node has written what another has, where that is an error.
        """
        token, writes = self, self.writes
        if writes.changed:
            token = Token(writes, self.seen)
            token.error = self.error
            token._note(frame.name_of(node))
        if token.error is not None:
            error, token.error = token.error, None
            raise error
        return token

    def rest(
        self, work: Coroutine[Any, Any, Any], waited: Any, node: Any, frame: Frame
    ) -> "tuple[Token, Awaitable[Any]]":
        """Return a view of one's own, and what to await: a node that was begun and waits."""
        token = Token(self.writes, self.seen)
        look = partial(token.look, node, frame)
        look()
        return token, rest(work, waited, look)

    def look(self, node: Any, frame: Frame) -> None:
        if self.writes.changed:
            self._note(frame.name_of(node))

    def _note(self, name: str) -> None:
        writes = self.writes
        store, known = writes.store, writes.known
        changed = [key for key in store if known.get(key, GONE) is not store[key]]
        changed += [key for key in known if key not in store]
        writes.known = dict(store)
        for key in changed:
            version, other = writes.versions.get(key, (0, ""))
            if version > self.seen.get(key, 0):
                self._conflict(key, other, name)
            writes.versions[key] = version + 1, name
            self.seen = {**self.seen, key: version + 1}

    def _conflict(self, key: Any, other: str, name: str) -> None:
        told = self.writes.told
        if (key, other, name) in told:
            return
        told |= {(key, other, name), (key, name, other)}
        who = f"node {name!r}, twice at once," if name == other else f"nodes {other!r} and {name!r}"
        message = (
            f"{who} run in branches beside each other and both write shared[{key!r}]: which value "
            "stays depends on their order. Write different keys and join them afterwards, wire one "
            "after the other, or allow it with Graph(on_conflict='ignore')"
        )
        if self.writes.mode == "raise":
            self.error = WriteConflictError(message)
        else:
            try:
                warnings.warn(message, WriteConflictWarning, stacklevel=2)
            except WriteConflictWarning as error:  # warnings are errors here: of the whole node,
                self.error = error  # and not in the middle of a step


def token_for(shared: Any, frame: Frame, around: Token | None) -> Token | None:
    """Return what branches that begin at once have seen; None: nobody looks."""
    if around is not None or frame.rules.on_conflict == "ignore":
        return around
    store = shared if isinstance(shared, dict) else getattr(shared, "__dict__", None)
    return Token(Writes(store, frame.rules.on_conflict)) if isinstance(store, dict) else None


def merged(seen: Iterable[Seen]) -> Seen:
    """Return what all of them have seen together."""
    result: dict[Any, int] = {}
    for one in seen:
        for key, version in one.items():
            result[key] = max(version, result.get(key, 0))
    return result
