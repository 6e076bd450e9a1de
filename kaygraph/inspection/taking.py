"""Takes a snapshot of a run."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise

from ..run.run import Run
from ..snapshot import (
    BufferSnapshot,
    ExecutorKind,
    ExecutorSnapshot,
    RunSnapshot,
    RunState,
    SourceSnapshot,
    Waiting,
)
from .caps import Caps
from .limits import breaker_snapshots
from .looking import Look
from .nodes import node_snapshots
from .tally import Tally
from .tokens import join_snapshots
from .waits import Waits
from .whereabouts import place_of

KINDS: Mapping[str, ExecutorKind] = {
    "thread": "thread",
    "process": "process",
    "executor": "executor",
}
TRIES = 5  # if the run goes on in another thread during the inspection


def take(
    run: Run,
    thread: int | None = None,
    tally: Tally | None = None,
    began: float | None = None,
    held: Waiting | None = None,
) -> RunSnapshot:
    """Return what a run is doing.

    Args:
        run: The run.
        thread: The thread of its loop.
        tally: What was counted so far.
        began: When it started, by the clock of its loop.
        held: What blocks its loop.
    """
    for _ in range(TRIES):
        try:
            return _taken(run, thread, tally, began, held)
        except RuntimeError as error:  # a dict or a set changed during iteration
            last = error
    raise last


def _taken(
    run: Run, thread: int | None, tally: Tally | None, began: float | None, held: Waiting | None
) -> RunSnapshot:
    look = Look(run, thread)
    caps = Caps(look)
    shows = all(walk.frame.rules.show_items for walk in look.walks)
    waits = Waits(look, caps, shows).all()
    if held is not None:
        waits = (held, *(_holding(wait, held) for wait in waits))
    state: RunState = "draining" if run.draining else "running"
    return RunSnapshot(
        run.id,
        run.name,
        time.time(),
        state,
        None if began is None else look.now - began,
        node_snapshots(look, tally),
        caps.snapshots(shows),
        caps.rates(),
        breaker_snapshots(look),
        tuple(_buffers(look)),
        join_snapshots(look),
        tuple(_sources(look)),
        tuple(_executors(look)),
        waits,
    )


def _holding(wait: Waiting, held: Waiting) -> Waiting:
    """Return what one node waits for, unless its call is the one that blocks the loop."""
    if wait.kind != "hook" or wait.count > 1 or wait.on != held.on:
        return wait
    return replace(wait, text=f"{wait.node!r} blocks the event loop at {wait.on}")


def _buffers(look: Look) -> Iterator[BufferSnapshot]:
    """Yield the buffers in front of the stages of pipelines."""
    for _, stages in look.lines:
        for before, after in pairwise((None, *stages)):
            if after is not None and after.node.has_exec:
                inbox = after.inbox
                name = None if before is None else before.name
                waiting = len(inbox.readers), len(inbox.writers)
                yield BufferSnapshot(name, after.name, len(inbox.items), inbox.size, *waiting)


def _sources(look: Look) -> Iterator[SourceSnapshot]:
    for source, reader in look.readers.items():
        yield SourceSnapshot(reader.node, source.given_out, place_of(source.reads_from))


def _executors(look: Look) -> Iterator[ExecutorSnapshot]:
    calls: dict[tuple[ExecutorKind, int | None], Counter[str]] = {}
    for seen in look.seen:
        kind = KINDS.get(seen.kind)
        if kind is not None and seen.at is not None:
            executor = seen.at.local("executor")
            size = getattr(executor, "_max_workers", None)
            calls.setdefault((kind, size), Counter())[seen.node] += 1
    for (kind, size), counted in calls.items():
        yield ExecutorSnapshot(kind, size, dict(counted))
