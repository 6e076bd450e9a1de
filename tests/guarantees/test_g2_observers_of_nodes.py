"""G2, for observers without events of good items: a batch's counts add up, and are complete."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from kaygraph import BatchFinished, ItemFailed
from tests.clock import run_virtually
from tests.guarantees.figures import cases, tell
from tests.guarantees.scenarios import Scenario

SEEDS, SOAK_SEEDS = 3_000, 20_000


class Watched:
    """A random run whose observer wants no items, or wants them."""

    def __init__(self, scenario: Scenario, items: bool) -> None:
        self.scenario, self.items = scenario, items
        self.events: list[Any] = []
        self.error: BaseException | None = None
        run_virtually(self.main())

    def __call__(self, event: Any, /) -> None:
        self.events.append(event)
        if self.scenario.cut == "cancel" and len(self.events) == self.scenario.at:
            asyncio.get_running_loop().call_soon(self.run.cancel)

    async def main(self) -> None:
        loop, scenario = asyncio.get_running_loop(), self.scenario
        scenario.play.loop = loop
        self.run = scenario.graph.launch({}, observers=[self])
        calls = {"timer": self.run.cancel, "drain": self.run.drain}
        call = calls.get(str(scenario.cut))
        timer = None if call is None else loop.call_later(scenario.at, call)
        try:
            await self.run
        except (Exception, asyncio.CancelledError) as error:
            self.error = error
        if timer is not None:
            timer.cancel()

    def failures(self) -> Counter[tuple[Any, ...]]:
        return Counter(
            (event.node, event.item, event.status, event.attempts)
            for event in self.events
            if isinstance(event, ItemFailed)
        )

    def check(self) -> int:
        """Compare the counts of batches with the events of their items; return their number."""
        batches: dict[str, Counter[str]] = {}
        for event in self.events:
            if isinstance(event, BatchFinished) and "rounds" not in event.node.split("/")[-1]:
                counts = event.failed, event.skipped, event.cancelled
                assert event.items == event.ok + sum(counts)
                assert min(event.ok, *counts) >= 0
                names = ("failed", "skipped", "cancelled")
                batches.setdefault(event.node, Counter()).update(
                    dict(zip(names, counts, strict=True))
                )
        for name, expected in batches.items():
            counted: Counter[str] = Counter()
            for (node, _, status, _), number in self.failures().items():
                if node == name:
                    counted["failed" if status == "timed_out" else status] += number
            assert +expected == counted, name
        return len(batches)


@pytest.mark.parametrize("seeds", cases(SEEDS, size=500, soak=SOAK_SEEDS))
def test_batches_account_for_their_items_without_item_events(
    seeds: range, tally: Callable[[str, int], None]
) -> None:
    """Failures are reported once, even of directly awaited items, however the run ends."""
    counts: Counter[str] = Counter()
    for seed in seeds:
        scenario = Scenario(seed)
        if scenario.play.blocks:  # a virtual clock does not wait for threads
            continue
        try:
            quiet = Watched(scenario, items=False)
            counts["batches"] += quiet.check()
            if quiet.error is None and scenario.cut is None:
                assert quiet.failures() == Watched(Scenario(seed), items=True).failures()
                counts["runs compared with one whose items are observed"] += 1
        except BaseException as error:
            error.add_note(f"Watched(Scenario({seed}), items=False).check() repeats this")
            raise
        counts["seeds"] += 1
    tell(tally, "G2 of nodes", counts, counts["seeds"])
