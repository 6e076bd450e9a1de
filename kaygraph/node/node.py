"""Nodes: three steps each, and the wiring between them."""

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, Unpack

from ..errors import NodeDefinitionError
from ..executors.kinds import kind_of, not_async
from ..limits.breaker import CircuitBreaker
from ..limits.rate import RateLimit
from ..limits.retry import Retry
from ..limits.slots import Slot
from ..run.frame import Frame
from ..run.launch import Runnable
from .call import call
from .facts import Fact, Facts
from .hooks import check_names, is_own, nothing
from .keywords import E, I, NodeSettings, P, R, RunIn
from .settings import CHECKS, Checks, check_together, note_plainness, refuse_unknown
from .streaming import Pipeable
from .wiring import Successors, Wired

if TYPE_CHECKING:
    from concurrent.futures import Executor


POSITIONAL = frozenset({"max_retries", "wait"})  # as in the ancestors: Node(3, 10)


class BaseNode(Pipeable, Wired, Facts, Runnable, Generic[P, E, I, R]):
    """Three steps: ``prep`` reads, ``exec`` works, ``post`` writes and names the way on.

    Any hook may be written ``def`` or ``async def``. A node is not changed by a run: the same
    object may run many times at once.
    """

    name: str
    # The settings of Node, as they are for a node that does not take them.
    max_retries: int = 1
    wait: float = 0.0
    retry: Retry | None = None
    timeout: float | None = None
    deadline: float | None = None
    run_in: "RunIn | Executor | None" = None
    memory_limit: int | str | None = None
    rate: RateLimit | Sequence[RateLimit] | None = None
    limit_by: Callable[[Any], Hashable] | None = None
    max_per_key: int = 1
    breaker: CircuitBreaker | None = None
    on_error: str | float = "raise"  # what a batch does; a single item can only raise

    _successors: Successors

    # The settings that a class takes: all of its bases' unless it says. `_checks` are what it
    # brings for its own, `_checked` those of all its bases.
    _accepts: ClassVar[frozenset[str]] = frozenset({"name"})
    _checks: ClassVar[Checks] = CHECKS
    _checked: ClassVar[Checks] = CHECKS
    _hooks = (False, False, False)  # has a lifespan; prep, post are async: one look-up a run
    _is_whole = False  # its work is that of its parts
    _is_source = False  # its `exec` takes what its own `prep` gives, and nothing else
    _fallback_is_async = False
    _has_fallback = False
    _named = False  # by name=
    _exec_kind = "async"
    _has_exec = False
    _plain = False
    _bare = False
    _ruled = False

    if not TYPE_CHECKING:

        def __class_getitem__(cls, _):  # types are for checkers; a class is the same without
            return cls

    def __new__(cls, *_: Any, **__: Any) -> Self:
        node = super().__new__(cls)
        # Here, as a subclass may forget super().__init__().
        object.__setattr__(node, "_successors", Successors())
        return node

    def __init__(self, *, name: str | None = None) -> None:
        if name is not None:
            self.name = name

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in vars(cls):
            cls.name = cls.__name__
        check_names(cls)
        if "_accepts" not in vars(cls):
            cls._accepts = frozenset().union(*(getattr(b, "_accepts", ()) for b in cls.__bases__))
        brought = [vars(base).get("_checks", {}) for base in reversed(cls.__mro__)]
        cls._checked = {name: check for checks in brought for name, check in checks.items()}
        for name in (CHECKS.keys() & vars(cls).keys()) - cls._accepts:
            inherited = any(name in vars(base) for base in cls.__mro__[1:])
            if inherited and not is_own(cls):
                raise NodeDefinitionError(
                    f"{cls.__name__} sets {name}, which it does not take; it takes: "
                    f"{', '.join(sorted(cls._accepts))}"
                )
        by = vars(cls).get("limit_by")
        if inspect.isfunction(by) and by.__code__.co_argcount == 1:  # of an item, and no method
            cls.limit_by = staticmethod(by)
        for name in cls._accepts & vars(cls).keys():
            if vars(cls)[name] is not None:
                value = cls._checked[name](name, vars(cls)[name])
                # No method: from Python 3.14 on it would be one, and 3.13 warns.
                setattr(cls, name, staticmethod(value) if isinstance(value, partial) else value)
        cls._has_exec = cls.exec is not BaseNode.exec
        cls._exec_kind = kind_of(cls.exec) if cls._has_exec else "async"
        cls._hooks = (
            cls.lifespan is not BaseNode.lifespan,
            inspect.iscoroutinefunction(cls.prep),
            inspect.iscoroutinefunction(cls.post),
        )
        fallback = getattr(cls, "exec_fallback", None)
        cls._has_fallback = getattr(fallback, "__module__", __name__) != __name__
        cls._fallback_is_async = inspect.iscoroutinefunction(fallback)
        check_together(cls)
        note_plainness(cls, cls._call is BaseNode._call, cls._exec is BaseNode._exec)

    if not TYPE_CHECKING:  # so that a misspelt attribute is found

        def __setattr__(self, name: str, value: Any) -> None:
            if name in self._accepts:
                object.__setattr__(self, name, self._checked[name](name, value))
                if name == "name":
                    object.__setattr__(self, "_named", True)
                kind = type(self)
                note_plainness(self, kind._call is BaseNode._call, kind._exec is BaseNode._exec)
            else:
                object.__setattr__(self, name, value)

    def __getstate__(self) -> dict[str, Any]:
        """A node goes to a process or a cluster without its neighbours."""
        state = dict(self.__dict__)
        del state["_successors"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    # --- the hooks ---------------------------------------------------------------------------

    def prep(self, shared: Any, /) -> P | Awaitable[P]:
        """Read from the shared store what ``exec`` needs. Runs on the loop; returns None."""
        return None  # type: ignore[return-value]

    def exec(self, prep_res: I, /) -> R | Awaitable[R]:
        """Work, without the shared store. ``async def`` runs on the loop, ``def`` in a thread."""
        return nothing()

    def post(
        self, shared: Any, prep_res: Any, exec_res: E, /
    ) -> str | Awaitable[str | None] | None:
        """Write to the shared store; return the action that leads on. Runs on the loop."""
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

    _inner_walks = False  # those within may run beside what is outside

    _streams = False  # those work at the same time, from one to the next

    def _inner_plan(self) -> Any:
        """The plan of the graph that this node is."""
        return None

    def _inner(self) -> "Sequence[BaseNode[Any, Any]]":
        """The graphs or stages that this node is made of."""
        return ()

    # --- running --------------------------------------------------------------------------------

    async def _run(self, shared: Any, frame: Frame) -> str | None:
        """The lifecycle, once."""
        has_lifespan, prep_is_async, post_is_async = self._hooks
        if has_lifespan:
            await frame.run.open(self, shared)
        prep_res: Any = self.prep(shared)
        if prep_is_async:
            prep_res = await prep_res
        elif type(prep_res) is CoroutineType:
            raise not_async(self, "prep", prep_res)
        exec_res: Any
        if self._bare and frame.bare:
            exec_res = await self.exec(prep_res)  # type: ignore[misc]
        else:
            exec_res = await self._exec(prep_res, shared, frame)
        action: Any = self.post(shared, prep_res, exec_res)
        if post_is_async:
            action = await action
        elif type(action) is CoroutineType:
            raise not_async(self, "post", action)
        return action  # type: ignore[no-any-return]

    async def _exec(self, prep_res: Any, shared: Any, frame: Frame) -> Any:
        """What stands between ``prep`` and ``post``; the kinds of node differ here."""
        if not self._has_exec:  # prep and post are all it is: there is no work to account for
            frame.record(None)
            return None
        slot = Slot(frame.caps)
        value = None
        try:
            value = await self._call(prep_res, None, frame, slot)
        finally:
            slot.give()
            frame.record(value, slot.attempts)
        return value

    def _call(
        self, item: Any, index: int | None, frame: Frame, slot: Slot
    ) -> Coroutine[Any, Any, Any]:
        """Run ``exec`` for one item; a node whose work is that of other nodes differs here."""
        return call(self, item, index, frame, slot)


class Node(BaseNode[P, E, I, R]):
    """A node whose ``exec`` runs once, with retries, time limits and a fallback.

    Args:
        max_retries: How often ``exec`` is tried in total (1: no retry). The name is the
            ancestors'; ``retry=Retry(attempts=…)`` is the full form.
        wait: Seconds between two attempts.
        retry: Attempts, backoff, jitter and what to retry; instead of ``max_retries``.
        timeout: Seconds that one attempt may take. A ``def`` in a thread cannot be stopped: it is
            waited for, and the overrun is reported.
        deadline: Seconds that an item may take, from where it is taken up: the wait for its turn,
            all attempts and the waits between them.
        run_in: Where ``exec`` runs: "loop", "thread", "process", or an executor with ``submit``.
            By default, ``async def`` runs on the loop and ``def`` in a thread, or in the calling
            thread where ``run()`` has nothing else to do.
        memory_limit: Of ``run_in="process"``: bytes, or a string such as "512 MB". A worker process
            that grows past it is killed, and the item fails with a MemoryLimitError.
        rate: A RateLimit, or several: how often ``exec`` may be called.
        limit_by: ``(item) -> key``; at most ``max_per_key`` items of one key are worked on at once.
        max_per_key: 1 by default.
        breaker: A CircuitBreaker: a service that fails is left alone for a while.
        name: What it is called in events, reports and drawings; the class name by default.

    Raises:
        AttemptTimeoutError: from a run, when ``timeout`` ran out.
        DeadlineExceededError: from a run, when ``deadline`` did.
        CircuitOpenError: from a run, when ``breaker`` is open. It is not retried.
    """

    _accepts: ClassVar[frozenset[str]] = POSITIONAL.union(NodeSettings.__annotations__)

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
        refuse_unknown(type(self).__name__, settings, self._accepts)
        super().__init__()
        for name, value in (("max_retries", max_retries), ("wait", wait), *settings.items()):
            if value is not None or name not in POSITIONAL:
                setattr(self, name, value)
        if "retry" not in settings and (max_retries is not None or wait is not None):
            self.retry = None  # what is given here stands above what the class says
        if settings.get("retry") is not None and (max_retries is not None or wait is not None):
            raise TypeError(
                "give retry=Retry(attempts=..., wait=...) or max_retries= and wait=, not both"
            )
        check_together(self)

    def exec_fallback(self, prep_res: I, exc: Exception, /) -> R | Awaitable[R]:
        """Return a result in place of the one that could not be had; by default, raise."""
        raise exc


class AsyncNode(Node[P, E, I, R]):
    """A Node whose hooks are written ``async def``: a name for readers, the same engine."""


async def prepared(node: Node[Any, Any], shared: Any, frame: Frame) -> Any:
    """Open a node's ``lifespan`` and return what its ``prep`` returns."""
    has_lifespan, prep_is_async, _ = node._hooks
    if has_lifespan:
        await frame.run.open(node, shared)
    prep_res: Any = node.prep(shared)
    if prep_is_async:
        return await prep_res
    if type(prep_res) is CoroutineType:
        raise not_async(node, "prep", prep_res)
    return prep_res
