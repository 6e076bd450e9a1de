"""What a run is doing at one moment: plain data, collected only on request.

Times are in seconds. ``node`` is the name of a node, after the names of the graphs that enclose it,
as in events (``Inner/Fetch``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

RunState = Literal["running", "draining", "finished", "failed"]
ExecutorKind = Literal["thread", "process", "executor"]
NodeState = Literal["running", "finished", "failed"]
WaitKind = Literal[
    "permit", "key", "rate", "breaker", "retry", "join", "room", "items", "source", "thread",
    "process", "executor", "answer", "cache", "journal", "hook", "loop",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class StageSnapshot:
    """A stage of a pipeline; the times are summed over its workers.

    Attributes:
        busy_s: Time spent working, up to now.
        starved_s: Time spent waiting for items.
        blocked_s: Time spent waiting for room in the buffer behind the stage.
    """

    workers: int
    busy_s: float
    starved_s: float
    blocked_s: float


@dataclass(frozen=True, slots=True)
class NodeSnapshot:
    """What a node has done and is doing.

    Attributes:
        state: ``"running"`` while it runs in at least one place; otherwise how its last run ended.
        running: In how many places it runs now: visits, rounds, branches.
        runs: How many of its runs have ended, ``failed_runs`` of them with an error.
        seconds: How long its ended runs took in total.
        total: How many items there are in its current runs; None if unknown.
        items: How many were started.
        in_flight: For how many of them ``exec`` runs, or is about to run.
        waiting: How many of them wait: for their next attempt, or for their key.
        ok: How many succeeded. ``failed``, ``skipped`` and ``cancelled``: the others.
        retried: How many failed attempts were followed by another one.
        workers: How many items it may work on at once; None for a node that has only one.
        limit: The current limit of ``max_workers="auto"``.
        stage: Its figures as a stage of a pipeline.
    """

    name: str
    state: NodeState
    running: int = 0
    runs: int = 0
    failed_runs: int = 0
    seconds: float = 0.0
    total: int | None = None
    items: int = 0
    in_flight: int = 0
    waiting: int = 0
    ok: int = 0
    failed: int = 0
    skipped: int = 0
    cancelled: int = 0
    retried: int = 0
    workers: int | None = None
    limit: int | None = None
    stage: StageSnapshot | None = None


@dataclass(frozen=True, slots=True)
class CapSnapshot:
    """The permits of a node or a graph, or of one key of a node.

    Attributes:
        owner: Whose permits they are: ``"Graph 'crawl'"``, ``"'Fetch'"``.
        key: The key as text, if they are the permits of a key.
        holders: How many permits each node holds.
    """

    owner: str
    size: int
    held: int
    waiting: int
    key: str | None = None
    holders: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RateSnapshot:
    """A rate limit of a node: ``used`` is the share of the window in use, up to 1.

    ``seconds_left``: until the next waiting call may begin.
    """

    node: str
    calls: float
    per: float
    used: float
    waiting: int
    seconds_left: float | None = None


@dataclass(frozen=True, slots=True)
class BreakerSnapshot:
    """A circuit breaker; ``seconds_left``: until the next call is admitted."""

    node: str
    name: str | None
    state: Literal["closed", "open", "half_open"]
    reason: str = ""
    seconds_left: float | None = None


@dataclass(frozen=True, slots=True)
class BufferSnapshot:
    """The buffer between two stages of a pipeline; ``before`` is None for the first stage's."""

    before: str | None
    after: str
    items: int
    size: int
    readers: int = 0
    writers: int = 0


@dataclass(frozen=True, slots=True)
class JoinSnapshot:
    """A node that waits for others: ``holders`` are those that may still lead to it."""

    node: str
    holders: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SourceSnapshot:
    """An async source that is being read: how many items it has yielded, and where it is."""

    node: str
    items: int
    place: str | None = None


@dataclass(frozen=True, slots=True)
class ExecutorSnapshot:
    """Threads or processes: how many calls of ``exec`` of each node run there, or wait there.

    ``size``: at most how many calls run there at once; None if unknown.
    """

    kind: ExecutorKind
    size: int | None
    calls: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Something that waits: for what, who holds that, and until when.

    Attributes:
        count: How many wait there: items, workers or tokens.
        on: What they wait for.
        holders: How much of it each node holds.
        seconds_left: Until it ends by itself; None if unknown.
        since: How long it has lasted; None if unknown.
        text: All of this as a sentence.
    """

    node: str
    kind: WaitKind
    count: int
    on: str
    text: str
    holders: Mapping[str, int] = field(default_factory=dict)
    seconds_left: float | None = None
    since: float | None = None


@dataclass(frozen=True, slots=True)
class RunSnapshot:
    """A run at one moment.

    Attributes:
        run: The identifier of the run, also in its log lines.
        name: The name of the graph or node that runs.
        at: When the snapshot was taken, in seconds since 1970.
        seconds: How long the run has taken so far; None if that was not recorded.
        nodes: In the order in which they began; without an observer that was present from the
            beginning (an Inspector, Progress, ``watch=``), those that run now.
        waits: Everything that waits; the longest queues first.
    """

    run: str
    name: str
    at: float
    state: RunState = "running"
    seconds: float | None = None
    nodes: tuple[NodeSnapshot, ...] = ()
    caps: tuple[CapSnapshot, ...] = ()
    rates: tuple[RateSnapshot, ...] = ()
    breakers: tuple[BreakerSnapshot, ...] = ()
    buffers: tuple[BufferSnapshot, ...] = ()
    joins: tuple[JoinSnapshot, ...] = ()
    sources: tuple[SourceSnapshot, ...] = ()
    executors: tuple[ExecutorSnapshot, ...] = ()
    waits: tuple[Waiting, ...] = ()
    error: str | None = None

    def explain(self) -> str:
        """Return why the run makes no progress: one line for each wait."""
        if self.state in ("finished", "failed"):
            how = "has ended" if self.error is None else f"has ended with {self.error}"
            return f"{self.name}: the run {how}."
        if not self.name:
            return "the run has not started yet."
        if not self.waits:
            return f"{self.name}: nothing is waiting."
        return "\n".join(wait.text for wait in self.waits)

    def ended(self, error: str | None) -> "RunSnapshot":
        """Return this snapshot as that of a finished run."""
        return replace(self, state="finished" if error is None else "failed", error=error)

    def node(self, name: str) -> NodeSnapshot | None:
        """Return a node by its name; None if it has not started."""
        return next((node for node in self.nodes if node.name == name), None)

    def to_dict(self) -> dict[str, Any]:
        """Return the snapshot as plain data, for JSON."""
        return _plain(self)  # type: ignore[no-any-return]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    names = getattr(value, "__dataclass_fields__", None)
    return value if names is None else {name: _plain(getattr(value, name)) for name in names}
