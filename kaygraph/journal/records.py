"""The records of a run, for reading."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import closest
from .log import (
    ATTEMPTS,
    DECIDED,
    DROPPED,
    ENDED,
    FAILED,
    KEY,
    LEFT,
    NODE,
    NUMBER,
    PATH,
    PAYLOAD,
    POINT,
    RESULT,
    SECONDS,
    SET,
    SNAPSHOT,
    VOID,
    Entry,
    means,
)
from .position import Position
from .store import RunInfo
from .waiting import Wait


@dataclass(slots=True)
class NodeRecord:
    """What is recorded for one node, over all of its visits.

    Attributes:
        name: Its full name, which starts with those of the enclosing graphs.
        results: How many results of ``exec`` are recorded: of items, or of the node itself.
        failed: How many failed items the run tolerated, and errors that took an "error" edge.
        dropped: How many items were left out.
        attempts: How often ``exec`` was called for all of these.
        seconds: The total duration of those calls.
        first: When its first record was written, in seconds since 1970.
        last: When its last record was written.
        errors: The texts of its errors: the first of each kind.
    """

    name: str
    results: int = 0
    failed: int = 0
    dropped: int = 0
    attempts: int = 0
    seconds: float = 0.0
    first: float = 0.0
    last: float = 0.0
    errors: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PointRecord:
    """A moment of a run: a node's ``exec`` had ended, and ``post`` got its result.

    Attributes:
        path: Its place in the run, as ``fork(at=…)`` takes it.
        name: The full name of the node.
        at: When it was recorded, in seconds since 1970.
        row: The number of its row in the log, and
        index: its place in that row.
        has_result: Whether it has a single result, which ``fork(set={path: value})`` may change.
    """

    path: str
    name: str
    at: float
    row: int
    index: int
    has_result: bool


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What is recorded about a run.

    Attributes:
        info: Its status and times.
        nodes: In the order in which they were first recorded.
        points: In the order in which they were recorded.
        waits: Its unanswered waits, in the order in which they were asked.
    """

    info: RunInfo
    nodes: list[NodeRecord]
    points: list[PointRecord]
    waits: list[Wait] = field(default_factory=list)


Rows = Iterable[tuple[int, float, list[Entry]]]


def record_of(info: RunInfo, rows: Rows, error_of: Any) -> RunRecord:
    """Return what the rows of a run add up to: the number, the time and the entries of each.

    ``error_of`` decodes an encoded exception.
    """
    nodes: dict[int, NodeRecord] = {}
    named: dict[str, NodeRecord] = {}  # several may share a name
    points: dict[bytes, PointRecord] = {}
    for row, at, entries in rows:
        for index, entry in enumerate(entries):
            kind = entry[0]
            if kind == NODE:
                nodes[entry[1]] = named.setdefault(entry[2], NodeRecord(entry[2]))
            elif kind == SNAPSHOT:
                points.clear()
                for number, name, _ in entry[4]:
                    nodes[number] = named.setdefault(name, NodeRecord(name))
            elif kind == VOID:
                points.pop(entry[1], None)
            elif kind in _COUNTED:
                node = nodes[entry[NUMBER]]
                _count(node, entry, at, error_of)
                if kind in _POINTS and entry[1] not in points:
                    points[entry[1]] = PointRecord(
                        entry[PATH], node.name, at, row, index, kind == POINT
                    )
    return RunRecord(info, list(named.values()), list(points.values()))


_COUNTED = frozenset({RESULT, POINT, ENDED, FAILED, DROPPED, LEFT, DECIDED})
_POINTS = frozenset({POINT, ENDED, LEFT, DECIDED})
_SHOWN = 5  # errors of a node


def _count(node: NodeRecord, entry: Entry, at: float, error_of: Any) -> None:
    kind = entry[0]
    node.first = node.first or at
    node.last = at
    node.results += kind in (RESULT, POINT)
    node.dropped += kind == DROPPED
    node.failed += kind in (FAILED, LEFT)
    if kind in (RESULT, POINT, FAILED, DROPPED):
        node.attempts += entry[ATTEMPTS]
        node.seconds += entry[SECONDS]
    if kind in (FAILED, LEFT) and len(node.errors) < _SHOWN:
        error = error_of(entry[PAYLOAD])
        text = f"{type(error).__name__}: {error}"
        if text not in node.errors:
            node.errors.append(text)


def point_of(record: RunRecord, written: str) -> PointRecord:
    """Return the point that a user names: by its path, or by its node if that has only one.

    Raises:
        ValueError: There is no such point, or there are several.
    """
    found = [point for point in record.points if point.path == written]
    found = found or [point for point in record.points if means(written, point.name)]
    run = record.info.run
    if not found:
        known = {point.path for point in record.points} | {node.name for node in record.nodes}
        raise ValueError(f"run {run!r} has no point {written!r}.{closest(written, sorted(known))}")
    if len(found) > 1:
        shown = ", ".join(repr(point.path) for point in found[:5])
        more = ", …" if len(found) > 5 else ""
        raise ValueError(f"{written!r} is at {len(found)} points of run {run!r}: {shown}{more}")
    return found[0]


def fork_entries(
    rows: Rows, at: PointRecord | None, changes: Sequence[tuple[PointRecord, bytes]]
) -> list[Entry]:
    """Return what to add to a copy of a log that ends with the row of a point.

    What follows the point in its row becomes void; results are changed.

    Raises:
        ValueError: A result to change was recorded after the point.
    """
    for point, _ in changes:
        if at is not None and (point.row, point.index) > (at.row, at.index):
            raise ValueError(
                f"{point.path!r} was recorded after {at.path!r}, so it is not kept; to change it, "
                f"keep it: at={point.path!r}"
            )
    entries: list[Entry] = []
    for number, _, recorded in rows:
        if at is not None and number == at.row:
            later = recorded[at.index + 1 :]
            entries += [[VOID, entry[KEY]] for entry in later if entry[0] not in (NODE, VOID)]
    entries += [[SET, Position(point.path).digest, payload] for point, payload in changes]
    return entries
