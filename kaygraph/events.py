"""What a run tells its observers: frozen events, in the order in which things happen.

``at`` is the event loop's clock in seconds. ``node`` is the node's name, with the names of the
graphs around it before it (``Inner/Fetch``). One call of ``exec`` for one item is followed by
exactly one of ``ItemFinished`` and ``ItemFailed``.
"""

from dataclasses import dataclass
from typing import Protocol

from .outcome import Status


@dataclass(frozen=True, slots=True)
class Event:
    """The root of all events."""

    node: str
    at: float


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """``run`` was called; ``node`` is the graph or node that runs."""


@dataclass(frozen=True, slots=True)
class RunFinished(Event):
    """The run is over and everything it opened is closed."""

    seconds: float
    action: str | None
    error: BaseException | None


@dataclass(frozen=True, slots=True)
class NodeStarted(Event):
    """A node is about to call ``prep``."""


@dataclass(frozen=True, slots=True)
class NodeFinished(Event):
    """A node is done: ``post`` returned ``action``, or the node ended with ``error``."""

    seconds: float
    action: str | None
    error: BaseException | None


@dataclass(frozen=True, slots=True)
class ItemStarted(Event):
    """``exec`` is about to be called for an item; ``worker`` counts from 0 within the node."""

    item: int
    worker: int


@dataclass(frozen=True, slots=True)
class ItemRetried(Event):
    """Attempt number ``attempt`` failed; the next begins in ``wait_s`` seconds."""

    item: int
    worker: int
    attempt: int
    error: BaseException
    wait_s: float


@dataclass(frozen=True, slots=True)
class ItemFinished(Event):
    """``exec`` (or its fallback) returned. ``seconds`` is the time spent in ``exec``."""

    item: int
    worker: int
    attempts: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ItemFailed(Event):
    """An item ended without a result; ``status`` says under what it is counted."""

    item: int
    worker: int
    attempts: int
    seconds: float
    status: Status
    error: BaseException


@dataclass(frozen=True, slots=True)
class StageStarted(Event):
    """A pipeline's stage begins to work with so many workers."""

    workers: int


@dataclass(frozen=True, slots=True)
class StageFinished(Event):
    """A pipeline's stage has seen its last item. All times are sums over its workers."""

    workers: int
    items: int
    busy_s: float
    starved_s: float
    blocked_s: float


class Observer(Protocol):
    """Anything that can be called with an event, on the loop; ``events.append`` will do.

    An observer that raises is reported to the loop's exception handler and not called again.
    """

    def __call__(self, event: Event, /) -> object: ...
