"""What a run asks of a journal, which records what ``exec`` returns and replays it.

The core knows a journal by these protocols alone; see ``kaygraph.journal``.
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
    """What is waited for.

    Attributes:
        name: What the node calls it.
        ask: What whoever answers is shown: a JSON value.
        schema: The JSON schema of the answer, or None.
        timeout: Seconds to wait for it, from when it was asked first, in whatever process; or None.
        has_default: Whether there is a ``default``, for when it times out.
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
        """Return what runs items and records what they came to, or replays it.

        ``kept``: nobody sees a result before the node's ``exec`` has ended as a whole, so that
        only that end waits until all is committed.
        """
        ...

    def apart(self, node: Any, frame: Names, run: RunItem) -> RunItem:
        """Return what runs items that are not recorded themselves: each is a place of its own."""
        ...

    def first(self, shared: Any) -> str | None:
        """Return the name of the node that the walk here begins with; None: the graph's first."""
        ...

    def misses(self, name: str) -> Exception:
        """Return the error of a graph without the node that a walk is to begin with."""
        ...

    @property
    def takes_snapshots(self) -> bool:
        """Whether ``stands`` is to be called."""
        ...

    def stands(self, node: Any, frame: Names, shared: Any) -> None:
        """Note that the node is next, and that nothing else of its walk is under way."""
        ...

    async def visited(self, node: Any, frame: Names, begin: Begin[T]) -> T:
        """Run the lifecycle of a node that a walk has come to."""
        ...

    async def completed(self, node: Any) -> None:
        """Wait for the commit of what ``exec`` came to, and for the turn of ``post``."""
        ...

    def cut_short(self) -> None:
        """Note that what the hook here has run did not come to its end, since the run drains."""
        ...

    def went_on(self, name: str, error: Exception) -> None:
        """Record that an error was taken to an "error" edge."""
        ...

    def branch(self, index: int, node: Any, frame: Names, begin: Begin[T]) -> Begin[T]:
        """Return what runs a branch of the group that runs here."""
        ...

    def needed(self, needed: int | None) -> int | None:
        """Return how many branches have to succeed, where it is recorded which have."""
        ...

    def once(self, node: Any, frame: Names) -> Any:
        """Return what records what a node writes to the journal's own database; see there."""
        ...

    async def decided(self, outcomes: Sequence[Outcome[Any]]) -> "list[Outcome[Any]]":
        """Record what the branches of a group came to; return it as it is recorded."""
        ...

    def here(self) -> Here:
        """Return what follows from where the hook stands that asks; in any of its threads."""
        ...

    def now(self) -> float:
        """Return the time as it was when the hook asked first, in seconds since 1970."""
        ...

    def replays(self, node: Any) -> bool:
        """Whether what the node's hook does has been done before this process."""
        ...

    async def answered(self, node: Any, question: Question) -> Any:
        """Wait for an answer that another process writes, and return it.

        Raises:
            AttemptTimeoutError: There was none in time, and there is no default.
        """
        ...


class ResultCache(Protocol):
    """What ``cache=`` takes: a ``kaygraph.Cache``."""

    def cached(self, calls: Any) -> RunItem:
        """Return what runs items, and calls ``calls.run`` for those whose result is not there."""
        ...


class RunsRecorded(Protocol):
    """What ``run(journal=…)`` takes: a ``kaygraph.Journal``."""

    def recording(
        self, node: Any, work: Callable[[float], Callable[[Any, F], Coroutine[Any, Any, T]]]
    ) -> Callable[[Any, F], Coroutine[Any, Any, T]]:
        """Return the work of a run of ``node``, recorded or replayed.

        ``work`` returns what is to be done, for so many seconds that the run has taken before.
        """
        ...
