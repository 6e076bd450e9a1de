"""The nodes of B13, in a module that imports no more than they need: processes import it, too."""

import time
from typing import Any

from benchmarks.b13_function import backwards
from kaygraph import ParallelBatchNode

WORKERS = 2


class Backwards(ParallelBatchNode[bytes, bytes]):
    """Takes ``shared["items"]``, keeps the results, and the seconds between."""

    run_in = "process"
    max_workers = WORKERS

    def prep(self, shared: Any) -> list[bytes]:
        shared["began"] = time.perf_counter()
        return shared["items"]  # type: ignore[no-any-return]

    def exec(self, prep_res: bytes) -> bytes:
        return backwards(prep_res)

    def post(self, shared: Any, prep_res: Any, exec_res: list[bytes]) -> None:
        shared["seconds"] = time.perf_counter() - shared["began"]
        shared["results"] = exec_res


class Starts(Backwards):
    """Starts the processes: each has an item that takes a while."""

    chunksize = 1

    def prep(self, shared: Any) -> list[bytes]:
        return [b""] * WORKERS

    def exec(self, prep_res: bytes) -> bytes:
        time.sleep(0.3)
        return prep_res

    def post(self, shared: Any, prep_res: Any, exec_res: list[bytes]) -> None: ...
