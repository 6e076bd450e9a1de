"""Values that stay on the workers that made them."""

import asyncio
import copy
import gc
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from struct import Struct
from typing import Any

import pytest

from kaygraph import (
    Graph,
    Journal,
    Node,
    NodeDefinitionError,
    Outcome,
    Remote,
    RemoteLostError,
)
from kaygraph.errors import NotRecordableError
from kaygraph.executors.waiting import Entry, Queue
from tests.executors.cluster import TestCluster, cluster_of
from tests.executors.clustered import Many
from tests.executors.remotes import (
    MB,
    Fetches,
    KillsMakers,
    Makes,
    MakesApart,
    Nested,
    Passes,
    Reads,
    ReadsAll,
    ReadsApart,
    ReadsNested,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def dask(dask_cluster: TestCluster) -> Any:
    from kaygraph.executors.dask import Dask

    return Dask(dask_cluster.address)


@pytest.fixture(params=["loop", "thread", "process", "threads of one's own", "dask"])
def place(request: pytest.FixtureRequest) -> Iterator[Any]:
    match request.param:
        case "threads of one's own":
            with ThreadPoolExecutor(2) as threads:
                yield threads
        case "dask":
            yield request.getfixturevalue("dask")
        case _:
            yield request.param


async def run(graph: Graph, **settings: Any) -> dict[str, Any]:
    shared: dict[str, Any] = {}
    await graph.run_async(shared, **settings)
    return shared


class Calls(Node[Any, Any]):
    """Calls a function between two nodes."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    async def post(self, shared: Any, _: Any, __: Any) -> None:
        await self.function(shared)


# --- what it is -----------------------------------------------------------------------------------


async def test_it_is_the_same_in_all_places(place: Any) -> None:
    """The next node reads what the first has made, wherever they run."""
    shared = await run(Graph(Makes([1, 2, 3], run_in=place) >> Reads(run_in=place)))
    assert shared["results"] == [(1, 100), (2, 100), (3, 100)]


async def test_it_may_stand_within_what_exec_returns(place: Any) -> None:
    """However deep, and more than once: then it is one value."""
    shared = await run(Graph(Nested(range(3), run_in=place) >> ReadsNested(run_in=place)))
    assert shared["results"] == [(True, [n], n + 1, n) for n in range(3)]


async def test_it_is_fetched_where_post_needs_it(place: Any) -> None:
    """In any place by the same call."""
    shared = await run(Graph(Makes([1, 2], 3, run_in=place) >> Fetches()))
    assert shared["fetched"] == [b"\1\1\1", b"\2\2\2"]


async def test_exec_may_hand_it_on(place: Any) -> None:
    """Nothing is made again, and what the first node has made may be forgotten."""
    passes = Passes(run_in=place)

    async def forget(shared: Any) -> None:
        shared["results"] = [remote for remote, _ in shared["results"]]
        gc.collect()

    shared = await run(Graph(Makes([5], run_in=place) >> passes >> Calls(forget) >> Fetches()))
    assert shared["fetched"] == [bytes([5]) * 100]


async def test_one_call_may_read_what_several_workers_have(place: Any) -> None:
    """They come together where it runs."""
    shared = await run(Graph(Makes(range(20), MB, run_in=place) >> ReadsAll(run_in=place)))
    assert shared["size"] == 20 * MB


def test_copies_of_what_refers_to_it_refer_to_it() -> None:
    """It is not copied itself."""
    remote = Remote([1])
    assert copy.deepcopy({"a": [remote]})["a"][0] is remote is copy.copy(remote)


def test_repr_does_not_show_a_value_that_may_be_large() -> None:
    """But what it is."""
    assert repr(Remote([1] * 1000)) == "<Remote: list>"


# --- where it is ----------------------------------------------------------------------------------


async def test_items_go_to_the_worker_that_has_what_they_need(dask: Any, tmp_path: Path) -> None:
    """If that is free."""
    made, read = tmp_path / "made", tmp_path / "read"
    made.mkdir()
    read.mkdir()
    makes = MakesApart([0, 1], str(made), 2, run_in=dask)
    shared = await run(Graph(makes >> ReadsApart(str(read), 2, run_in=dask)))
    pairs = shared["results"]
    assert len({pid for pid, _ in pairs}) == 2
    assert all(maker == reader for maker, reader in pairs)


class Free:
    def __init__(self, load: float) -> None:
        self.load = load


def queue_of(*homes: str | None) -> Queue:
    queue = Queue(b"", "", "")
    for home in homes:
        entry = Entry(b"")
        entry.home = home
        queue.pending.append(entry)
    return queue


async def test_free_worker_takes_its_own_items_first() -> None:
    """Also where another's come before them."""
    queue, worker = queue_of("a", "b"), Free(0.0)
    assert queue.placed({"b": worker}, {"a", "b"}) is worker
    assert [entry.home for entry in queue.pending] == ["b", "a"]


async def test_only_a_worker_that_has_nothing_to_do_takes_items_of_others() -> None:
    """The others' own items may still come."""
    assert queue_of("a").placed({"b": Free(1.0)}, {"a", "b"}) is None
    idle = Free(0.0)
    assert queue_of("a").placed({"b": idle}, {"a", "b"}) is idle


async def test_item_whose_worker_has_left_goes_to_any() -> None:
    """As one that needs nothing."""
    busy = Free(1.0)
    assert queue_of("gone").placed({"b": busy}, {"b"}) is busy
    assert queue_of(None).placed({"b": busy}, {"b"}) is busy


async def test_chunk_ends_before_an_item_of_another_worker() -> None:
    """It waits for its own."""
    queue = queue_of("a", "a", None, "b", "a")
    queue.note(1, 0.001)
    assert [entry.home for entry in queue.take(5, "a")] == ["a", "a", None]
    assert [entry.home for entry in queue.pending] == ["b", "a"]


RECEIVED = Struct("<Q")
AT = 128  # tcpi_bytes_received, in Linux's struct tcp_info


def bytes_received() -> int:
    """Return how many bytes have come by the TCP connections that this process has open."""
    total = 0
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if link.readlink().name.startswith("socket:"):
                total += received_by(int(link.name))
    return total


def received_by(descriptor: int) -> int:
    connection = socket.socket(fileno=descriptor)
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, AT + RECEIVED.size)
        return int(RECEIVED.unpack_from(info, AT)[0])
    finally:
        connection.detach()


@pytest.mark.parametrize("size", [100, pytest.param(4 * MB, marks=pytest.mark.proofs)])
async def test_nothing_of_it_goes_through_the_program(dask: Any, size: int) -> None:
    """Fifty values of 4 MB cost it no more bytes than fifty of a hundred bytes."""
    received = []

    async def note(_: Any) -> None:
        received.append(bytes_received())

    makes, reads = Makes(range(50), size, run_in=dask), Reads(run_in=dask)
    shared = await run(Graph(Calls(note) >> makes >> reads >> Calls(note)))
    assert shared["results"] == [(number, size) for number in range(50)]
    assert 1000 < received[1] - received[0] < 300_000


async def workers_of(cluster: TestCluster) -> dict[str, list[str]]:
    """Return what each worker has, by its address."""
    from distributed import Client

    async with Client(cluster.address, asynchronous=True, set_as_default=False) as client:
        has_what = await client.scheduler.has_what()
        return {address: list(keys) for address, keys in has_what.items()}


async def keys_of(cluster: TestCluster) -> list[str]:
    """Return the names of what the workers have left."""
    workers = await workers_of(cluster)
    return [key for keys in workers.values() for key in keys if key.startswith("kaygraph-")]


async def until_freed(cluster: TestCluster) -> None:
    async with asyncio.timeout(30):
        while await keys_of(cluster):  # noqa: ASYNC110 - other processes do it
            await asyncio.sleep(0.02)


async def test_small_values_are_left_together(dask: Any, dask_cluster: TestCluster) -> None:
    """So that the scheduler has less to know."""
    found = []

    async def look(_: Any) -> None:
        found.extend(await keys_of(dask_cluster))

    await run(Graph(Makes([number % 256 for number in range(2000)], run_in=dask) >> Calls(look)))
    assert 0 < len(found) < 1000


async def test_it_is_freed_when_nothing_refers_to_it(dask: Any, dask_cluster: TestCluster) -> None:
    """While the run goes on."""

    async def forget(shared: Any) -> None:
        assert await keys_of(dask_cluster)
        del shared["results"]
        gc.collect()
        await until_freed(dask_cluster)

    await run(Graph(Makes(range(10), MB, run_in=dask) >> Calls(forget)))


async def test_it_is_freed_when_the_run_is_over(dask: Any, dask_cluster: TestCluster) -> None:
    """It says so where it is fetched then."""
    shared = await run(Graph(Makes(range(3), run_in=dask)))
    await until_freed(dask_cluster)
    with pytest.raises(RemoteLostError, match=r"made by 'Makes', item 0,.* its run is over"):
        await shared["results"][0].fetch()


async def test_it_is_freed_where_the_client_stays(dask_cluster: TestCluster) -> None:
    """Which is its owner's, and would keep what is wanted by it."""
    from distributed import Client

    from kaygraph.executors.dask import Dask

    async with Client(dask_cluster.address, asynchronous=True, set_as_default=False) as client:
        shared = await run(Graph(Makes(range(10), run_in=Dask(client))))
        await until_freed(dask_cluster)
        assert client.status == "running"
    assert len(shared["results"]) == 10


class Hangs(Many):
    """Leaves something, and waits for ever at the last item."""

    async def exec(self, number: int) -> Remote[int]:
        if number == 9:
            await asyncio.sleep(600)
        return Remote(number)


async def test_it_is_freed_when_the_run_is_cancelled(
    dask_cluster: TestCluster, tmp_path: Path
) -> None:
    """Also where its result was on its way."""
    from distributed import Client

    from kaygraph.executors.dask import Dask

    async with Client(dask_cluster.address, asynchronous=True, set_as_default=False) as client:
        node = Hangs(range(10), run_in=Dask(client))
        running = asyncio.ensure_future(run(Graph(node)))
        async with asyncio.timeout(30):
            while not await keys_of(dask_cluster):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await until_freed(dask_cluster)


# --- what is refused ------------------------------------------------------------------------------


async def test_value_that_is_elsewhere_says_how_to_get_it(dask: Any) -> None:
    """Where a hook on the loop reads it."""

    async def read(shared: Any) -> None:
        shared["results"][0].value  # noqa: B018 - it is looked up

    with pytest.raises(NodeDefinitionError, match=r"await its fetch\(\) in prep or post"):
        await run(Graph(Makes([1], run_in=dask) >> Calls(read)))


@pytest.mark.parametrize("place", ["loop", "process"])
async def test_node_elsewhere_does_not_get_it(dask: Any, place: str) -> None:
    """It says what to do."""
    with pytest.raises(NodeDefinitionError, match=r"made by 'Makes', item 0,.* the same run_in"):
        await run(Graph(Makes([1], run_in=dask) >> Reads(run_in=place)))


async def test_node_of_another_cluster_does_not_get_it(
    dask: Any, dask_cluster: TestCluster
) -> None:
    """Each of them has values of its own."""
    from kaygraph.executors.dask import Dask

    with pytest.raises(NodeDefinitionError, match="the same run_in"):
        await run(Graph(Makes([1], run_in=dask) >> Reads(run_in=Dask(dask_cluster.address))))


async def test_journal_does_not_record_it(place: Any, tmp_path: Path) -> None:
    """It would be gone when the run goes on; also where it has its value now."""
    with pytest.raises(NotRecordableError, match="gone with the run: return the value itself"):
        await run(Graph(Makes([1], run_in=place)), journal=Journal(tmp_path / "journal.db"))


def test_journal_does_not_take_its_class(tmp_path: Path) -> None:
    """Nobody shall think that it would help."""
    with pytest.raises(TypeError, match="types cannot contain Remote: it stands for a value"):
        Journal(tmp_path / "journal.db", types=[Remote])


# --- when a worker dies ---------------------------------------------------------------------------


@pytest.mark.proofs
async def test_what_needs_a_lost_value_fails_and_names_who_has_made_it(tmp_path: Path) -> None:
    """Every attempt at it; all others have their results."""
    from kaygraph.executors.dask import Dask

    with cluster_of(2) as cluster:
        dask = Dask(cluster.address, no_workers_after=60)
        read = tmp_path / "read"
        read.mkdir()
        makes = MakesApart([0, 1], str(tmp_path / "made"), 2, run_in=dask)
        (tmp_path / "made").mkdir()
        reads = ReadsApart(str(read), 1, run_in=dask, max_retries=2, on_error="collect")
        shared = await run(Graph(makes >> KillsMakers() >> reads))
        failed, (maker, reader) = shared["results"]
        assert maker == reader
        assert isinstance(failed, Outcome)
        assert isinstance(failed.error, RemoteLostError)
        assert failed.attempts == 2
        assert "Only 'MakesApart', item 0 can make it again" in str(failed.error)
        assert cluster.kept == []


@pytest.mark.proofs
async def test_fetch_of_a_lost_value_says_so(tmp_path: Path) -> None:
    """It does not wait for ever."""
    from kaygraph.executors.dask import Dask

    with cluster_of(1) as cluster:
        makes = MakesApart([0], str(tmp_path), 1, run_in=Dask(cluster.address))
        with pytest.raises(RemoteLostError, match="that worker has ended, and so it is lost"):
            await run(Graph(makes >> KillsMakers() >> KillsMakers()))


@pytest.mark.proofs
async def test_worker_that_retires_hands_on_what_it_has() -> None:
    """An adaptive cluster that shrinks loses nothing."""
    from distributed import Client

    from kaygraph.executors.dask import Dask

    with cluster_of(2) as cluster:

        async def shrink(_: Any) -> None:
            async with Client(cluster.address, asynchronous=True, set_as_default=False) as client:
                await client.retire_workers([min(await workers_of(cluster))])

        makes = Makes(range(12), MB, run_in=Dask(cluster.address))
        shared = await run(Graph(makes >> Calls(shrink) >> Fetches()))
    assert [len(value) for value in shared["fetched"]] == [MB] * 12
