"""What happens to a batch when items fail: raise, collect, skip, so many of them."""

import asyncio
from typing import Any

import pytest

from kaygraph import (
    Outcome,
    TooManyFailuresError,
)
from tests.batch.batches import Batch, results_of
from tests.clock import VIRTUAL

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


async def test_raise_is_the_default() -> None:
    """The first failure cancels the others and is raised."""
    with pytest.raises(ValueError, match="-1"):
        await results_of([1, -1, 2])


async def test_collect_puts_an_outcome_in_the_items_place() -> None:
    """The Outcome says what, where, how often and why."""
    first, failed, last = await results_of([1, -1, 2], on_error="collect", max_retries=2)
    assert (first, last) == (10, 20)
    assert isinstance(failed, Outcome)
    assert (failed.name, failed.index, failed.item) == ("Batch", 1, -1)
    assert (failed.status, failed.attempts, failed.ok) == ("failed", 2, False)
    assert isinstance(failed.error, ValueError)
    assert failed.seconds == pytest.approx(22)


async def test_skip_leaves_failed_items_out() -> None:
    """The results that are there stay in order."""
    assert await results_of([3, -1, 2, -2, 1], on_error="skip") == [30, 20, 10]


@pytest.mark.parametrize("on_error", ["raise", "collect", "skip", 1, 0.5])
@pytest.mark.parametrize("ordered", [True, False])
async def test_a_dropped_item_is_left_out_whatever_on_error_says(
    on_error: Any, ordered: bool
) -> None:
    """Drop is not a failure."""
    results = await results_of([1, 0, 2, 0], on_error=on_error, ordered=ordered)
    assert sorted(results) == [10, 20]


@pytest.mark.parametrize(("on_error", "tolerated"), [(1, 1), (3, 3), (0.25, 2), (0.5, 4), (0.3, 2)])
@pytest.mark.parametrize("known", [True, False])
async def test_a_number_or_share_of_failures_is_tolerated(
    on_error: Any, tolerated: int, known: bool
) -> None:
    """Up to the number, or the share of eight items: outcomes; one more: TooManyFailuresError."""
    items = [-1] * tolerated + [1] * (8 - tolerated)
    results = await results_of(items if known else iter(items), on_error=on_error)
    assert [isinstance(result, Outcome) for result in results] == [item < 0 for item in items]

    items = [-1] * (tolerated + 1) + [1] * (7 - tolerated)
    with pytest.raises(TooManyFailuresError, match=f"on_error={on_error}") as caught:
        await results_of(items if known else iter(items), on_error=on_error, max_workers=1)
    assert len(caught.value.exceptions) == tolerated + 1
    assert all(isinstance(error, ValueError) for error in caught.value.exceptions)


@pytest.mark.parametrize(("on_error", "tolerated"), [(0.29, 29), (0.07, 7), (0.57, 57)])
@pytest.mark.parametrize("known", [True, False])
async def test_a_share_is_exact(on_error: float, tolerated: int, known: bool) -> None:
    """29 of 100 are a share of 0.29, although 0.29 * 100 is less than 29 in floating point."""
    items = [1] * (100 - tolerated) + [-1] * tolerated
    assert len(await results_of(items if known else iter(items), on_error=on_error)) == 100
    with pytest.raises(TooManyFailuresError):
        await results_of([-1, *items[1:]] if known else iter([-1, *items[1:]]), on_error=on_error)


async def test_too_many_failures_at_once_are_one_error_that_keeps_each_once() -> None:
    """Several workers that fail in the same step do not give a group of groups."""

    class AllFail(Batch):
        async def exec(self, item: int) -> None:
            await asyncio.sleep(1)
            raise ValueError(item)

    with pytest.raises(TooManyFailuresError) as caught:
        await AllFail(on_error=2, max_workers=6).run_async({"items": range(6)})
    items = [error.args[0] for error in caught.value.exceptions]
    assert len(items) == len(set(items)) > 2


async def test_too_many_failures_cancel_the_other_items() -> None:
    """Nothing runs on once the number is passed."""

    class Counts(Batch):
        async def exec(self, item: int) -> int:
            try:
                return await super().exec(item)
            finally:
                ended.append(item)

    ended: list[int] = []
    with pytest.raises(TooManyFailuresError):
        await Counts(on_error=1, max_workers=3).run_async({"items": [-1, -1, -500, 1, 2, 3]})
    assert sorted(ended)[0] == -500
    assert asyncio.get_running_loop().time() < 500


async def test_skipped_items_do_not_count_as_failures() -> None:
    """A Drop is not held against the number that is tolerated."""
    assert len(await results_of([0, 0, 0, -1, 1], on_error=1)) == 2


@pytest.mark.parametrize("value", ["ignore", 0, -1, True, 1.0, 0.0, 1.5, None, "RAISE"])
def test_an_on_error_that_means_nothing_is_refused(value: Any) -> None:
    """A ValueError at construction that lists what it may be."""
    with pytest.raises(ValueError, match="on_error must be 'raise', 'collect', 'skip'"):
        Batch(on_error=value)
