"""assert_accounted(): items that were lost or counted twice are told with the figures."""

from contextlib import suppress
from typing import Any

import pytest

from kaygraph import (
    CircuitBreaker,
    Event,
    Graph,
    ItemFailed,
    ItemFinished,
    ItemStarted,
    ParallelBatchNode,
    RunReport,
)
from kaygraph.testing import Faults, assert_accounted, explore, simulate
from tests.testing.graphs import SHAPES, Work


def started(item: int) -> Event:
    return ItemStarted("Work", 0.0, item, 0)


def finished(item: int) -> Event:
    return ItemFinished("Work", 1.0, item, 0, 1, 1.0)


def failed(item: int, attempts: int = 1, status: Any = "failed") -> Event:
    return ItemFailed("Work", 1.0, item, 0, attempts, 1.0, status, ValueError())


def reported(events: list[Event]) -> RunReport:
    report = RunReport()
    for event in events:
        report(event)
    return report


def finished_by_fallback(item: int) -> Event:
    return ItemFinished("Work", 1.0, item, 0, 0, 0.0)


GOOD = [started(0), started(1), finished(1), failed(0), failed(2, 0, "cancelled")]


def test_a_run_that_lost_nothing_passes() -> None:
    """As a report and as events; an item that was cancelled before it began is one."""
    assert_accounted(GOOD)
    assert_accounted(reported(GOOD))
    assert_accounted(iter(GOOD))
    assert_accounted([])


@pytest.mark.parametrize("make", SHAPES, ids=lambda make: make.__name__)
def test_every_shape_is_accounted_for(make: Any) -> None:
    """Whether it ends well or not."""
    for seed in range(5):
        report, events = RunReport(), list[Event]()
        graph = Faults(fail=0.2, delay=(0, 2)).wrap(make())
        with suppress(Exception):  # one of the faults, or the shape's own
            simulate(graph, seed=seed, observers=[report, events.append])
        assert events
        assert_accounted(report)
        assert_accounted(events)


def test_a_fallback_may_stand_for_an_item_that_was_never_begun() -> None:
    """Its breaker was open, say: it has ended well, and nobody has to hear of a mistake."""

    class Guarded(ParallelBatchNode[int, int]):
        def prep(self, _: Any) -> range:
            return range(3)

        async def exec(self, item: int) -> int:
            raise OSError

        def exec_fallback(self, item: int, _: Exception) -> int:
            return -item

    assert_accounted([*GOOD, finished_by_fallback(3)])
    assert_accounted(reported([*GOOD, finished_by_fallback(3)]))
    node = Guarded(breaker=CircuitBreaker(failures=1), max_workers=1)
    found = explore(node, seeds=3)
    assert not found, str(found)


def test_an_item_that_has_not_ended_is_told_of() -> None:
    """By name and number, with what is in flight and the figures of its node."""
    with pytest.raises(AssertionError) as caught:
        assert_accounted([*GOOD, started(7)])
    text = str(caught.value)
    assert "item 7 of 'Work' was begun and has not ended" in text
    assert "4 items submitted, 3 ended" in text
    assert "Work: 1 in flight" in text
    assert "Work: 1 ok, 1 failed, 0 skipped, 1 cancelled, 0 timed_out" in text
    assert "all nodes: 1 ok, 1 failed" in text


def test_a_report_with_items_in_flight_is_refused() -> None:
    """The figures alone tell."""
    with pytest.raises(AssertionError, match="4 items submitted, 3 ended"):
        assert_accounted(reported([*GOOD, started(7)]))


def test_an_item_that_ended_twice_is_told_of() -> None:
    """Even where another has not, so that the sums are right."""
    with pytest.raises(AssertionError, match="item 1 of 'Work' ended without having begun"):
        assert_accounted([*GOOD, finished(1)])
    with pytest.raises(AssertionError, match="item 1 of 'Work' ended without having begun"):
        assert_accounted([*GOOD, started(7), finished(1)])
    with pytest.raises(AssertionError, match="3 items submitted, 4 ended"):
        assert_accounted(reported([*GOOD, finished(1)]))


def test_the_same_number_may_run_again() -> None:
    """A node in a loop, or in rounds that run at once, has an item 0 each time."""
    assert_accounted([started(0), started(0), finished(0), failed(0), started(0), finished(0)])
    with pytest.raises(AssertionError, match="item 0"):
        assert_accounted([started(0), started(0), finished(0)])


def test_the_events_of_a_simulation_are_accounted_for() -> None:
    """What a simulation kept is as good as what an observer heard."""
    run = simulate(Graph(Work()))
    assert_accounted(run.events)
    assert_accounted(run.report)
    with pytest.raises(AssertionError, match="in flight"):
        assert_accounted(run.events[:-4])
