"""The events that a run sends to its observers: immutable, in chronological order.

``at`` is the time by the event loop's clock, in seconds. ``node`` is the name of the node, after
the names of the graphs that enclose it (``Inner/Fetch``). Every item ends with exactly one
``ItemFinished`` or ``ItemFailed``. An item that ends before its first call of ``exec`` has no
``ItemStarted``, and 0 attempts.
"""

from typing import Any, NamedTuple, Protocol

from .outcome import Status


class Usage(NamedTuple):
    """What an item took besides the time in ``exec``; measured only while the run has observers.

    Attributes:
        cpu_s: Processor time of a ``def exec``, in seconds, in threads and processes too. That of
            an ``async def`` is part of the event loop's.
        queued_s: Seconds spent waiting for permits, keys and rates, since the worker's last item.
        queued_for: What was waited for last: ``"max_workers"``, ``"limit_by"`` or ``"rate"``.
        pickup_s: Seconds for which the finished result of a thread waited for the event loop.
        memory: The most bytes that the worker process has held so far; 0 elsewhere.
        start_s: Seconds until the worker process had started and imported what it needs; they
            are not part of the time in ``exec``.
        cached: Whether a Cache had the result, so that ``exec`` was not called.
    """

    cpu_s: float = 0.0
    queued_s: float = 0.0
    queued_for: str = ""
    pickup_s: float = 0.0
    memory: int = 0
    start_s: float = 0.0
    cached: bool = False


NO_USAGE = Usage()
CACHED = Usage(cached=True)


class RunStarted(NamedTuple):
    """``run`` was called; ``node`` is the graph or node that runs."""

    node: str
    at: float


class RunFinished(NamedTuple):
    """The run is over, and everything that it opened is closed."""

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
    """A node has finished: ``post`` returned ``action``, or the node ended with ``error``."""

    node: str
    at: float
    seconds: float
    action: str | None
    error: BaseException | None


class ItemStarted(NamedTuple):
    """``exec`` is about to be called for an item; ``worker`` counts from 0 within the node.

    ``whole`` is True when the item consists of parts that have their own events.
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


class AttemptStarted(NamedTuple):
    """``exec`` is about to be called again for an item: attempt number ``attempt``, from 2 on."""

    node: str
    at: float
    item: int
    worker: int
    attempt: int


class ItemFinished(NamedTuple):
    """``exec`` (or its fallback) returned. ``seconds`` is the time spent in ``exec``.

    ``waiting`` is True when the item ended while it waited for its next attempt.
    """

    node: str
    at: float
    item: int
    worker: int
    attempts: int
    seconds: float
    usage: Usage = NO_USAGE
    waiting: bool = False


class ItemFailed(NamedTuple):
    """An item ended without a result; it is counted under ``status``.

    ``waiting`` is True when the item ended while it waited for its next attempt.
    """

    node: str
    at: float
    item: int
    worker: int
    attempts: int
    seconds: float
    status: Status
    error: BaseException
    usage: Usage = NO_USAGE
    waiting: bool = False


class BatchFinished(NamedTuple):
    """A node has finished with its last item, or ended with an error: how its items ended.

    The items of a ``BatchGraph`` are its rounds. ``failed`` counts those that timed out as well.
    An item that was read is ``ok`` unless it is counted elsewhere. ``seconds`` is how long it took
    from the first item to the last.
    """

    node: str
    at: float
    items: int
    ok: int
    failed: int
    skipped: int
    cancelled: int
    seconds: float


class StageStarted(NamedTuple):
    """A pipeline stage starts with ``workers`` workers."""

    node: str
    at: float
    workers: int


class StageFinished(NamedTuple):
    """A pipeline stage has finished its last item. All times are sums over its workers."""

    node: str
    at: float
    workers: int
    items: int
    busy_s: float
    starved_s: float
    blocked_s: float


class Said(NamedTuple):
    """A hook has called ``self.say(value)``.

    ``item`` is the index of the item that ``exec`` or its fallback works on; None in the other
    hooks, and for a node that has only one.
    """

    node: str
    at: float
    item: int | None
    value: Any


class LimitChanged(NamedTuple):
    """``max_workers="auto"`` has changed its limit."""

    node: str
    at: float
    limit: int


class CircuitChanged(NamedTuple):
    """A call of this node has set a circuit breaker to ``closed``, ``open`` or ``half_open``."""

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
    | AttemptStarted
    | ItemFinished
    | ItemFailed
    | BatchFinished
    | StageStarted
    | StageFinished
    | Said
    | LimitChanged
    | CircuitChanged
)


class Observer(Protocol):
    """A callable that accepts an event, such as ``events.append``; it is called on the event loop.

    An observer that raises does not end the run, and is called with the next event again. The
    loop's exception handler gets the first of several errors in a row. After 25 in a row it gets
    another, and the observer is not called again in this run.
    """

    def __call__(self, event: Event, /) -> object: ...
