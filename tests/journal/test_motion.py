"""Whether a run can continue: what is in flight, and what stands still inside it."""

import asyncio
from collections.abc import Callable

import pytest

from kaygraph.journal.motion import Motion
from kaygraph.journal.position import Position

pytestmark = pytest.mark.anyio


async def motion_of(quiet: Callable[[], float | None]) -> Motion:
    return Motion(lambda: True, quiet)


async def test_a_batch_moves_as_long_as_one_of_its_calls_does() -> None:
    """It stands still when everything in flight waits, and moves when one call continues."""
    motion = await motion_of(lambda: None)
    batch = Position("batch", "batch")
    calls = [batch.item(b"1"), batch.item(b"2")]
    for one in (batch, *calls):
        motion.begin(one)
    assert motion.moving == 3
    motion.stop(calls[0])
    assert motion.moving == 1  # the other call: the batch waits for the first
    motion.stop(calls[1])
    assert motion.moving == 0
    motion.go_on(calls[0])
    assert motion.moving == 1
    motion.go_on(calls[1])
    assert motion.moving == 3
    for one in (*calls, batch):
        motion.end(one)
    assert motion.moving == 0
    motion.close()


async def test_what_ends_while_it_stands_still_is_counted_once() -> None:
    """As a cancelled wait does, whichever of the two is notified first."""
    motion = await motion_of(lambda: None)
    call = Position("node", "node").inside()
    motion.begin(call)
    motion.stop(call)
    motion.end(call)
    motion.go_on(call)
    assert motion.moving == 0
    motion.close()


async def test_it_reports_when_nothing_moves_and_looks_again_when_asked() -> None:
    """After a few turns of the loop without a change."""
    is_quiet = asyncio.Event()
    answers: list[float | None] = [None, 0.0]

    def quiet() -> float | None:
        answer = answers.pop()
        if not answers:
            is_quiet.set()
        return answer

    motion = await motion_of(quiet)
    node = Position("node", "node")
    motion.begin(node)
    motion.stop(node)
    await is_quiet.wait()
    assert answers == []
    motion.close()


async def test_it_does_not_tell_while_something_moves() -> None:
    """What has begun since is noticed before it would report, even during a check."""
    quiet: list[bool] = []
    motion = await motion_of(lambda: quiet.append(True))
    waits, works = Position("a", "a"), Position("b", "b")
    motion.begin(waits)
    motion.stop(waits)
    motion.begin(works)
    await asyncio.sleep(0.1)
    assert quiet == []
    motion.end(works)
    motion.begin(works)
    await asyncio.sleep(0.1)
    assert quiet == []
    motion.close()


async def test_a_closed_one_reports_nothing() -> None:
    """A finished run leaves no timer behind."""
    motion = await motion_of(lambda: pytest.fail("it reported"))
    node = Position("a", "a")
    motion.begin(node)
    motion.stop(node)
    motion.close()
    motion.go_on(node)
    motion.stop(node)
    await asyncio.sleep(0.1)
