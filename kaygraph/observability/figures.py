"""The figures of a run report: what each node did, counted and measured."""

from collections import Counter
from dataclasses import dataclass, field
from math import inf
from typing import Any, get_args

from .._formatting import redacted
from .._validation import human
from ..events import Usage
from ..outcome import Status

STATUSES: tuple[Status, ...] = get_args(Status)


@dataclass(slots=True)
class WorkerFigures:
    """What one worker of a node did: items ended, and seconds in ``exec``."""

    items: int = 0
    work_s: float = 0.0
    # For the timeline: what it already has, and when an item reaches into another bin.
    noted_s: float = field(default=0.0, repr=False, compare=False)
    due: float = field(default=inf, repr=False, compare=False)


@dataclass(slots=True)
class RoundFigures:
    """How often the nodes of one graph ran, and how many of them at once, in rounds or branches."""

    name: str
    runs: int = 0
    wall_s: float = 0.0
    under_way: int = 0
    peak: int = 0


@dataclass(slots=True)
class NodeFigures:
    """What one node did. Times are in seconds, memory is in bytes.

    Attributes:
        runs: How often the node ran.
        wall_s: Its time from start to end, summed over its runs.
        work_s: The time in ``exec``, summed over items. A node that runs its parts (``is_whole``)
            has none of its own: its parts have figures of their own.
        longest_s: The most that one item spent in ``exec``.
        cpu_s: The processor time of a ``def exec``, in threads and processes too.
        queued_s: The time spent waiting for permits, keys and rates, summed over workers;
            ``queued_for`` has it by setting.
        pickup_s: How long finished results of threads waited for the event loop.
        memory: The most that a worker process held; 0 without processes.
        start_s: The time until worker processes had started, summed over them.
        cached: Items whose result a Cache had; they are among those that are ok.
        in_flight: Calls of ``exec`` that run now; ``peak`` is the most there were. An item that
            waits for its next attempt does not count.
        waiting: Items that wait for their next attempt now.
        limit: The current limit of ``max_workers="auto"``.
        stage_workers: For a pipeline's stage, like the next four: its workers, the items that
            came in, and the time its workers were busy, had no input (``starved_s``) and had no
            room for output (``blocked_s``), each summed over the workers.
    """

    name: str
    runs: int = 0
    wall_s: float = 0.0
    work_s: float = 0.0
    longest_s: float = 0.0
    cpu_s: float = 0.0
    queued_for: dict[str, float] = field(default_factory=dict)
    pickup_s: float = 0.0
    memory: int = 0
    start_s: float = 0.0
    cached: int = 0
    in_flight: int = 0
    peak: int = 0
    waiting: int = 0
    retries: int = 0
    limit: int | None = None
    items: Counter[str] = field(default_factory=Counter)
    workers: dict[int, WorkerFigures] = field(default_factory=dict)
    stage_workers: int = 0
    stage_items: int = 0
    busy_s: float = 0.0
    starved_s: float = 0.0
    blocked_s: float = 0.0
    is_whole: bool = False
    # For the timeline: when to record the node's state next.
    due: float = field(default=inf, repr=False, compare=False)

    @property
    def queued_s(self) -> float:
        """The time spent waiting for permits, keys and rates, summed over workers."""
        return sum(self.queued_for.values())

    @property
    def ended(self) -> int:
        """How many items have ended, in any way."""
        return sum(self.items.values())

    @property
    def workers_at_once(self) -> int:
        """How many workers took items at once, without the stand-ins for waiting items."""
        if self.retries or "limit_by" in self.queued_for:
            return max(1, self.peak)
        return max(self.peak, len(self.workers))

    @property
    def in_processes(self) -> bool:
        """Whether ``exec`` ran in worker processes."""
        return bool(self.memory)

    @property
    def load_s(self) -> float:
        """The busy time of a stage per worker."""
        return self.busy_s / self.stage_workers if self.stage_workers else 0.0

    def add(self, usage: Usage) -> None:
        """Add the usage of an item."""
        self.cpu_s += usage.cpu_s
        self.pickup_s += usage.pickup_s
        self.memory = max(self.memory, usage.memory)
        self.start_s += usage.start_s
        self.cached += usage.cached
        if usage.queued_s:
            before = self.queued_for.get(usage.queued_for, 0.0)
            self.queued_for[usage.queued_for] = before + usage.queued_s

    def share_of(self, seconds: float) -> float:
        """Return these seconds of its workers as a share of the stage's time."""
        whole = self.busy_s + self.starved_s + self.blocked_s
        return seconds / whole if whole else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain data; times in seconds, memory in bytes, shares up to 1."""
        row: dict[str, Any] = {
            "name": redacted(self.name),
            "runs": self.runs,
            "wall_s": round(self.wall_s, 6),
            "work_s": round(self.work_s, 6),
            "longest_s": round(self.longest_s, 6),
            "cpu_s": round(self.cpu_s, 6),
            "queued_s": round(self.queued_s, 6),
            "queued_for": {name: round(seconds, 6) for name, seconds in self.queued_for.items()},
            "pickup_s": round(self.pickup_s, 6),
            "memory": self.memory,
            "start_s": round(self.start_s, 6),
            "peak_in_flight": self.peak,
            "items": {status: self.items[status] for status in STATUSES},
            "retries": self.retries,
            "workers": self.workers_at_once,
        }
        if self.cached:
            row["cached"] = self.cached
        if self.limit is not None:
            row["limit"] = self.limit
        if self.stage_workers:
            row |= {
                "workers": self.stage_workers,
                "stage_items": self.stage_items,
                "busy": round(self.share_of(self.busy_s), 4),
                "starved": round(self.share_of(self.starved_s), 4),
                "blocked": round(self.share_of(self.blocked_s), 4),
            }
        return row

    def row(self) -> tuple[object, ...]:
        """Return the node's row of a table."""
        items = max(self.ended, self.stage_items)
        failed = self.items["failed"] + self.items["timed_out"]
        seconds = ("", "") if self.is_whole else (f"{self.work_s:.3f}", f"{self.longest_s:.3f}")
        return (redacted(self.name), items, failed, self.retries, self.peak, *seconds)

    def note(self) -> str:
        """Return a short note for a timeline, next to the node's name."""
        if self.stage_workers:
            shares = (
                (self.busy_s, "busy"),
                (self.starved_s, "no input"),
                (self.blocked_s, "no room"),
            )
            return ", ".join(f"{word} {self.share_of(share):.0%}" for share, word in shares)
        if not self.ended:
            return ""
        failed = self.items["failed"] + self.items["timed_out"]
        note = [f"{self.ended:,} items" if self.ended > 1 else "1 item"]
        if failed:
            note.append(f"{failed:,} failed")
        if skipped := self.items["skipped"]:
            note.append(f"{skipped:,} skipped")
        if self.retries:
            note.append(f"{self.retries:,} retried")
        return ", ".join(note)

    def __str__(self) -> str:
        text = f"{max(self.ended, self.stage_items):>6} items  peak {self.peak}"
        if self.is_whole:
            return f"{text}  its parts follow"
        if self.cached:
            text += f"  {self.cached} from the cache"
        text += f"  in exec {self.work_s:.3f} s"
        if self.cpu_s:
            text += f", CPU {self.cpu_s:.3f} s"
        if self.queued_s:
            text += f", waiting for {'/'.join(self.queued_for)} {self.queued_s:.3f} s"
        if self.start_s:
            text += f", starting processes {self.start_s:.3f} s"
        if self.memory:
            text += f", memory {human(self.memory)}"
        if self.limit is not None:
            text += f"  limit found {self.limit}"
        if self.stage_workers:
            text += (
                f"  busy {self.share_of(self.busy_s):.0%}, starved "
                f"{self.share_of(self.starved_s):.0%}, blocked {self.share_of(self.blocked_s):.0%}"
            )
        return text
