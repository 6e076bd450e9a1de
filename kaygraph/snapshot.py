"""What a run is at, at one moment: plain data, which nobody collects before it is asked for.

Times are in seconds. ``node`` is the name of a node after those of the graphs around it, as events
have it (``Inner/Fetch``).
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
    """A pipeline's stage; the times are summed over its workers.

    Attributes:
        busy_s: In which they worked; they may do so now.
        starved_s: In which they waited for items.
        blocked_s: In which they waited for room behind the stage.
    """

    workers: int
    busy_s: float
    starved_s: float
    blocked_s: float


@dataclass(frozen=True, slots=True)
class NodeSnapshot:
    """What a node has done, and is doing.

    Attributes:
        state: ``"running"`` while it runs in at least one place; else how its last run has ended.
        running: In how many places it runs now: visits, rounds, branches.
        runs: How often it has ended, ``failed_runs`` of them with an error.
        seconds: How long its ended runs took, in all.
        total: How many items there are in its current runs; None where that is not known.
        items: How many have been taken up.
        in_flight: For how many of them ``exec`` runs, or is about to.
        waiting: How many of them wait: for their next attempt, or for their key.
        ok: How many have ended well. ``failed``, ``skipped`` and ``cancelled``: the others.
        retried: How many attempts have failed that were followed by another one.
        workers: How many items at once it may work on; None for a node that has only one.
        limit: What ``max_workers="auto"`` has found so far.
        stage: As a stage of a pipeline.
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
    """Permits, of a node or a graph, or of one key of a node.

    Attributes:
        owner: Whose they are: ``"Graph 'crawl'"``, ``"'Fetch'"``.
        key: As text, where they are those of a key.
        holders: How many each node holds.
    """

    owner: str
    size: int
    held: int
    waiting: int
    key: str | None = None
    holders: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RateSnapshot:
    """A rate limit of a node: ``used`` is the share of the window that is taken, up to 1.

    ``seconds_left``: until the next of those who wait may begin.
    """

    node: str
    calls: float
    per: float
    used: float
    waiting: int
    seconds_left: float | None = None


@dataclass(frozen=True, slots=True)
class BreakerSnapshot:
    """A circuit breaker; ``seconds_left``: until the next call is let through."""

    node: str
    name: str | None
    state: Literal["closed", "open", "half_open"]
    reason: str = ""
    seconds_left: float | None = None


@dataclass(frozen=True, slots=True)
class BufferSnapshot:
    """What lies between two stages of a pipeline; ``before`` is None in front of the first."""

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
    """An async source of items that is being read: how many it has given, and where it is."""

    node: str
    items: int
    place: str | None = None


@dataclass(frozen=True, slots=True)
class ExecutorSnapshot:
    """Threads or processes: how many calls of ``exec`` of each node run there, or wait there.

    ``size``: how many calls run there at once at most; None where that is not known.
    """

    kind: ExecutorKind
    size: int | None
    calls: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Something that does not move: what it waits for, who holds that, and until when.

    Attributes:
        count: How many wait there: items, workers or tokens.
        on: What they wait for.
        holders: How much of it each node holds.
        seconds_left: Until it ends by itself; None where that is not known.
        since: For how long it has lasted; None where that is not known.
        text: All that as a sentence.
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
        run: What tells it from other runs, in its log lines too.
        name: Of the graph or node that runs.
        at: When it was taken, in seconds since 1970.
        seconds: How long the run takes so far; None where that was not noted.
        nodes: In the order in which they began; without an observer that was there from the
            beginning (an Inspector, Progress, ``watch=``), those that run now.
        waits: Whatever does not move; the longest lines first.
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
        """Return why the run does not go on, where it does not: a line for each wait."""
        if self.state in ("finished", "failed"):
            how = "has ended" if self.error is None else f"has ended with {self.error}"
            return f"{self.name}: the run {how}."
        if not self.name:
            return "the run has not begun yet."
        if not self.waits:
            return f"{self.name}: nothing waits."
        return "\n".join(wait.text for wait in self.waits)

    def ended(self, error: str | None) -> "RunSnapshot":
        """Return it as that of a run that is over."""
        return replace(self, state="finished" if error is None else "failed", error=error)

    def node(self, name: str) -> NodeSnapshot | None:
        """Return a node by its name; None where it has not begun."""
        return next((node for node in self.nodes if node.name == name), None)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, for JSON."""
        return _plain(self)  # type: ignore[no-any-return]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    names = getattr(value, "__dataclass_fields__", None)
    return value if names is None else {name: _plain(getattr(value, name)) for name in names}
