"""The rows of nodes: counts of a snapshot, and rates from earlier ones."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from .._formatting import redacted
from ..snapshot import NodeSnapshot, NodeState, RunSnapshot

OVER_S = 10.0  # a rate is measured over this time
APART_S = 0.25  # between two of the counts that are kept for it
STILL_S = 1.0  # a node without an ended item for this long shows what it waits for


@dataclass(frozen=True, slots=True)
class Row:
    """One node, as shown.

    Attributes:
        name: Its own name, without control characters and secrets.
        path: The same, after the names of the enclosing graphs.
        depth: The number of enclosing graphs.
        state: Whether it runs now, or how it ended.
        done: Items that have ended, in any way.
        total: How many there are; None if unknown.
        counts: Whether it has items to count, unlike a node with one call.
        rate: Items a second, over the last ten seconds.
        left_s: Seconds until the last item ends, at that rate.
        seconds: How long its ended runs took in total.
        waits: What it waits for, if nothing has moved for a second.
    """

    name: str
    path: str
    depth: int
    state: NodeState
    done: int
    total: int | None
    counts: bool
    runs: int
    failed: int
    skipped: int
    retried: int
    in_flight: int
    rate: float | None
    left_s: float | None
    seconds: float
    waits: str | None

    @property
    def share(self) -> float | None:
        """How much of it is done, from 0 to 1."""
        if not self.total or self.done > self.total:
            return None
        return self.done / self.total


class Pace:
    """How fast a node's items end."""

    def __init__(self) -> None:
        self._counts: deque[tuple[float, int]] = deque()
        self.moved_at = 0.0  # when its count changed

    def note(self, at: float, done: int) -> float | None:
        """Record how many are done at a time, and return the rate, if there is one yet."""
        counts = self._counts
        if not counts or done < counts[-1][1]:
            counts.clear()
            counts.append((at, done))
            self.moved_at = at
            self._last = done
            return None
        if done != self._last:
            self.moved_at, self._last = at, done
        if at - counts[-1][0] >= APART_S:
            counts.append((at, done))
            while at - counts[0][0] > OVER_S and len(counts) > 2:
                counts.popleft()
        begun, before = counts[0]
        if at - begun < APART_S or done == before:
            return None
        return (done - before) / (at - begun)


class Rows:
    """The rows of one run; it keeps the history of each node for its rate."""

    def __init__(self) -> None:
        self._paces: dict[str, Pace] = {}
        self._names: dict[str, str] = {}

    def of(self, snapshot: RunSnapshot) -> list[Row]:
        """Return a row for each node, in the order in which they started."""
        waits: dict[str, str] = {}
        for wait in snapshot.waits:
            waits.setdefault(wait.node, wait.text)
        over = snapshot.state in ("finished", "failed")
        nodes = [node for node in snapshot.nodes if not (over and node.state == "running")]
        return [self._row(node, snapshot.at, waits.get(node.name)) for node in nodes]

    def _row(self, node: NodeSnapshot, at: float, waits: str | None) -> Row:
        done = node.ok + node.failed + node.skipped + node.cancelled
        pace = self._paces.get(node.name)
        if pace is None:
            pace = self._paces[node.name] = Pace()
        rate = pace.note(at, done)
        runs_now = node.state == "running"
        path = self._shown(node.name)
        left = None
        if runs_now and rate and node.total is not None and node.total >= done:
            left = (node.total - done) / rate
        still = runs_now and at - pace.moved_at >= STILL_S
        return Row(
            name=path.rpartition("/")[2],
            path=path,
            depth=node.name.count("/"),
            state=node.state,
            done=done,
            total=node.total,
            counts=bool(node.items or node.total or node.workers),
            runs=node.runs + node.running,
            failed=node.failed,
            skipped=node.skipped,
            retried=node.retried,
            in_flight=node.in_flight,
            rate=rate if runs_now else None,
            left_s=left,
            seconds=node.seconds,
            waits=waits if still else None,
        )

    def _shown(self, name: str) -> str:
        if name not in self._names:
            self._names[name] = visible(redacted(name))
        return self._names[name]


def visible(text: str) -> str:
    """Return a text on one line, with its control characters escaped."""
    return "".join(_escaped(text)) if not text.isprintable() else text


def _escaped(text: str) -> Iterator[str]:
    for char in text:
        yield char if char.isprintable() else char.encode("unicode_escape").decode()
