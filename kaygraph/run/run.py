"""Everything that one run holds: observers, caps, threads, processes, lifespans."""

import asyncio
import os
from collections.abc import Callable, Hashable, Mapping, Sequence, Set
from contextlib import suppress
from functools import cached_property
from threading import Lock
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from ..aio.cancelling import cancel
from ..aio.tasks import outlast
from ..events import Event, Observer
from ..limits.clock import has_own_clock
from ..limits.permits import KeyedPermits, Permits
from ..limits.slots import Loan
from .lifespan import Held, Lifespans
from .observers import Both, CountsItems, Emit, Observers, both
from .worker_processes import Session, WorkerProcesses

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from .recorder import Recorder
    from .tap import Tap

C = TypeVar("C", Permits, KeyedPermits)
H = TypeVar("H")

# Between two turns of a loop whose thread is in one short ``def`` after the other: what is heard so
# much later is hardly late, and a turn takes longer than such a call.
TURN_S = 0.001

# Threads are started one by one, as calls find no idle one; caps belong to the nodes and graphs.
MAX_THREADS = 1024

NAMING = Lock()

NO_LOANS: Mapping[Hashable, Loan] = MappingProxyType({})


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
    """Everything that one call of ``run`` holds; made lazily, closed when the run ends.

    A run that takes place within another one, on the same loop, has the caps, threads and
    processes of the outermost one; its lifespans are its own.
    """

    ambient: ClassVar[tuple[Observer, ...]] = ()  # those who watch every run that begins
    watched = False  # nodes are to be looked at: somebody observes, or records
    watches_items = False  # and so is each item
    tap: "Tap | None" = None  # takes the results of one node
    journal: "Recorder | None" = None
    emit: Emit | None = None
    tell: Emit | None = None  # of its begin and end: not all that hear the rest
    emit_item: Callable[[Event], None] | None = None  # those that want one of each item
    counting: tuple[CountsItems, ...] = ()  # those that count items
    hears_items = False  # there is somebody of either kind
    opened = False  # there is something to close
    # How to end the wait for an item of each source, and what tells whether there is one.
    sources: Mapping[Callable[[], None], Callable[[], object]] = MappingProxyType({})
    checks_all: ClassVar[bool] = False  # every fork is checked for conflicting writes
    checking = 0  # how many forks are, each with all that runs within it
    looked_after_s = 0.0  # how long nodes have held the loop where somebody looked
    slow_nodes: Set[Any] = frozenset()  # those of which that was told
    side_by_side = 0  # how many have begun tasks that run at once
    inline = False  # in the calling thread of run()
    by_hand = False  # no loop runs, and whoever needs one has to suspend first: see by_hand
    thread = 0  # the identifier of that thread
    next_turn = 0.0  # of its loop, after a ``def`` in that thread; by time.monotonic()
    blocks: object = None  # the loop whose thread waits for the run
    expired = False  # what was in flight has had its time, and is cancelled
    threaded: Callable[[], None] | None = None  # called when the run gets threads of its own
    processes: WorkerProcesses | None = None  # made by the call that first needs one
    sessions: dict[Any, Session] | None = None  # with clusters, by cluster and loop
    pickled: dict[Any, bytes] | None = None  # nodes, as executors of the user's send them away
    task: "asyncio.Task[Any] | None" = None  # in which it goes on, from its begin to its end
    name = ""  # of the node that it was called on, after those of the runs around
    closing = trimmed = False  # its nodes have ended; its error's traceback has nothing left
    around: "Run | None" = None  # the run within which this one takes place
    shares = False  # on the loop of the run around, so that it has its caps and its threads
    entry: object = None  # the frame of the node that it was called on, within another run
    loans: Mapping[Hashable, Loan] = NO_LOANS  # of the nodes within whose calls it takes place
    within: "dict[Run, None] | None" = None  # the runs that take place within it
    hears: Sequence[Observer] = ()  # the observers of this run, and of those around
    _id = ""
    _root: "Run | None" = None
    _joined_ended: "asyncio.Future[None] | None" = None
    _observers: Sequence[Observer] = ()
    _threads: "ThreadPoolExecutor | None" = None
    _lifespans: Lifespans | None = None
    _caps: dict[Any, Permits | KeyedPermits] | None = None
    _users: dict[Any, int] | None = None  # of caps that only runs within this one have asked for
    _used: Set[Any] = frozenset()  # of those, what this run has asked for

    def __init__(self) -> None:
        # Read at every step and every item, which is cheapest from the instance.
        self.marked = False  # walks have to look closer: an error is on its way, or the run drains
        self.draining = False  # no more items are taken, and no more nodes begin

    @property
    def root(self) -> "Run":
        """The run that holds the caps, threads and processes."""
        return self if self._root is None else self._root

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
        """Whether what ``exec`` takes is measured: items are observed, on the machine's clock."""
        return self.hears_items and not has_own_clock(asyncio.get_running_loop())

    @property
    def id(self) -> str:
        """What tells this run from others in a log: that of the outermost one."""
        if self.around is not None:
            return self.outermost.id
        if not self._id:
            with NAMING:  # a thread may look at the run meanwhile
                # Not a cached property: that makes all attributes of the run slower to read.
                self._id = self._id or os.urandom(4).hex()
        return self._id

    def observe(self, observers: Sequence[Observer]) -> None:
        """Send the run's events to the observers, in the order given."""
        if self.ambient or observers:
            self._observers = self.hears = [*self.ambient, *observers]
            self.watched = True
            self.emit = self.tell = told = Observers(self._observers)
            self.emit_item, self.counting = told.of_items, told.counting
            self.hears_items = self.watches_items = told.hears_items

    # --- runs within runs -------------------------------------------------------------------------

    def join(self, around: "Run", shares: bool, emit: Emit | None, near: bool) -> None:
        """Take place within another run, whose observers get the events by ``emit``.

        ``shares``: it is on the same loop; ``near``: in the same thread.
        """
        self.around, self.shares = around, shares
        if shares:
            self._root = around.root
        heard = around.hears
        own = [one for one in self._observers if not any(one is other for other in heard)]
        self.hears = (*heard, *own)
        self.emit, self.tell = emit, None
        self.hears_items = around.hears_items
        far = emit if self.hears_items else None
        self.emit_item, self.counting = (around.emit_item, around.counting) if near else (far, ())
        if own:
            self.tell = told = Observers(own)
            self.emit = told if emit is None else Both(emit, told)
            self.emit_item = both(self.emit_item, told.of_items)
            self.counting += told.counting
            self.hears_items |= told.hears_items
        if shares and self.journal is None:
            self.journal = around.journal
        self.watches_items = self.watches_items or self.hears_items or self.journal is not None
        self.watched = self.watched or self.emit is not None or self.journal is not None

    def enter(self) -> None:
        """Note in the run around that the run begins; it is to call ``leave`` when it ends."""
        around = self.around
        assert around is not None
        within = around.__dict__.setdefault("within", {})  # in one step: threads begin runs too
        within[self] = None
        around.opened = True

    def leave(self) -> None:
        """Note that the run has ended, in the run around."""
        around = self.around
        assert around is not None
        assert around.within is not None
        root = self.root
        for owner in self._used:
            assert root._users is not None
            assert root._caps is not None
            if owner in root._users:
                root._users[owner] -= 1
                if not root._users[owner]:
                    del root._users[owner], root._caps[owner]
        self.entry = None  # it knows this run: no cycle may stay
        del around.within[self]
        ended = around._joined_ended
        if not around.within and ended is not None:
            ended.get_loop().call_soon_threadsafe(_end, ended)

    def with_joined(self) -> "list[Run]":
        """Return this run and all that take place within it, however deep."""
        runs = [self]
        for run in runs:
            runs += tuple(run.within or ())
        return runs

    @property
    def outermost(self) -> "Run":
        """The run that is within no other one."""
        run = self
        while run.around is not None:
            run = run.around
        return run

    async def outlast_joined(self) -> None:
        """Wait for the runs that were begun within this one, in tasks, and go on."""
        while self.within:
            self._joined_ended = asyncio.get_running_loop().create_future()
            await self._joined_ended

    def cancel_joined(self) -> None:
        """Cancel the runs that go on within this one in tasks of their own."""
        for run in tuple(self.within or ()):
            if run.task is not None and run.task is not self.task:
                cancel(run.task)

    # --- what is shared ---------------------------------------------------------------------------

    @property
    def threads(self) -> "ThreadPoolExecutor":
        """The run's own threads."""
        if self.shares:
            return self.root.threads
        if self._threads is None:
            from ..aio.lanes import Lanes  # loads where it is used

            self.opened = True
            if self.threaded is not None:
                self.threaded()
            # A loop may bring its own: in a simulation calls run at once, in the loop's thread.
            self._threads = getattr(asyncio.get_running_loop(), "threads", None)
            self._threads = self._threads or Lanes(MAX_THREADS, "kaygraph")
        return self._threads

    def cap(self, owner: Any, make: Callable[[], C]) -> C:
        """Return an owner's cap, the same for all that it does at once in this run."""
        return self._shared_cap(owner, make) if self.shares else self.own_cap(owner, make)

    def own_cap(self, owner: Any, make: Callable[[], C]) -> C:
        """Return an owner's cap, which holds for this run and not for others around it."""
        if self._caps is None:
            self._caps = {}
        if owner not in self._caps:
            self._caps[owner] = make()
        elif self._users:
            self._users.pop(owner, None)  # it is no longer only of runs within
        return self._caps[owner]  # type: ignore[return-value]

    def _shared_cap(self, owner: Any, make: Callable[[], C]) -> C:
        """Return an owner's cap in the outermost run, which drops it when nobody uses it."""
        node = owner[0] if type(owner) is tuple else owner
        if node in self.loans:
            self.loans[node].give_all()
        root = self.root
        if root._caps is None:
            root._caps = {}
        if root._users is None:
            root._users = {}
        if owner not in root._caps:
            root._caps[owner] = make()
            root._users[owner] = 0
        if owner in root._users and owner not in self._used:
            root._users[owner] += 1
            self._used = {*self._used, owner}
        return root._caps[owner]  # type: ignore[return-value]

    @property
    def caps(self) -> Mapping[Any, "Permits | KeyedPermits"]:
        """The caps of this run by their owners: a node or a graph, or one and what for."""
        return self._caps or {}

    def permits(self, owner: Any, size: int) -> Permits:
        """Return an owner's permits."""
        return self.cap(owner, lambda: Permits(size))

    def leaks(self) -> list[str]:
        """Return what was not given back, by owner; nothing, when the run is over."""
        return [f"{of!r}: {cap.leak}" for of, cap in self.caps.items() if cap.leak is not None]

    def halt(self) -> None:
        """Note that the run drains, as a signal's handler may do in the middle of anything."""
        for run in self.with_joined():
            run.draining = run.marked = True
            if run.root is not self.root and run.task is not None:
                with suppress(RuntimeError):  # its loop is closed: it has ended
                    run.task.get_loop().call_soon_threadsafe(run.end_waits)

    def drain(self) -> None:
        """Take no more items and begin no more nodes; what has begun goes on to its end."""
        self.halt()
        for run in self.with_joined():
            if run.root is self.root:
                run.end_waits()

    def end_waits(self) -> None:
        """End the waits for the items of sources."""
        for stop in self.sources:
            stop()

    def read(self, stop: Callable[[], None], is_reading: Callable[[], object] = bool) -> None:
        """Note how to end a wait for a source when the run drains, and what tells of one."""
        self.sources = {**self.sources, stop: is_reading}

    def expire(self, task: "asyncio.Task[Any]") -> None:
        """Cancel the run's task, as what is in flight has had its time; once is enough."""
        if not task.cancelling():
            for run in self.with_joined():
                run.expired = True
            cancel(task)

    def read_out(self, stop: Callable[[], None]) -> None:
        self.sources = {one: reads for one, reads in self.sources.items() if one != stop}

    async def open(self, node: Any, shared: Any) -> None:
        """Enter a node's ``lifespan`` unless it is open already."""
        await self._opened().open(node, shared)

    def hold(self, key: Hashable, make: Callable[[], Held[H]]) -> H:
        """Return what is held open for a key that nodes share; it is opened when it is not yet."""
        return self._opened().hold(key, make)

    def _opened(self) -> Lifespans:
        if self._lifespans is None:
            self._lifespans, self.opened = Lifespans(), True
        return self._lifespans

    def resource(self, node: Any) -> Any:
        """Return what a node's ``lifespan`` yielded."""
        run: Run | None = self
        while run is not None:
            if run._lifespans is not None and node in run._lifespans:
                return run._lifespans.yielded(node)
            run = run.around
        hint = "define lifespan(self, shared) as an async context manager that yields it"
        if node.hook_kinds[0]:
            hint = "what lifespan opens does not reach a process; open it in exec()"
        raise AttributeError(f"{node!r} holds no resource here: {hint}")

    async def close(self, error: BaseException | None) -> None:
        """Leave lifespans (last in, first out), then end processes and threads."""
        loop = asyncio.get_running_loop()
        closed = loop.create_future()
        closing = loop.create_task(self._close(error, closed))
        closing.add_done_callback(lambda _: _end(closed))  # also where it has not begun
        try:
            await closed  # a turn of the loop less than to wait for the task
        except asyncio.CancelledError:
            await outlast([closing])
            raise
        closing.result()

    async def _close(self, error: BaseException | None, closed: "asyncio.Future[None]") -> None:
        failures = [] if self._lifespans is None else await self._lifespans.leave(error)
        self._lifespans = None  # their tasks know the run by their contexts
        if self.processes is not None:
            await self.processes.close()
        for session in tuple((self.sessions or {}).values()):
            await session.close()
        if self._threads is not None:
            self._threads.shutdown()
        try:
            if len(failures) == 1:
                raise failures[0]
            if failures:
                raise BaseExceptionGroup("lifespans failed to close", failures)
        finally:
            _end(closed)
            del failures, error  # they hold this frame: no cycle may keep them alive


def _end(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
