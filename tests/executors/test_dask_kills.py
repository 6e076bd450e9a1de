"""Workers, the scheduler and the client are killed: each item is accounted for once."""

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from itertools import count, takewhile
from pathlib import Path

import pytest

from kaygraph import ClusterUnavailableError, Outcome, RunReport, WorkerDiedError
from kaygraph.executors.memory import resident
from tests.children import child, ran
from tests.executors.cluster import cluster_of
from tests.executors.clustered import (
    Meets,
    Pids,
    Poison,
    Sizes,
    Slow,
    Source,
    Squares,
    Steps,
    Waits,
)

distributed = pytest.importorskip("distributed")
from kaygraph.executors.dask import Dask  # noqa: E402
from tests.executors.test_dask import results_of, until, until_busy  # noqa: E402

pytestmark = [pytest.mark.anyio, pytest.mark.proofs]

KILLS = 15  # at seeded moments, of one run; a hundred in test_dask_soak


async def kill_again_and_again(folder: Path, times: int, seed: int) -> None:
    """Kill workers that have worked on some items.

    One that has just started is left alone: its nanny would not start another.
    """
    chance, killed = random.Random(seed), set[str]()
    while len(killed) < times:
        await asyncio.sleep(chance.uniform(0.05, 0.3))
        pids = sorted(pid for pid in set(os.listdir(folder)) - killed if has_worked(folder / pid))
        if len(pids) > 1:  # they are not to be without workers for long
            pid = chance.choice(pids)
            os.kill(int(pid), signal.SIGKILL)
            killed.add(pid)


def has_worked(notes: Path) -> bool:
    return notes.stat().st_size > 400  # for about a second


def lines_in(folder: Path) -> Counter[str]:
    return Counter(line for file in folder.iterdir() for line in file.read_text().split())


async def killed_at_any_moment(tmp_path: Path, kills: int, seed: int) -> None:
    """See that every result is there once, and that no item was run more often than it may be."""
    with cluster_of(3) as cluster:
        killing = asyncio.ensure_future(kill_again_and_again(tmp_path, kills, seed))
        source = Source(takewhile(lambda _: not killing.done(), count()))
        place = Dask(cluster.address, no_workers_after=60)
        report = RunReport()
        node = Steps(source, str(tmp_path), run_in=place, max_retries=20)
        results = await results_of(node, observers=[report])
        await killing
        assert cluster.kept == []
    assert [item for item, _ in results] == list(range(source.taken))
    assert report.items["ok"] == source.taken == report.submitted
    begun = lines_in(tmp_path)
    assert all(begun[str(item)] <= attempts for item, attempts in results)


@pytest.mark.timeout(300)
async def test_workers_are_killed_at_any_moment(tmp_path: Path) -> None:
    """Nothing is lost with them, and nothing is there twice."""
    await killed_at_any_moment(tmp_path, KILLS, 1)


@pytest.mark.parametrize("attempts", [1, 3])
async def test_item_that_kills_its_worker_fails_alone(tmp_path: Path, attempts: int) -> None:
    """After exactly as many attempts as it has; all others have their results."""
    with cluster_of(2) as cluster:
        place = Dask(cluster.address, no_workers_after=60)
        node = Poison(
            Source(range(60)), str(tmp_path / "note"), run_in=place, max_retries=attempts,
            on_error="collect",
        )  # fmt: skip
        results = await results_of(node)
    (failed,) = [one for one in results if isinstance(one, Outcome)]
    assert (failed.index, failed.attempts) == (Poison.DEADLY, attempts)
    assert isinstance(failed.error, WorkerDiedError)
    assert [one for one in results if one is not failed] == [
        item for item in range(60) if item != Poison.DEADLY
    ]
    assert (tmp_path / "note").read_text() == "x" * attempts


async def test_item_that_kills_a_worker_of_several_threads_fails_alone(tmp_path: Path) -> None:
    """Items that ran at the same time lose an attempt at most, and then run apart from it."""
    with cluster_of(2, threads=3) as cluster:
        place = Dask(cluster.address, no_workers_after=60)
        node = Poison(
            Source(range(60)), str(tmp_path / "note"), run_in=place, max_retries=3,
            on_error="collect",
        )  # fmt: skip
        results = await results_of(node)
    (failed,) = [one for one in results if isinstance(one, Outcome)]
    assert (failed.index, failed.attempts) == (Poison.DEADLY, 3)
    assert (tmp_path / "note").read_text() == "x" * 3


async def test_workers_of_its_own_are_started_again(tmp_path: Path) -> None:
    """Also when the cluster has let go of them, as they were not back in time."""
    dask = pytest.importorskip("dask")
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "0.1s"}):
        note = str(tmp_path / "note")
        place = Dask(workers=1, no_workers_after=60)
        node = Poison(range(20), note, run_in=place, max_retries=3, on_error="collect")
        results = await results_of(node)
    assert [one for one in results if isinstance(one, int)] == [
        item for item in range(20) if item != Poison.DEADLY
    ]


async def test_scheduler_that_is_killed_is_an_error(tmp_path: Path) -> None:
    """The run does not wait for it."""
    with cluster_of(1) as cluster:
        items = [str(tmp_path / "go")] * 10
        run = asyncio.ensure_future(results_of(Waits(Source(items), run_in=Dask(cluster.address))))
        async with distributed.Client(
            cluster.address, asynchronous=True, set_as_default=False
        ) as client:
            await until_busy(client)
        os.kill(cluster.process.pid, signal.SIGKILL)
        with pytest.raises(BaseExceptionGroup) as raised:
            await run
    assert all(isinstance(error, ClusterUnavailableError) for error in raised.value.exceptions)


async def test_worker_that_joins_late_gets_items(tmp_path: Path) -> None:
    """A run that began with one uses all that there are."""
    with cluster_of(1) as cluster:
        source = Source(range(50))
        node = Meets(source, str(tmp_path), 2, run_in=Dask(cluster.address))
        run = asyncio.ensure_future(results_of(node))
        await until(lambda: source.taken)
        cluster.ask("add")
        assert len(set(await run)) == 2


async def test_run_begins_before_there_are_workers() -> None:
    """It waits for the first, for as long as start_timeout says."""
    with cluster_of(0) as cluster:
        place = Dask(cluster.address, no_workers_after=60)
        run = asyncio.ensure_future(results_of(Squares(range(10), run_in=place)))
        cluster.ask("add")
        assert await run == [number * number for number in range(10)]


async def test_worker_that_leaves_is_no_loss() -> None:
    """A cluster that shrinks: what it had is run elsewhere, or was run."""
    with cluster_of(3) as cluster:
        place = Dask(cluster.address, no_workers_after=60)
        run = asyncio.ensure_future(results_of(Squares(range(3000), run_in=place, max_retries=3)))
        cluster.ask("drop")
        assert await run == [number * number for number in range(3000)]


async def test_slow_worker_gets_less(tmp_path: Path) -> None:
    """Ten times as slow as the other, it does not hold up the run."""
    with cluster_of(2) as cluster:
        slow = (await results_of(Pids([0], run_in=Dask(cluster.address))))[0]
        node = Slow(range(300), slow, run_in=Dask(cluster.address))
        done = Counter(await results_of(node))
        assert 0 < done[slow] < 100


async def test_memory_of_the_client_does_not_grow_with_the_items() -> None:
    """A hundred thousand of them, and no results kept."""
    with cluster_of(2) as cluster:
        node = Squares(Source(range(100_000)), run_in=Dask(cluster.address))
        number = early = 0
        async for outcome in node.stream({}):
            number += 1
            if number == 20_000:  # as many as are in flight are there
                early = resident()
            assert outcome.value == outcome.index**2
        late = resident()
    assert number == 100_000
    assert late < early + 8_000_000


@pytest.mark.parametrize("own", [False, True], ids=["address", "own"])
async def test_memory_of_the_client_does_not_grow_with_what_it_has_sent(own: bool) -> None:
    """By default, Dask's client and scheduler keep copies of their last thousand messages."""
    with cluster_of(2) as cluster:
        place = Dask(workers=2) if own else Dask(cluster.address)
        node = Sizes((os.urandom(10_000) for _ in range(8000)), run_in=place)
        number = early = 0
        async for outcome in node.stream({}):
            number += 1
            if number == 2000:  # as many as are in flight are there
                early = resident()
            assert outcome.value == 10_000
        late = resident()
    assert number == 8000
    assert late < early + 20_000_000  # of 60 MB that were sent meanwhile


PROGRAM = """
import sys
from kaygraph import Graph, Journal
from kaygraph.executors.dask import Dask
from tests.executors.clustered import Steps

if __name__ == "__main__":
    address, folder, journal = sys.argv[1:]
    node = Steps(list(range(200)), folder, run_in=Dask(address))
    shared = {}
    Graph(node).run(shared, journal=Journal(journal, run="again"))
    print(sorted(item for item, _ in shared["results"]) == list(range(200)))
"""


async def test_client_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    """With a journal, no item is run again whose result had been recorded."""
    folder = tmp_path / "notes"
    folder.mkdir()
    (tmp_path / "program.py").write_text(PROGRAM)
    with cluster_of(2) as cluster:
        command = (
            sys.executable, tmp_path / "program.py", cluster.address, folder, tmp_path / "j.db",
        )  # fmt: skip
        with child(*command) as process:
            await until(lambda: sum(lines_in(folder).values()) > 80)
            process.kill()
        before = lines_in(folder)
        assert ran(*command, check=True).stdout == "True\n"
        again = [item for item, times in (lines_in(folder) - before).items() if item in before]
    assert len(again) < 80
