"""G5: a node that cooperates ends exactly at its time limit; one that blocks is reported."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from kaygraph import (
    AttemptTimeoutError,
    DeadlineExceededError,
    ItemFailed,
    ItemFinished,
    Node,
)
from kaygraph.testing import simulate
from tests.guarantees.failures import leaves
from tests.guarantees.figures import cases, tell
from tests.guarantees.timed import Timed

CASES, SOAK_CASES = 5_000, 95_000
BLOCKING_CASES = 500  # of each limit


def check(seed: int) -> Timed:
    """Run a case and compare all ends with the oracle."""
    timed = Timed(seed)
    ended: list[tuple[float, BaseException | None]] = []

    async def main(shared: Any) -> None:
        loop, error = asyncio.get_running_loop(), None
        try:
            await timed.graph.run_async(shared, deadline=timed.deadline)
        except Exception as failure:
            error = failure
        ended.append((loop.time(), error))

    run = simulate(main, {}, seed=seed, order="turns", jitter=0)
    assert not run.left
    (at, error), expected = ended[0], timed.ended
    assert at == expected.at, (at, expected, error)
    assert (error is None) == (expected.error is None), (error, expected)
    if error is not None and expected.error is not None:
        assert any(expected.error in str(leaf) for leaf in leaves(error)), (error, expected)
    for event in run.events:
        key = (event.node.split("/")[-1], getattr(event, "item", -1))
        if key in timed.items and (
            isinstance(event, ItemFinished)
            or (isinstance(event, ItemFailed) and event.status != "cancelled")
        ):
            assert event.at in timed.items[key], (event, timed.items[key])
    return timed


@pytest.mark.parametrize("seeds", cases(CASES, size=1_000, soak=SOAK_CASES))
def test_what_cooperates_ends_exactly_at_its_time_limit(
    seeds: range, tally: Callable[[str, int], None]
) -> None:
    """timeout, deadline, batch_deadline, a graph's and a run's: not a moment later, nor earlier."""
    counts: Counter[str] = Counter()
    for seed in seeds:
        try:
            timed = check(seed)
        except BaseException as error:
            error.add_note(f"check({seed}) repeats this")
            raise
        counts["cases"] += 1
        counts["runs ended by a limit"] += "ran longer" in (timed.ended.error or "")
        for kind in timed.limits:
            counts[f"limits: {kind}"] += 1
    tell(tally, "G5", counts, counts["cases"])


class Blocks(Node[Any, Any]):
    """Cannot be stopped before it is done."""

    seconds = 0.0

    def exec(self, _: Any) -> None:
        time.sleep(self.seconds)


@pytest.mark.parametrize("seeds", cases(BLOCKING_CASES, size=500))
@pytest.mark.parametrize("setting", ["timeout", "deadline"])
def test_what_blocks_ends_when_it_is_done_and_is_reported(
    setting: str, seeds: range, tally: Callable[[str, int], None]
) -> None:
    """The error says by how much a thread ran over; one that was in time is not touched."""
    for seed in seeds:
        random = Random(seed)
        node = Blocks(**{setting: random.randint(1, 16) / 4})  # type: ignore[arg-type]
        node.seconds = random.randint(1, 32) / 4 + 0.125
        limit = getattr(node, setting)
        error = None
        clock: list[float] = []

        async def main(shared: Any, node: Blocks = node, clock: list[float] = clock) -> None:
            try:
                await node.run_async(shared)
            finally:
                clock.append(asyncio.get_running_loop().time())

        try:
            simulate(main, {}, seed=seed, order="turns", jitter=0)
        except AttemptTimeoutError as failure:
            error = failure
        assert clock == [node.seconds], seed
        assert (error is not None) == (node.seconds > limit), seed
        if error is not None:
            kind = AttemptTimeoutError if setting == "timeout" else DeadlineExceededError
            assert type(error) is kind
            over = node.seconds - limit
            assert f"it cannot be stopped, and ended {over:.2f} s after it" in str(error), seed
    tally("G5 nodes that block", len(seeds))
