"""G2, G3, G4: items are accounted for, results are in order, and no cap is exceeded or leaked.

One random run shows all three: see ``scenarios.py`` for what it is made of.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from kaygraph import (
    AttemptTimeoutError,
    DeadlineExceededError,
    Event,
    ItemFailed,
    ItemFinished,
    Outcome,
)
from kaygraph.testing import assert_accounted, simulate
from kaygraph.testing.simulation import Simulation
from kaygraph.types import RunTask, StageReport
from tests.guarantees.failures import leaves
from tests.guarantees.figures import cases, tell
from tests.guarantees.leaves import plain
from tests.guarantees.scenarios import Scenario

SEEDS, SOAK_SEEDS = 20_000, 80_000


class Played:
    """A scenario that was run to its end."""

    def __init__(self, seed: int) -> None:
        self.scenario = Scenario(seed)
        self.error: BaseException | None = None
        self.cut = False  # whether something has ended it early
        self.count = 0
        self.launched: RunTask | None = None
        self.run: Simulation = simulate(
            self.main, {}, seed=seed, observers=[self.observe], order="turns", jitter=0
        )

    async def main(self, shared: Any) -> None:
        scenario, loop = self.scenario, asyncio.get_running_loop()
        scenario.play.loop = loop
        run = scenario.graph.launch(shared)
        self.launched = run
        timer = None
        if scenario.cut in ("timer", "drain"):
            call = self.cancel if scenario.cut == "timer" else lambda: self.drain(run)
            timer = loop.call_later(scenario.at, call)
        try:
            await run
        except (Exception, asyncio.CancelledError) as error:
            self.error = error
        if timer is not None:
            timer.cancel()

    def cancel(self) -> None:
        assert self.launched is not None
        self.cut = self.cut or not self.launched.done()
        self.launched.cancel()

    def drain(self, run: RunTask) -> None:
        self.cut = not run.done()
        run.drain()

    def observe(self, _: Event) -> None:
        self.count += 1
        if self.scenario.cut == "cancel" and self.count == self.scenario.at:
            asyncio.get_running_loop().call_soon(self.cancel)

    # --- what must hold -------------------------------------------------------------------------

    def check(self) -> None:
        play = self.scenario.play
        assert not self.run.left
        assert not play.broken
        assert not [count.name for count in play.counts if count.now]
        if play.blocks:
            assert not [count.name for count in play.counts if count.busiest() > count.limit]
        assert not [rounds.name for rounds in play.rounds if rounds.running]
        for rate in play.rates:
            assert rate.busiest() <= rate.calls, rate.log
        self.check_end()
        self.check_results()
        self.check_items()

    def check_end(self) -> None:
        """The run has ended as the oracle says, or because it was cut."""
        scenario, error = self.scenario, self.error
        if isinstance(error, asyncio.CancelledError):
            assert self.cut
            assert scenario.cut in ("cancel", "timer")
        elif error is not None:
            for leaf in leaves(error):
                assert self.is_known(leaf), leaf
        if not self.is_cut:
            assert (error is not None) == scenario.expected.fails
        if self.cut and scenario.cut in ("cancel", "timer"):
            assert error is not None

    @property
    def is_cut(self) -> bool:
        return self.cut or self.scenario.cut == "deadline"

    def is_known(self, error: BaseException) -> bool:
        """Whether the oracle knows of this failure, and the error says where it happened."""
        if isinstance(error, DeadlineExceededError):
            return self.scenario.cut == "deadline"
        note = next(note for note in error.__notes__ if note.startswith("in node "))
        name = note.split("'")[1].split("/")[-1]
        item = re.search(r", item \d+ \((-?\d+)\)", note)  # a node that is no batch has one: 1
        known = (int(item[1]) if item else 1) in self.scenario.bad.get(name, ())
        return known and isinstance(error, ValueError | AttemptTimeoutError)

    def check_results(self) -> None:
        """What was handed to ``post`` is what the oracle says, in the order of the input."""
        scenario, posted = self.scenario, self.scenario.play.posted
        for place, result in posted.items():
            if isinstance(result, StageReport):
                if not self.is_cut:
                    figures = (result.items, result.ok, result.failed, result.skipped)
                    assert figures == scenario.play.reports[place], place
                continue
            expected, ordered = scenario.results[place]
            if place[0].startswith("rounds"):
                result = [("failed", o.index) if isinstance(o, Outcome) else o for o in result]
                if scenario.cut == "deadline":
                    continue
            elif isinstance(result, list):
                result = [plain(value) for value in result]
            if self.cut and scenario.cut == "drain" and isinstance(result, list):
                if ordered:
                    assert result == expected[: len(result)], place
                else:
                    assert not Counter(result) - Counter(expected), place
            elif ordered:
                assert result == expected, place
            else:
                assert Counter(result) == Counter(expected), place
        if self.error is None and not self.is_cut:
            assert scenario.expected.done <= posted.keys()

    def check_items(self) -> None:
        """Each item has ended exactly once, as the oracle says, or as cancelled."""
        scenario, events = self.scenario, self.run.events
        assert_accounted(events)
        ended: dict[str, Counter[tuple[str, int]]] = {}
        for event in events:
            name = event.node.split("/")[-1]
            if isinstance(event, ItemFinished):
                ended.setdefault(name, Counter())["ok", event.attempts] += 1
            elif isinstance(event, ItemFailed) and event.status != "cancelled":
                ended.setdefault(name, Counter())[event.status, event.attempts] += 1
        for name, statuses in ended.items():
            assert not statuses - scenario.statuses[name], name
        for place, calls in scenario.play.calls.items():
            assert calls <= self.most_calls(place), place
        if self.error is None and not self.is_cut:
            done = scenario.expected.done
            unsure = {place[0] for place in (*scenario.results, *scenario.play.reports)
                      if place not in done}  # fmt: skip
            for name, known in scenario.statuses.items():
                if name not in unsure:
                    assert ended.get(name, Counter()) == known, name
            for place, fate in scenario.play.fates.items():
                if place[:2] in done:
                    assert scenario.play.calls[place] == self.most_calls(place), (place, fate)

    def most_calls(self, place: Any) -> int:
        return self.scenario.play.fates[place].after(self.scenario.attempts[place[0]])[1]


@pytest.mark.parametrize("seeds", cases(SEEDS, size=1_000, soak=SOAK_SEEDS))
def test_items_results_and_caps_are_as_a_serial_oracle_says(
    seeds: range, tally: Callable[[str, int], None]
) -> None:
    """Each item once, results in order, every cap kept at every step and every permit back."""
    counts: Counter[str] = Counter()
    for seed in seeds:
        played = Played(seed)
        try:
            played.check()
        except BaseException as error:
            error.add_note(f"Played({seed}).check() repeats this")
            raise
        play = played.scenario.play
        cancelled = isinstance(played.error, asyncio.CancelledError)
        counts["seeds"] += 1
        counts["runs that failed"] += played.error is not None and not cancelled
        counts["runs that were cancelled"] += cancelled
        counts["runs that were drained"] += played.cut and played.scenario.cut == "drain"
        counts["items"] += sum(played.run.report.items.values())
        counts["calls of exec at which all caps were looked at"] += play.entries
        counts["caps reached"] += sum(count.most == count.limit for count in play.counts)
        counts["nested caps"] += sum(
            sum(count.limit < 10 for count in counts_of) > 1 for counts_of in play.nested
        )
        counts["keys reached"] += sum(
            k.most == k.limit for keys in play.keys for k in keys.values()
        )
        counts["rates reached"] += sum(rate.busiest() == rate.calls for rate in play.rates)
    tell(tally, "G2", counts, counts["seeds"])


@pytest.mark.parametrize("seed", [77_305, 77_935, 79_302, 80_724])
def test_workers_of_a_stage_end_after_an_item_was_retried(seed: int) -> None:
    """In these runs a worker waits for its turn in the order while the last item is retried."""
    Played(seed).check()
