"""Dask: with ``run_in=Dask("tcp://…")``, the workers of a cluster call ``exec``.

It needs the extra ``dask``: python -m pip install "kaygraph[dask]", also on the workers.
"""

import asyncio
import math
import os
import pickle
import signal
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from multiprocessing import current_process
from typing import TYPE_CHECKING, Any, TypeVar, cast

from .._extras import extra
from .._validation import check_count, check_flag, check_seconds
from ..aio.tasks import outlast, retrieve_exception
from ..errors import ClusterUnavailableError, add_note
from .at_worker import call_with, token
from .cluster import Cluster, Workers
from .dask_values import DaskValues

if TYPE_CHECKING:
    from distributed import Client, Future
    from distributed.security import Security

__all__ = ["Dask"]

T = TypeVar("T")

LARGE = 4 << 20  # bytes of an argument that is sent separately from its task
ANSWER_S = 10.0  # for the scheduler to say which workers there are
# What the scheduler expects of a task that it does not know, and in which time it wants all done.
DURATIONS = "scheduler.unknown-task-duration", "adaptive.target-duration"
QUIET = 60  # above all levels of logging: hides what the run's own cluster logs when it ends


class Dask(Cluster):
    """A Dask cluster for ``run_in=``: an existing one, or a new one on this machine.

    A run opens it for its first item. Items travel in chunks that take about 0.1
    seconds; each is retried, limited in time and accounted for like any other. The workers
    need kaygraph, the modules of the nodes, and the same version of Python.

    Anyone who can reach a scheduler can run code on its workers, because they unpickle what they
    receive: on a shared network, pass ``security`` with the certificates for TLS.

    Args:
        cluster: The address of a scheduler, such as ``"tcp://10.0.0.1:8786"``, a ``Client``, or a
            cluster object, such as a ``LocalCluster`` or one of dask-kubernetes or dask-jobqueue.
            Its owner closes it.
        workers: How many processes to start on this machine, for each run. They end with it.
        threads_per_worker: How many items each of these processes at once.
        scheduler_file: The path of a file that a scheduler has written, with its address.
        security: A ``distributed.Security``.
        no_workers_after: Seconds without a scheduler or any worker after which items fail.
        restart_workers: Whether to kill a worker process that continues with cancelled work, or
            past its ``timeout``, after a second, so that its nanny starts another. It may hold
            other data: by default, this is only done to processes started with ``workers``.
        adaptive: Whether the cluster grows with its work. Then, while all workers are busy and
            items wait, tasks that no worker takes tell the scheduler so. By default, if
            ``adapt()`` was called on the given object.

    Raises:
        TypeError: The cluster is given in none of the three ways, or in several.
    """

    def __init__(
        self,
        cluster: "str | Client | Any" = None,
        *,
        workers: int | None = None,
        threads_per_worker: int = 1,
        scheduler_file: str | os.PathLike[str] | None = None,
        security: "Security | None" = None,
        no_workers_after: float = 10.0,
        restart_workers: bool | None = None,
        adaptive: bool | None = None,
    ) -> None:
        ways = [cluster, workers, scheduler_file]
        if sum(way is not None for way in ways) != 1:
            raise TypeError(
                'pass one of: the address of a scheduler, as in Dask("tcp://10.0.0.1:8786"), a '
                "Client or a cluster; workers=, for processes on this machine; scheduler_file="
            )
        if workers is not None:
            check_count("workers", workers)
        if restart_workers is not None:
            check_flag("restart_workers", restart_workers)
        self.adaptive = None if adaptive is None else check_flag("adaptive", adaptive)
        self.cluster, self.workers, self.scheduler_file = cluster, workers, scheduler_file
        self.threads_per_worker = check_count("threads_per_worker", threads_per_worker)
        self.security = security
        self.no_workers_after = check_seconds("no_workers_after", no_workers_after)
        self.restart_workers = workers is not None if restart_workers is None else restart_workers

    def __repr__(self) -> str:
        if self.workers is not None:
            return f"Dask(workers={self.workers})"
        return f"Dask({self.scheduler_file or self._address!s})"

    @property
    def _adapts(self) -> bool:
        if self.adaptive is not None:
            return self.adaptive
        cluster = getattr(self.cluster, "cluster", None) or self.cluster  # of a client
        return getattr(cluster, "_adaptive", None) is not None

    @property
    def _address(self) -> Any:
        """The address of the scheduler, whatever has it."""
        scheduler = getattr(self.cluster, "scheduler", None)
        found = getattr(self.cluster, "scheduler_address", None)
        return found or getattr(scheduler, "address", None) or self.cluster

    async def open(self) -> Workers:
        distributed = extra("distributed", "dask")
        if self.workers is not None:
            return await self._own(distributed)
        loop = getattr(getattr(self.cluster, "loop", None), "asyncio_loop", None)
        is_ours = loop is asyncio.get_running_loop()
        if isinstance(self.cluster, distributed.Client) and is_ours and self.cluster.asynchronous:
            return DaskWorkers(self.cluster, (), adapts=self._adapts)
        client = self._client(
            distributed,
            None if self.scheduler_file is not None else self._address,
            security=self.security or getattr(self.cluster, "security", None),
            scheduler_file=self.scheduler_file,
            timeout=self.no_workers_after,
        )
        try:
            await _connected(client)
        except BaseException as error:
            await client.close()  # type: ignore[no-untyped-call]
            if isinstance(error, OSError):
                add_note(error, f"while {self!r} was opened")
            raise
        return DaskWorkers(client, (client.close,), adapts=self._adapts)

    async def _own(self, distributed: Any) -> Workers:
        """Start workers on this machine."""
        if getattr(current_process(), "_inheriting", False):
            raise ClusterUnavailableError(
                "this script starts its run when a worker process imports it: put the run under "
                "if __name__ == '__main__':"
            )
        cluster = distributed.LocalCluster(
            n_workers=self.workers,
            threads_per_worker=self.threads_per_worker,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address=None,
            security=self.security,
            asynchronous=True,
            silence_logs=QUIET,
        )
        # One that is cancelled while it starts leaves processes behind, also when it is closed.
        starting = asyncio.ensure_future(_started(cluster))
        try:
            await outlast([starting])
            starting.result()
            client = self._client(distributed, cluster)
            await _connected(client)
        except BaseException:
            retrieve_exception(starting)
            await outlast([asyncio.ensure_future(cluster.close())])
            raise
        return DaskWorkers(client, (client.close, cluster.close), partial(self._keep, cluster))

    def _keep(self, cluster: Any) -> None:
        """Start the workers again that a LocalCluster has given up, as they died too often."""
        for messages in cluster.scheduler.stream_comms.values():
            _keep_no_copies(messages)
        if len(cluster.workers) < (self.workers or 0):
            cluster.scale(self.workers)

    def _client(self, distributed: Any, cluster: Any, **settings: Any) -> "Client":
        client: Client = distributed.Client(
            cluster, asynchronous=True, set_as_default=False, **settings
        )
        return client


async def _started(cluster: Any) -> None:
    await cluster


async def _connected(client: "Client") -> None:
    """Connect a client, and have it keep no items of chunks that are done."""
    await client
    _keep_no_copies(client.scheduler_comm)


def _keep_no_copies(messages: Any) -> None:
    """Have a ``BatchedSend`` forget what it has sent; by default it keeps the last 1,000 messages.

    Each may be up to 1 MB large, and hold the items of a chunk.
    """
    messages.recent_message_log = deque(maxlen=0)


class DaskWorkers:
    """The workers of a cluster of Dask's, by a client of the run's loop.

    Args:
        client: The client.
        closes: What is called, one after the other, to let go of it.
        keep: Called again and again: it sees to it that there are workers.
        adapts: Whether it has more workers when the scheduler has more to do.
    """

    def __init__(
        self,
        client: "Client",
        closes: Collection[Callable[[], Awaitable[object]]],
        keep: Callable[[], None] | None = None,
        adapts: bool = False,
    ) -> None:
        self._adapts = adapts
        self._client, self._closes, self._keep = client, closes, keep
        self._scheduler = cast(Any, client.scheduler)
        self.name = f"the scheduler {self._scheduler.address}"
        self.values = DaskValues(client)

    async def known(self) -> Mapping[str, int]:
        if self._client.status != "running":
            raise ConnectionError("the connection was lost")
        if self._keep is not None:
            self._keep()
        async with asyncio.timeout(ANSWER_S):
            threads: dict[str, int] = await self._scheduler.ncores()
            return threads

    async def ready(self) -> Collection[str]:
        async with asyncio.timeout(ANSWER_S):
            ready: dict[str, int] = await self._scheduler.ncores_running()
            return ready

    async def submit(
        self, address: str, function: Callable[..., T], *args: Any, needs: Sequence[Any] = ()
    ) -> T:
        pickled = pickle.dumps(args)
        given: tuple[Any, ...] = (function, *args)
        if len(pickled) > LARGE:  # the scheduler warns of large tasks
            scatter: Any = self._client.scatter
            (data,) = await scatter([pickled], workers=[address], hash=False)
            given = call_with, function, data
        if needs:
            given = *given, list(needs)
        future = self._client.submit(
            *given,
            workers=[address],
            allow_other_workers=False,
            pure=False,
            retries=0,
        )
        try:
            # Not awaited itself: its client fetches results for several at once, and all of them
            # would be cancelled with one.
            error = await future.exception()  # type: ignore[no-untyped-call]
            if error is not None:
                raise error
            if future.status != "finished":
                raise ConnectionError(f"the scheduler has dropped a call ({future.status})")
            answer = await self._scheduler.gather(keys=[future.key])
            if answer["status"] != "OK":
                raise ConnectionError("a result could not be fetched")
            result: T = answer["data"][future.key]
            return result
        finally:
            future.release()  # type: ignore[no-untyped-call]

    async def ask(self, address: str, function: Callable[..., Any], *args: Any) -> Any:
        answers = await self._client.run(function, *args, workers=[address])
        return answers[address]

    async def kill(self, address: str, pid: int) -> None:
        number = getattr(signal, "SIGKILL", signal.SIGTERM)
        await self._client.run(os.kill, pid, number, workers=[address], nanny=True)

    async def wanted(self, threads: int) -> None:
        if self._adapts:
            futures = self._claims(threads)
        else:  # the first free one takes it
            futures = [self._client.submit(token, pure=False, retries=0)]
        try:
            await asyncio.Event().wait()
        finally:
            for future in futures:
                future.release()  # type: ignore[no-untyped-call]

    def _claims(self, threads: int) -> "list[Future[Any]]":
        """Submit tasks that no worker takes: by them a scheduler counts how many it should have.

        It adds up how long it expects them to take, and wants that done within a given time.
        """
        from dask import config
        from dask.utils import parse_timedelta

        each_s, all_s = (parse_timedelta(config.get(f"distributed.{name}")) for name in DURATIONS)
        number = math.ceil(threads * all_s / each_s)
        nowhere = {"kaygraph-another-worker": 1}
        submitted: list[Future[Any]] = self._client.map(
            abs, range(number), key="kaygraph-wanted", resources=nowhere, pure=False, retries=0
        )
        return submitted

    async def close(self) -> None:
        async with AsyncExitStack() as stack:  # all of them, also when one fails
            for close in reversed(list(self._closes)):
                stack.push_async_callback(close)
