"""What a run tells its observers: frozen events, in the order in which things happen.

``at`` is the event loop's clock in seconds. ``node`` is the node's name, with the names of the
graphs around it before it (``Inner/Fetch``). One call of ``exec`` for one item is followed by
exactly one of ``ItemFinished`` and ``ItemFailed``. An item that ends before its first call has no
``ItemStarted``, and 0 attempts.
"""

from typing import NamedTuple, Protocol

from .outcome import Status


class RunStarted(NamedTuple):
    """``run`` was called; ``node`` is the graph or node that runs."""

    node: str
    at: float


class RunFinished(NamedTuple):
    """The run is over and everything it opened is closed."""

    node: str
    at: float
    seconds: float
    action: str | None
    error: BaseException | None


class NodeStarted(NamedTuple):
    """A node is about to call ``prep``."""

    node: str
    at: float


class NodeFinished(NamedTuple):
    """A node is done: ``post`` returned ``action``, or the node ended with ``error``."""

    node: str
    at: float
    seconds: float
    action: str | None
    error: BaseException | None


class ItemStarted(NamedTuple):
    """``exec`` is about to be called for an item; ``worker`` counts from 0 within the node.

    ``whole``: its work is that of its parts, which have events of their own.
    """

    node: str
    at: float
    item: int
    worker: int
    whole: bool = False


class ItemRetried(NamedTuple):
    """Attempt number ``attempt`` failed; the next begins in ``wait_s`` seconds."""

    node: str
    at: float
    item: int
    worker: int
    attempt: int
    error: BaseException
    wait_s: float


class ItemFinished(NamedTuple):
    """``exec`` (or its fallback) returned. ``seconds`` is the time spent in ``exec``."""

    node: str
    at: float
    item: int
    worker: int
    attempts: int
    seconds: float


class ItemFailed(NamedTuple):
    """An item ended without a result; ``status`` says under what it is counted."""

    node: str
    at: float
    item: int
    worker: int
    attempts: int
    seconds: float
    status: Status
    error: BaseException


class StageStarted(NamedTuple):
    """A pipeline's stage begins to work with so many workers."""

    node: str
    at: float
    workers: int


class StageFinished(NamedTuple):
    """A pipeline's stage has seen its last item. All times are sums over its workers."""

    node: str
    at: float
    workers: int
    items: int
    busy_s: float
    starved_s: float
    blocked_s: float


class LimitChanged(NamedTuple):
    """``max_workers="auto"`` has found another limit."""

    node: str
    at: float
    limit: int


class CircuitChanged(NamedTuple):
    """A call of this node has moved a circuit breaker: ``closed``, ``open`` or ``half_open``."""

    node: str
    at: float
    state: str


Event = (
    RunStarted
    | RunFinished
    | NodeStarted
    | NodeFinished
    | ItemStarted
    | ItemRetried
    | ItemFinished
    | ItemFailed
    | StageStarted
    | StageFinished
    | LimitChanged
    | CircuitChanged
)


class Observer(Protocol):
    """Anything that can be called with an event, on the loop; ``events.append`` will do.

    An observer that raises is reported to the loop's exception handler and not called again.
    """

    def __call__(self, event: Event, /) -> object: ...
