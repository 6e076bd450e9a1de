"""What the README says of PocketFlow, where it is installed (seen in pocketflow 0.0.3)."""

import asyncio
from typing import Any

import pytest

pocketflow: Any = pytest.importorskip("pocketflow")

pytestmark = pytest.mark.anyio


async def test_a_parallel_batch_has_no_cap() -> None:
    """All items are in flight at once."""
    at_once = 0
    everybody = asyncio.Barrier(500)

    class Ask(pocketflow.AsyncParallelBatchNode):  # type: ignore[misc]
        async def prep_async(self, shared: Any) -> range:
            return range(500)

        async def exec_async(self, number: int) -> None:
            nonlocal at_once
            at_once += 1
            await everybody.wait()

    await asyncio.wait_for(Ask().run_async({}), 10)
    assert at_once == 500


async def test_what_runs_in_parallel_with_a_failure_goes_on() -> None:
    """The error of one item comes out while the others still run."""
    saved: list[int] = []

    class Save(pocketflow.AsyncParallelBatchNode):  # type: ignore[misc]
        async def prep_async(self, shared: Any) -> range:
            return range(3)

        async def exec_async(self, number: int) -> None:
            if number == 0:
                raise ConnectionError
            await asyncio.sleep(0.01)
            saved.append(number)

    before = asyncio.all_tasks()
    with pytest.raises(ConnectionError):
        await Save().run_async({})
    assert saved == []
    left = asyncio.all_tasks() - before
    assert len(left) == 2
    await asyncio.wait(left)
    assert saved == [1, 2]
