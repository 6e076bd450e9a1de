"""Results and what is said come while the rest of a chunk still runs on its worker."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kaygraph import Graph, Outcome, Remote, Said
from kaygraph.executors import following
from kaygraph.executors.at_worker import news
from kaygraph.executors.dask import Dask, DaskWorkers
from tests.executors.cluster import TestCluster
from tests.executors.clustered import Speaks, WaitsAtOne, note

pytestmark = pytest.mark.anyio

QUICK = 200


@pytest.fixture
def dask(dask_cluster: TestCluster) -> Dask:
    return Dask(dask_cluster.address)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[asyncio.Event]:
    """Set when a worker has answered what there is of a chunk, twice."""
    event, times = asyncio.Event(), 0
    ask = DaskWorkers.ask

    async def counted(self: DaskWorkers, address: str, function: Any, *args: Any) -> Any:
        nonlocal times
        answer = await ask(self, address, function, *args)
        times += function is news
        if times == 2:
            event.set()
        return answer

    monkeypatch.setattr(DaskWorkers, "ask", counted)
    monkeypatch.setattr(following, "FOLLOW_S", 0.05)
    return event


async def test_items_before_one_that_takes_long_have_their_results(
    dask: Dask, tmp_path: Path
) -> None:
    """Those that travel with it; all results are right in the end, and each comes once."""
    go = tmp_path / "go"
    node = WaitsAtOne([""] * QUICK + [str(go)], run_in=dask, on_error="collect")
    came: list[Outcome[Any]] = []
    async with asyncio.timeout(60), Graph(node).results({}, node) as results:
        async for outcome in results:
            came.append(outcome)
            if len(came) == QUICK:
                note(str(go), "")
    assert sorted(outcome.index for outcome in came) == list(range(QUICK + 1))
    assert came[-1].index == QUICK
    assert {outcome.value for outcome in came} == {"", str(go)}


async def test_what_a_long_item_says_is_received_while_it_runs(dask: Dask, tmp_path: Path) -> None:
    """Once, in its order, and the rest at its end."""
    go, said = tmp_path / "go", list[Any]()

    def listen(event: Any) -> None:
        if isinstance(event, Said):
            said.append((event.item, event.value))
            if event.value == "second":
                note(str(go), "")

    async with asyncio.timeout(60):
        node = Speaks([str(go)], run_in=dask)
        await Graph(node).run_async({}, observers=[listen])
    assert said == [(0, "first"), (0, "second"), (0, "third")]


async def test_said_that_cannot_be_unpickled_is_an_error_of_its_item(
    dask: Dask, tmp_path: Path, asked: asyncio.Event
) -> None:
    """At its end, and once."""
    go = tmp_path / "go"
    node = Speaks([str(go)], run_in=dask, on_error="collect")
    node.unloadable = True
    shared: dict[str, Any] = {}
    run = asyncio.ensure_future(Graph(node).run_async(shared, observers=[lambda _: None]))
    await asked.wait()
    note(str(go), "")
    await run
    assert isinstance(shared["results"][0].error, ValueError)


async def test_results_that_stay_on_the_worker_come_with_the_chunk(
    dask: Dask, tmp_path: Path, asked: asyncio.Event
) -> None:
    """As they are left there at its end."""
    go = tmp_path / "go"
    node = WaitsAtOne([""] * QUICK + [str(go)], run_in=dask)
    node.leaves = True
    shared: dict[str, Any] = {}
    run = asyncio.ensure_future(Graph(node).run_async(shared))
    await asked.wait()
    note(str(go), "")
    await run
    assert len(shared["results"]) == QUICK + 1
    assert all(isinstance(one, Remote) for one in shared["results"])
