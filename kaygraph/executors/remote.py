"""The workers of a cluster as a run knows them, and the chunks that they have.

A worker keeps what the items of a chunk come to in a file. When it dies, a neighbour reads that:
what had ended is not run again, what had not begun goes to another worker, and the item that it
worked on has failed. If no worker on that machine answers, all items of the chunk have.
"""

import asyncio
import os
import pickle
from collections.abc import Collection, Coroutine
from contextlib import suppress
from math import inf
from typing import Any, Protocol, TypeVar

from ..aio.tasks import outlast
from ..errors import ClusterUnavailableError, WorkerDiedError
from .at_worker import Greeting, Order, discard, greet, kept, run_chunk, stop
from .cluster import Cluster, Workers
from .following import followed
from .references import Store, lost
from .spool import FAILED, LEFT, LOST, Record
from .waiting import CHUNK_S, Entry, Queue, needs_of

T = TypeVar("T")

GRACE_S = 1.0  # for cancelled work to end
KILL_S = 5.0  # for a worker that is killed to be gone
ANSWER_S = 2.0  # for a worker to answer what it is asked
LOOK_S = 0.02  # how often it is looked whether a worker is gone that should be
RECOVERY_S = 10.0  # for another worker on the machine of one that died


class Sender(Protocol):
    """Who sends chunks to workers, as far as these have to do with it."""

    name: str
    cluster: Cluster
    folders: dict[str, str]
    workers: "dict[str, Worker]"

    @property
    def opened(self) -> Workers: ...

    @property
    def store(self) -> Store: ...

    def begin(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Begin something that ends with the session."""

    async def look(self) -> None:
        """Note which workers there are now."""

    async def neighbour_of(self, address: str) -> str:
        """Return a worker on the same machine as one that is gone, as soon as there is one."""

    def replaced(self, worker: "Worker") -> None:
        """Note that another process has the address of a worker."""

    def lose(self, error: Exception) -> None:
        """Note that the cluster cannot be reached."""

    def lost(self) -> BaseException | None:
        """Return an error that says that the cluster cannot be reached, if it is so."""


class Gone(Exception):  # noqa: N818 - it is not shown
    """A worker has left, or died."""


def host_of(address: str) -> str:
    """Return an address without its port: what workers on one machine have in common."""
    return address.rpartition(":")[0]


class Worker:
    """A worker.

    Attributes:
        chunks: How many it has.
        token: Identifies its process; "" until it has answered.
        folder: Where it keeps what items have come to, or None.
        gone: Set when it has left.
    """

    def __init__(self, address: str, threads: int) -> None:
        self.address, self.host, self.threads = address, host_of(address), threads
        self.chunks = 0
        self.token, self.pid = "", 0
        self.is_apart = False  # what it has must run alone
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.running: dict[str, Chunk] = {}
        self.collected: list[str] = []
        self.folder: str | None = None
        self.greetings: dict[str, asyncio.Task[Greeting]] = {}
        self.recovery: asyncio.Task[dict[str, list[Record] | None] | None] | None = None

    def has_room(self, ahead: int) -> bool:
        """Whether it may get another chunk, where each of its threads may have so many."""
        return not self.is_apart and self.chunks < self.threads * ahead

    @property
    def load(self) -> float:
        return self.chunks / self.threads if self.threads else inf

    def leave(self) -> None:
        if not self.gone.done():
            self.gone.set_result(None)

    async def unless_gone(self, work: Coroutine[Any, Any, T]) -> T:
        """Await something that may never end when the worker leaves.

        Raises:
            Gone: It has left.
        """
        task = asyncio.get_running_loop().create_task(work)
        try:
            both: list[asyncio.Future[Any]] = [task, self.gone]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise Gone
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await outlast([task])


class Chunk:
    """Items that are sent to a worker together."""

    def __init__(self, session: Sender, queue: Queue, worker: Worker, entries: list[Entry]) -> None:
        self.session, self.queue, self.worker, self.entries = session, queue, worker, entries
        self.name = os.urandom(8).hex()
        self.to_stop: list[Entry] = []  # items that nothing waits for any more
        self.stopping: asyncio.Task[None] | None = None
        self.still_runs: str | None = None  # what could not be ended
        for entry in entries:
            entry.anew(self)

    async def run(self) -> None:
        """Have the worker run the items.

        Raises:
            Gone: The worker has left.
            Exception: It could not be asked.
        """
        worker = self.worker
        try:
            greeting = await worker.unless_gone(self._greeted())
            if greeting.failure is not None:
                packed = pickle.dumps((greeting.failure.pickled, greeting.failure.trace))
                self._end_all(Record(FAILED, 0.0, packed))
                return
            self.entries = [entry for entry in self.entries if not entry.withdrawn]
            if not self.entries:
                return
            worker.running[self.name] = self
            answer = await worker.unless_gone(self._answered(greeting.token))
        except Gone:
            raise
        except Exception:
            if not await self._without_lost():
                await self._leaves()
                raise
            return
        if answer is None:
            await self._not_here()
            return
        worker.running.pop(self.name, None)
        worker.collected.append(self.name)
        records, sizes = pickle.loads(answer)
        claimed = self.session.store.claim(sizes, worker.address)
        for entry in self.entries:
            entry.claimed = claimed
        self._end([Record(*record) for record in records])

    async def _answered(self, token: str) -> bytes | None:
        """Send the items, and return what the worker answers."""
        worker, queue, opened = self.worker, self.queue, self.session.opened
        collected, worker.collected = worker.collected, []
        needs = needs_of(self.entries)
        order = Order(
            token, self.name, queue.digest, [entry.given for entry in self.entries],
            2 * CHUNK_S, worker.folder, collected,
            any(entry.receive is not None for entry in self.entries),
            self.session.name, opened.values.leaves, list(needs),
        )  # fmt: skip
        for entry in self.entries:
            if entry.sent is not None and not entry.sent.done():
                entry.sent.set_result(None)
        handles = [remote.handle for remote in needs.values()]
        answer = opened.submit(worker.address, run_chunk, order, needs=handles)
        number = len(self.session.workers)
        return await followed(self, answer, opened, worker.address, number)

    async def _without_lost(self) -> bool:
        """Have the items fail for which something is lost, and the others wait again.

        Returns whether there are any, which is why the chunk has not begun.

        Raises:
            Gone: What is lost was this worker's, which may have begun.
        """
        gone: Collection[str] = ()
        with suppress(Exception):
            gone = await self.session.store.lost_of(needs_of(self.entries))
            await self.session.look()
        if self.worker.gone.done():
            raise Gone
        for entry in self.entries:
            for bundle in entry.needs.keys() & gone:
                entry.end(failure=lost(entry.needs[bundle]))
        if gone:
            self.worker.running.pop(self.name, None)
            self.queue.put_back(self.entries)
        return bool(gone)

    async def _leaves(self) -> None:
        """Look whether the worker is about to be gone.

        Raises:
            Gone: It is.
        """
        worker = self.worker
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                while not worker.gone.done():
                    try:
                        await self.session.look()
                    except Exception as error:
                        self.session.lose(error)
                    await asyncio.wait([worker.gone], timeout=LOOK_S)
        if worker.gone.done():
            raise Gone

    async def _greeted(self) -> Greeting:
        """Return what the process of the worker says of itself; it has the node then."""
        worker, queue = self.worker, self.queue
        greetings = worker.greetings
        if queue.digest not in greetings:
            greeted = self.session.opened.submit(
                worker.address, greet, self.session.name, queue.digest, queue.node
            )
            greetings[queue.digest] = self.session.begin(greeted)
        asked = greetings[queue.digest]
        await asyncio.wait([asked])
        if asked.cancelled() or asked.exception() is not None:
            greetings.pop(queue.digest, None)
        greeting = asked.result()
        if greeting.failure is not None:
            greetings.pop(queue.digest, None)
        if worker.token and worker.token != greeting.token:
            self.session.replaced(worker)
            raise Gone
        worker.token, worker.pid, worker.folder = greeting.token, greeting.pid, greeting.folder
        if worker.folder is not None:
            self.session.folders[worker.folder] = worker.host
        return greeting

    async def _not_here(self) -> None:
        """Go on where the worker has let go of the node, or has been replaced by another one."""
        self.worker.greetings.pop(self.queue.digest, None)
        await self.worker.unless_gone(self._greeted())  # raises if it is another process
        self.worker.running.pop(self.name, None)
        self.queue.put_back(self.entries)

    def _end(self, records: list[Record]) -> None:
        """Note what items have come to; what has not begun waits again."""
        left, seconds, number = list[Entry](), 0.0, 0
        for entry, record in zip(self.entries, records, strict=False):
            if record.kind == LEFT:
                left.append(entry)
                continue
            number += 1
            seconds += record.seconds
            if record.kind == LOST:
                entry.end(failure=self._death("before its result was fetched"))
            else:
                entry.end(record)
        self.queue.put_back([*left, *self.entries[len(records) :]])
        if number:
            self.queue.note(number, seconds)

    def _end_all(self, record: Record) -> None:
        for entry in self.entries:
            entry.end(record)

    def blame(self, error: Exception) -> None:
        """Let all items fail: they could not be run, and it is unknown how far they came."""
        for entry in self.entries:
            failure = self.session.lost() or ClusterUnavailableError(
                f"the worker {self.worker.address} could not be given an item: "
                f"{type(error).__name__}: {error}"
            )
            failure.__cause__ = failure.__cause__ or error
            entry.end(failure=failure)

    # --- the worker has died ----------------------------------------------------------------------

    async def recover(self) -> None:
        """Find out what the items have come to on a worker that is gone."""
        lost = self.session.lost()
        if lost is not None:
            for entry in self.entries:
                entry.end(failure=self.session.lost())
            return
        if all(entry.withdrawn or entry.ended.done() for entry in self.entries):
            return
        if self.name not in self.worker.running:  # it was not sent
            self.queue.put_back(self.entries)
            return
        self.queue.deaths += 1
        if self.worker.recovery is None:
            self.worker.recovery = self.session.begin(self._kept())
        recovery = self.worker.recovery
        await asyncio.wait([recovery])
        found = recovery.result()
        if found is None:
            for entry in self.entries:
                entry.end(failure=self._death("while it had an item"))
            return
        records = found.get(self.name)
        if records is None:
            self.queue.put_back(self.entries)
            return
        if len(records) < len(self.entries):
            self.entries[len(records)].end(failure=self._death("while it worked on an item"))
        begun = self.entries[: len(records)]
        rest = self.entries[len(records) + 1 :]
        self.entries = begun
        self._end(records)
        self.queue.put_back(rest)

    async def _kept(self) -> dict[str, list[Record] | None] | None:
        """Ask a neighbour of the worker what it has kept; None: unknown."""
        session, worker = self.session, self.worker
        if worker.folder is None:
            return None
        chunks = list(worker.running)
        with suppress(TimeoutError):
            async with asyncio.timeout(RECOVERY_S):
                while True:
                    neighbour = await session.neighbour_of(worker.address)
                    try:
                        found = await session.opened.ask(neighbour, kept, worker.folder, chunks)
                    except FileNotFoundError:
                        return None
                    except Exception:  # it may have died as well
                        await asyncio.sleep(LOOK_S)
                    else:
                        with suppress(Exception):
                            await session.opened.ask(neighbour, discard, worker.folder)
                            session.folders.pop(worker.folder, None)
                        return dict(zip(chunks, found, strict=True))
        return None

    def _death(self, when: str) -> WorkerDiedError:
        worker = self.worker
        return WorkerDiedError(f"the worker {worker.address} (process {worker.pid}) ended {when}")

    # --- withdrawn items -------------------------------------------------------------------------

    async def stop(self) -> None:
        """End the withdrawn items where they run."""
        try:
            while self.to_stop:
                entries, self.to_stop = set(self.to_stop), []
                places = [place for place, one in enumerate(self.entries) if one in entries]
                if not await self._stopped(places):
                    await self._end_worker()
        finally:
            self.stopping = None

    async def _stopped(self, places: list[int]) -> bool:
        worker = self.worker
        if self.name not in worker.running or worker.gone.done():
            return True
        asked = self.session.opened.ask(worker.address, stop, self.name, places, GRACE_S)
        with suppress(Exception):
            async with asyncio.timeout(GRACE_S + ANSWER_S):
                return bool(await asked)
        return worker.gone.done()

    async def _end_worker(self) -> None:
        """Kill a worker that does not end an item, or say what still runs there."""
        session, worker = self.session, self.worker
        self.still_runs = (
            f"exec of {self.queue.name!r} still runs in process {worker.pid} of the worker "
            f"{worker.address}"
        )
        if not session.cluster.restart_workers:
            return
        with suppress(Exception):
            await session.opened.kill(worker.address, worker.pid)
            async with asyncio.timeout(KILL_S):
                while not worker.gone.done():
                    await session.look()
                    await asyncio.wait([worker.gone], timeout=LOOK_S)
            self.still_runs = None
