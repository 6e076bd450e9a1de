"""Clusters of the program's own: objects of Dask's, TLS, scheduler files, and ones that grow."""

import asyncio
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import pytest

from kaygraph import ClusterUnavailableError, Graph
from kaygraph.executors.dask import Dask
from tests.children import child, python, ran
from tests.executors.clustered import Pids

pytestmark = [pytest.mark.anyio, pytest.mark.proofs]  # each test starts workers

distributed = pytest.importorskip("distributed")

ONE: dict[str, Any] = {
    "n_workers": 1,
    "threads_per_worker": 1,
    "host": "127.0.0.1",
    "dashboard_address": "127.0.0.1:0",
    "worker_dashboard_address": None,
    "silence_logs": 60,
}


async def pids_of(place: Dask) -> set[int]:
    """Return the processes that work on items, by now."""
    shared: dict[str, Any] = {}
    await Graph(Pids(range(4), run_in=place)).run_async(shared)
    return set(shared["results"])


def is_alive(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


# --- objects --------------------------------------------------------------------------------------


async def test_cluster_object_is_used_and_left_open() -> None:
    """By one run after another, from a loop that is not its own."""
    with distributed.LocalCluster(**ONE) as cluster:
        first = await pids_of(Dask(cluster))
        assert await pids_of(Dask(cluster)) == first
        assert os.getpid() not in first
        assert all(map(is_alive, first))


async def test_cluster_of_this_very_loop_is_used_and_left_open() -> None:
    """As ``asynchronous=True`` makes it."""
    async with distributed.LocalCluster(**ONE, asynchronous=True) as cluster:
        first = await pids_of(Dask(cluster))
        assert await pids_of(Dask(cluster)) == first
        assert all(map(is_alive, first))


# --- TLS ------------------------------------------------------------------------------------------


@pytest.fixture
def security(tmp_path: Path) -> Any:
    """Certificates of an authority of its own, for the scheduler, the workers and the client."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    pytest.importorskip("cryptography", reason="Dask reads certificates with it")
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        "-subj /CN=loopback -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem"
    )
    ran(*command.split(), cwd=tmp_path, check=True)
    certificate, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    who = ("client", "scheduler", "worker")
    return distributed.Security(
        tls_ca_file=certificate,
        require_encryption=True,
        **{f"tls_{one}_cert": certificate for one in who},
        **{f"tls_{one}_key": key for one in who},
    )


async def test_cluster_with_certificates_takes_those_who_have_one(security: Any) -> None:
    """By its address and as an object, which has them; nobody else comes in."""
    cluster = distributed.LocalCluster(**ONE, security=security, protocol="tls://")
    with cluster:
        address = cluster.scheduler_address
        assert address.startswith("tls://127.0.0.1:")
        assert await pids_of(Dask(address, security=security)) == await pids_of(Dask(cluster))
        with pytest.raises(ClusterUnavailableError, match="perhaps check your TLS configuration"):
            await Graph(Pids([1], run_in=Dask(address, no_workers_after=1.0))).run_async({})


async def test_workers_of_the_run_speak_tls(security: Any) -> None:
    """``security`` is passed on to what a run starts."""
    assert os.getpid() not in await pids_of(Dask(workers=1, security=security))


# --- a scheduler of its own -----------------------------------------------------------------------


@pytest.fixture
def scheduler_file(tmp_path: Path) -> Iterator[Path]:
    """The file of a scheduler that has a worker, both programs as an operator starts them."""
    path = tmp_path / "scheduler.json"
    scheduler = (
        sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port",
        "0", "--no-dashboard", "--no-show", "--scheduler-file", path,
    )  # fmt: skip
    worker = (
        sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", path, "--host",
        "127.0.0.1", "--nthreads", "1", "--no-dashboard", "--local-directory", tmp_path,
    )  # fmt: skip
    quiet = {"stdout": DEVNULL, "stderr": DEVNULL}
    with child(*scheduler, **quiet), child(*worker, **quiet):
        yield path


async def test_scheduler_file_names_the_cluster(scheduler_file: Path) -> None:
    """As soon as there is one, and a worker."""
    while not os.path.exists(scheduler_file):  # noqa: ASYNC110, ASYNC240 - nobody tells
        await asyncio.sleep(0.05)
    assert len(await pids_of(Dask(scheduler_file=scheduler_file, no_workers_after=60.0))) == 1


# --- clusters that grow ---------------------------------------------------------------------------


def test_adaptive_cluster_grows_with_the_work_and_shrinks_after_it(tmp_path: Path) -> None:
    """From no worker to two, of which each waits for the other, and to none."""
    ended = python("-m", "tests.executors.growing", tmp_path / "notes", check=True)
    assert ended.stdout.split() == ["2", "none"]
