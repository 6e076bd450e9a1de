"""Worker processes of one run: an item at a time each, killed when the item is cancelled."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

from ..aio.lanes import Lanes
from ..aio.tasks import outlast, retrieve_exception
from ..errors import AttemptTimeoutError
from ..limits.slots import Slot
from ..run.saying import Receiver, receiver_of
from .chunk import Chunk
from .elsewhere import in_time
from .facts import facts_of
from .memory import require_measurable
from .sending import node_pickled
from .worker_process import WorkerProcess

NOWHERE: Mapping[str, Any] = {}

START_S = 60.0  # for a process that starts and imports what a node needs; then it is killed


class ProcessPool:
    """As many processes as there are items at once; they are started as they are needed.

    A node is sent to a process once, an item for every call, both pickled. An error comes back as
    it was raised, with its attributes, notes, cause and context; a note has its traceback in the
    process.
    """

    def __init__(self, threads: Lanes) -> None:
        self._threads = threads
        self._idle: list[WorkerProcess] = []
        self._pickled: dict[Any, bytes] = {}

    async def call(
        self,
        node: Any,
        item: Any,
        params: Mapping[str, Any],
        attempt: int,
        memory_limit: int | None = None,
        place: Mapping[str, Any] = NOWHERE,
        limit_s: float | None = None,
        start_timeout: float | None = None,
        slot: Slot | None = None,
        measures: bool = False,
        held: "list[WorkerProcess] | None" = None,
        receive: Receiver | None = None,
    ) -> Any:
        """Run ``node.exec(item)`` in a process and return its result.

        ``memory_limit`` is in bytes, for the whole process: the interpreter and the imported
        modules (some 20 MB without any), the item, the result, and what earlier items have left,
        which is never more than half of the room. The memory of processes that ``exec`` starts
        does not count.

        ``limit_s`` is in seconds, from when the process has the item and calls ``exec``;
        ``start_timeout`` is how long it may take to be there: to start, and to import what the
        node and the item need. What the call takes is added to the usage of ``slot``. A call takes
        the process in ``held``, if any, and puts it back; ``receive`` takes what ``exec`` says.

        Raises:
            AttemptTimeoutError: ``exec`` ran past ``limit_s``. The process is killed.
            MemoryLimitError: The process grew past ``memory_limit``, or asked at once for more
                than that. It is killed, and another takes the next item.
            WorkerStartError: The process ended before it had begun, or took too long to begin.
            WorkerDiedError: The process ended before it could answer.
            NodeDefinitionError: The node cannot be pickled, or there is a ``memory_limit`` and no
                ``/proc`` to see by (only Linux has it).
            Exception: Whatever ``exec`` raised. A cancellation kills the process.
        """
        if memory_limit is not None:
            require_measurable()
        if node not in self._pickled:
            self._pickled[node] = node_pickled(node)
        worker = held.pop() if held else self._free()
        loop = asyncio.get_running_loop()
        begun: asyncio.Future[None] | None = None if limit_s is None else loop.create_future()
        submitted = self._threads.submit(
            worker.call, self._pickled[node], item, (dict(params), attempt, dict(place)),
            memory_limit, measures, START_S if start_timeout is None else start_timeout,
            None if begun is None else partial(loop.call_soon_threadsafe, _set, begun), receive,
        )  # fmt: skip
        future = asyncio.wrap_future(submitted)
        try:
            await in_time(future, begun, limit_s, node)
        except (asyncio.CancelledError, AttemptTimeoutError):
            await self._give_up(worker, future)
            raise
        finally:
            if slot is not None:
                worker.add_to(slot)
        if not worker.dead:
            (self._idle if held is None else held).append(worker)
        retrieve_exception(future)
        try:
            return submitted.result()  # as it is: asyncio would make another error of some
        finally:
            del submitted, future  # they hold an error that holds this frame

    async def run(
        self, chunk: Chunk, limit_s: float | None, start_timeout: float | None, share_s: float
    ) -> None:
        """Run items of a chunk in a process, one after another.

        What has ended is noted there, with the errors of ``call``; one of the process is that of
        the item that it worked on. What has not begun is left.

        Args:
            chunk: The items.
            limit_s: How many seconds each of them may take.
            start_timeout: How many seconds the process may take to begin.
            share_s: After so many seconds those that have not begun are left.
        """
        node, frame = chunk.node, chunk.frame
        try:
            if node not in self._pickled:
                self._pickled[node] = node_pickled(node)
        except Exception as error:
            chunk.blame(error)
            return
        worker = self._free()
        facts = facts_of(node, frame)
        call = self._threads.begin(
            worker.run, chunk, self._pickled[node], facts, limit_s,
            START_S if start_timeout is None else start_timeout, share_s, receiver_of(node, frame),
        )  # fmt: skip
        stops = worker.stop if not frame.rules.whole else None
        if stops is not None:
            frame.run.read(stops)
        try:
            await call.answered
        except asyncio.CancelledError:
            worker.cancel()
            await self._threads.take_back(call, worker.cancel)
            loop = asyncio.get_running_loop()
            await outlast([loop.run_in_executor(self._threads, worker.close)])
            raise
        finally:
            if stops is not None:
                frame.run.read_out(stops)
        if not worker.dead:
            self._idle.append(worker)
        call.result()

    def _free(self) -> "WorkerProcess":
        """Return a process that has nothing to do, or one that is still to be started."""
        while self._idle and not self._idle[-1].alive:
            self._idle.pop().close()  # it died without an item: nothing to report
        return self._idle.pop() if self._idle else WorkerProcess()

    async def _give_up(self, worker: "WorkerProcess", future: "asyncio.Future[Any]") -> None:
        """Kill a process, and wait until the call that was made of it has ended."""
        future.add_done_callback(retrieve_exception)
        worker.kill()
        try:
            await outlast([future])
        finally:  # it may have answered in this step: then nothing has waited for its end
            loop = asyncio.get_running_loop()
            await outlast([loop.run_in_executor(self._threads, worker.close)])

    async def let_go(self, held: "list[WorkerProcess]", whole: bool) -> None:
        """Take back a process that was held; unless its item came to its end, kill it."""
        if whole:
            self._idle += held
            return
        loop = asyncio.get_running_loop()
        for worker in held:
            worker.kill()
            await outlast([loop.run_in_executor(self._threads, worker.close)])

    async def close(self) -> None:
        """End the processes and wait for them."""
        loop = asyncio.get_running_loop()
        await outlast([loop.run_in_executor(self._threads, w.close) for w in self._idle])
        self._idle.clear()


def _set(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
