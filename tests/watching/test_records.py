"""What the page keeps of events: bounded, and without secrets."""

import weakref
from itertools import pairwise

import pytest

from kaygraph import Drop
from kaygraph.events import (
    ItemFailed,
    ItemRetried,
    NodeFinished,
    NodeStarted,
    RunFinished,
    RunStarted,
)
from kaygraph.outcome import Status
from kaygraph.watching.records import MOST_FAILURES, MOST_RETRIES, MOST_SPANS, Records


def begun() -> Records:
    records = Records()
    records(RunStarted("Crawl", 100.0))
    return records


def test_spans_are_in_seconds_since_the_run_began() -> None:
    """One that goes on has no end yet."""
    records = begun()
    records(NodeStarted("Fetch", 101.0))
    records(NodeFinished("Fetch", 103.0, 2.0, None, None))
    records(NodeStarted("Fetch", 104.0))
    assert records.activity["Fetch"].spans == [(1.0, 3.0), (4.0, None)]


def test_a_node_that_runs_in_several_places_runs_until_the_last_has_ended() -> None:
    """Rounds and visits at once are one span."""
    records = begun()
    for at in (101.0, 102.0):
        records(NodeStarted("Fetch", at))
    records(NodeFinished("Fetch", 103.0, 2.0, None, None))
    assert records.activity["Fetch"].spans == [(1.0, None)]
    records(NodeFinished("Fetch", 105.0, 3.0, None, None))
    assert records.activity["Fetch"].spans == [(1.0, 5.0)]


@pytest.mark.parametrize("pause", [0.0001, 0.5, 40.0])
def test_a_node_that_runs_again_and_again_has_few_spans(pause: float) -> None:
    """They are joined, and cover all that they did."""
    records = begun()
    at = 100.0
    for _ in range(10_000):
        records(NodeStarted("Fetch", at))
        at += 0.5
        records(NodeFinished("Fetch", at, 0.5, None, None))
        at += pause
    spans = records.activity["Fetch"].spans
    assert len(spans) <= MOST_SPANS
    assert spans[0][0] == 0.0
    assert spans[-1][1] == pytest.approx(at - pause - 100.0, abs=0.01)
    assert all(first[1] <= second[0] for first, second in pairwise(spans))


def test_an_error_that_goes_through_several_nodes_is_one() -> None:
    """With the notes that it has at the end."""
    records = begun()
    error = ValueError("no page")
    records(NodeFinished("Inner/Fetch", 101.0, 1.0, None, error))
    error.add_note("in node 'Fetch' with api_key=abcdef")
    records(NodeFinished("Inner", 101.0, 1.0, None, error))
    records(RunFinished("Crawl", 101.0, 1.0, None, error))
    (shown,) = records.errors()
    assert shown["node"] == "Inner/Fetch"
    assert shown["notes"] == ["in node 'Fetch' with api_key=***"]
    assert records.failed == 1
    assert records.errors(after=shown["number"]) == []


def test_the_last_errors_of_a_flood_are_kept() -> None:
    """The others are counted."""
    records = begun()
    for item in range(10_000):
        error = ValueError(f"item {item}")
        records(ItemFailed("Fetch", 100 + item / 100, item, 0, 1, 0.0, "failed", error))
        records(ItemRetried("Fetch", 100 + item / 100, item, 0, 1, error, 0.5))
    errors = records.errors()
    assert records.failed == 10_000
    assert len(errors) == MOST_FAILURES + MOST_RETRIES
    assert {one["item"] for one in errors if "attempt" not in one} >= {9_990}


def test_a_flood_of_errors_within_a_moment_is_not_written_out() -> None:
    """It would cost the run more than it is worth."""

    class CountedError(Exception):
        shown = 0

        def __str__(self) -> str:
            CountedError.shown += 1
            return "no"

    records = begun()
    for item in range(10_000):
        records(ItemFailed("Fetch", 100.0, item, 0, 1, 0.0, "failed", CountedError()))
    assert CountedError.shown <= MOST_FAILURES


@pytest.mark.parametrize(
    ("status", "error"),
    [("skipped", Drop()), ("cancelled", ValueError()), ("skipped", ValueError("no such page"))],
)
def test_an_item_that_is_skipped_for_an_error_is_shown(status: Status, error: Exception) -> None:
    """One that is dropped, or cancelled, is not: nothing has failed."""
    records = begun()
    records(ItemFailed("Fetch", 101.0, 1, 0, 1, 0.0, status, error))
    shown = [one["error"] for one in records.errors()]
    assert shown == (["ValueError: no such page"] if str(error) else [])


def test_no_exception_is_kept() -> None:
    """It would hold what its frames hold."""

    class PageError(Exception):
        """Has a place for weak references, as those that are built in do not."""

    records = begun()
    error = PageError("no page")
    gone = weakref.ref(error)
    records(ItemFailed("Fetch", 101.0, 1, 0, 1, 0.0, "failed", error))
    del error
    assert gone() is None
