"""What a hook may ask about its run: ``self.attempt``, ``self.error``, ``self.log``, …"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

from ..outcome import Outcome
from ..run.frame import FRAME, NO_PARAMS
from ..run.place import place_of

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

T = TypeVar("T")


class Fact(Generic[T]):
    """A property that an attribute of the same name covers, on a node or on its class.

    The names are common words: a program that has an ``error`` of its own keeps it.
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
    """The facts that every node may ask for."""

    @property
    def params(self) -> Mapping[str, Any]:
        """The parameters of the BatchGraph round that runs this node; empty outside of one."""
        frame = FRAME.get(None)
        return NO_PARAMS if frame is None else frame.params

    if not TYPE_CHECKING:

        @params.setter
        def params(self, value):
            raise AttributeError(
                "params are those of the round of the BatchGraph around, whose prep() returns "
                "them: give an attribute of your own another name"
            )

    @Fact
    def attempt(self) -> int:
        """The number of the attempt that runs, from 1."""
        frame = FRAME.get(None)
        return 1 if frame is None else frame.attempt

    @Fact
    def error(self) -> BaseException | None:
        """On an ``- "error" >>`` route, what the node before failed with."""
        frame = FRAME.get(None)
        return None if frame is None else frame.error

    @Fact
    def outcomes(self) -> Sequence[Outcome[Any]]:
        """In a group and in the node after it: one outcome a branch, in the order written."""
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
            raise AttributeError(f"{self!r} holds a resource only while it runs")
        return frame.run.resource(self)

    @Fact
    def log(self: Any) -> "FilteringBoundLogger":
        """A structlog logger, bound to what is known of ``run``, ``node``, ``item``, ``attempt``.

        The run has an id of eight letters. The item is that of a batch or a pipeline's stage: its
        index. The attempt is told from the second on.
        """
        import structlog  # loads where it is used

        logger: FilteringBoundLogger = structlog.get_logger()
        return logger.bind(**place_of(self))


# What nodes of ours read, also where an attribute of a subclass covers it.
log_of = Facts.log.read
outcomes_of = Facts.outcomes.read
resource_of = Facts.resource.read
