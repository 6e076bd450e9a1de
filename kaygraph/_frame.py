"""What is true for the current run and the current place in it.

A node is not changed by a run. What a hook may ask about its run (``self.params``,
``self.attempt``, …) stands in a frame, found through one context variable, so that the same node
can run many times at once. The engine itself hands frames down as arguments.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from reprlib import Repr
from types import CoroutineType, MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from ._lifespan import Lifespan
from ._permits import KeyedPermits, Permits
from ._tasks import outlast
from .errors import NodeDefinitionError, add_note
from .events import Event, Observer
from .outcome import Outcome

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from ._conflicts import Token
    from .executors.process import ProcessPool

C = TypeVar("C", Permits, KeyedPermits)

NO_PARAMS: Mapping[str, Any] = MappingProxyType({})

# Threads are started one by one, as calls find no idle one; caps belong to the nodes and graphs.
MAX_THREADS = 1024


class Run:
    """Everything that one call of ``run`` holds; made lazily, closed when the run ends."""

    ambient: ClassVar[tuple[Observer, ...]] = ()  # those who watch every run that begins
    emit: Callable[[Event], None] | None = None
    opened = False  # there is something to close
    conflicts: Set[tuple[Any, str, str]] = frozenset()  # the writes of which was told
    looked_after_s = 0.0  # how long nodes have held the loop where somebody looked
    slow_nodes: Set[Any] = frozenset()  # those of which that was told
    expired = False  # what was in flight has had its time, and is cancelled
    threaded: Callable[[], None] | None = None  # called when the run gets threads of its own
    stopped: Sequence[Any] = ()  # tasks whose wait for a source is being ended
    _sources: Sequence[Callable[[], None]] = ()
    _threads: "ThreadPoolExecutor | None" = None
    processes: "ProcessPool | None" = None  # made by the call that first needs one
    _lifespans: dict[Any, Lifespan] | None = None
    _caps: dict[Any, Permits | KeyedPermits] | None = None

    def __init__(self) -> None:
        # Read at every step and every item, which is cheapest from the instance.
        self.marked = False  # walks have to look closer: an error is on its way, or the run drains
        self.draining = False  # no more items are taken, and no more nodes begin

    def observe(self, observers: Sequence[Observer]) -> None:
        """Send the run's events to the observers, in the order given."""
        self._observers = [*self.ambient, *observers]
        if self._observers:
            self.emit = self._emit

    def _emit(self, event: Event) -> None:
        for observer in tuple(self._observers):
            try:
                observer(event)
            except Exception as error:
                self._observers.remove(observer)
                asyncio.get_running_loop().call_exception_handler(
                    {"message": f"observer {observer!r} failed", "exception": error}
                )

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
        if task.cancelling() <= sum(task is reader for reader in self.stopped):
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
            if node._hooks[0]:
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
        for lifespan in reversed((self._lifespans or {}).values()):
            try:
                await lifespan.leave(error)
            except BaseException as failure:  # whatever it is, the others are left as well
                failures.append(failure)
        if self.processes is not None:
            await self.processes.close()
        if self._threads is not None:
            self._threads.shutdown()
        if len(failures) == 1:
            raise failures[0]
        if failures:
            raise BaseExceptionGroup("lifespans failed to close", failures)


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


class Rules:
    """What graphs say of all that runs within them; an inner graph's word stands above.

    Attributes:
        workers: Of a batch that is not told how many.
        timeout: Seconds for an attempt of a node that is not told, or None.
        memory_limit: Bytes for a worker process of a node that is not told, or None.
        slow_hook_s: How long a hook may hold the loop, in seconds; None: nobody looks.
        on_conflict: What happens when branches write the same key.
        whole: All this is one item (a round, a branch): it goes on while the run drains.
    """

    __slots__ = ("memory_limit", "on_conflict", "slow_hook_s", "timeout", "whole", "workers")

    def __init__(
        self,
        workers: int | None = None,
        timeout: float | None = None,
        memory_limit: int | None = None,
        slow_hook_s: float | None = None,
        on_conflict: str = "warn",
        whole: bool = False,
    ) -> None:
        self.workers, self.timeout, self.memory_limit = workers, timeout, memory_limit
        self.slow_hook_s, self.on_conflict, self.whole = slow_hook_s, on_conflict, whole

    def having(self, **changes: Any) -> "Rules":
        """Return rules that differ in these."""
        return Rules(**{**{rule: getattr(self, rule) for rule in self.__slots__}, **changes})


RULES = Rules()


class Cell:
    """Keeps what the last ``exec`` of a branch returned."""

    __slots__ = ("attempts", "value")

    def __init__(self) -> None:
        self.value: Any = None
        self.attempts = 0


class Scope:
    """The graph around: its nodes' names, and what the groups in it came to in this walk."""

    __slots__ = ("names", "outcomes", "path")

    def __init__(self, path: str = "", names: Mapping[Any, str] = NO_PARAMS) -> None:
        self.path = path  # the names of the graphs around, each with a slash
        self.names = names
        self.outcomes: dict[Any, list[Outcome[Any]]] | None = None

    def keep(self, group: Any, outcomes: list[Outcome[Any]]) -> None:
        """Note what a group came to; the latest comes last."""
        known = self.outcomes or {}
        known.pop(group, None)
        self.outcomes = {**known, group: outcomes}


FOUND = ("bare", "watched")  # the facts of a frame that follow from the others


class Frame:
    """The facts of one place in a run.

    Attributes:
        run: The run.
        scope: The graph around; None for the node that ``run`` was called on.
        params: Of the BatchGraph round.
        attempt: The number of the attempt, from 1.
        error: On an error route, what the node before failed with.
        caps: The permits of the graphs around, innermost first.
        alone: In the calling thread of ``run()``, with nothing running beside.
        cell: Where the branch around keeps its last result.
        rules: What the graphs around say.
        token: What the branch around has seen of others' writes; None when nothing runs beside.
        watched: Somebody looks at what nodes do, or at how long they take.
        bare: Nobody watches and nothing is limited: ``exec`` may be awaited directly.
    """

    __slots__ = (
        "alone", "attempt", "bare", "caps", "cell", "error", "params", "rules", "run", "scope",
        "token", "watched",
    )  # fmt: skip

    def __init__(
        self,
        run: Run,
        scope: Scope | None = None,
        params: Mapping[str, Any] = NO_PARAMS,
        attempt: int = 1,
        error: BaseException | None = None,
        caps: tuple[Permits, ...] = (),
        alone: bool = False,
        cell: Cell | None = None,
        rules: Rules = RULES,
        token: "Token | None" = None,
    ) -> None:
        self.run, self.scope, self.params, self.attempt = run, scope, params, attempt
        self.error, self.caps, self.alone, self.cell = error, caps, alone, cell
        self.rules, self.token = rules, token
        told = rules is not RULES
        self.watched = run.emit is not None or (told and rules.slow_hook_s is not None)
        self.bare = not (
            self.watched or caps or cell is not None or (told and rules.timeout is not None)
        )

    def derive(self, **changes: Any) -> "Frame":
        """Return a frame that differs in the facts given."""
        facts = {fact: getattr(self, fact) for fact in self.__slots__ if fact not in FOUND}
        return Frame(**{**facts, **changes})

    def name_of(self, node: Any) -> str:
        """Return a node's name with the names of the graphs around it."""
        if self.scope is None:
            return str(node.name)
        return f"{self.scope.path}{self.scope.names.get(node, node.name)}"

    @property
    def drains(self) -> bool:
        """Whether no more items are to be taken here, and no more nodes to begin."""
        return self.run.draining and not self.rules.whole

    def record(self, value: Any, attempts: int = 1) -> None:
        """Note what an ``exec`` returned, for the branch around it."""
        if self.cell is not None:
            self.cell.value, self.cell.attempts = value, attempts


FRAME: ContextVar[Frame] = ContextVar("kaygraph_frame")


def note_place(error: BaseException, place: str) -> None:
    """Note on an error, once, where it happened: the innermost place knows most."""
    notes = getattr(error, "__notes__", ())
    if not any(isinstance(known, str) and known.startswith("in node ") for known in notes):
        add_note(error, f"in node {place}")


SHOWN = 60  # characters of an item's text
LOOKED_AT = 10_000  # of a longer text only the beginning is shown: it would hold the loop


class _Redacting(Repr):
    """Hides secrets before a text is cut: what is left of one would not be known as one."""

    def repr_str(self, x: str, level: int) -> str:
        return super().repr_str(_beginning(x), level)

    def repr_instance(self, x: Any, level: int) -> str:
        text = _beginning(repr(x))
        return text if len(text) <= SHOWN else f"{text[: SHOWN // 2]}...{text[-SHOWN // 2 :]}"


def _beginning(text: str) -> str:
    from ._redaction import redacted  # only a failure pays for it

    shown = redacted(text[:LOOKED_AT])
    return shown if len(text) <= LOOKED_AT else shown[:SHOWN] + "…"


_repr = _Redacting()
_repr.maxstring = SHOWN


def item_place(name: str, index: int, item: Any) -> str:
    """Return how an error names the item that it happened on, without the secrets in it."""
    from ._redaction import redacted  # only a failure pays for it

    try:
        shown = redacted(_repr.repr(item))
    except Exception:  # a repr that fails must not hide the error that is to be told
        shown = f"a {type(item).__name__}"
    return f"{name!r}, item {index} ({shown})"
