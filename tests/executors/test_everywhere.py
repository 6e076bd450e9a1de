"""The same graphs in every place where ``exec`` can run: equal results, equal accounting."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import pytest

from kaygraph import RunReport
from tests.executors.cluster import TestCluster
from tests.executors.graphs import Made, graphs, within

pytestmark = pytest.mark.anyio

PLACES = [
    "thread",
    "process",
    "threads of one's own",
    "dask",
    *(pytest.param(name, marks=pytest.mark.proofs) for name in ("pool", "loky")),
]


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Iterator[Any]:
    """One of the places, with two workers."""
    match request.param:
        case "threads of one's own":
            with ThreadPoolExecutor(2) as threads:
                yield threads
        case "pool":
            spawn = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(2, mp_context=spawn) as pool:
                yield pool
        case "loky":
            loky = pytest.importorskip("loky")
            executor = loky.get_reusable_executor(2)
            yield executor
            executor.shutdown(kill_workers=True)
        case "dask":
            from kaygraph.executors.dask import Dask

            cluster: TestCluster = request.getfixturevalue("dask_cluster")
            yield Dask(cluster.address)
        case _:
            yield request.param


async def outcome_of(made: Made) -> tuple[Any, Any]:
    """Return what a graph has left, and how its items are accounted for, node by node."""
    graph, left = made
    shared: dict[str, Any] = {"pairs": [(2, 3), (3, 2)]}
    report = RunReport()
    await graph.run_async(shared, observers=[report])
    counted = {node.name: (+node.items, node.retries, node.runs) for node in report.nodes.values()}
    return left(shared), counted


@pytest.mark.parametrize("name", graphs(None))
async def test_graph_comes_to_the_same_as_on_the_loop(place: Any, name: str) -> None:
    """Results in their order, errors, attempts, and every item counted under the same status."""
    assert await outcome_of(graphs(place)[name]) == await outcome_of(graphs("loop")[name])


@pytest.mark.parametrize("name", graphs(None))
async def test_graph_around_says_where_its_nodes_run(place: Any, name: str) -> None:
    """With the same results, errors, attempts and counts."""
    assert await outcome_of(within(place)[name]) == await outcome_of(within("loop")[name])


def test_there_are_twelve_graphs() -> None:
    """As many as are promised to come to the same everywhere."""
    assert len(graphs(None)) == 12
