"""Nodes: three steps each, and the wiring between them."""

from asyncio import CancelledError
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, nullcontext
from time import monotonic
from types import CoroutineType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, Unpack

from .._validation import check_name
from ..aio.tasks import raise_if_awaited
from ..executors.calling_thread import call_here, turn
from ..executors.kinds import late
from ..limits.slots import Slot
from ..run.frame import Frame
from ..run.launch import Runnable
from .blocks import ExecBlock
from .call import Work, call, compose, report_failure
from .composition import Composition
from .facts import Fact, Facts
from .hooks import changed_classes, check_names, note_hooks, nothing
from .keywords import Attempts, E, I, NodeSettings, P, R
from .settings import (
    Checks,
    Limits,
    check_together,
    checks_of,
    note_plainness,
    note_settings,
    refuse_unknown,
)
from .streaming import Pipeable
from .wiring import Successors, Wired

SINGLE: Composition[Any] = Composition()  # of a node without parts


class BaseNode(Pipeable, Wired, Facts, Runnable, Generic[P, E, I, R]):
    """Three steps: ``prep`` reads, ``exec`` works, ``post`` writes and returns the next action.

    Any hook may be written ``def`` or ``async def``. A run does not change a node: the same
    object may run many times at once.
    """

    name: str
    _successors: Successors

    # See note_settings: the settings of a class, its own checks, and what follows from both.
    _accepts: ClassVar[frozenset[str]] = frozenset({"name"})
    _checks: ClassVar[Checks] = {"name": check_name}
    _checked: ClassVar[Checks]
    _guards: ClassVar[Checks]
    _private: ClassVar[frozenset[str]]
    _hook_names: ClassVar[frozenset[str]] = frozenset({"prep", "exec", "post", "lifespan"})
    hook_kinds = (False, False, False)  # has a lifespan; prep, post are async
    gives_many = False  # its results are those of its items
    is_source = False  # its `exec` takes only what its own `prep` returns
    _fallback_is_async = False
    _has_fallback = False
    # Of a node that works on a whole stream: the function from one stream to another.
    regroup: Callable[[AsyncGenerator[Any, None]], AsyncIterable[Any]] | None = None
    exec_block: ExecBlock | None = None  # processes a list of items as `exec` processes one
    has_given_name = False  # by name=
    times_itself = False  # its `timeout`, and the enclosing graph's, do not limit an attempt
    exec_kind = "async"
    has_exec = exec_is_plain = exec_is_plain_def = False
    in_line: tuple[bool, bool] | None = None
    # hook_kinds; exec is a plain async def, a plain def: one look-up per run
    _lifecycle = (False, False, False, False, False)

    if not TYPE_CHECKING:

        def __class_getitem__(cls, _):  # types are for checkers; a class is the same without
            return cls

    def __new__(cls, *_: Any, **__: Any) -> Self:
        if cls.__hash__ is None:  # it compares by value, as a dataclass does
            known = (vars(base).get("__hash__") for base in cls.__mro__)
            type.__setattr__(cls, "__hash__", next(filter(None, known)))
        node = super().__new__(cls)
        # Here, since a subclass may forget super().__init__().
        object.__setattr__(node, "_successors", Successors())
        return node

    def __init__(self, *, name: str | None = None) -> None:
        if name is not None:
            self._set_all({"name": name})

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in vars(cls):
            cls.name = cls.__name__
        check_names(cls)
        note_settings(cls)
        note_hooks(cls, BaseNode)
        check_together(cls)
        note_plainness(cls, BaseNode)

    @staticmethod
    def note_hooks_again() -> list[str]:
        """Record the hooks of classes that were changed by a reload or a patch.

        Returns the names of these classes; for the engine, when something does not fit.
        """
        changed = [*changed_classes(BaseNode)]
        for cls in changed:
            note_hooks(cls, BaseNode)
            note_plainness(cls, BaseNode)
            cls.note_more()
        return [cls.__name__ for cls in changed]

    @classmethod
    def note_more(cls) -> None:
        """Record what else follows from the hooks of a class; for the engine."""

    if not TYPE_CHECKING:  # checkers find a misspelt attribute if there is no __setattr__

        def __setattr__(self, name: str, value: Any) -> None:
            check = self._guards.get(name)
            if check is None:
                object.__setattr__(self, name, value)
            else:
                object.__setattr__(self, name, check(name, value))
                self._changed((name,))

        def __delattr__(self, name: str) -> None:
            object.__delattr__(self, name)
            if name in self._guards:
                self._changed((name,))

    def _set_all(self, settings: Mapping[str, Any]) -> None:
        """Set the arguments of a constructor."""
        refuse_unknown(type(self).__name__, settings, self._accepts)
        for name, value in settings.items():
            self.__dict__[name] = self._checked[name](name, value)
        self._changed(settings)

    def _changed(self, names: Collection[str]) -> None:
        """Record what follows from changed settings or hooks."""
        if "name" in names:
            self.__dict__["has_given_name"] = True
        if not self._hook_names.isdisjoint(names):
            note_hooks(self, BaseNode)
        note_plainness(self, BaseNode)

    def __getstate__(self) -> dict[str, Any]:
        """A node is sent to a process or a cluster without its neighbours."""
        state = dict(self.__dict__)
        del state["_successors"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    # --- the hooks ---------------------------------------------------------------------------

    def prep(self, shared: Any, /) -> P | Awaitable[P]:
        """Read from the shared store what ``exec`` needs. Runs on the loop; returns None."""
        return None  # type: ignore[return-value]

    def exec(self, prep_res: I, /) -> R | Awaitable[R] | Iterator[R] | AsyncIterator[R]:
        """Work, without the shared store. ``async def`` runs on the loop, ``def`` in a thread.

        It sees the context variables that were set before it; those that it sets end with its item.
        It may yield: in a pipeline each value is passed on, elsewhere they form one list.
        """
        return nothing()

    def post(
        self, shared: Any, prep_res: Any, exec_res: E, /
    ) -> str | Awaitable[str | None] | None:
        """Write to the shared store; return the action to follow. Runs on the loop."""
        return None

    def lifespan(self, shared: Any, /) -> AbstractAsyncContextManager[Any]:
        """Hold something open for a run: an async context manager, entered before the first
        ``prep`` and left when the run ends, however it ends. What it yields is ``resource``."""
        return nullcontext()

    # --- wiring --------------------------------------------------------------------------------

    @property
    def _heads(self) -> "Sequence[BaseNode[Any, Any]]":  # type: ignore[override]
        return (self,)

    _tails = _heads

    @Fact
    def successors(self) -> "Mapping[str, Sequence[BaseNode[Any, Any]]]":
        """The nodes that each action leads to, in the order they were wired."""
        return self._successors

    def next(self, node: Any, action: str = "default") -> Any:
        """Wire ``node`` (or a chain, or a list) after this one and return it."""
        (self - action) >> node
        return node

    def __repr__(self) -> str:
        kind = type(self).__name__
        return f"<{kind}>" if self.name == kind else f"<{kind} {self.name!r}>"

    # --- its parts ----------------------------------------------------------------------------

    @property
    def merges_branches(self) -> bool:
        """Whether ``outcomes`` are those of the nodes that lead to it; for the engine."""
        return False

    @property
    def composition(self) -> "Composition[BaseNode[Any, Any]]":
        """Its kind and its parts; for the engine."""
        return SINGLE

    def with_parts(self, parts: "Sequence[BaseNode[Any, Any]] | None" = None) -> Self:
        """Return a copy without neighbours; for the engine.

        Args:
                parts: Its parts: one for each of ``composition.nodes``, in that order. Those of a
                    graph must have no neighbours yet, and are wired like those that they replace.
                    None: the same as here.
        """
        if parts is not None and len(parts) != len(self.composition.nodes):
            raise ValueError(
                f"{self!r} is made of {len(self.composition.nodes)} nodes, got {len(parts)}"
            )
        cls = type(self)
        copied = cls.__new__(cls)
        own = {name: value for name, value in vars(self).items() if name != "_successors"}
        copied.__dict__.update(own)
        return copied

    # --- running --------------------------------------------------------------------------------

    async def run_within(self, shared: Any, frame: Frame) -> str | None:
        """The lifecycle, once. Hooks are called as by ``result_of``, without an extra coroutine."""
        try:
            has_lifespan, prep_is_async, post_is_async, awaited, called = self._lifecycle
            if has_lifespan:
                await frame.run.open(self, shared)
            prep_res: Any = self.prep(shared)
            if prep_is_async:
                prep_res = await prep_res
            elif type(prep_res) is CoroutineType:
                prep_res = await late(self, "prep", prep_res)
            exec_res: Any
            run = frame.run
            if awaited and frame.bare:
                try:
                    exec_res = await self.exec(prep_res)  # type: ignore[misc]
                except BaseException as error:
                    report_failure(self, frame, error)
                    raise
            elif called and frame.bare and run.inline and not run.side_by_side:
                try:
                    exec_res = call_here(self.exec, prep_res)
                    if type(exec_res) is CoroutineType:
                        exec_res = await late(self, "exec", exec_res)
                except BaseException as error:
                    report_failure(self, frame, error)
                    raise
                if monotonic() >= run.next_turn:
                    await turn(run)
            else:
                exec_res = await self._exec(prep_res, shared, frame)
                if frame.watched and run.journal is not None:
                    await run.journal.completed(self)
            action: Any = self.post(shared, prep_res, exec_res)
            if post_is_async:
                action = await action
            elif type(action) is CoroutineType:
                action = await late(self, "post", action)
            return action  # type: ignore[no-any-return]
        except CancelledError as cancellation:
            raise_if_awaited(cancellation)
            raise

    async def _exec(self, prep_res: Any, shared: Any, frame: Frame) -> Any:
        """The part between ``prep`` and ``post``; the kinds of node differ here."""
        if not self.has_exec:  # only prep and post: there is no work to account for
            frame.record(None)
            return None
        slot = Slot(frame.caps)
        value = None
        try:
            value = await self.run_item(prep_res, None, frame, slot)
        finally:
            slot.give()
            frame.record(value, slot.attempts)
        return value

    def run_item(
        self, item: Any, index: int | None, frame: Frame, slot: Slot
    ) -> Coroutine[Any, Any, Any]:
        """Run ``exec`` for one item; a node that does the work of other nodes differs here."""
        return call(self, item, index, frame, slot)

    def run_items(self, frame: Frame, kept: bool = False) -> Work:
        """Return the Work that runs ``exec`` item after item; ``kept`` as for ``compose``."""
        if type(self).run_item is BaseNode.run_item:
            return compose(self, frame, kept)

        def run(item: Any, index: int, slot: Slot) -> Awaitable[Any]:
            return self.run_item(item, index, frame, slot)

        journal = frame.run.journal
        return Work(run if journal is None else journal.apart(self, frame, run))


for _note in (check_names, note_settings):  # as for every class derived from it
    _note(BaseNode)
note_hooks(BaseNode, BaseNode)


class Node(BaseNode[P, E, I, R], Limits):
    """A node whose ``exec`` runs once, with retries, time limits and a fallback.

    Args:
        max_retries: How often ``exec`` is tried in total (1: no retry). The name is PocketFlow's
            and KayGraph's; ``retry=Retry(attempts=…)`` is the full form.
        wait: Seconds between two attempts.
        retry: Attempts, backoff, jitter and what to retry; instead of ``max_retries``.
        timeout: Seconds that one attempt may take; a later result is dropped. A ``def`` in a
            thread cannot be stopped: the node waits for it, and the error says how late it was.
        deadline: Seconds that an item may take, from when it is taken: waiting for its turn, all
            attempts and the waits between them. If it was taken early, because a key was full,
            they count from its first attempt.
        run_in: Where ``exec`` runs: "loop", "thread", "process", an executor with ``submit``, or a
            ``Dask(...)``.
            By default, ``async def`` runs on the loop and ``def`` in a thread, or, which is
            faster, in the calling thread while nothing else runs in ``run()``. "loop" is always
            the thread of the loop, where the other hooks run, and "thread" always another one.
        memory_limit: With ``run_in="process"``: bytes, or a string such as "512 MB". A worker
            process that grows past it is killed, and the item fails with a MemoryLimitError.
        start_timeout: With ``run_in="process"``: seconds until a worker process has started and
            imported what the node needs; 60 by default. They do not count for ``timeout``.
        rate: A RateLimit, or several: how often ``exec`` may be called.
        limit_by: ``(item) -> key``; at most ``max_per_key`` items of one key run at once,
            in the order in which they came.
        max_per_key: 1 by default.
        breaker: A CircuitBreaker: a failing service is not called for a while.
        cache: A Cache: ``exec`` is not called for an item if the cache has its result.
        name: Its name in events, reports and drawings; the class name by default.

    Raises:
        AttemptTimeoutError: ``timeout`` expired during a run.
        DeadlineExceededError: ``deadline`` expired during a run.
        CircuitOpenError: ``breaker`` was open during a run. It is not retried.
    """

    _checks: ClassVar[Checks] = checks_of(Attempts, NodeSettings)
    _accepts: ClassVar[frozenset[str]] = frozenset(_checks)
    _hook_names = BaseNode._hook_names | {"exec_fallback"}

    def __init__(
        self,
        max_retries: int | None = None,
        wait: float | None = None,
        **settings: Unpack[NodeSettings],
    ) -> None:
        self._configure(max_retries, wait, settings)

    def _configure(
        self, max_retries: int | None, wait: float | None, settings: Mapping[str, Any]
    ) -> None:
        given: dict[str, Any] = {**settings}
        if max_retries is not None:
            given["max_retries"] = max_retries
        if wait is not None:
            given["wait"] = wait
        if max_retries is not None or wait is not None:
            if given.get("retry") is not None:
                raise TypeError(
                    "give retry=Retry(attempts=..., wait=...) or max_retries= and wait=, not both"
                )
            given["retry"] = None  # arguments take precedence over the class
        if given:
            self._set_all(given)
            check_together(self)

    def exec_fallback(
        self, prep_res: I, exc: Exception, /
    ) -> R | Awaitable[R] | Iterable[R] | AsyncIterable[R]:
        """Return a result to use in place of the failed one; by default, raise the error."""
        raise exc


class AsyncNode(Node[P, E, I, R]):
    """A Node whose hooks are written ``async def``: a name for readers, the same engine."""
