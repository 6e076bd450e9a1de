"""Items of a run that are worked on by a cluster: in chunks, each sent to one worker.

A worker is chosen here and not by the cluster, so that each item is run as often as this run says:
when a worker dies, nothing is run again that has not been looked at here.
"""

import asyncio
import hashlib
import os
from collections.abc import Callable, Collection, Coroutine, Mapping
from contextlib import suppress
from contextvars import Context
from time import monotonic
from typing import Any, TypeVar

from ..aio.tasks import outlast
from ..errors import AttemptTimeoutError, ClusterUnavailableError, KayGraphError, add_note
from ..limits.permits import Permits
from ..run.frame import Frame
from ..run.saying import receiver_of
from .at_worker import discard, forget
from .cluster import Cluster, Workers
from .elsewhere import in_time
from .facts import facts_of
from .references import Store
from .remote import Chunk, Gone, Worker, host_of
from .sending import given_pickled, node_pickled
from .waiting import Entry, Queue, Room

T = TypeVar("T")

POLL_S = 0.2  # between two looks at the list of workers
FULL_LOOKS = 5  # in a row, before a cluster is asked for more workers, or for no more

CLOSE_S = 2.0  # for workers to remove their files

LOOPBACK = ("tcp://127.0.0.1", "tls://127.0.0.1")

OTHER_PROCESSES = True, True  # how things are pickled for workers, which have another __main__


class Session:
    """A cluster as one run uses it.

    It is opened for the first item, and closed at the end of the run. An item is run once for each
    call, or the call raises; see ``remote`` for what happens to the items of a worker that dies.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.name = os.urandom(8).hex()
        self.workers: dict[str, Worker] = {}
        self.folders: dict[str, str] = {}  # of their files, and the machines of these
        self.store = Store()
        self._ready: Collection[str] = ()
        self._open: Workers | None = None
        self._queues: dict[Any, Queue] = {}
        self._widths: dict[Any, Permits] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stirred = asyncio.Event()
        self._looked, self._looking = asyncio.Condition(), asyncio.Lock()
        self._workerless_since: float | None = None
        self._looks_full = 0  # how often in a row it differed from what was last requested
        self._lost: Callable[[], BaseException] | None = None
        self._reserved: Worker | None = None  # it gets nothing until a suspect item can have it
        self._serving: asyncio.Task[None] | None = None

    @property
    def opened(self) -> Workers:
        assert self._open is not None
        return self._open

    async def call(self, node: Any, item: Any, frame: Frame, limit_s: float | None) -> Any:
        """Run ``node.exec(item)`` on a worker and return its result.

        ``limit_s`` is in seconds, from when the item is sent to a worker that has nothing else to
        do.

        Raises:
            NodeDefinitionError: The node cannot be pickled. Nothing is sent.
            AttemptTimeoutError: ``exec`` ran past ``limit_s``.
            WorkerDiedError: The worker ended while it worked on the item.
            ClusterUnavailableError: There is no cluster, or no worker.
            Exception: Whatever ``exec`` raised.
        """
        queue = self._queue_of(node, limit_s is not None)
        alone = frame.attempt > 1 and queue.deaths > 0
        facts = facts_of(node, frame)
        with self.store.sending() as needs:
            given = given_pickled(item, facts, *OTHER_PROCESSES)
        entry = Entry(given, alone, limit_s is not None, receiver_of(node, frame), needs)
        if self._lost is not None:
            raise self._lost()
        if self._serving is None:
            self._serving = self.begin(self._serve())
        queue.pending.append(entry)
        self._stirred.set()
        try:
            if limit_s is None:
                await entry.ended
            else:
                await in_time(entry.ended, entry.sent, limit_s, node)
        except (asyncio.CancelledError, AttemptTimeoutError) as error:
            still_runs = await self._withdraw(entry)
            if still_runs is not None:
                add_note(error, still_runs)
            raise
        with self.store.receiving(_said_of(facts[2])):
            return entry.value()

    def permits(self, node: Any) -> Permits:
        """Return permits for as many items as keep all workers busy; that changes with them."""
        self._queue_of(node)  # which refuses what cannot be sent, before there is any item
        self._widths[node] = permits = Room(1)
        self._widen()
        return permits

    def _queue_of(self, node: Any, limited: bool = False) -> Queue:
        queue = self._queues.get(node)
        if queue is None:
            pickled = node_pickled(node, *OTHER_PROCESSES)
            digest = hashlib.blake2b(pickled, digest_size=16).hexdigest()
            queue = self._queues[node] = Queue(pickled, digest, str(node.name))
        queue.limited = queue.limited or limited
        return queue

    async def _withdraw(self, entry: Entry) -> str | None:
        """See to it that an item does not run any longer; return what still does, or None."""
        entry.withdrawn = True
        chunk: Chunk | None = entry.chunk
        if chunk is None:
            return None
        chunk.to_stop.append(entry)
        if chunk.stopping is None:
            chunk.stopping = self.begin(chunk.stop())
        await outlast([chunk.stopping])
        return chunk.still_runs

    def begin(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Begin something that ends with the session, and knows nothing of who has begun it."""
        task = asyncio.get_running_loop().create_task(work, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- workers ----------------------------------------------------------------------------------

    async def _serve(self) -> None:
        """Open the cluster, and send waiting items whenever something has changed."""
        try:
            self._open = await self.cluster.open()
            self.store.values = self._open.values
            self.begin(self._watch())
            while True:
                await self._stirred.wait()
                self._stirred.clear()
                await self._gathered()
                self._send()
        except Exception as error:
            self.lose(error)

    async def _gathered(self) -> None:
        """Let those have their turn who have an item to send, now that there is room for it."""
        before, now = -1, 0
        while before < now:
            before = now
            await asyncio.sleep(0)
            now = sum(len(queue.pending) for queue in self._queues.values())

    async def _watch(self) -> None:
        """Look again and again which workers there are."""
        knocking: asyncio.Task[None] | None = None
        wanted = 0
        try:
            while True:
                await self.look()
                since = self._workerless_since
                if (now := self._wanted(wanted)) != wanted:
                    wanted = now
                    if knocking is not None:
                        knocking.cancel()
                    knocking = self.begin(self.opened.wanted(wanted)) if wanted else None
                if since is not None and monotonic() - since >= self.cluster.no_workers_after:
                    self._fail_all(self._no_workers)
                await asyncio.sleep(POLL_S)
        except Exception as error:
            self.lose(error)

    def _wanted(self, before: int) -> int:
        """Return how many threads there is work for; 0: for those that there are."""
        workers = self.workers.values()
        threads = sum(worker.threads for worker in workers)
        if not threads:
            return 1
        is_full = not any(worker.has_room(1) for worker in workers)
        is_full = is_full and any(queue.pending for queue in self._queues.values())
        if is_full != (before > threads):
            self._looks_full += 1
        else:
            self._looks_full = 0
        if self._looks_full < FULL_LOOKS:
            return before if before > threads else 0
        self._looks_full = 0
        return 2 * threads if is_full else 0

    async def look(self) -> None:
        """Note which workers there are now."""
        async with self._looking:  # an older answer is not to come after a newer one
            await self._look()

    async def _look(self) -> None:
        known = await self.opened.known()
        self._ready = await self.opened.ready()
        for address in self.workers.keys() - known:
            self.workers.pop(address).leave()
        for address in known.keys() - self.workers.keys():
            self.workers[address] = Worker(address, known[address])
        if known:
            self._workerless_since = None
        elif self._workerless_since is None:
            self._workerless_since = monotonic()
        self._widen()
        self._stirred.set()
        async with self._looked:
            self._looked.notify_all()

    async def neighbour_of(self, address: str) -> str:
        """Return a worker on the same machine as one that is gone, as soon as there is one."""
        host = host_of(address)

        def found() -> str | None:
            near = (one.address for one in self.workers.values() if one.host == host)
            return next(near, None)

        async with self._looked:
            neighbour = await self._looked.wait_for(found)
        assert neighbour is not None
        return neighbour

    def replaced(self, worker: Worker) -> None:
        """Note that another process has the address of a worker."""
        if self.workers.get(worker.address) is worker:
            self.workers[worker.address] = Worker(worker.address, worker.threads)
        worker.leave()

    def _widen(self) -> None:
        threads = sum(worker.threads for worker in self.workers.values())
        for node, permits in self._widths.items():
            queue = self._queues.get(node)
            size = max(1, threads) if queue is None else queue.width(threads)
            if size != permits.size:
                permits.resize(size)

    # --- items ------------------------------------------------------------------------------------

    def _send(self) -> None:
        """Send chunks to the workers that have room for them."""
        threads = sum(worker.threads for worker in self.workers.values())
        if not any(queue.next_is_suspect for queue in self._queues.values()):
            self._reserved = None
        for node, queue in tuple(self._queues.items()):
            while queue.pending:
                worker = self._worker_for(queue)
                if worker is None:
                    break
                is_apart = queue.next_is_suspect and worker.threads > 1
                share = -(-len(queue.pending) // max(1, threads))
                entries = queue.take(share, worker.address)
                if not entries:
                    break
                worker.chunks += 1
                worker.is_apart = is_apart
                self.begin(self._run(Chunk(self, queue, worker, entries)))
            if queue.pending:  # the others come first the next time
                self._queues[node] = self._queues.pop(node)

    def _worker_for(self, queue: Queue) -> Worker | None:
        """Return the worker for the next chunk, if one has room for it.

        An item that a worker may have died of gets one that does nothing else.
        """
        ready = [worker for worker in self.workers.values() if worker.address in self._ready]
        if queue.next_is_suspect and all(worker.threads > 1 for worker in ready):
            self._reserved = min(ready, key=lambda one: one.chunks, default=None)
            if self._reserved is None or self._reserved.chunks:
                return None
            worker, self._reserved = self._reserved, None
            return worker
        ahead = queue.ahead_now(sum(worker.threads for worker in ready))
        free = [one for one in ready if one.has_room(ahead) and one is not self._reserved]
        return queue.placed({one.address: one for one in free}, self.workers.keys())

    async def _run(self, chunk: Chunk) -> None:
        """Have a chunk run, and note what its items have come to."""
        try:
            await chunk.run()
        except Gone:
            await chunk.recover()
        except Exception as error:
            chunk.blame(error)
        finally:
            chunk.worker.chunks -= 1
            chunk.worker.is_apart = False
            self._widen()
            self._stirred.set()

    # --- when it is over --------------------------------------------------------------------------

    def _no_workers(self) -> BaseException:
        seconds = self.cluster.no_workers_after
        return ClusterUnavailableError(
            f"{self.opened.name} has had no worker for {seconds:g} s (no_workers_after): start "
            "one, or raise no_workers_after"
        )

    def lose(self, error: Exception) -> None:
        """Note that the cluster cannot be reached: everything sent there fails."""
        name = "the cluster" if self._open is None else self._open.name

        def lost() -> BaseException:
            if isinstance(error, KayGraphError | ImportError):
                return type(error)(*error.args)
            said = f"{type(error).__name__}: {error}".removesuffix(": ")
            failure = ClusterUnavailableError(f"{name} cannot be reached: {said}")
            failure.__cause__ = error
            return failure

        self._lost = self._lost or lost
        for worker in self.workers.values():
            worker.leave()
        self.workers.clear()
        self._fail_all(lost)

    def lost(self) -> BaseException | None:
        """Return an error that says that the cluster cannot be reached, if it is so."""
        return None if self._lost is None else self._lost()

    def _fail_all(self, failures: Callable[[], BaseException]) -> None:
        for queue in self._queues.values():
            queue.fail(failures)

    async def close(self) -> None:
        """End all that goes on here, and let go of the cluster."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await outlast(tasks)
        self.store.close()
        if self._open is None:
            return
        await outlast([self.begin(self._forgotten())])
        closing = self.begin(self._open.close())
        await outlast([closing])
        closing.result()

    async def _forgotten(self) -> None:
        """Have the workers remove their files, and those of others on their machines."""
        met = [worker for worker in self.workers.values() if worker.folder is not None]
        asked = [self.opened.ask(worker.address, forget, self.name) for worker in met]
        for folder, host in self.folders.items() - {(one.folder, one.host) for one in met}:
            near = next((one for one in self.workers.values() if one.host == host), None)
            if host in LOOPBACK:  # it is this machine
                discard(folder)
            elif near is not None:
                asked.append(self.opened.ask(near.address, discard, folder))
        with suppress(Exception):
            async with asyncio.timeout(CLOSE_S):
                for answer in await asyncio.gather(*asked, return_exceptions=True):
                    if isinstance(answer, list):
                        self.opened.values.release(answer)


def _said_of(place: Mapping[str, Any]) -> str:
    """Return what an error says of the item whose place was sent."""
    node = f"{place['node']!r}"
    return f"{node}, item {place['item']}" if "item" in place else node
