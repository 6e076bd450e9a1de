"""The data of a run for the page: everything once, then what has changed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from math import isfinite
from operator import attrgetter
from typing import Any

from .._formatting import redacted
from ..snapshot import NodeSnapshot, RunSnapshot, Waiting
from .records import Records

LONGEST = 600  # characters of a text
MOST_WAITS = 60
MOST_CAPS = 100
MOST_POINTS = 400  # of the throughput over time
MOST_LOADS = 120  # of the workers of a node that were busy, over time

_FIELDS = [field.name for field in fields(NodeSnapshot) if field.name not in ("name", "stage")]
_facts = attrgetter(*_FIELDS)
_SECTIONS = ("caps", "rates", "breakers", "buffers", "joins", "executors")


def clean(text: str, longest: int = LONGEST) -> str:
    """Return a text for the page: without secrets, and not too long."""
    return _cleaned(text[: 4 * longest], longest)


@lru_cache(maxsize=2048)
def _cleaned(text: str, longest: int) -> str:
    shown = redacted(text)
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def plain(value: Any) -> Any:
    """Return parts of a snapshot as plain data, with their texts cleaned."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, float):
        return round(value, 3) if isfinite(value) else None  # JSON has no others
    if isinstance(value, Mapping):
        return {clean(str(key)): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    names = getattr(value, "__dataclass_fields__", None)
    return value if names is None else {name: plain(getattr(value, name)) for name in names}


def _node(node: NodeSnapshot) -> dict[str, Any]:
    """Return what is known of a node, without empty values."""
    facts = {
        name: round(value, 3) if isinstance(value, float) else value
        for name, value in zip(_FIELDS, _facts(node), strict=True)
        if value
    }
    if node.total == 0:
        facts["total"] = 0
    if node.stage is not None:
        facts["stage"] = plain(node.stage)
    return facts


def done(node: NodeSnapshot) -> int:
    """Return how many items of a node have ended."""
    return node.ok + node.failed + node.skipped + node.cancelled


class View:
    """A run as the page shows it, from one snapshot to the next.

    Attributes:
        points: The throughput over time: seconds since the run started, and how many items had
            ended by then, over all nodes.
        loads: How many items of a node with several workers were in flight, over time.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        self._snapshot: RunSnapshot | None = None
        self._nodes: dict[str, NodeSnapshot] = {}
        self._versions: dict[str, int] = {}
        self._last_error = 0
        self.points: list[tuple[float, int]] = []
        self.loads: dict[str, list[tuple[float, int]]] = {}

    def recall(self, other: "View") -> None:
        """Take over the history of another one."""
        self.points = list(other.points)
        self.loads = {name: list(loads) for name, loads in tuple(other.loads.items())}

    def change(self, snapshot: RunSnapshot) -> dict[str, Any] | None:
        """Add a snapshot, and return what is new in it; None if nothing is."""
        before, self._snapshot = self._snapshot, snapshot
        nodes = {node.name: node for node in snapshot.nodes}
        changed = [node for node in snapshot.nodes if node != self._nodes.get(node.name)]
        self._nodes = nodes
        changes: dict[str, Any] = {}
        if changed:
            changes["nodes"] = {clean(node.name): _node(node) for node in changed}
            self._point(snapshot, changes)
            self._load(changed, snapshot, changes)
        for name in _SECTIONS:
            if before is None or getattr(before, name) != getattr(snapshot, name):
                changes[name] = plain(_most(getattr(snapshot, name)))
        if before is None or before.waits != snapshot.waits:
            changes["waits"] = _waits(snapshot.waits)
            changes["more_waits"] = max(0, len(snapshot.waits) - MOST_WAITS)
        self._add_records(changes)
        if before is None or (before.state, before.error) != (snapshot.state, snapshot.error):
            changes["state"] = snapshot.state
            changes["error"] = None if snapshot.error is None else clean(snapshot.error)
        return {**self._head(), **changes} if changes else None

    def all(self) -> dict[str, Any]:
        """Return everything that is known."""
        snapshot = self._snapshot
        assert snapshot is not None
        activity = self._records.activity
        return {
            **self._head(),
            "full": True,
            "name": clean(snapshot.name),
            "run": snapshot.run,
            "state": snapshot.state,
            "error": None if snapshot.error is None else clean(snapshot.error),
            "nodes": {clean(node.name): _node(node) for node in snapshot.nodes},
            **{name: plain(_most(getattr(snapshot, name))) for name in _SECTIONS},
            "waits": _waits(snapshot.waits),
            "more_waits": max(0, len(snapshot.waits) - MOST_WAITS),
            "spans": {clean(name): list(one.spans) for name, one in tuple(activity.items())},
            "errors": self._records.errors(),
            "failed": self._records.failed,
            "points": list(self.points),
            "loads": {clean(name): list(loads) for name, loads in self.loads.items()},
        }

    def _head(self) -> dict[str, Any]:
        snapshot = self._snapshot
        assert snapshot is not None
        seconds = snapshot.seconds
        return {"at": snapshot.at, "seconds": None if seconds is None else round(seconds, 3)}

    def _point(self, snapshot: RunSnapshot, changes: dict[str, Any]) -> None:
        if snapshot.seconds is None:
            return
        point = (round(snapshot.seconds, 3), sum(map(done, snapshot.nodes)))
        self.points.append(point)
        changes["points"] = [point]
        if len(self.points) > MOST_POINTS:
            del self.points[1::2]

    def _load(
        self, changed: Sequence[NodeSnapshot], snapshot: RunSnapshot, changes: dict[str, Any]
    ) -> None:
        if snapshot.seconds is None:
            return
        at, new = round(snapshot.seconds, 3), {}
        for node in changed:
            loads = self.loads.get(node.name)
            if loads is None:
                if (node.workers or 1) == 1:
                    continue
                loads = self.loads[node.name] = []
            if len(loads) > 1 and loads[-2][1] == loads[-1][1] == node.in_flight:
                loads.pop()  # the same for longer
            loads.append((at, node.in_flight))
            new[clean(node.name)] = loads[-2:]
            if len(loads) > MOST_LOADS:
                del loads[1::2]
        if new:
            changes["loads"] = new

    def _add_records(self, changes: dict[str, Any]) -> None:
        spans = {}
        for name, activity in tuple(self._records.activity.items()):
            if self._versions.get(name) != activity.version:
                self._versions[name] = activity.version
                spans[clean(name)] = list(activity.spans)
        if spans:
            changes["spans"] = spans
        errors = self._records.errors(self._last_error)
        if errors:
            self._last_error = errors[-1]["number"]
            changes["errors"] = errors
            changes["failed"] = self._records.failed


def _most(found: Sequence[Any]) -> Iterable[Any]:
    """Return as many as can be shown, first those that others wait for."""
    if len(found) <= MOST_CAPS:
        return found
    return sorted(found, key=lambda one: -getattr(one, "waiting", 0))[:MOST_CAPS]


def _waits(waits: Sequence[Waiting]) -> list[dict[str, Any]]:
    return [
        {"node": clean(one.node), "kind": one.kind, "count": one.count, "text": clean(one.text)}
        for one in waits[:MOST_WAITS]
    ]
