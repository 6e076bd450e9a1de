"""What each node has done and is doing, from what was counted and what is seen now."""

from collections import Counter
from dataclasses import replace
from typing import Any

from ..batch.fan_out import FanOut
from ..limits.permits import AutoPermits
from ..snapshot import NodeSnapshot, StageSnapshot
from ..streams.stage import Stage
from .looking import Look, Seen
from .tally import Counted, Tally
from .whereabouts import exec_place

# Waits of an item that do not hold up others.
ASIDE = frozenset({"retry", "key", "cache", "answer"})


def counted_snapshots(tally: Tally) -> tuple[NodeSnapshot, ...]:
    """Return the nodes of a finished run, in the order in which they started."""
    return tuple(map(_counted, tally.nodes.values()))


def node_snapshots(look: Look, tally: Tally | None) -> tuple[NodeSnapshot, ...]:
    """Return the nodes that have started, in order; without a tally, those that run."""
    rows = {} if tally is None else {name: _counted(one) for name, one in tally.nodes.items()}
    running = Counter(_running(look))
    for name, number in running.items():
        if tally is None or name not in rows:
            rows.setdefault(name, NodeSnapshot(name, "running"))
            rows[name] = replace(rows[name], state="running", running=number)
    by_owner: dict[Any, list[Seen]] = {}
    for seen in look.seen:
        if seen.owner is not None:
            by_owner.setdefault(seen.owner, []).append(seen)
    for batch in look.fan_outs:
        row = rows.get(batch.name) or NodeSnapshot(batch.name, "running", running=1)
        rows[batch.name] = _with_batch(row, batch, by_owner.get(batch, []))
    _set_totals(look, rows, tally)
    for _, stages in look.lines:
        for stage in stages:
            row = rows.get(stage.name) or NodeSnapshot(stage.name, "running", running=1)
            items = look.fed.get(stage, stage.items)
            rows[stage.name] = _with_stage(row, stage, items, by_owner.get(stage, []), look.now)
    return tuple(rows.values())


def _running(look: Look) -> list[str]:
    """Return the names of the nodes with tokens, and of what else runs."""
    names = [w.frame.name_of(step.node) for w, steps in look.walks.items() for step in steps]
    names += [s.node for s in look.seen if _runs_alone(s) and s.node not in names]
    return names


def _runs_alone(seen: Seen) -> bool:
    """Whether a task is at a node that no walk led to."""
    if seen.owner is not None or seen.kind in ("others", "reading"):
        return False
    return bool(seen.kind) or exec_place(seen.calls) is not None


def _counted(one: Counted) -> NodeSnapshot:
    return NodeSnapshot(
        one.name, one.state, max(0, one.running), one.runs, one.failed_runs, one.seconds,
        items=one.items, ok=one.ok, failed=one.failed, skipped=one.skipped,
        cancelled=one.cancelled, retried=one.retried, limit=one.limit, stage=one.stage,
    )  # fmt: skip


def _items(seen: list[Seen]) -> tuple[int, int]:
    """Return how many items are in flight, and how many wait without holding up others."""
    waiting = sum(one.has_item and is_aside(one) for one in seen)
    return sum(one.has_item for one in seen) - waiting, waiting


def is_aside(seen: Seen) -> bool:
    """Whether an item waits without holding up others."""
    kind = seen.kind
    if kind == "permit" and seen.at is not None:
        waiter = seen.at.local("waiter")
        return waiter is not None and waiter.obstacle.keyed and not waiter.obstacle.timed
    return kind in ASIDE


def _with_batch(row: NodeSnapshot, batch: FanOut, seen: list[Seen]) -> NodeSnapshot:
    in_flight, waiting = _items(seen)
    failures = batch.failures
    # Nothing of a chunk whose items come in one go is counted before its end.
    taken = max(batch.pulled, in_flight + waiting)
    ended = taken - in_flight - waiting
    cap = batch.caps[0] if batch.caps else None
    return replace(
        row,
        items=row.items + taken,
        in_flight=row.in_flight + in_flight,
        waiting=row.waiting + waiting,
        ok=row.ok + max(0, ended - failures.failed - failures.skipped - failures.cancelled),
        failed=row.failed + failures.failed,
        skipped=row.skipped + failures.skipped,
        cancelled=row.cancelled + failures.cancelled,
        workers=batch.max_workers,
        limit=cap.size if isinstance(cap, AutoPermits) else row.limit,
    )


def _set_totals(look: Look, rows: dict[str, NodeSnapshot], tally: Tally | None) -> None:
    """Record how many items there are, if that is known of all running batches."""
    known: dict[str, list[int]] = {}
    for batch in look.fan_outs:
        known.setdefault(batch.name, []).append(batch.failures.known)
    for name, numbers in known.items():
        if all(numbers):
            ended = tally.nodes[name].items if tally is not None and name in tally.nodes else 0
            rows[name] = replace(rows[name], total=ended + sum(numbers))


def _with_stage(
    row: NodeSnapshot, stage: Stage, items: int, seen: list[Seen], now: float
) -> NodeSnapshot:
    in_flight, waiting = _items(seen) if stage.node.has_exec else (0, 0)
    failures = stage.failures
    limit = stage.cap.size if isinstance(stage.cap, AutoPermits) else row.limit
    return replace(
        row,
        state="running" if not stage.outbox.closed or in_flight else row.state,
        items=row.items + items,
        in_flight=in_flight,
        waiting=waiting,
        ok=row.ok + max(0, items - in_flight - waiting - failures.failed - failures.skipped),
        failed=row.failed + failures.failed,
        skipped=row.skipped + failures.skipped,
        cancelled=row.cancelled + stage.cancelled,
        workers=stage.workers,
        limit=limit,
        stage=_times(stage, seen, now),
    )


def _times(stage: Stage, seen: list[Seen], now: float) -> StageSnapshot:
    """Return the times of a stage, including the waits that are not over."""
    starved, blocked = stage.starved, stage.blocked
    for one in seen:
        began = None if one.at is None else one.at.local("began")
        if began is None:
            continue
        if one.kind == "room" or (one.at is not None and one.at.local("is_full")):
            blocked += now - began
        elif one.kind == "items":
            starved += now - began
    busy = stage.busy
    if stage.running and (since := getattr(stage, "started_at", None)) is not None:
        busy = max(0.0, busy + stage.running * (now - since) - starved - blocked)
    return StageSnapshot(stage.workers, busy, starved, blocked)
