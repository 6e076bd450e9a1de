"""Branches that run at once and write the same key: seen by what has changed after each step.

Nothing but the step itself runs between two of a node's waits, so what has changed after it was
written by that node. Of every key the writes are counted, and a branch knows up to which of them
it has seen: those of the nodes before it. A write on top of one that it has not seen would have
come out otherwise in another order.
"""

import warnings
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from functools import partial
from operator import is_
from types import MappingProxyType
from typing import Any

from ..errors import WriteConflictError, WriteConflictWarning
from ..run.frame import Frame
from .steps import rest, stepped

Seen = Mapping[Any, int]  # key -> how many of its writes

NOTHING: Seen = MappingProxyType({})

GONE = object()


class Level:
    """Where branches part ways, and what its graph says of conflicts between them."""

    __slots__ = ("mode",)

    def __init__(self, mode: str) -> None:
        self.mode = mode


class Writes:
    """What branches that run at once have written to the top level of ``shared``."""

    __slots__ = ("known", "store", "versions")

    def __init__(self, store: dict[Any, Any]) -> None:
        self.store = store
        self.known = dict(store)
        # key -> its writes, who was the last, and in which branches of which branches
        self.versions: dict[Any, tuple[int, str, Sequence[Level]]] = {}

    @property
    def changed(self) -> bool:
        """Whether a key has come, gone or got another object as its value."""
        store, known = self.store, self.known
        return not (
            len(store) == len(known)
            and all(map(is_, store.values(), known.values()))
            and all(map(is_, store, known))
        )

    def pass_over(self) -> None:
        """Take what was written between two steps for nobody's: a task of a hook, say."""
        if self.changed:
            self.known = dict(self.store)


class Token:
    """A branch's own view: what it has seen of the writes.

    Branches share one until they write or wait; it is not changed while it is shared.
    """

    __slots__ = ("error", "levels", "seen", "writes")

    def __init__(self, writes: Writes, seen: Seen = NOTHING, levels: Sequence[Level] = ()) -> None:
        self.writes, self.seen, self.levels = writes, seen, levels
        self.error: Exception | None = None

    def after(self, node: Any, frame: Frame) -> "Token":
        """Return the view after a node's last step.

        Raises:
            WriteConflictError: The node has written what another has, where that is an error.
        """
        token, writes = self, self.writes
        if writes.changed:
            token = self.own()
            token._note(node, frame)
        token.settle()
        return token

    def own(self) -> "Token":
        """Return the same view, to be changed by one branch."""
        return self.having(self.seen)

    def having(self, seen: Seen, levels: Sequence[Level] | None = None) -> "Token":
        """Return a view that has seen this, on the same levels by default."""
        token = Token(self.writes, seen, self.levels if levels is None else levels)
        token.error = self.error
        return token

    async def rest(
        self, work: Coroutine[Any, Any, Any], waited: Any, node: Any, frame: Frame
    ) -> Any:
        """Go on with a node that was begun and waits; this view is its own."""
        look = partial(self.look, node, frame)
        look()
        return await rest(work, waited, look, self.writes.pass_over)

    @property
    def seen_all(self) -> bool:
        """Whether every write so far was before this."""
        versions = self.writes.versions
        return all(self.seen.get(key, 0) == version for key, (version, *_) in versions.items())

    def settle(self) -> None:
        """Raise the conflict that a look has found, where that is an error."""
        if self.error is not None:
            error, self.error = self.error, None
            raise error

    def failed(self, error: Exception, node: Any, frame: Frame) -> Exception:
        """Return what a node that has failed fails with: a conflict comes first."""
        self.look(node, frame)
        conflict, self.error = self.error, None
        return conflict or error

    def look(self, node: Any, frame: Frame) -> None:
        """Note what a node has written in the step that has just ended."""
        if self.writes.changed:
            self._note(node, frame)

    def _note(self, node: Any, frame: Frame) -> None:
        writes, name = self.writes, frame.name_of(node)
        store, known = writes.store, writes.known
        changed = [key for key in store if known.get(key, GONE) is not store[key]]
        changed += [key for key in known if key not in store]
        writes.known = dict(store)
        for key in changed:
            version, other, levels = writes.versions.get(key, (0, "", ()))
            if version > self.seen.get(key, 0):
                common = [one for one, its in zip(self.levels, levels, strict=False) if one is its]
                self._conflict(key, other, name, common[-1].mode, frame)
            writes.versions[key] = version + 1, name, self.levels
            self.seen = {**self.seen, key: version + 1}

    def _conflict(self, key: Any, other: str, name: str, mode: str, frame: Frame) -> None:
        if mode == "ignore" or (key, other, name) in frame.run.conflicts:
            return
        frame.run.conflicts |= {(key, other, name), (key, name, other)}
        who = f"node {name!r}, twice at once," if name == other else f"nodes {other!r} and {name!r}"
        message = (
            f"{who} run in branches beside each other and both write shared[{key!r}]: which value "
            "stays depends on their order. Write different keys and join them afterwards, wire one "
            "after the other, or allow it with Graph(on_conflict='ignore')"
        )
        if mode == "raise":
            self.error = WriteConflictError(message)
        else:
            try:
                warnings.warn(message, WriteConflictWarning, stacklevel=2)
            except WriteConflictWarning as error:  # warnings are errors here: of the whole node,
                self.error = error  # and not in the middle of a step


def looked_at(work: Coroutine[Any, Any, Any], node: Any, frame: Frame) -> Coroutine[Any, Any, Any]:
    """Return ``work``, which is a node's, with a look at each of its steps.

    The frame is the node's alone, and so is its token.
    """
    token = frame.token
    if token is None:
        return work
    frame.token = token.own()

    def look() -> None:
        assert frame.token is not None
        frame.token.look(node, frame)

    return stepped(work, look, token.writes.pass_over)


def token_for(shared: Any, frame: Frame, around: Token | None) -> Token | None:
    """Return what branches that begin at once have seen; None: nobody looks."""
    mode = frame.rules.on_conflict
    if around is None:
        store = shared if isinstance(shared, dict) else getattr(shared, "__dict__", None)
        if mode == "ignore" or not isinstance(store, dict):
            return None
        around = Token(Writes(store))
    return around.having(around.seen, (*around.levels, Level(mode)))


def merged(seen: Iterable[Seen]) -> Seen:
    """Return what all of them have seen together."""
    result: dict[Any, int] = {}
    for one in seen:
        for key, version in one.items():
            result[key] = max(version, result.get(key, 0))
    return result
