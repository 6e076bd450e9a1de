"""What an observer has counted of ended and running nodes."""

from dataclasses import dataclass, field

from ..events import (
    BatchFinished,
    Event,
    ItemFailed,
    ItemRetried,
    LimitChanged,
    NodeFinished,
    NodeStarted,
    StageFinished,
    StageStarted,
)
from ..snapshot import NodeState, StageSnapshot


@dataclass(slots=True)
class Counted:
    """The counts of a node; those of items cover its finished batches."""

    name: str
    running: int = 0
    runs: int = 0
    failed_runs: int = 0
    seconds: float = 0.0
    last_failed: bool = False
    items: int = 0
    ok: int = 0
    failed: int = 0
    skipped: int = 0
    cancelled: int = 0
    retried: int = 0
    limit: int | None = None
    stage: StageSnapshot | None = None
    is_stage: bool = False
    ended_badly: dict[str, int] = field(default_factory=dict)  # items of the running stage

    @property
    def state(self) -> NodeState:
        if self.running > 0:
            return "running"
        return "failed" if self.last_failed else "finished"


class Tally:
    """Counts by events; there is none for an item that succeeds."""

    def __init__(self) -> None:
        self.nodes: dict[str, Counted] = {}

    def of(self, name: str) -> Counted:
        """Return what is counted of a node."""
        counted = self.nodes.get(name)
        if counted is None:
            counted = self.nodes[name] = Counted(name)
        return counted

    def add(self, event: Event) -> None:
        """Count an event."""
        match event:
            case NodeStarted(node):
                self.of(node).running += 1
            case NodeFinished(node):
                self._ended(self.of(node), event)
            case StageStarted(node):
                counted = self.of(node)
                counted.running += 1
                counted.is_stage = True
            case StageFinished(node):
                self._stage_ended(self.of(node), event)
            case BatchFinished(node):
                counted = self.of(node)
                counted.items += event.items
                counted.ok += event.ok
                counted.failed += event.failed
                counted.skipped += event.skipped
                counted.cancelled += event.cancelled
            case ItemFailed(node):
                counted = self.of(node)
                if counted.is_stage:
                    status = event.status
                    counted.ended_badly[status] = counted.ended_badly.get(status, 0) + 1
            case ItemRetried(node):
                self.of(node).retried += 1
            case LimitChanged(node):
                self.of(node).limit = event.limit
            case _:
                pass

    def _ended(self, counted: Counted, event: NodeFinished) -> None:
        counted.running -= 1
        counted.runs += 1
        counted.seconds += event.seconds
        counted.last_failed = event.error is not None
        counted.failed_runs += counted.last_failed
        if counted.running:
            return
        within = f"{counted.name}/"
        for name, part in self.nodes.items():
            if part.running and name.startswith(within):  # for example, a stage that was cut short
                part.running = 0
                part.last_failed = counted.last_failed
                self._settle(part, sum(part.ended_badly.values()))

    def _stage_ended(self, counted: Counted, event: StageFinished) -> None:
        counted.running -= 1
        counted.runs += 1
        self._settle(counted, event.items)
        before = counted.stage or StageSnapshot(event.workers, 0.0, 0.0, 0.0)
        counted.stage = StageSnapshot(
            event.workers,
            before.busy_s + event.busy_s,
            before.starved_s + event.starved_s,
            before.blocked_s + event.blocked_s,
        )

    def _settle(self, counted: Counted, items: int) -> None:
        """Add the items of a finished stage."""
        badly, counted.ended_badly = counted.ended_badly, {}
        failed = badly.get("failed", 0) + badly.get("timed_out", 0)
        skipped, cancelled = badly.get("skipped", 0), badly.get("cancelled", 0)
        counted.items += items
        counted.failed += failed
        counted.skipped += skipped
        counted.cancelled += cancelled
        counted.ok += max(0, items - failed - skipped - cancelled)
