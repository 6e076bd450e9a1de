"""All errors and warnings that kaygraph raises.

Import them from ``kaygraph``. Those marked * mean that the code or the journal needs a change, so
programs rarely catch them: import them from ``kaygraph.errors``.

KayGraphError
├── NodeDefinitionError      a class or its settings cannot work (also a TypeError)
├── GraphDefinitionError     the wiring cannot work (also a ValueError)
├── UnknownActionError       an action has no edge (also a LookupError)
├── AttemptTimeoutError      ``timeout=`` has expired (also a TimeoutError)
│   └── DeadlineExceededError    ``deadline=`` of an item, a node or a run has expired
├── AwaitedCancelledError    what a hook awaited was cancelled, and the run was not
├── CircuitOpenError         a circuit breaker refused the call
├── WorkerDiedError          a worker process ended while it worked on an item
│   ├── WorkerStartError     it ended before it had begun, or took longer than ``start_timeout=``
│   ├── MemoryLimitError     it was killed because it exceeded ``memory_limit=``
│   └── RemoteLostError      it had the value of a ``Remote``, which an item needs
├── ClusterUnavailableError  a cluster cannot be reached, or has no workers (also a ConnectionError)
├── WriteConflictError       parallel branches have written the same key of ``shared``
├── TooManyFailuresError     more items failed than ``on_error`` tolerates (also an ExceptionGroup)
├── RecordedError            stands for a recorded error whose class is not registered
└── JournalError             a run cannot be recorded or resumed
    ├── JournalUnavailableError  the journal cannot be opened, read or written
    ├── JournalLockedError       another process holds the journal's lock (also a TimeoutError)
    ├── JournalFullError         there is no space left for the journal
    ├── JournalCorruptError*     what the journal holds is not what was written
    ├── JournalVersionError*     a newer kaygraph wrote the journal
    ├── RunUnknownError          the journal has no such run (also a LookupError)
    ├── RunExistsError           the journal has a run of that id already (also a ValueError)
    ├── RunTakenOverError        another process has resumed the run
    ├── RunDivergedError*        a resumed run takes another path than the recorded one
    ├── NodeChangedError*        the code of a node with recorded results has changed
    ├── AlreadyAnsweredError     a wait has been answered before (also a ValueError)
    ├── WaitUnknownError         a run does not wait for what was answered (also a LookupError)
    └── NotRecordableError*      a value would not come back equal (also a TypeError)

RunInterrupted               a signal has ended ``run()`` (a SystemExit and a KeyboardInterrupt)
Drop                         not an error: ``raise Drop`` in ``exec`` leaves the item out
WriteConflictWarning, SlowHookWarning    something works now but can fail later
"""

import signal
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

RAISED_STOP = (
    "exec raised StopIteration: give next() a default, as in next(rows, None), or catch the error"
)


def closest(name: object, known: Iterable[object]) -> str:
    """Return `` Did you mean 'x'?`` for the known name closest to ``name``, or ``""``."""
    from difflib import get_close_matches  # imported only after a mistake

    meant = str(name)
    others = [other for other in map(str, known) if not _are_opposites(meant, other)]
    found = get_close_matches(meant, others, n=1)
    return f" Did you mean {found[0]!r}?" if found else ""


NEGATIONS = ("dis", "un", "in", "im", "ir", "il", "non", "not", "no", "de", "mis")


def _are_opposites(name: str, other: str) -> bool:
    """Whether one is the other with a negating prefix: approve and disapprove."""
    longer, shorter = sorted((name.lower(), other.lower()), key=len, reverse=True)
    prefix = longer.removesuffix(shorter)
    return prefix != longer and prefix.rstrip("_- ") in NEGATIONS


def add_note(error: BaseException, note: str) -> None:
    """Add a note if the error accepts notes; a frozen dataclass does not."""
    with suppress(Exception):
        error.add_note(note)


E = TypeVar("E", bound=BaseException)


def copied(error: E) -> E:
    """Return an error like this one, with a traceback and notes of its own.

    Not ``copy.copy``: what libraries register for pickles (tblib, with distributed) has copies
    share their notes with the original.
    """
    reduced: Any = error.__reduce_ex__(4)
    other: E = reduced[0](*reduced[1])
    state = reduced[2] if len(reduced) > 2 else None
    if isinstance(state, dict):
        state = {name: value for name, value in state.items() if name != "__notes__"}
    if state:
        other.__setstate__(state)
    return other


class KayGraphError(Exception):
    """The base class of all errors that kaygraph itself raises."""


class NodeDefinitionError(KayGraphError, TypeError):
    """A node class or its settings cannot work as written."""


class GraphDefinitionError(KayGraphError, ValueError):
    """The wiring of a graph cannot work as written."""


class UnknownActionError(KayGraphError, LookupError):
    """``post`` returned an action that has no edge, from a node that has edges.

    Attributes:
        node: The name of the node.
        action: What ``post`` returned.
        known: The actions that have an edge, in the order of the wiring.
    """

    def __init__(self, node: str, action: object, known: Sequence[str]) -> None:
        self.node, self.action, self.known = node, action, tuple(known)
        message = f"Node {node!r} returned action {action!r}, which leads nowhere."
        if not isinstance(action, str):
            message += " post() returns the name of an action (a string) or None."
        listed = ", ".join(repr(name) for name in self.known)
        hint = closest(action, self.known)
        if not hint and isinstance(action, str) and action:
            hint = f" To add it, type: node - {action!r} >> next_node"
        super().__init__(f"{message} Known actions: {listed}.{hint}")

    def __reduce__(self) -> tuple[type, tuple[object, ...], dict[str, object]]:
        return type(self), (self.node, self.action, self.known), self.__dict__


class AttemptTimeoutError(KayGraphError, TimeoutError):
    """``exec`` ran past its ``timeout``. A timeout limits one attempt."""


class DeadlineExceededError(AttemptTimeoutError):
    """An item, a node or a run exceeded its ``deadline``, which includes queueing and all waits."""


class AwaitedCancelledError(KayGraphError):
    """What a hook awaited was cancelled by other code; the run was not cancelled.

    An ordinary failure, which is retried, collected and routed like any other. The CancelledError
    is its ``__cause__``.
    """


class CircuitOpenError(KayGraphError):
    """A circuit breaker is open: the call was not made.

    Attributes:
        retry_after: The time until the next call is admitted, as a probe, in seconds.
    """

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        self.retry_after = retry_after
        super().__init__(message)

    def __reduce__(self) -> tuple[type, tuple[object, ...], dict[str, object]]:
        return type(self), (self.args[0], self.retry_after), self.__dict__


class WorkerDiedError(KayGraphError):
    """A worker process ended while it worked on an item: it was killed or ran out of memory.

    Attributes:
            exit_code: How it ended: an exit code, or minus the number of a signal; None if kaygraph
                ended it.
    """

    exit_code: int | None = None


class WorkerStartError(WorkerDiedError):
    """A worker process ended before it had begun, or did not begin within ``start_timeout``."""


class MemoryLimitError(WorkerDiedError, MemoryError):
    """A worker process was killed because it exceeded its ``memory_limit``."""


class RemoteLostError(WorkerDiedError):
    """What a ``Remote`` stands for was lost with the worker that had it, or its run is over."""


class ClusterUnavailableError(KayGraphError, ConnectionError):
    """A cluster cannot be reached or started, or has had no workers for too long."""


class WriteConflictError(KayGraphError):
    """Two parallel branches have written the same top-level key of ``shared``."""


class WriteConflictWarning(UserWarning):
    """The warning in place of a WriteConflictError, by default and with ``on_conflict="warn"``."""


class SlowHookWarning(UserWarning):
    """A hook blocked the event loop for longer than ``slow_hook_s`` seconds."""


class RunInterrupted(SystemExit, KeyboardInterrupt):
    """A signal has ended ``run()``; if uncaught, the process exits with ``code``, no traceback.

    Attributes:
        code: 128 plus the number of the signal: 130 for SIGINT, 143 for SIGTERM.
        drained: Whether the work in flight has finished; False when ``grace`` expired or a second
            signal came.
        signal: The signal, as a ``signal.Signals``.
    """

    def __init__(self, number: int, drained: bool) -> None:
        super().__init__(128 + number)
        self.drained = drained
        self.signal = signal.Signals(number)

    def __str__(self) -> str:
        end = "the work in flight has ended" if self.drained else "the work in flight was cancelled"
        return f"ended by {self.signal.name}; {end}"


class TooManyFailuresError(KayGraphError, ExceptionGroup[Exception]):
    """More items failed than ``on_error`` tolerates; ``exceptions`` has the error of each."""

    def derive(self, excs: Sequence[Exception], /) -> "TooManyFailuresError":  # type: ignore[override]
        return TooManyFailuresError(self.message, excs)


class RecordedError(KayGraphError):
    """Stands for an error that a run has recorded, of a class that is not registered.

    To get it back as itself, type: ``Journal(..., types=[OutOfStock])``.

    Attributes:
        class_name: The name of its class: ``shop.OutOfStock``.
        text: Its message, with its secrets hidden.
    """

    def __init__(self, class_name: str, text: str) -> None:
        self.class_name, self.text = class_name, text
        super().__init__(f"{class_name}: {text}".removesuffix(": "))

    def __reduce__(self) -> tuple[type, tuple[object, ...], dict[str, object]]:
        return type(self), (self.class_name, self.text), self.__dict__


class JournalError(KayGraphError):
    """A run cannot be recorded or resumed. What its journal has acknowledged stays recorded."""


class JournalUnavailableError(JournalError):
    """The journal cannot be opened, read or written: no permission, no such folder, no server."""


class JournalLockedError(JournalError, TimeoutError):
    """Another process has held the lock of the journal for too long; nothing was written."""


class JournalFullError(JournalError):
    """There is no space left for the journal; the transaction was undone."""


class JournalCorruptError(JournalError):
    """What the journal holds is not what was written, or is not a journal."""


class JournalVersionError(JournalError):
    """The journal was made by a newer version of kaygraph, and was left unchanged."""


class RunUnknownError(JournalError, LookupError):
    """The journal has no run of this id.

    Attributes:
        run: The id of the run.
        known: The ids of the runs that it has, the newest first.
    """

    def __init__(self, run: str, known: Sequence[str], place: str = "the journal") -> None:
        self.run, self.known, self.place = run, tuple(known), place
        more = len(self.known) - 5
        few = ", ".join(map(repr, self.known[:5])) + (f" and {more} more" if more > 0 else "")
        listed = f" Known runs: {few}." if few else " It has no runs."
        super().__init__(f"{place} has no run {run!r}.{listed}{closest(run, self.known)}")

    def __reduce__(self) -> tuple[type, tuple[object, ...], dict[str, object]]:
        return type(self), (self.run, self.known, self.place), self.__dict__


class RunExistsError(JournalError, ValueError):
    """The journal already has a run of this id."""


class RunTakenOverError(JournalError):
    """Another process has resumed the run, or removed it; this one writes nothing more of it."""


class RunDivergedError(JournalError):
    """A resumed run takes another path than the recorded run."""


class NodeChangedError(JournalError):
    """The code of a node has changed since its results were recorded."""


class AlreadyAnsweredError(JournalError, ValueError):
    """What a run waits for was already answered; the first answer stands."""


class WaitUnknownError(JournalError, LookupError):
    """A run does not wait for what was answered, or waits for it in several places."""


class NotRecordableError(JournalError, TypeError):
    """A value would not come back equal from the journal, so it was not recorded."""


class Drop(Exception):  # noqa: N818 - it is an instruction, not an error
    """Raise it in ``exec`` to leave an item out: the item counts as skipped, without a retry."""


def note_place(error: BaseException, place: str) -> None:
    """Add a note to an error about where it happened; only the innermost place is noted."""
    notes = getattr(error, "__notes__", ())
    if not any(isinstance(known, str) and known.startswith("in node ") for known in notes):
        add_note(error, f"in node {place}")
