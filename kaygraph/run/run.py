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

# Between two iterations of a loop whose thread runs one short ``def`` after the other: what is
# noticed this much later is hardly late, and an iteration takes longer than such a call.
TURN_S = 0.001

# Threads are started one by one, as calls find no idle one; caps belong to the nodes and graphs.
MAX_THREADS = 1024

NAMING = Lock()

NO_LOANS: Mapping[Hashable, Loan] = MappingProxyType({})


class Concurrently:
    """Counts concurrent work of a run, as in ``with run.concurrently:`` around its tasks."""

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

    ambient: ClassVar[tuple[Observer, ...]] = ()  # called with every run that starts
    watched = False  # nodes are observed or recorded
    watches_items = False  # and so is each item
    tap: "Tap | None" = None  # takes the results of one node
    journal: "Recorder | None" = None
    emit: Emit | None = None
    emit_run: Emit | None = None  # of its start and end: not for all observers
    emit_item: Callable[[Event], None] | None = None  # observers of each item
    counting: tuple[CountsItems, ...] = ()  # observers that count items
    observes_items = False  # there are observers of either kind
    opened = False  # there is something to close
    # How to end the wait for an item of each source, and whether there is such a wait.
    sources: Mapping[Callable[[], None], Callable[[], object]] = MappingProxyType({})
    checks_all: ClassVar[bool] = False  # every fork is checked for conflicting writes
    checking = 0  # how many forks are, each with everything inside it
    looked_after_s = 0.0  # how long nodes have blocked the loop, where measured
    slow_nodes: Set[Any] = frozenset()  # those that were reported
    side_by_side = 0  # how many have started concurrent tasks
    inline = False  # in the calling thread of run()
    by_hand = False  # no loop runs; code that needs one suspends first: see by_hand
    thread = 0  # the identifier of that thread
    next_turn = 0.0  # of its loop, after a ``def`` in that thread; by time.monotonic()
    blocks: object = None  # the loop whose thread waits for the run
    expired = False  # the grace of the work in flight is over: it is cancelled
    threaded: Callable[[], None] | None = None  # called when the run gets threads of its own
    processes: WorkerProcesses | None = None  # made by the call that first needs one
    sessions: dict[Any, Session] | None = None  # with clusters, by cluster and loop
    pickled: dict[Any, bytes] | None = None  # nodes, as the user's executors send them
    task: "asyncio.Task[Any] | None" = None  # in which it runs, from start to end
    in_callers_task = False  # which others may cancel; noted where that makes a difference
    name = ""  # of the node that it was called on, after those of the outer runs
    closing = trimmed = False  # its nodes have ended; its error's traceback is trimmed
    around: "Run | None" = None  # the run that this one is part of
    shares = False  # on the loop of the outer run, so that it shares its caps and threads
    entry: object = None  # the frame of the node that it was called on, inside another run
    loans: Mapping[Hashable, Loan] = NO_LOANS  # of the nodes inside whose calls it runs
    within: "dict[Run, None] | None" = None  # the runs inside it
    observers: Sequence[Observer] = ()  # the observers of this run and of the outer ones
    _id = ""
    _root: "Run | None" = None
    _joined_ended: "asyncio.Future[None] | None" = None
    _observers: Sequence[Observer] = ()
    _threads: "ThreadPoolExecutor | None" = None
    _lifespans: Lifespans | None = None
    _caps: dict[Any, Permits | KeyedPermits] | None = None
    _users: dict[Any, int] | None = None  # of caps that only runs inside this one have asked for
    _used: Set[Any] = frozenset()  # of those, what this run has asked for

    def __init__(self) -> None:
        # Read at every step and every item, which is cheapest from the instance.
        self.marked = False  # walks take the slow path: an error propagates, or the run drains
        self.draining = False  # no more items are taken, and no more nodes start

    @property
    def root(self) -> "Run":
        """The run that holds the caps, threads and processes."""
        return self if self._root is None else self._root

    @property
    def alone(self) -> bool:
        """Whether it is in the calling thread of ``run()``, with nothing running concurrently."""
        return self.inline and not self.side_by_side

    @property
    def concurrently(self) -> Concurrently:
        """A context manager to enter around concurrent tasks."""
        return Concurrently(self)

    @cached_property
    def measures(self) -> bool:
        """Whether the cost of ``exec`` is measured: items are observed, on the machine's clock."""
        return self.observes_items and not has_own_clock(asyncio.get_running_loop())

    @property
    def id(self) -> str:
        """The identifier of this run in a log: that of the outermost run."""
        if self.around is not None:
            return self.outermost.id
        if not self._id:
            with NAMING:  # a thread may inspect the run at the same time
                # Not a cached property: that makes all attributes of the run slower to read.
                self._id = self._id or os.urandom(4).hex()
        return self._id

    def observe(self, observers: Sequence[Observer]) -> None:
        """Send the run's events to the observers, in the order given."""
        if self.ambient or observers:
            self._observers = self.observers = [*self.ambient, *observers]
            self.watched = True
            self.emit = self.emit_run = sender = Observers(self._observers)
            self.emit_item, self.counting = sender.of_items, sender.counting
            self.observes_items = self.watches_items = sender.observes_items

    # --- runs within runs -------------------------------------------------------------------------

    def join(self, around: "Run", shares: bool, emit: Emit | None, near: bool) -> None:
        """Become part of another run, whose observers get the events by ``emit``.

        ``shares``: it is on the same loop; ``near``: in the same thread.
        """
        self.around, self.shares = around, shares
        if shares:
            self._root = around.root
        outer = around.observers
        own = [one for one in self._observers if not any(one is other for other in outer)]
        self.observers = (*outer, *own)
        self.emit, self.emit_run = emit, None
        self.observes_items = around.observes_items
        far = emit if self.observes_items else None
        self.emit_item, self.counting = (around.emit_item, around.counting) if near else (far, ())
        if own:
            self.emit_run = sender = Observers(own)
            self.emit = sender if emit is None else Both(emit, sender)
            self.emit_item = both(self.emit_item, sender.of_items)
            self.counting += sender.counting
            self.observes_items |= sender.observes_items
        if shares and self.journal is None:
            self.journal = around.journal
        self.watches_items = self.watches_items or self.observes_items or self.journal is not None
        self.watched = self.watched or self.emit is not None or self.journal is not None

    def enter(self) -> None:
        """Note in the outer run that this run starts; it must call ``leave`` when it ends."""
        around = self.around
        assert around is not None
        within = around.__dict__.setdefault("within", {})  # in one step: threads start runs too
        within[self] = None
        around.opened = True

    def leave(self) -> None:
        """Note in the outer run that this run has ended."""
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
        self.entry = None  # it knows this run: avoid a reference cycle
        del around.within[self]
        ended = around._joined_ended
        if not around.within and ended is not None:
            ended.get_loop().call_soon_threadsafe(_end, ended)

    def with_joined(self) -> "list[Run]":
        """Return this run and all runs inside it, at any depth."""
        runs = [self]
        for run in runs:
            runs += tuple(run.within or ())
        return runs

    @property
    def outermost(self) -> "Run":
        """The outermost run."""
        run = self
        while run.around is not None:
            run = run.around
        return run

    async def outlast_joined(self) -> None:
        """Wait for the runs inside this one that were started in tasks."""
        while self.within:
            self._joined_ended = asyncio.get_running_loop().create_future()
            await self._joined_ended

    def cancel_joined(self) -> None:
        """Cancel the runs inside this one that have their own tasks."""
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
            from ..aio.lanes import Lanes  # imported only when needed

            self.opened = True
            if self.threaded is not None:
                self.threaded()
            # A loop may have its own: in a simulation, calls run at once, in the loop's thread.
            self._threads = getattr(asyncio.get_running_loop(), "threads", None)
            self._threads = self._threads or Lanes(MAX_THREADS, "kaygraph")
        return self._threads

    def cap(self, owner: Any, make: Callable[[], C]) -> C:
        """Return an owner's cap, the same for everything that it does concurrently in this run."""
        return self._shared_cap(owner, make) if self.shares else self.own_cap(owner, make)

    def own_cap(self, owner: Any, make: Callable[[], C]) -> C:
        """Return an owner's cap, which applies to this run and not to outer runs."""
        if self._caps is None:
            self._caps = {}
        if owner not in self._caps:
            self._caps[owner] = make()
        elif self._users:
            self._users.pop(owner, None)  # it no longer belongs only to runs inside
        return self._caps[owner]  # type: ignore[return-value]

    def _shared_cap(self, owner: Any, make: Callable[[], C]) -> C:
        """Return an owner's cap in the outermost run, which drops it when it is unused."""
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
        """The caps of this run by their owners: a node, a graph, or either with a purpose."""
        return self._caps or {}

    def permits(self, owner: Any, size: int) -> Permits:
        """Return an owner's permits."""
        return self.cap(owner, lambda: Permits(size))

    def leaks(self) -> list[str]:
        """Return what was not given back, by owner; empty when the run has ended properly."""
        return [f"{of!r}: {cap.leak}" for of, cap in self.caps.items() if cap.leak is not None]

    def halt(self) -> None:
        """Note that the run drains, as a signal's handler may do in the middle of anything."""
        for run in self.with_joined():
            run.draining = run.marked = True
            if run.root is not self.root and run.task is not None:
                with suppress(RuntimeError):  # its loop is closed: it has ended
                    run.task.get_loop().call_soon_threadsafe(run.end_waits)

    def drain(self) -> None:
        """Take no more items and start no more nodes; what has started runs to its end."""
        self.halt()
        for run in self.with_joined():
            if run.root is self.root:
                run.end_waits()

    def end_waits(self) -> None:
        """End the waits for the items of sources."""
        for stop in self.sources:
            stop()

    def read(self, stop: Callable[[], None], is_reading: Callable[[], object] = bool) -> None:
        """Note how to end a wait for a source when the run drains, and how to detect one."""
        self.sources = {**self.sources, stop: is_reading}

    def expire(self, task: "asyncio.Task[Any]") -> None:
        """Cancel the run's task, since the grace is over; only once."""
        if not task.cancelling():
            for run in self.with_joined():
                run.expired = True
            cancel(task)

    def read_out(self, stop: Callable[[], None]) -> None:
        self.sources = {one: reads for one, reads in self.sources.items() if one != stop}

    async def open(self, node: Any, shared: Any) -> None:
        """Enter a node's ``lifespan`` unless it is already open."""
        await self._opened().open(node, shared)

    def hold(self, key: Hashable, make: Callable[[], Held[H]]) -> H:
        """Return what is held open for a key that nodes share; open it first if needed."""
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
        closing.add_done_callback(lambda _: _end(closed))  # also if it has not started
        try:
            await closed  # one iteration of the loop less than to wait for the task
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
            del failures, error  # they hold this frame: avoid a reference cycle


def _end(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
