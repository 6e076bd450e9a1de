"""The cluster of the tests of executors."""

from tests.executors.conftest import dask_cluster

__all__ = ["dask_cluster"]
