"""A cluster of Dask's that grows and shrinks, in the program that asks it to.

``python -m tests.executors.growing FOLDER`` writes how many processes have worked on the items, and
"none" when there are none any more.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

from distributed import LocalCluster

from kaygraph import Graph
from kaygraph.executors.dask import Dask
from tests.executors.clustered import LONG_S, Meets

SHORT_MS = "100ms"  # between two looks of the cluster at what there is to do


async def main(folder: str) -> None:
    settings: Any = {"n_workers": 0, "threads_per_worker": 1, "host": "127.0.0.1"}
    async with LocalCluster(
        **settings, dashboard_address="127.0.0.1:0", asynchronous=True, silence_logs=60
    ) as cluster:
        cluster.adapt(minimum=0, maximum=2, interval=SHORT_MS)
        shared: dict[str, Any] = {}
        # Each waits for the other, on another worker.
        node = Meets(range(8), folder, 2, run_in=Dask(cluster, no_workers_after=LONG_S))
        await Graph(node).run_async(shared)
        print(len(set(shared["results"])))
        while cluster.scheduler.workers:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)
        print("none")


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(exist_ok=True)
    asyncio.run(main(sys.argv[1]))
