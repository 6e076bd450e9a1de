"""A cluster for the tests of a module: its idle processes would slow down all that follow."""

from collections.abc import Iterator

import pytest

from tests.executors.cluster import TestCluster, cluster_of


@pytest.fixture(scope="module")
def dask_cluster() -> Iterator[TestCluster]:
    """A scheduler and two workers, which no test may harm."""
    pytest.importorskip("distributed")
    with cluster_of(2) as cluster:
        yield cluster
