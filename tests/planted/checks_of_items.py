"""The end of items: each ends once, after its own attempts, and keeps its place."""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kaygraph import (
    AttemptTimeoutError,
    Graph,
    ItemFailed,
    ItemFinished,
    Outcome,
    ParallelBatchNode,
)
from kaygraph.testing import Faults, InjectedError, assert_accounted, capture_events
from tests.planted.exploring import assert_holds

ITEM_SEEDS = 150

TIMEOUT_S = 10.0

Steps = Sequence[Any]

# What an attempt may meet. Two of the long ones take longer than one attempt may.
ATTEMPTS: Steps = (
    "ok", "hang", 1.0, 6.0, (0.0, InjectedError), (2.0, InjectedError), (6.0, InjectedError),
)  # fmt: skip


def oracle(steps: Steps, most: int) -> tuple[str, int]:
    """Return how an item ends, and after how many attempts, when it is all that runs."""
    for attempt in range(1, most + 1):
        step = steps[attempt - 1] if attempt <= len(steps) else "ok"
        if step != "hang" and not isinstance(step, tuple):
            return "ok", attempt
    return ("timed_out" if step == "hang" else "failed"), most


class Items(ParallelBatchNode[int, int]):
    """Reads its items from a generator, and counts how many it is ahead."""

    timeout = TIMEOUT_S

    def __init__(self, number: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.number = number
        self.pulled = self.ahead = 0

    def prep(self, shared: dict[str, Any]) -> Iterator[int]:
        for item in range(self.number):
            self.pulled += 1
            ended = sum(isinstance(event, ItemFinished | ItemFailed) for event in shared["events"])
            self.ahead = max(self.ahead, self.pulled - ended)
            yield item

    async def exec(self, item: int) -> int:
        return item * 10

    def post(self, shared: dict[str, Any], _: Any, results: list[Any]) -> None:
        shared["results"] = results


async def work_off(shared: dict[str, Any]) -> None:
    """Run a batch in which it was drawn beforehand how each item goes, and compare."""
    number, workers, most = random.randint(0, 8), random.randint(1, 4), random.randint(1, 3)
    script = {item: random.choices(ATTEMPTS, k=random.randint(0, 3)) for item in range(number)}
    on_error = random.choice(["collect", "raise"])
    waiting = random.choice([0, 2])
    settings = {"max_workers": workers, "max_retries": most, "on_error": on_error}
    settings["max_waiting"] = waiting
    items = Items(number, wait=random.choice([0.0, 5.0]), **settings)
    batch = Faults(script=script).wrap(items)
    raised = False
    with capture_events() as shared["events"]:
        try:
            await Graph(batch, max_workers=random.choice([None, 2])).run_async(shared)
        except* (InjectedError, AttemptTimeoutError):
            raised = True
    assert_accounted(shared["events"])
    expected = {item: oracle(steps, most) for item, steps in script.items()}
    assert batch.ahead <= workers + waiting, f"{batch.ahead} items were taken and had not ended"
    compare(expected, shared, raised)


def compare(
    expected: Mapping[int, tuple[str, int]], shared: Mapping[str, Any], raised: bool
) -> None:
    """Compare what has happened with what the oracle says."""
    ends = [event for event in shared["events"] if isinstance(event, ItemFinished | ItemFailed)]
    ended = [(event.item, getattr(event, "status", "ok"), event.attempts) for event in ends]
    for item, status, attempts in ended:
        if status != "cancelled":
            assert (status, attempts) == expected[item], f"{item}: {ended}, expected {expected}"
    if raised:
        assert any(status not in ("ok", "cancelled") for _, status, _ in ended)
        return
    assert len(ended) == len(expected), f"{ended}, expected {expected}"
    results = [_shown(result) for result in shared["results"]]
    ordered = [
        item * 10 if status == "ok" else (item, status) for item, (status, _) in expected.items()
    ]
    assert results == ordered, f"results {results}, expected {ordered}"


def _shown(result: Any) -> Any:
    return (result.index, result.status) if isinstance(result, Outcome) else result


def items_end_as_an_oracle_says() -> None:
    """Batches with faults by script, against what each item would return alone."""
    assert_holds(work_off, seeds=ITEM_SEEDS)
