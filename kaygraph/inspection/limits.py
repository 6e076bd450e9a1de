"""The circuit breakers of the nodes that a run may call."""

from collections.abc import Iterator
from typing import Any

from ..limits.breaker import CircuitBreaker
from ..snapshot import BreakerSnapshot, Waiting
from .looking import Look
from .words import seconds_text


def _breakers(look: Look) -> Iterator[tuple[str, CircuitBreaker]]:
    for node, name in look.names.items():
        breaker: Any = getattr(node, "breaker", None)
        if isinstance(breaker, CircuitBreaker):
            yield name, breaker


def breaker_snapshots(look: Look) -> tuple[BreakerSnapshot, ...]:
    """Return the breakers of the nodes of the graphs that run."""
    found = []
    for node, breaker in _breakers(look):
        state, reason, left = breaker.status()
        found.append(BreakerSnapshot(node, breaker.name, state, reason, left))
    return tuple(found)


def breaker_waits(look: Look) -> Iterator[Waiting]:
    """Yield, for each breaker that refuses calls, until when it does."""
    for one in breaker_snapshots(look):
        if one.state == "closed":
            continue
        what = "its circuit breaker" if one.name is None else f"circuit breaker {one.name!r}"
        if one.state == "half_open":
            text = f"{one.node!r}: {what} is half open: one call checks whether it works again"
        else:
            left = one.seconds_left or 0.0
            when = f"in {seconds_text(left)}" if left else "now"
            text = (
                f"{one.node!r}: {what} is open after {one.reason}, and refuses calls; the next one "
                f"is admitted {when}"
            )
        count = sum(seen.node == one.node and seen.has_item for seen in look.seen)
        yield Waiting(one.node, "breaker", count, what, text, seconds_left=one.seconds_left)
