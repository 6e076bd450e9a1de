"""What a hook can read about its run: ``self.attempt``, ``self.error``, ``self.log``, …"""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

from ..outcome import Outcome
from ..run.frame import FRAME, NO_PARAMS
from ..run.here import Here, shared_random
from ..run.place import here_of, place_of
from ..run.saying import say

if TYPE_CHECKING:
    from datetime import datetime
    from random import Random
    from uuid import UUID

    from structlog.typing import FilteringBoundLogger

T = TypeVar("T")


class Fact(Generic[T]):
    """A property that an attribute of the same name overrides, on a node or on its class.

    The names are common words: a program with its own ``error`` keeps it.
    """

    def __init__(self, read: Callable[[Any], T]) -> None:
        self.read = read
        self.__doc__ = read.__doc__

    @overload
    def __get__(self, node: None, owner: type, /) -> Self: ...

    @overload
    def __get__(self, node: Any, owner: type, /) -> T: ...

    def __get__(self, node: Any, owner: type, /) -> Any:
        return self if node is None else self.read(node)

    if TYPE_CHECKING:

        def __set__(self, node: Any, value: Any, /) -> None: ...


class Facts:
    """The facts that every node can read."""

    @property
    def params(self) -> Mapping[str, Any]:
        """The parameters of the BatchGraph round that runs this node; empty outside of one."""
        frame = FRAME.get(None)
        return NO_PARAMS if frame is None else frame.params

    if not TYPE_CHECKING:

        @params.setter
        def params(self, value):
            raise AttributeError(
                "params are those of the enclosing BatchGraph round, whose prep() returns them: "
                "rename your own attribute"
            )

    @Fact
    def attempt(self) -> int:
        """The number of the current attempt, from 1."""
        frame = FRAME.get(None)
        return 1 if frame is None else frame.attempt

    @Fact
    def error(self) -> BaseException | None:
        """On an ``- "error" >>`` route, the error of the previous node."""
        frame = FRAME.get(None)
        return None if frame is None else frame.error

    @Fact
    def outcomes(self) -> Sequence[Outcome[Any]]:
        """In a group and in the node after it: one outcome per branch, in the order written."""
        frame = FRAME.get(None)
        known = (frame.scope.outcomes if frame is not None and frame.scope else None) or {}
        if self in known:
            return known[self]
        for group in reversed(known):
            if any(self in nodes for nodes in group._successors.values()):
                return known[group]
        return ()

    @Fact
    def resource(self) -> Any:
        """What this node's ``lifespan`` yielded in this run."""
        frame = FRAME.get(None)
        if frame is None:
            raise AttributeError(
                f"{self!r} holds a resource only while it runs: use self.resource in a hook"
            )
        return frame.run.resource(self)

    @Fact
    def idempotency_key(self) -> str:
        """Identifies this node and item among all others; the same across attempts and resumption.

        Send it with requests that have an effect elsewhere, so that the effect happens once. In a
        recorded run it follows from the run's id, the visit and the item; in one without a journal
        it is random, and the same for all attempts at an item.
        """
        here = here_of(self)
        return os.urandom(16).hex() if here is None else here.key

    @Fact
    def now(self) -> "Callable[[], datetime]":
        """``self.now()``: the time, in UTC. A resumed run gets the time of the original call."""
        return _now

    @Fact
    def random(self) -> "Random":
        """A ``random.Random``: when a recorded run is resumed, it gives the same numbers again.

        The seed depends on the run and the visit (in ``exec``: also on the item and the attempt).
        In a run without a journal it is the generator of the module ``random``.
        """
        here = here_of(self)
        return shared_random() if here is None else here.random(_attempt())

    @Fact
    def uuid(self) -> "Callable[[], UUID]":
        """``self.uuid()``: a new UUID; when a recorded run is resumed, the same one again.

        Each attempt gets the same ones. In a run without a journal it is ``uuid.uuid4()``.
        """
        here = here_of(self) or NOWHERE
        return partial(here.uuid, _attempt())

    @Fact
    def replaying(self) -> bool:
        """Whether this hook was already run by an earlier process, from which this one resumes.

        In ``prep`` and ``post``: whether the result of ``exec`` is recorded.
        """
        frame = FRAME.get(None)
        return (
            frame is not None and frame.run.journal is not None and frame.run.journal.replays(self)
        )

    def say(self, value: Any, /) -> None:
        """Send a value to the observers of the run: they get ``Said(node, at, item, value)``.

        From any hook, wherever it runs, and without waiting; everything that ``exec`` says arrives
        before its item ends. From a process, ``value`` has to be picklable. Without observers, and
        if a journal or a cache has the result so that ``exec`` is not called, nothing is sent.

        Raises:
            TypeError: The value leaves a process and cannot be pickled.
        """
        say(self, value)

    @Fact
    def log(self: Any) -> "FilteringBoundLogger":
        """A structlog logger, bound to the known values of ``run``, ``node``, ``item``,
        ``attempt``.

        The run has an id of eight letters. The item is the index in a batch or a pipeline's stage.
        The attempt is bound from the second on.
        """
        import structlog  # imported only when needed

        logger: FilteringBoundLogger = structlog.get_logger()
        return logger.bind(**place_of(self))


def _attempt() -> int:
    frame = FRAME.get(None)
    return 1 if frame is None else frame.attempt


NOWHERE = Here("", None)


def _now() -> "datetime":
    from datetime import UTC, datetime

    frame = FRAME.get(None)
    if frame is None or frame.run.journal is None:
        return datetime.now(UTC)
    return datetime.fromtimestamp(frame.run.journal.now(), UTC)


# What the engine's nodes read, also if an attribute of a subclass overrides it.
log_of = Facts.log.read
outcomes_of = Facts.outcomes.read
resource_of = Facts.resource.read
uuid_of = Facts.uuid.read


def recorded_key() -> str | None:
    """Return the ``idempotency_key`` of this place in a recorded run, or None without a journal."""
    frame = FRAME.get(None)
    journal = None if frame is None else frame.run.journal
    return None if journal is None else journal.here().key
