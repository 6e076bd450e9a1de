"""Executors of other engines, where they are installed: Ray by an adapter, and mpi4py's."""

import shutil
import sys

import pytest

from tests.children import python, ran
from tests.executors.graphs import graphs

pytestmark = [pytest.mark.proofs, pytest.mark.timeout(300)]  # each runs programs

PROGRAM = "tests.executors.other_pools"
SAME = [*(f"{name}: True" for name in graphs(None)), "ann"]
LONGEST_S = 280


def test_graphs_come_to_the_same_on_ray() -> None:
    """By the adapter of docs/how-to/clusters.md."""
    pytest.importorskip("ray")
    env = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_raylet_start_wait_time_s": "200"}
    ended = python("-m", PROGRAM, "ray", env=env, timeout=LONGEST_S, check=True)
    assert ended.stdout.splitlines() == SAME


def test_graphs_come_to_the_same_on_mpi() -> None:
    """On the workers of mpi4py.futures."""
    pytest.importorskip("mpi4py")
    mpiexec = shutil.which("mpiexec", path=f"{sys.prefix}/bin") or shutil.which("mpiexec")
    if mpiexec is None:
        pytest.skip("there is no mpiexec")
    command = mpiexec, "-n", "3", sys.executable, "-m", "mpi4py.futures", "-m", PROGRAM, "mpi"
    assert ran(*command, timeout=LONGEST_S, check=True).stdout.splitlines() == SAME
