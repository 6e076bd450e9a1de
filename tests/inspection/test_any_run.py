"""Runs of many shapes, looked at between all of their steps: the figures always add up."""

import asyncio
from typing import Any

import pytest

from kaygraph import Inspector
from kaygraph.snapshot import RunSnapshot
from kaygraph.testing import simulate
from tests import shapes

SHAPES = shapes.OF_NODES


def check(snapshot: RunSnapshot) -> None:
    """See that nothing is counted twice, and that every permit is somebody's."""
    for node in snapshot.nodes:
        ended = node.ok + node.failed + node.skipped + node.cancelled
        assert node.items == ended + node.in_flight + node.waiting, node
        assert min(node.items, node.ok, node.in_flight, node.waiting, node.running) >= 0, node
        assert node.total is None or node.items <= node.total, node
    for cap in snapshot.caps:
        assert cap.held == sum(cap.holders.values()), cap
        assert cap.held <= cap.size, cap
    for buffer in snapshot.buffers:
        assert buffer.items <= buffer.size, buffer
    assert all(wait.text and wait.count >= 0 for wait in snapshot.waits), snapshot.explain()


async def looked_at(shape: Any, taken: list[RunSnapshot]) -> None:
    """Run a shape and look at it whenever the loop has a turn."""
    inspector = Inspector()
    node = shape.__wrapped__(shapes.Ledger())
    run = node.launch({}, observers=[inspector])
    loop = asyncio.get_running_loop()

    def look() -> None:
        if run.done():
            return
        if inspector.run is not None:
            taken.append(inspector.snapshot())
            check(taken[-1])
        check(run.snapshot())
        loop.call_later(0.25, look)
        for _ in range(2):
            loop.call_soon(lambda: None if run.done() else check(run.snapshot()))

    look()
    try:
        await run
    except Exception:
        assert inspector.snapshot().state == "failed"
    last = inspector.snapshot()
    check(last)
    assert not any(node.running for node in last.nodes)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_the_figures_add_up_between_all_steps(shape: Any, seed: int) -> None:
    """Items are in flight, wait or have ended; who holds a permit is seen."""
    taken = list[RunSnapshot]()
    simulate(lambda _: looked_at(shape, taken), seed=seed, watched=False)
    for node in {node.name for snapshot in taken for node in snapshot.nodes}:
        counted = [row.ok for snapshot in taken if (row := snapshot.node(node)) is not None]
        assert counted == sorted(counted), node
