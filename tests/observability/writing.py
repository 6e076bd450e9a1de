"""What the tests of conflicts share: nodes that write to ``shared``, and runs that collect reports.

A report is a tuple of names, sorted, and the key: ``("a", "b", "k")``, or ``("a", "k")`` when a
node runs in parallel with itself.
"""

import asyncio
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from kaygraph import AsyncNode, BaseNode, WriteConflictWarning
from kaygraph.testing import simulate

SEEDS = 8

Report = tuple[str, ...]
MESSAGE = re.compile(
    r"(?:nodes '(?P<one>[^']+)' and '(?P<other>[^']+)'|node '(?P<same>[^']+)', twice at once,)"
    r" run in parallel branches and both write shared\['(?P<key>\w+)'\]"
)


class Writer(AsyncNode):
    """A node that writes a new object under each of its keys.

    Args:
        name: The node's name.
        keys: What it writes.
        at: When: in "prep", "prep_late" (after prep has waited), "post" or "post_late".
        pauses: How many turns each hook gives away.
        fails: Whether ``post`` raises a ValueError after everything else.
        action: What ``post`` returns, or a function of the shared store that says so.
    """

    def __init__(
        self,
        name: str,
        *keys: str,
        at: str = "post",
        pauses: int = 1,
        fails: bool = False,
        action: str | Callable[[Any], str | None] | None = None,
    ) -> None:
        super().__init__(name=name)
        self.keys, self.at, self.pauses = keys, at, pauses
        self.fails, self.action = fails, action

    async def prep(self, shared: Any) -> None:
        self.write(shared, "prep")
        await give_turns(self.pauses)
        self.write(shared, "prep_late")

    async def exec(self, _: Any) -> None:
        await give_turns(self.pauses)

    async def post(self, shared: Any, *_: Any) -> str | None:
        self.write(shared, "post")
        await give_turns(self.pauses)
        self.write(shared, "post_late")
        if self.fails:
            raise ValueError(self.name)
        return self.action(shared) if callable(self.action) else self.action

    def write(self, shared: Any, moment: str) -> None:
        for key in self.keys if moment == self.at else ():
            if isinstance(shared, dict):
                shared[key] = object()
            else:
                setattr(shared, key, object())


async def give_turns(turns: int) -> None:
    """Let the others go on, so many times."""
    for _ in range(turns):
        await asyncio.sleep(0)


def once(action: str, key: str = "rounds") -> Callable[[Any], str | None]:
    """Return what says an action the first time, and None from then on."""

    def decide(shared: Any) -> str | None:
        shared[key].append(action)
        return action if len(shared[key]) == 1 else None

    return decide


def reports_of(
    graph: BaseNode[Any, Any],
    shared: Mapping[str, Any] | Callable[[], Any] = {},  # noqa: B006 - it is only read
    *,
    seed: int = 0,
    watched: bool = False,
) -> list[Report]:
    """Run a graph in the order that a seed decides; return what is reported, in order."""
    store = shared() if callable(shared) else {**shared, "rounds": []}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        simulate(graph, store, seed=seed, watched=watched)
    return [read(one.message) for one in caught if one.category is WriteConflictWarning]


def read(message: Any) -> Report:
    """Return what a warning or an error says."""
    found = MESSAGE.match(str(message))
    assert found is not None, message
    names = sorted(name for name in (found["one"], found["other"], found["same"]) if name)
    return (*names, found["key"])


def conflicts(
    graph: BaseNode[Any, Any],
    shared: Mapping[str, Any] | Callable[[], Any] = {},  # noqa: B006 - it is only read
    *,
    seeds: int = SEEDS,
) -> set[Report]:
    """Return what is reported, once each and whatever the order, with observers and without."""
    runs = _runs(graph, shared, seeds)
    first = set(runs[0][0])
    for reports, seed, watched in runs:
        assert set(reports) == first, f"{seed=} {watched=}: {reports}, and {first} at first"
        assert len(reports) == len(first), f"{seed=} {watched=}: {reports} are reported twice"
    return first


def conflicts_in_any_order(graph: BaseNode[Any, Any], *, seeds: int = SEEDS) -> set[Report]:
    """Return what is reported in some orders: in others, nodes are cancelled before they write."""
    return {report for reports, _, _ in _runs(graph, {}, seeds) for report in reports}


def _runs(
    graph: BaseNode[Any, Any], shared: Mapping[str, Any] | Callable[[], Any], seeds: int
) -> list[tuple[list[Report], int, bool]]:
    return [
        (reports_of(graph, shared, seed=seed, watched=watched), seed, watched)
        for seed in range(seeds)
        for watched in (False, True)
    ]
