"""The joins of a graph, and the nodes that may still lead to them."""

from collections.abc import Iterator

from ..snapshot import JoinSnapshot, Waiting
from .looking import Look
from .words import listed


def join_snapshots(look: Look) -> tuple[JoinSnapshot, ...]:
    """Return the joins that wait, in each walk."""
    found: list[JoinSnapshot] = []
    for walk, steps in look.walks.items():
        tokens, name_of = walk.tokens, walk.frame.name_of
        if tokens is None:
            continue
        waiting = tuple(tokens.waiting)
        for join in waiting:
            holding = [step for step in steps if step.mask & join.bit]
            holding += [step for step in waiting if step is not join and step.mask & join.bit]
            names = dict.fromkeys(name_of(step.node) for step in holding)
            found.append(JoinSnapshot(name_of(join.node), tuple(names)))
    return tuple(found)


def join_waits(look: Look) -> Iterator[Waiting]:
    """Yield, for each join that waits, what it waits for."""
    for join in join_snapshots(look):
        held_by = listed([repr(name) for name in join.holders]) or "the nodes before it"
        text = f"{join.node!r} waits: it starts when {held_by} can no longer lead to it"
        if join.holders:
            text = f"{join.node!r} waits for {held_by}, which may still lead to it"
        yield Waiting(join.node, "join", 1, held_by, text, dict.fromkeys(join.holders, 1))
