"""The twelve graphs on executors of other engines: Ray, by an adapter, and mpi4py's.

``python -m tests.executors.other_pools ray``, and for ``mpi`` as ``mpiexec -n 3 python -m
mpi4py.futures -m tests.executors.other_pools mpi``, write a line for each graph: its name, and
whether it comes to the same as on the loop. The last line has what ``exec`` sees of a context
variable.
"""

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from kaygraph import Graph
from tests.executors.graphs import graphs
from tests.executors.seeing import USER, Looks
from tests.executors.test_everywhere import outcome_of


@contextmanager
def on_ray() -> Any:
    import ray

    @ray.remote(max_retries=0)
    def call(function: Callable[..., Any], *args: Any) -> Any:
        return function(*args)

    class Ray:
        def submit(self, function: Callable[..., Any], *args: Any) -> "Future[Any]":
            future: Future[Any] = call.remote(function, *args).future()
            return future

    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
    )
    yield Ray()
    ray.shutdown()


def on_mpi() -> Any:
    from mpi4py.futures import MPIPoolExecutor

    return MPIPoolExecutor(2)


POOLS: dict[str, Callable[[], AbstractContextManager[Any]]] = {"ray": on_ray, "mpi": on_mpi}


async def main(name: str) -> None:
    with POOLS[name]() as pool:
        for graph in graphs(None):
            there, here = graphs(pool)[graph], graphs("loop")[graph]
            print(f"{graph}: {await outcome_of(there) == await outcome_of(here)}", flush=True)
        USER.set("ann")
        shared: dict[str, Any] = {}
        await Graph(Looks(run_in=pool)).run_async(shared)
        print(shared["seen"][0])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
