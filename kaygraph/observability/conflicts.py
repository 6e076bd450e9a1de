"""Write conflicts: parallel branches that write the same key of ``shared``, found step by step.

Nothing but the step itself runs between two of a node's waits, so what has changed after it was
written by that node. The writes of a branch between two forks or joins form a *segment*, and a
branch knows which segments came before it. A write over one that it does not know would have
had another result in another order.

What a branch knows, its view, is in a context variable, which tasks copy automatically.
"""

import warnings
from collections.abc import Coroutine, Mapping, Sequence
from contextvars import Token as Reset
from itertools import compress, islice
from operator import is_, is_not
from typing import Any, NamedTuple, Protocol
from weakref import WeakKeyDictionary

from .._stores import contents_of
from ..errors import WriteConflictError, WriteConflictWarning
from ..run.frame import Frame
from ..run.joining import VIEW, Sees
from ..run.run import Run
from .steps import stepped

# A larger store is checked only on request: every check goes through all of its keys.
MOST_KEYS = 1000

MISSING = object()

Reported = set[tuple[Any, str, str]]  # a key and two nodes, both ways round

_reported: WeakKeyDictionary[Run, Reported] = WeakKeyDictionary()


class Level:
    """Where branches fork, and how their graph treats conflicts between them."""

    __slots__ = ("mode",)

    def __init__(self, mode: str) -> None:
        self.mode = mode


class Write(NamedTuple):
    """The last write of a key: its segment (one bit), its node, and the nested branches of that."""

    segment: int
    name: str
    levels: Sequence[Level]


class Writes:
    """What parallel branches have written to the top level of ``shared``.

    Args:
        shared: A dict, another mapping, or an object whose attributes are the keys.
        most_keys: With more keys than this, checking stops.
    """

    __slots__ = ("_shared", "known", "last", "most_keys", "segments")

    def __init__(self, shared: Any, most_keys: float) -> None:
        self._shared, self.most_keys = shared, most_keys
        self.known = dict(self.store)
        self.last: dict[Any, Write] = {}
        self.segments = 0  # the bits of all

    @property
    def store(self) -> Mapping[Any, Any]:
        return contents_of(self._shared) or {}

    def is_of(self, shared: Any) -> bool:
        return self._shared is shared

    def changed(self) -> bool:
        """Whether a key has come, gone or got another object as its value."""
        store, known = self.store, self.known
        if len(store) > self.most_keys:
            return False
        return not (
            len(store) == len(known)
            and all(map(is_, store.values(), known.values()))
            and all(map(is_, store, known))
        )

    def changes(self) -> list[Any]:
        """Return the keys that have changed since the last check, and record them."""
        store, known = self.store, self.known
        if len(store) >= len(known) and all(map(is_, store, known)):
            changed = list(compress(known, map(is_not, store.values(), known.values())))
            changed += islice(store, len(known), None)
            known.update((key, store[key]) for key in changed)
        else:
            changed = [key for key in store if known.get(key, MISSING) is not store[key]]
            changed += [key for key in known if key not in store]
            self.known = dict(store)
        return changed

    def pass_over(self) -> None:
        """Attribute writes between two steps to no node: they may be those of a hook's task."""
        if self.changed():
            self.known = dict(self.store)

    def new_segment(self) -> int:
        segment = self.segments + 1
        self.segments |= segment
        return segment


class View:
    """What one branch knows of the writes of the others."""

    __slots__ = ("error", "levels", "own", "seen", "writes")

    def __init__(self, writes: Writes, seen: int = 0, levels: Sequence[Level] = ()) -> None:
        self.writes, self.levels = writes, levels
        self.seen = seen  # the segments before it
        self.own = 0  # its own segment, once it has written
        self.error: Exception | None = None

    def sees(self, shared: Any) -> bool:
        """Whether this is the store whose writes are tracked."""
        return self.writes.is_of(shared)

    def close(self) -> int:
        """End the segment, which others know from now on; return everything that is known."""
        self.seen |= self.own
        self.own = 0
        return self.seen

    def look(self, name: str, run: Run) -> None:
        """Record what a node wrote in the step that just ended."""
        if not self.writes.changed():
            return
        writes = self.writes
        for key in writes.changes():
            last = writes.last.get(key)
            if last is not None and not last.segment & (self.seen | self.own):
                self._conflict(key, last, name, run)
            self.own = self.own or writes.new_segment()
            writes.last[key] = Write(self.own, name, self.levels)

    def _conflict(self, key: Any, last: Write, name: str, run: Run) -> None:
        common = [one for one, its in zip(self.levels, last.levels, strict=False) if one is its]
        mode, other = common[-1].mode, last.name
        reported = _reported.setdefault(run.root, set())
        if mode == "ignore" or (key, other, name) in reported:
            return
        reported.update([(key, other, name), (key, name, other)])
        who = f"node {name!r}, twice at once," if name == other else f"nodes {other!r} and {name!r}"
        message = (
            f"{who} run in parallel branches and both write shared[{key!r}]: which value "
            "stays depends on their order. Write different keys and join them afterwards, wire one "
            "after the other, or allow it with Graph(on_conflict='ignore')"
        )
        if mode == "raise":
            self.error = WriteConflictError(message)
        else:
            self.warn(message)

    def warn(self, message: str) -> None:
        try:
            warnings.warn(message, WriteConflictWarning, stacklevel=2)
        except WriteConflictWarning as error:  # warnings are errors here: of the whole node,
            self.error = error  # and not in the middle of a step

    def settle(self) -> None:
        """Raise the conflict that a check found, if that is an error."""
        if self.error is not None:
            error, self.error = self.error, None
            raise error


def _view() -> View | None:
    view = VIEW.get()
    assert view is None or isinstance(view, View)
    return view


async def checked(work: Coroutine[Any, Any, Any], node: Any, frame: Frame) -> Any:
    """Await a node's work, and check each of its steps.

    Raises:
        WriteConflictError: It wrote a key of another branch, and that is an error; an
            error of its own is the context.
    """
    view = _view()
    if view is None:
        return await work
    name, run = frame.name_of(node), frame.run
    try:
        result = await stepped(work, lambda: view.look(name, run), view.writes.pass_over)
    except Exception:
        view.settle()
        raise
    view.settle()
    return result


class Branches:
    """Branches that start together, each with its own view, and what is known after them.

    Made in the task that goes on after them; ``end`` is called there.
    """

    def __init__(self, shared: Any, frame: Frame) -> None:
        mode = frame.rules.on_conflict
        self.run = frame.run
        self._reset: Reset[Sees | None] | None = None
        view = _view()
        if view is None:
            view = View(Writes(shared, MOST_KEYS if mode is None else float("inf")))
            self._reset = VIEW.set(view)
            self.run.checking += 1
        self.view = view
        self.levels = (*view.levels, Level(mode or "warn"))
        self.known = view.close()

    def enter(self, known: int = 0) -> Reset[Sees | None]:
        """Start a branch in the current context; it knows these segments too."""
        return VIEW.set(View(self.view.writes, self.view.seen | known, self.levels))

    def leave(self) -> None:
        """Keep what the branch of this context knows for the code after all of them."""
        view = _view()
        assert view is not None
        self.known |= view.close()

    async def within(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Await the work of one branch in the current task, which goes on to another."""
        reset = self.enter()
        try:
            return await work
        finally:
            self.leave()
            VIEW.reset(reset)

    def joined(self) -> None:
        """Go on with what was kept, as one of the branches if these are the outermost."""
        self.view.seen |= self.known
        self.view.levels = self.view.levels or self.levels

    def end(self) -> None:
        """Go on with what was kept; checking stops if these were the outermost."""
        self.joined()
        if self._reset is not None:
            VIEW.reset(self._reset)
            self._reset = None
            self.run.checking -= 1


def branches(node: Any, shared: Any, frame: Frame) -> Branches | None:
    """Start several branches of a node, after the writes of its ``prep``; None: not tracked."""
    look(node, frame)
    if _view() is None and not _can_be_seen(shared, frame):
        return None
    return Branches(shared, frame)


def look(node: Any, frame: Frame) -> None:
    """Record what a node has written so far: its inner nodes start, with their own names."""
    view = _view()
    if view is not None:
        view.look(frame.name_of(node), frame.run)
        view.settle()


def _can_be_seen(shared: Any, frame: Frame) -> bool:
    """Whether writes to the store can be tracked, and it is small or checks are requested."""
    mode = frame.rules.on_conflict
    contents = contents_of(shared)
    if contents is None:
        reported = _reported.setdefault(frame.run.root, set())
        if mode is not None and (what := (type(shared), "", "")) not in reported:
            reported.add(what)
            warnings.warn(
                f"on_conflict={mode!r} cannot track writes to a {type(shared).__name__}, which has "
                "neither keys nor attributes: use a dict or a dataclass",
                WriteConflictWarning,
                stacklevel=2,
            )
        return False
    return mode is not None or len(contents) <= MOST_KEYS


class Place(Protocol):
    """A node's place in a plan, with regard to joins: see ``Step``."""

    @property
    def bit(self) -> int: ...

    @property
    def mask(self) -> int: ...


class Trail:
    """What the tokens of one walk know of each other's writes.

    A join starts after all tokens that could have come to it: those that arrived, and those that
    left the last step from which they could.
    """

    def __init__(self, outermost: Branches | None = None) -> None:
        self._outermost = outermost
        self._left: dict[int, int] = {}  # by the mask of the step that was left
        self._arrived: dict[Place, int] = {}

    def leave(self, step: Place, following: Sequence[Place] = ()) -> None:
        """Record what the token knows that moves from a step to others."""
        view = _view()
        assert view is not None
        onward = joins = 0
        for target in following:
            onward |= target.mask
            joins |= target.bit
        if following and not joins and not step.mask & ~onward:
            return  # it still holds up all joins that it held up
        known = view.close()
        if known:
            self._left[step.mask] = self._left.get(step.mask, 0) | known
            for target in following:
                if target.bit:
                    self._arrived[target] = self._arrived.get(target, 0) | known

    def before(self, step: Place) -> int:
        """Return the segments that come before a step, if it is a join."""
        known = self._arrived.get(step, 0) if step.bit else 0
        for mask, left in self._left.items() if step.bit else ():
            if mask & step.bit:
                known |= left
        return known

    def enter(self, step: Place) -> None:
        """Let the token know what comes before a step."""
        view = _view()
        if view is not None and step.bit:
            view.seen |= self.before(step)

    def is_over(self) -> bool:
        """Whether checking can stop: the only token knows everything that was written."""
        view = _view()
        assert view is not None
        return self._outermost is not None and not view.writes.segments & ~view.close()

    def end(self) -> None:
        """Make everything written in the walk known to the code after it."""
        view = _view()
        if view is not None:
            for known in self._left.values():
                view.seen |= known
        if self._outermost is not None:
            self._outermost.end()


def inherited_trail() -> Trail | None:
    """Return the trail of a walk in a branch that is checked, or None."""
    return None if _view() is None else Trail()
