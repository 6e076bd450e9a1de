"""A cluster of Dask's in a program of its own: a scheduler, and workers that it starts.

``python -m tests.executors.cluster WORKERS THREADS`` writes the address of its scheduler, does what
it reads, a word a line, and answers with a line: ``add``, ``drop``. It ends with its input.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from tempfile import TemporaryDirectory

from tests.children import child

# A LocalCluster looks after so long whether a worker that has died is back, and lets go of one that
# has died again.
STAYS = {"DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT": "1h"}


class TestCluster:
    """The program, as a test sees it.

    Attributes:
        address: Of the scheduler.
        process: The program; the scheduler is in it.
        folder: Where its processes put temporary files.
    """

    __test__ = False

    def __init__(self, process: "Popen[str]", folder: Path) -> None:
        self.process, self.folder = process, folder
        self.address = self._read()

    def _read(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line, "the cluster has not started"
        return line

    @property
    def kept(self) -> list[str]:
        """What kaygraph has left on the machine of the workers."""
        return [path.name for path in self.folder.glob("kaygraph-*")]

    def ask(self, word: str) -> str:
        """Have it do something, and return what it says."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        return self._read()


@contextmanager
def cluster_of(workers: int, threads: int = 1) -> Iterator[TestCluster]:
    """Start a cluster, and end it with the block."""
    command = (sys.executable, "-m", "tests.executors.cluster", str(workers), str(threads))
    with (
        TemporaryDirectory() as folder,
        child(*command, stdin=PIPE, stderr=DEVNULL, env={"TMPDIR": folder, **STAYS}) as process,
    ):
        yield TestCluster(process, Path(folder))


def main() -> None:
    from distributed import LocalCluster

    workers, threads = map(int, sys.argv[1:])
    with LocalCluster(
        n_workers=workers,
        threads_per_worker=threads,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        silence_logs=60,
    ) as cluster:
        print(cluster.scheduler_address, flush=True)
        size = workers
        for line in sys.stdin:
            size += {"add": 1, "drop": -1}[line.strip()]
            cluster.scale(size)
            print(size, flush=True)
        os._exit(0)  # the test kills what is left of the session


if __name__ == "__main__":
    main()
