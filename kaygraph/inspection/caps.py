"""Who holds the permits of a run."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ..batch.fan_out import FanOut
from ..limits.permits import KeyedPermits, KeyPermits, Permits
from ..limits.rate import RateClaim
from ..snapshot import CapSnapshot, RateSnapshot
from .looking import Look, Seen
from .words import key_text

MOST_KEYS = 20  # of which those with the longest queues are shown


class Caps:
    """The permits of a run: their owners, and who holds them and waits for them.

    Attributes:
        holders: How many permits each node holds, by permits; ``items``: for which items.
        waiting: The waiting ones, by what they wait for.
    """

    def __init__(self, look: Look) -> None:
        self._look = look
        self.holders: dict[Any, Counter[str]] = {}
        self.items: dict[Any, list[int]] = {}
        self.waiting: dict[Any, list[tuple[Seen, int]]] = {}
        counted: set[int] = set()
        for seen in look.seen:
            slot = seen.slot
            if slot is not None and id(slot) not in counted:
                counted.add(id(slot))
                for cap in slot.held:
                    self.holders.setdefault(cap, Counter())[seen.node] += 1
                    self.items.setdefault(cap, []).append(slot.index)
            waiter = seen.at.local("waiter") if seen.kind == "permit" and seen.at else None
            if waiter is not None:
                self.waiting.setdefault(waiter.obstacle, []).append((seen, _in_line(seen)))
        self.owners = self._owners()

    def _owners(self) -> dict[Any, str]:
        owners: dict[Any, str] = {}
        for run in self._look.root.outermost.with_joined():
            for owner, cap in run.caps.items():
                node = owner[0] if type(owner) is tuple else owner
                name = self._look.names.get(node, getattr(node, "name", ""))
                is_graph = getattr(node, "composition", None) is not None
                is_graph = is_graph and node.composition.kind == "graph"
                label = f"{type(node).__name__} {name!r}" if is_graph else repr(name)
                owners[cap] = label
        return owners

    def owner_of(self, cap: Any) -> str:
        """Return the owner of these permits, as text."""
        if isinstance(cap, KeyPermits):
            for known, label in self.owners.items():
                if isinstance(known, KeyedPermits) and known.known.get(cap.key) is cap:
                    return label
        return self.owners.get(cap, "a node")

    def holders_of(self, cap: Any) -> Mapping[str, int]:
        """Return how many permits each node holds."""
        return self.holders.get(cap, Counter())

    def snapshots(self, shows: bool) -> tuple[CapSnapshot, ...]:
        """Return the permits of nodes and graphs, and those of keys with waiters."""
        found: list[CapSnapshot] = []
        for cap, owner in self.owners.items():
            if isinstance(cap, Permits):
                found.append(self._snapshot(cap, owner))
                continue
            keys = [one for one in list(cap.known.values()) if one.waiting]
            keys.sort(key=lambda one: -len(one.waiting))
            for one in keys[:MOST_KEYS]:
                found.append(self._snapshot(one, owner, key_text(one.key, shows)))
        return tuple(found)

    def _snapshot(self, cap: Permits, owner: str, key: str | None = None) -> CapSnapshot:
        waiting = sum(number for _, number in self.waiting.get(cap, ()))
        holders = dict(self.holders_of(cap))
        return CapSnapshot(owner, cap.size, cap.size - cap.free, waiting, key, holders)

    def rates(self) -> tuple[RateSnapshot, ...]:
        """Return the rates with waiters."""
        found: dict[tuple[str, int], RateSnapshot] = {}
        for claim, waiting in self.waiting.items():
            if not isinstance(claim, RateClaim):
                continue
            rate, node = claim.rate, waiting[0][0].node
            number = sum(number for _, number in waiting)
            before = found.get((node, id(rate)))
            left = claim.seconds_left()
            if before is not None:
                number += before.waiting
                left = min(left, before.seconds_left or 0.0)
            found[node, id(rate)] = RateSnapshot(
                node, rate.calls, rate.per, claim.used(), number, left
            )
        return tuple(found.values())


def _in_line(seen: Seen) -> int:
    """Return for how many workers without an item one of them queues, as far as known."""
    slot, batch = seen.slot, seen.owner
    if slot is None or not slot.stands_by or not isinstance(batch, FanOut) or batch.pool is None:
        return 1
    known = batch.failures.known
    return max(1, min(batch.pool.in_line, known - batch.pulled if known else batch.pool.in_line))
