"""Dask's workers as a place for ``exec``."""

import asyncio
import multiprocessing
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kaygraph import (
    AttemptTimeoutError,
    ClusterUnavailableError,
    Graph,
    NodeDefinitionError,
    Outcome,
    RunReport,
    Said,
)
from kaygraph._extras import MissingExtraError
from kaygraph.executors.waiting import AHEAD
from tests.executors.cluster import TestCluster, cluster_of
from tests.executors.clustered import (
    Marks,
    Meets,
    Noting,
    One,
    Pids,
    Says,
    Sleeps,
    Source,
    Squares,
    Travels,
    Waits,
    forget_nodes,
    note,
)
from tests.executors.failing import Unloadable

distributed = pytest.importorskip("distributed")
from kaygraph.executors.dask import Dask  # noqa: E402

pytestmark = pytest.mark.anyio


@pytest.fixture
def dask(dask_cluster: TestCluster) -> Dask:
    return Dask(dask_cluster.address)


async def results_of(node: Any, **settings: Any) -> list[Any]:
    shared: dict[str, Any] = {}
    await node.run_async(shared, **settings)
    results: list[Any] = shared["results"]
    return results


async def until(holds: Callable[[], Any]) -> None:
    """Wait until something is so, which no event tells of: it happens in other processes."""
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0.005)


def is_alive(pid: int | str) -> bool:
    return Path(f"/proc/{pid}").exists()


async def until_busy(client: Any) -> None:
    """Wait until a worker has something to do."""
    while not any((await client.scheduler.processing(workers=None)).values()):  # noqa: ASYNC110
        await asyncio.sleep(0.01)


# --- what runs where, and how often ---------------------------------------------------------------


async def test_items_run_on_the_workers(dask: Dask) -> None:
    """On both, and in none of ours; many more at once than a batch has by default."""
    with_width = Pids(range(400), run_in=dask)
    report = RunReport()
    pids = await results_of(with_width, observers=[report])
    assert len(set(pids)) == 2
    assert os.getpid() not in pids
    assert report.nodes["Pids"].peak > 10


async def test_results_come_in_the_order_of_the_items(dask: Dask) -> None:
    """Also of thousands."""
    assert await results_of(Squares(range(3000), run_in=dask)) == [n * n for n in range(3000)]


async def test_equal_items_are_run_as_often_as_there_are(dask: Dask) -> None:
    """Each of them gets a result of its own."""
    assert len(set(await results_of(Marks([1, 1, 1, 1], run_in=dask)))) == 4


async def test_node_goes_once_to_each_worker(dask: Dask) -> None:
    """However many items there are."""
    came = Counter(await results_of(Travels(range(200), run_in=dask)))
    assert {times for _, times in came} == {1}


async def test_worker_that_has_let_go_of_a_node_gets_it_again(
    dask: Dask, dask_cluster: TestCluster, tmp_path: Path
) -> None:
    """It keeps only so many."""
    go = str(tmp_path / "go")
    source = Source([go] * 50)
    run = asyncio.ensure_future(results_of(Waits(source, run_in=dask)))
    await until(lambda: source.taken >= 2)
    async with distributed.Client(
        dask_cluster.address, asynchronous=True, set_as_default=False
    ) as client:
        await until_busy(client)
        await client.run(forget_nodes)
    note(go, "")
    assert len(await run) == 50


async def test_items_and_nodes_may_be_large(dask: Dask) -> None:
    """Of many megabytes, on the way there and back."""
    node = Squares([np.ones(2_000_000)], run_in=dask)
    node.ballast = np.ones(2_000_000)  # type: ignore[attr-defined]
    (square,) = await results_of(node)
    assert square.sum() == 2_000_000


async def test_sync_run_works_as_well(dask: Dask) -> None:
    """The loop of ``run()`` is as good as any other."""
    shared: dict[str, Any] = {}
    with ThreadPoolExecutor(1) as thread:
        graph = Graph(One(run_in=dask))
        await asyncio.wrap_future(thread.submit(graph.run, shared))
    assert shared["pid"] != os.getpid()


async def test_several_runs_share_a_place(dask: Dask) -> None:
    """Each has a connection of its own."""
    nodes = [Squares(range(20), run_in=dask) for _ in range(3)]
    several = await asyncio.gather(*map(results_of, nodes))
    assert several == [[n * n for n in range(20)]] * 3


async def test_what_exec_says_on_a_worker_is_received(dask: Dask) -> None:
    """By the observers of the run, with the item; also before an error."""
    said: list[tuple[int | None, Any]] = []

    def listen(event: Any) -> None:
        if isinstance(event, Said):
            said.append((event.item, event.value))

    await results_of(Says(range(4), run_in=dask, on_error="skip"), observers=[listen])
    assert sorted(said) == [(number, f"about {number}") for number in range(4)]


async def test_each_item_has_its_key_there(dask: Dask) -> None:
    """For what has an effect elsewhere."""
    keys = await results_of(Says(range(5), run_in=dask, on_error="skip"))
    assert len(set(keys)) == 4


# --- how many at once -----------------------------------------------------------------------------


async def test_source_is_read_no_faster_than_the_cluster_works(dask: Dask, tmp_path: Path) -> None:
    """While all workers are busy, few items are taken up."""
    go = str(tmp_path / "go")
    source = Source([go] * 200)
    run = asyncio.ensure_future(results_of(Waits(source, run_in=dask)))
    await until(lambda: source.taken >= 2)
    await asyncio.sleep(0.3)  # nothing is to happen
    assert source.taken <= 6
    note(go, "")
    assert len(await run) == 200


async def test_workers_get_few_chunks_at_a_time(
    dask: Dask, dask_cluster: TestCluster, tmp_path: Path
) -> None:
    """The rest waits here, and goes to the worker that is free first."""
    go = str(tmp_path / "go")
    run = asyncio.ensure_future(results_of(Waits([go] * 100, run_in=dask, max_workers=100)))
    async with distributed.Client(
        dask_cluster.address, asynchronous=True, set_as_default=False
    ) as client:
        await until_busy(client)
        await asyncio.sleep(0.3)  # nothing is to happen
        tasks = await client.scheduler.processing(workers=None)
    assert all(len(of_worker) <= AHEAD for of_worker in tasks.values())
    note(go, "")
    assert len(await run) == 100


@pytest.mark.parametrize("workers", [1, 3])
async def test_max_workers_counts_items(dask: Dask, workers: int) -> None:
    """And not chunks."""
    report = RunReport()
    node = Squares(range(30), run_in=dask, max_workers=workers)
    await results_of(node, observers=[report])
    assert report.nodes["Squares"].peak == workers


async def test_auto_is_the_width_of_the_cluster(dask: Dask) -> None:
    """As if nothing was said."""
    report = RunReport()
    node = Squares(range(400), run_in=dask, max_workers="auto")
    await results_of(node, observers=[report])
    assert report.nodes["Squares"].peak > 10


# --- what cannot be sent --------------------------------------------------------------------------


async def test_node_that_cannot_be_pickled_is_refused_before_anything_is_sent() -> None:
    """The cluster is not even asked: there is none."""
    node = Squares([1, 2, 3], run_in=Dask("tcp://127.0.0.1:1"))
    node.lock = threading.Lock()  # type: ignore[attr-defined]
    with pytest.raises(NodeDefinitionError, match="make what cannot be pickled in exec"):
        await results_of(node)


async def test_item_that_does_not_travel_fails_alone(dask: Dask) -> None:
    """With its own error."""
    items = [1, threading.Lock(), Unloadable(), 2]
    first, *failed, last = await results_of(Marks(items, run_in=dask, on_error="collect"))
    assert isinstance(first, str)
    assert isinstance(last, str)
    assert all(isinstance(outcome, Outcome) for outcome in failed)
    assert [type(outcome.error) for outcome in failed] == [TypeError, ValueError]


async def test_node_that_workers_cannot_unpickle_is_an_error_of_its_items(dask: Dask) -> None:
    """It says where that was."""
    node = Marks([1], run_in=dask)
    node.held = Unloadable()  # type: ignore[attr-defined]
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        await results_of(node)
    assert "while the node was unpickled on the worker" in raised.value.__notes__


# --- time limits, cancellation --------------------------------------------------------------------


async def test_async_exec_is_cancelled_at_its_timeout(dask: Dask, tmp_path: Path) -> None:
    """Where it runs."""
    note = tmp_path / "note"
    with pytest.raises(AttemptTimeoutError, match=r"timeout=0\.2 s"):
        await results_of(Noting([str(note)], run_in=dask, timeout=0.2))
    assert note.read_text() == "cancelled"


async def test_timeout_counts_from_when_a_worker_gets_the_item(dask: Dask, tmp_path: Path) -> None:
    """Ten items of 0.1 seconds take longer on two workers, and none of them is late."""
    items = [(str(tmp_path / str(number)), 0.1) for number in range(10)]
    assert len(await results_of(Sleeps(items, run_in=dask, timeout=0.5, max_workers=10))) == 10


async def test_timeouts_of_some_leave_the_others_alone(dask: Dask, tmp_path: Path) -> None:
    """Also those that end at the same moment."""
    items = [(str(tmp_path / str(number)), 0.0 if number % 4 else 0.25) for number in range(16)]
    node = Sleeps(items, run_in=dask, timeout=0.15, max_workers=16, on_error="collect")
    results = await results_of(node)
    late = [number for number, one in enumerate(results) if isinstance(one, Outcome)]
    assert set(late) >= {0, 4, 8, 12}
    assert all(isinstance(results[number].error, AttemptTimeoutError) for number in late)


async def test_cancelled_run_ends_what_is_awaited_on_the_workers(
    dask: Dask, tmp_path: Path
) -> None:
    """And begins nothing more of it."""
    notes = [tmp_path / str(number) for number in range(4)]
    run = asyncio.ensure_future(results_of(Noting(list(map(str, notes)), run_in=dask)))
    await until(lambda: sum(note.exists() for note in notes) == 2)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    said = [note.read_text() for note in notes if note.exists()]
    assert said == ["cancelled", "cancelled"]


async def test_what_could_not_be_ended_is_named(dask: Dask, tmp_path: Path) -> None:
    """A ``def exec`` cannot be stopped, and the workers of others are not killed."""
    note = tmp_path / "note"
    with pytest.raises(AttemptTimeoutError) as raised:
        await results_of(Sleeps([(str(note), 2.5)], run_in=dask, timeout=0.2))
    notes = "\n".join(raised.value.__notes__)
    assert (
        f"exec of 'Sleeps' still runs in process {note.read_text()} of the worker tcp://" in notes
    )


# --- which cluster it is --------------------------------------------------------------------------


async def test_no_workers_is_an_error_that_says_so() -> None:
    """It does not wait for ever."""
    with cluster_of(0) as cluster:
        began = time.monotonic()
        with pytest.raises(ClusterUnavailableError, match=r"no worker for 0\.5 s \(no_workers_"):
            await results_of(Squares([1], run_in=Dask(cluster.address, no_workers_after=0.5)))
        assert time.monotonic() - began >= 0.5


async def test_cluster_that_cannot_be_reached_is_an_error() -> None:
    """After as long as there may be no workers."""
    with pytest.raises(ClusterUnavailableError, match=r"cannot be reached.*127\.0\.0\.1:1\b"):
        await results_of(Squares([1], run_in=Dask("tcp://127.0.0.1:1", no_workers_after=0.2)))


async def test_client_of_the_loop_is_used_and_left_open(dask_cluster: TestCluster) -> None:
    """It is its owner's."""
    async with distributed.Client(
        dask_cluster.address, asynchronous=True, set_as_default=False
    ) as client:
        assert await results_of(Squares([3], run_in=Dask(client))) == [9]
        assert client.status == "running"


async def test_client_of_another_loop_says_where_the_cluster_is(dask_cluster: TestCluster) -> None:
    """As one that blocks."""
    with distributed.Client(dask_cluster.address, set_as_default=False) as client:
        assert await results_of(Squares([3], run_in=Dask(client))) == [9]


async def test_scheduler_file_says_where_the_cluster_is(
    dask_cluster: TestCluster, tmp_path: Path
) -> None:
    """As ``dask scheduler --scheduler-file`` writes it."""
    async with distributed.Client(
        dask_cluster.address, asynchronous=True, set_as_default=False
    ) as client:
        client.write_scheduler_file(str(tmp_path / "scheduler.json"))
    place = Dask(scheduler_file=tmp_path / "scheduler.json")
    assert await results_of(Squares([3], run_in=place)) == [9]


@pytest.mark.proofs
async def test_workers_of_its_own_end_with_the_run() -> None:
    """Also where one does not listen: it is killed."""
    place = Dask(workers=1)
    pids = await results_of(Pids([1, 2, 3], run_in=place))
    (pid,) = set(pids)
    assert not is_alive(pid)


@pytest.mark.proofs
@pytest.mark.parametrize("after_s", [0.01, 0.3, 1.0, 2.0])
async def test_run_that_is_cancelled_while_workers_start_leaves_none(after_s: float) -> None:
    """However far they are."""
    run = asyncio.ensure_future(results_of(Squares(range(10), run_in=Dask(workers=2))))
    await asyncio.sleep(after_s)
    run.cancel()
    with suppress(asyncio.CancelledError):  # it may have been faster
        await run
    assert multiprocessing.active_children() == []


@pytest.mark.proofs
async def test_workers_of_its_own_listen_on_loopback_alone(tmp_path: Path) -> None:
    """Scheduler, workers, nannies and dashboards."""
    psutil = pytest.importorskip("psutil")
    node = Meets([0], str(tmp_path), 2, run_in=Dask(workers=1))
    run = asyncio.ensure_future(results_of(node))
    await until(lambda: os.listdir(tmp_path))  # a worker has begun
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    listening = {
        socket.laddr.ip
        for process in processes
        for socket in process.net_connections("inet")
        if socket.status == psutil.CONN_LISTEN
    }
    note(str(tmp_path / "enough"), "")
    await run
    assert listening == {"127.0.0.1"}


@pytest.mark.proofs
async def test_worker_of_its_own_that_does_not_listen_is_replaced(tmp_path: Path) -> None:
    """The item that ran past its time has failed, and another process has the rest."""
    items = [(str(tmp_path / "long"), 600.0), (str(tmp_path / "short"), 0.0)]
    node = Sleeps(items, run_in=Dask(workers=1), timeout=0.5, on_error="collect")
    late, pid = await results_of(node)
    assert isinstance(late.error, AttemptTimeoutError)
    killed = (tmp_path / "long").read_text()
    assert str(pid) != killed
    assert not is_alive(killed)


async def test_nothing_is_left_on_the_workers(dask: Dask, dask_cluster: TestCluster) -> None:
    """What the items of a chunk came to is kept in files only as long as it may be asked for."""
    await results_of(Squares(range(100), run_in=dask))
    assert dask_cluster.kept == []


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"cluster": "tcp://127.0.0.1:1", "workers": 2},
        {"workers": 2, "scheduler_file": "file"},
    ],
)
def test_it_is_one_cluster(wrong: Any) -> None:
    """Not none, and not two."""
    with pytest.raises(TypeError, match="pass one of: the address of a scheduler"):
        Dask(**wrong)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"workers": 0}, "workers must be"),
        ({"workers": 2, "threads_per_worker": 0}, "threads_per_worker must be"),
        ({"workers": 2, "no_workers_after": -1}, "no_workers_after must be"),
        ({"workers": 2, "restart_workers": 1}, "restart_workers must be"),
        ({"cluster": "tcp://127.0.0.1:1", "adaptive": 1}, "adaptive must be"),
    ],
)
def test_values_that_make_no_sense_are_refused(wrong: Any, said: str) -> None:
    """With what they have to be."""
    with pytest.raises((TypeError, ValueError), match=said):
        Dask(**wrong)


async def test_without_the_library_it_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The extra is named."""
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'kaygraph\[dask\]'"):
        await results_of(Squares([1], run_in=Dask(workers=1)))
