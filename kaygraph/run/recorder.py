"""The interface between a run and a journal, which records what ``exec`` returns and replays it.

The core knows a journal only by these protocols; see ``kaygraph.journal``.
"""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from ..limits.slots import Slot
from ..outcome import Outcome
from .here import Here

T = TypeVar("T")
F = TypeVar("F")  # the frame that work is done in

RunItem = Callable[
    [Any, Any, Slot], Awaitable[Any]
]  # (item, index, slot), as of ``node.call.Work``
Begin = Callable[[], Coroutine[Any, Any, T]]


class Names(Protocol):
    """Where nodes have their names: a Frame."""

    def name_of(self, node: Any, /) -> str: ...


class Question(NamedTuple):
    """A wait for an answer from outside.

    Attributes:
        name: The name that the node gives it.
        ask: What the answering side is shown: a JSON value.
        schema: The JSON schema of the answer, or None.
        timeout: Seconds to wait, counted from the first call, in any process; or None.
        has_default: Whether there is a ``default`` for when it times out.
    """

    name: str
    ask: Any = None
    schema: dict[str, Any] | None = None
    timeout: float | None = None
    has_default: bool = False
    default: Any = None


class Recorder(Protocol):
    """The journal of one run, while it runs."""

    def recorded(self, node: Any, frame: Names, run: RunItem, *, kept: bool) -> RunItem:
        """Return what runs items and records their results, or replays them.

        ``kept``: a result is not visible before the node's ``exec`` has ended as a whole, so only
        that end waits until everything is committed.
        """
        ...

    def apart(self, node: Any, frame: Names, run: RunItem) -> RunItem:
        """Return what runs items that are not recorded themselves: each is a place of its own."""
        ...

    def first(self, shared: Any) -> str | None:
        """Return the name of the node that the walk here starts with; None: the graph's first."""
        ...

    def misses(self, name: str) -> Exception:
        """Return the error of a graph that lacks the node that a walk starts with."""
        ...

    @property
    def takes_snapshots(self) -> bool:
        """Whether ``stands`` must be called."""
        ...

    def stands(self, node: Any, frame: Names, shared: Any) -> None:
        """Note that the node is next, and that nothing else of its walk is running."""
        ...

    async def visited(self, node: Any, frame: Names, begin: Begin[T]) -> T:
        """Run the lifecycle of a node that a walk has come to."""
        ...

    async def completed(self, node: Any) -> None:
        """Wait for the commit of the result of ``exec``, and for the turn of ``post``."""
        ...

    def cut_short(self) -> None:
        """Note that what the hook here ran did not finish, because the run drains."""
        ...

    def went_on(self, name: str, error: Exception) -> None:
        """Record that an "error" edge was taken."""
        ...

    def branch(self, index: int, node: Any, frame: Names, begin: Begin[T]) -> Begin[T]:
        """Return what runs a branch of the group that runs here."""
        ...

    def needed(self, needed: int | None) -> int | None:
        """Return how many branches have to succeed, if it is recorded which have."""
        ...

    def once(self, node: Any, frame: Names) -> Any:
        """Return what records what a node writes to the journal's own database; see there."""
        ...

    async def decided(self, outcomes: Sequence[Outcome[Any]]) -> "list[Outcome[Any]]":
        """Record the outcomes of a group's branches; return them as recorded."""
        ...

    def here(self) -> Here:
        """Return what depends on the place of the calling hook; in any of its threads."""
        ...

    def now(self) -> float:
        """Return the time of the hook's first call, in seconds since 1970."""
        ...

    def replays(self, node: Any) -> bool:
        """Whether what the node's hook does was already done by an earlier process."""
        ...

    async def answered(self, node: Any, question: Question) -> Any:
        """Wait for an answer that another process writes, and return it.

        Raises:
            AttemptTimeoutError: None came in time, and there is no default.
        """
        ...


class ResultCache(Protocol):
    """What ``cache=`` takes: a ``kaygraph.Cache``."""

    def cached(self, calls: Any) -> RunItem:
        """Return what runs items, and calls ``calls.run`` for those without a stored result."""
        ...


class RunsRecorded(Protocol):
    """What ``run(journal=…)`` takes: a ``kaygraph.Journal``."""

    def recording(
        self, node: Any, work: Callable[[float], Callable[[Any, F], Coroutine[Any, Any, T]]]
    ) -> Callable[[Any, F], Coroutine[Any, Any, T]]:
        """Return the work of a run of ``node``, recorded or replayed.

        ``work`` returns the work, given the seconds that the run has taken before.
        """
        ...
