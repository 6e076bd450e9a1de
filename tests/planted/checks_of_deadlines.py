"""Deadlines: they cover the wait for a turn, all attempts, and the waits between them."""

import asyncio
import random
from typing import Any

from kaygraph import Graph, Node, NodeFinished, settle
from kaygraph.testing import capture_events
from tests.planted.exploring import assert_holds

DEADLINE_SEEDS = 60

DEADLINE_S = 5.0


class Hurry(Node[Any, Any]):
    """Takes some seconds, and often fails then."""

    deadline = DEADLINE_S
    max_retries = 3

    async def exec(self, _: Any) -> None:
        await asyncio.sleep(random.choice([1.0, 3.0, 100.0]))
        if random.random() < 0.5:
            raise ValueError("again")


async def hurry(_: Any) -> None:
    """Run some of them, with few at once."""
    waits = random.choices([0.0, 1.0, 100.0], k=4)
    branches = [Hurry(wait=wait, timeout=random.choice([None, 2.0])) for wait in waits]
    with capture_events() as events:
        await Graph(settle(*branches), max_workers=random.randint(1, 2)).run_async({})
    for event in events:
        if isinstance(event, NodeFinished) and event.node.rsplit("/")[-1].startswith("Hurry"):
            assert event.seconds <= DEADLINE_S, f"{event.node} has taken {event.seconds:g} s"


def nothing_takes_longer_than_its_deadline() -> None:
    """Nodes that stand in line, fail and wait, under a deadline."""
    assert_holds(hurry, seeds=DEADLINE_SEEDS)
