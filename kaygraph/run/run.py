"""Everything that one run holds: observers, caps, threads, processes, lifespans."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import AbstractAsyncContextManager
from functools import cached_property
from types import CoroutineType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from ..aio.tasks import outlast
from ..errors import NodeDefinitionError, note_place
from ..events import Event, Observer
from ..limits.clock import has_own_clock
from ..limits.permits import KeyedPermits, Permits
from ..limits.slots import Slot
from .lifespan import Lifespan
from .observers import Observers

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor


C = TypeVar("C", Permits, KeyedPermits)

# Threads are started one by one, as calls find no idle one; caps belong to the nodes and graphs.
MAX_THREADS = 1024


class WorkerProcesses(Protocol):
    """Processes that call ``exec``; the run closes them when it ends."""

    async def call(
        self,
        node: Any,
        item: Any,
        params: Mapping[str, Any],
        attempt: int,
        memory_limit: int | None = None,
        place: Mapping[str, Any] = ...,
        limit_s: float | None = None,
        start_timeout: float | None = None,
        measured: Slot | None = None,
        held: list[Any] | None = None,
    ) -> Any: ...

    async def let_go(self, held: list[Any], whole: bool) -> None: ...

    async def close(self) -> None: ...


class SideBySide:
    """Counts what a run does at once, as in ``with run.beside:`` around tasks of its own."""

    __slots__ = ("_run",)

    def __init__(self, run: "Run") -> None:
        self._run = run

    def __enter__(self) -> None:
        self._run.side_by_side += 1

    def __exit__(self, *_: object) -> None:
        self._run.side_by_side -= 1


class Run:
    """Everything that one call of ``run`` holds; made lazily, closed when the run ends."""

    ambient: ClassVar[tuple[Observer, ...]] = ()  # those who watch every run that begins
    emit: Callable[[Event], None] | None = None
    opened = False  # there is something to close
    checks_all: ClassVar[bool] = False  # every fork is checked for conflicting writes
    checking = 0  # how many forks are, each with all that runs within it
    looked_after_s = 0.0  # how long nodes have held the loop where somebody looked
    slow_nodes: Set[Any] = frozenset()  # those of which that was told
    side_by_side = 0  # how many have begun tasks that run at once
    inline = False  # in the calling thread of run()
    expired = False  # what was in flight has had its time, and is cancelled
    threaded: Callable[[], None] | None = None  # called when the run gets threads of its own
    _sources: Sequence[Callable[[], None]] = ()
    _threads: "ThreadPoolExecutor | None" = None
    processes: WorkerProcesses | None = None  # made by the call that first needs one
    pickled: dict[Any, bytes] | None = None  # nodes, as executors of the user's send them away
    _lifespans: dict[Any, Lifespan] | None = None
    _caps: dict[Any, Permits | KeyedPermits] | None = None

    def __init__(self) -> None:
        # Read at every step and every item, which is cheapest from the instance.
        self.marked = False  # walks have to look closer: an error is on its way, or the run drains
        self.draining = False  # no more items are taken, and no more nodes begin

    @property
    def alone(self) -> bool:
        """Whether it is in the calling thread of ``run()``, with nothing running beside."""
        return self.inline and not self.side_by_side

    @property
    def beside(self) -> SideBySide:
        """What is entered by who begins tasks that run at once."""
        return SideBySide(self)

    @cached_property
    def measures(self) -> bool:
        """Whether what ``exec`` takes is measured: somebody observes, on the machine's clock."""
        return self.emit is not None and not has_own_clock(asyncio.get_running_loop())

    @cached_property
    def id(self) -> str:
        """What tells this run from others in a log."""
        return os.urandom(4).hex()

    def observe(self, observers: Sequence[Observer]) -> None:
        """Send the run's events to the observers, in the order given."""
        if self.ambient or observers:
            self.emit = Observers([*self.ambient, *observers])

    @property
    def threads(self) -> "ThreadPoolExecutor":
        """The run's own threads."""
        if self._threads is None:
            from concurrent.futures import ThreadPoolExecutor  # loads where it is used

            self.opened = True
            if self.threaded is not None:
                self.threaded()
            # A loop may bring its own: in a simulation calls run at once, in the loop's thread.
            self._threads = getattr(asyncio.get_running_loop(), "threads", None)
            self._threads = self._threads or ThreadPoolExecutor(
                MAX_THREADS, thread_name_prefix="kaygraph"
            )
        return self._threads

    def cap(self, owner: Any, make: Callable[[], C]) -> C:
        """Return an owner's cap, the same for all that it does at once in this run."""
        if self._caps is None:
            self._caps = {}
        if owner not in self._caps:
            self._caps[owner] = make()
        return self._caps[owner]  # type: ignore[return-value]

    def permits(self, owner: Any, size: int) -> Permits:
        """Return an owner's permits."""
        return self.cap(owner, lambda: Permits(size))

    def leaks(self) -> list[str]:
        """Return what was not given back, by owner; nothing, when the run is over."""
        caps = (self._caps or {}).items()
        return [f"{owner!r}: {cap.leak}" for owner, cap in caps if cap.leak is not None]

    def drain(self) -> None:
        """Take no more items and begin no more nodes; what has begun goes on to its end."""
        self.draining = self.marked = True
        for stop in self._sources:
            stop()

    def read(self, stop: Callable[[], None]) -> None:
        """Note how to end a wait for a source when the run drains."""
        self._sources = [*self._sources, stop]

    def expire(self, task: "asyncio.Task[Any]") -> None:
        """Cancel the run's task, as what is in flight has had its time; once is enough."""
        if not task.cancelling():
            self.expired = True
            task.cancel()

    def read_out(self, stop: Callable[[], None]) -> None:
        self._sources = [other for other in self._sources if other != stop]

    async def open(self, node: Any, shared: Any) -> None:
        """Enter a node's ``lifespan`` unless it is open already."""
        if self._lifespans is None:
            self._lifespans = {}
            self.opened = True
        if node not in self._lifespans:
            self._lifespans[node] = Lifespan(_manager(node, shared))
        await self._lifespans[node].resource()

    def resource(self, node: Any) -> Any:
        """Return what a node's ``lifespan`` yielded."""
        if self._lifespans is None or node not in self._lifespans:
            hint = "define lifespan(self, shared) as an async context manager that yields it"
            if node.hook_kinds[0]:
                hint = "what lifespan opens does not reach a process; open it in exec()"
            raise AttributeError(f"{node!r} holds no resource here: {hint}")
        return self._lifespans[node].yielded

    async def close(self, error: BaseException | None) -> None:
        """Leave lifespans (last in, first out), then end processes and threads."""
        closing = asyncio.get_running_loop().create_task(self._close(error))
        await outlast([closing])
        closing.result()

    async def _close(self, error: BaseException | None) -> None:
        failures: list[BaseException] = []
        for node, lifespan in reversed((self._lifespans or {}).items()):
            try:
                await lifespan.leave(error)
            except BaseException as failure:  # whatever it is, the others are left as well
                note_place(failure, f"{node.name!r}, as its lifespan ended")
                failures.append(failure)
        self._lifespans = None  # their tasks know the run by their contexts
        if self.processes is not None:
            await self.processes.close()
        if self._threads is not None:
            self._threads.shutdown()
        try:
            if len(failures) == 1:
                raise failures[0]
            if failures:
                raise BaseExceptionGroup("lifespans failed to close", failures)
        finally:
            del failures, error  # they hold this frame: no cycle may keep them alive


def _manager(node: Any, shared: Any) -> AbstractAsyncContextManager[Any]:
    manager = node.lifespan(shared)
    if not hasattr(manager, "__aenter__"):
        if type(manager) is CoroutineType:
            manager.close()  # nobody will await it
        raise NodeDefinitionError(
            f"lifespan of {node.name!r} must be an async context manager, got "
            f"{type(manager).__name__}: write @asynccontextmanager above it, and yield what is held"
        )
    return manager  # type: ignore[no-any-return]
