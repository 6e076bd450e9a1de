"""A cluster for all tests of executors."""

from collections.abc import Iterator

import pytest

from tests.executors.cluster import TestCluster, cluster_of


@pytest.fixture(scope="session")
def dask_cluster() -> Iterator[TestCluster]:
    """A scheduler and two workers, which no test may harm."""
    pytest.importorskip("distributed")
    with cluster_of(2) as cluster:
        yield cluster
