"""What can go wrong, as a tree.

KayGraphError
├── NodeDefinitionError      a class that cannot work (also a TypeError)
├── GraphDefinitionError     wiring that cannot work (also a ValueError)
├── UnknownActionError       an action that leads nowhere (also a LookupError)
├── AttemptTimeoutError      ``timeout=`` ran out (also a TimeoutError)
│   └── DeadlineExceededError    ``deadline=`` ran out, of an item, a node or a run
├── CircuitOpenError         a circuit breaker lets no call through
├── WorkerDiedError          a worker process ended in the middle of an item
│   └── MemoryLimitError     it was ended because it grew past ``memory_limit=``
├── WriteConflictError       branches that run at once have written the same key of ``shared``
└── TooManyFailuresError     more items failed than ``on_error`` tolerates (also an ExceptionGroup)

RunInterrupted               a signal has ended ``run()`` (a SystemExit and a KeyboardInterrupt)
Drop                         not an error: ``raise Drop`` in ``exec`` leaves the item out
WriteConflictWarning, SlowHookWarning    something works now and may not tomorrow
"""

import signal
from collections.abc import Iterable, Sequence
from contextlib import suppress


def closest(name: object, known: Iterable[object]) -> str:
    """Return `` Did you mean 'x'?`` for the known name nearest to ``name``, or nothing."""
    from difflib import get_close_matches  # only a mistake pays for it

    found = get_close_matches(str(name), [*map(str, known)], n=1)
    return f" Did you mean {found[0]!r}?" if found else ""


def add_note(error: BaseException, note: str) -> None:
    """Add a note, unless the error takes none: a frozen dataclass stays what it is."""
    with suppress(Exception):
        error.add_note(note)


class KayGraphError(Exception):
    """The root of everything that kaygraph itself raises."""


class NodeDefinitionError(KayGraphError, TypeError):
    """A node class or its settings cannot work as written."""


class GraphDefinitionError(KayGraphError, ValueError):
    """The wiring of a graph cannot work as written."""


class UnknownActionError(KayGraphError, LookupError):
    """``post`` returned an action that no edge listens to.

    Attributes:
        node: The name of the node.
        action: What ``post`` returned.
        known: The actions that lead somewhere, in the order they were wired.
    """

    def __init__(self, node: str, action: object, known: Sequence[str]) -> None:
        self.node, self.action, self.known = node, action, tuple(known)
        message = f"Node {node!r} returned action {action!r}, which leads nowhere."
        if not isinstance(action, str):
            message += " post() returns the name of an action (a string) or None."
        listed = ", ".join(repr(name) for name in self.known)
        super().__init__(f"{message} Known actions: {listed}.{closest(action, self.known)}")

    def __reduce__(self) -> tuple[type, tuple[object, ...], dict[str, object]]:
        return type(self), (self.node, self.action, self.known), self.__dict__


class AttemptTimeoutError(KayGraphError, TimeoutError):
    """``exec`` ran past the ``timeout`` of an attempt."""


class DeadlineExceededError(AttemptTimeoutError):
    """An item, a node or a run was not done by its ``deadline``, queueing and waits included."""


class CircuitOpenError(KayGraphError):
    """A circuit breaker is open: the call was not made.

    Attributes:
        retry_after: In how many seconds the next call will be let through, as a probe.
    """

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        self.retry_after = retry_after
        super().__init__(message)

    def __reduce__(self) -> tuple[type, tuple[object, ...], dict[str, object]]:
        return type(self), (self.args[0], self.retry_after), self.__dict__


class WorkerDiedError(KayGraphError):
    """A worker process ended (was killed, ran out of memory) while it worked on an item."""


class MemoryLimitError(WorkerDiedError, MemoryError):
    """A worker process was ended because its memory grew past ``memory_limit``."""


class WriteConflictError(KayGraphError):
    """Two branches that run at once have written the same top-level key of ``shared``."""


class WriteConflictWarning(UserWarning):
    """As WriteConflictError, where ``on_conflict="warn"``."""


class SlowHookWarning(UserWarning):
    """A hook held the event loop for longer than ``slow_hook_s``: nothing else could run."""


class RunInterrupted(SystemExit, KeyboardInterrupt):
    """A signal has ended ``run()``; uncaught, the process exits with ``code`` and no traceback.

    Attributes:
        code: 128 and the number of the signal: 130 for SIGINT, 143 for SIGTERM.
        drained: Whether what was in flight came to its end; False when ``grace`` ran out, or a
            second signal came.
    """

    def __init__(self, number: int, drained: bool) -> None:
        super().__init__(128 + number)
        self.drained = drained
        self.signal = signal.Signals(number)

    def __str__(self) -> str:
        end = "what was in flight has ended" if self.drained else "what was in flight was cancelled"
        return f"ended by {self.signal.name}; {end}"


class TooManyFailuresError(KayGraphError, ExceptionGroup[Exception]):
    """More items failed than ``on_error`` tolerates; ``exceptions`` holds every failure."""

    def derive(self, excs: Sequence[Exception], /) -> "TooManyFailuresError":  # type: ignore[override]
        return TooManyFailuresError(self.message, excs)


class Drop(Exception):  # noqa: N818 - it is an instruction, not an error
    """Raise it in ``exec`` to leave an item out: it is counted as skipped, never retried."""


def note_place(error: BaseException, place: str) -> None:
    """Note on an error, once, where it happened: the innermost place knows most."""
    notes = getattr(error, "__notes__", ())
    if not any(isinstance(known, str) and known.startswith("in node ") for known in notes):
        add_note(error, f"in node {place}")
