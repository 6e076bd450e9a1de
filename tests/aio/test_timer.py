"""One timer for the limits of a task's items and their attempts."""

import asyncio
from math import inf
from typing import Any

import pytest

from kaygraph.aio.timeouts import LIMIT
from kaygraph.aio.timer import Timer
from tests.clock import VIRTUAL

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


def now() -> float:
    return asyncio.get_running_loop().time()


def begin(timer: Timer, attempt: float = inf, whole: float = inf) -> None:
    """Begin with what is to end in so many seconds."""
    timer.attempt, timer.whole = now() + attempt, now() + whole
    timer.arm()


async def cut_short() -> asyncio.CancelledError:
    """Wait until the task is cancelled, and return its cancellation."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError as error:
        return error
    raise AssertionError


async def test_it_stays_armed_from_one_item_to_the_next() -> None:
    """It rings for the first item, which has ended, and then when the second is to end."""
    timer, started = Timer(), now()
    begin(timer, attempt=5)
    await asyncio.sleep(1)
    timer.attempt = inf
    begin(timer, attempt=5)
    assert timer.at == started + 5
    error = await cut_short()
    assert now() == started + 6
    assert timer.end_attempt(error) == (0, error)
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
    timer.close()


async def test_it_rings_for_nothing_where_nothing_has_a_limit() -> None:
    """It is armed no longer, and does not cancel."""
    timer = Timer()
    begin(timer, attempt=5)
    timer.attempt = inf
    await asyncio.sleep(10)
    assert timer.at == inf
    timer.close()


async def test_an_item_has_its_deadline_after_an_attempt_was_late() -> None:
    """It is armed again for what is still to come."""
    timer, started = Timer(), now()
    begin(timer, attempt=2, whole=3)
    assert timer.end_attempt(await cut_short()) is not None
    assert not timer.rung
    error = await cut_short()
    assert now() == started + 3
    assert timer.end_attempt(error) is None  # no attempt was late
    assert timer.end_item(error) == (0, error)
    timer.close()


async def test_where_both_end_at_once_the_item_is_late() -> None:
    """The attempt is cancelled for both, and the cancellation that is left is the item's."""
    timer = Timer()
    begin(timer, attempt=2, whole=2)
    error = await cut_short()
    assert timer.end_attempt(error) is None
    assert timer.end_item(error) == (0, error)
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
    timer.close()


async def test_a_cancellation_from_elsewhere_is_not_taken_for_a_limit() -> None:
    """Also where the limit comes in the same moment."""
    timer, task = Timer(), asyncio.current_task()
    assert task is not None
    begin(timer, attempt=2)
    asyncio.get_running_loop().call_later(2, task.cancel)
    error = await cut_short()
    assert timer.end_attempt(error) is None
    assert task.cancelling() == 1
    task.uncancel()
    timer.close()


async def test_what_returns_late_does_not_count() -> None:
    """Also where it has swallowed its cancellation."""
    timer = Timer()
    begin(timer, attempt=2)
    await cut_short()
    await asyncio.sleep(1)
    assert timer.end_attempt(None) == (1, None)
    timer.close()


async def test_what_fails_late_by_itself_counts() -> None:
    """It was not cancelled, so its error is its own; one that follows a cancellation is not."""
    timer, error = Timer(), ValueError()
    begin(timer, attempt=2)
    assert timer.end_attempt(error) is None
    begin(timer, attempt=2)
    await cut_short()
    assert timer.end_attempt(error) == (0, error)
    timer.close()


async def test_it_stands_still_while_it_is_held() -> None:
    """What was left then is left afterwards."""
    timer, started = Timer(), now()
    begin(timer, attempt=2, whole=3)
    await asyncio.sleep(1)
    left = timer.hold()
    await asyncio.sleep(10)
    timer.go_on(left)
    assert timer.end_attempt(await cut_short()) is not None
    assert now() == started + 12
    assert timer.end_item(await cut_short()) is not None
    assert now() == started + 13
    timer.close()


async def test_a_closed_timer_leaves_nothing() -> None:
    """It does not ring, and what holds here is what held before."""
    timer = Timer("x", timeout=2, deadline=3)
    begin(timer, attempt=2, whole=3)
    assert LIMIT.get().first.setting == "timeout"
    timer.attempt = inf
    assert LIMIT.get().first == (now() + 3, 3, "deadline", "x")
    timer.close()
    assert LIMIT.get().first.setting == ""
    await asyncio.sleep(10)
