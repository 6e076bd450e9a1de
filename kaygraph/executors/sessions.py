"""What a run has open of clusters."""

import asyncio
from typing import Any

from ..limits.permits import Permits
from ..run.run import Run
from ..run.worker_processes import Session
from .cluster import Cluster


def session_of(run: Run, cluster: Cluster) -> Session:
    """Return what hands items of a run to a cluster; it is opened with the first of them."""
    root = run.root
    if root.sessions is None:
        root.sessions = {}
    key = cluster, asyncio.get_running_loop()
    if key not in root.sessions:
        from . import dispatch  # loads where it is used

        root.opened = True
        root.sessions[key] = dispatch.Session(cluster)
    return root.sessions[key]


def permits_of(node: Any, cluster: Cluster, run: Run) -> Permits:
    """Return permits for as many items of a node as keep a cluster busy, whatever that has."""
    return session_of(run, cluster).permits(node)
