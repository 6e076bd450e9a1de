"""Nodes: three steps each, and the wiring between them."""

import asyncio
import inspect
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from contextvars import copy_context
from types import CoroutineType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypedDict, TypeVar

from ._call import call
from ._frame import FRAME, NO_PARAMS, Frame, Run, add_note, in_running_loop
from ._settings import CHECKS, refuse_unknown
from .errors import NodeDefinitionError
from .events import NodeFinished, NodeStarted, Observer, RunFinished, RunStarted
from .limits import Slot
from .outcome import Outcome
from .retry import Retry

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from typing_extensions import TypeVar as DefaultingTypeVar
    from typing_extensions import Unpack

    P = DefaultingTypeVar("P", default=Any)
    E = DefaultingTypeVar("E", default=Any)
else:
    from typing import Unpack

    P = TypeVar("P")
    E = TypeVar("E")

RunIn = Literal["loop", "thread", "process"]
Wiring = "BaseNode[Any, Any] | Chain | Branch | Sequence[BaseNode[Any, Any] | Chain]"

HOOKS = ("prep", "exec", "post", "exec_fallback")


class _Wired:
    """What can stand in a line of ``>>``: it has heads to lead to and tails to lead on from."""

    _heads: "Sequence[BaseNode[Any, Any]]"
    _tails: "Sequence[BaseNode[Any, Any]]"
    _action = "default"

    def __rshift__(self, other: Any) -> "Chain":
        heads, tails, action = _ends(other)
        for tail in self._tails:
            for head in heads:
                tail._connect(head, self._action)
        if action != "default":
            return Branch(self._heads, tails, action)
        return Chain(self._heads, tails)

    def __rrshift__(self, other: Any) -> "Chain":
        heads, tails, _ = _ends(other)
        return Chain(heads, tails) >> self

    def __sub__(self, action: str) -> "Branch":
        if not isinstance(action, str) or not action:
            raise TypeError(f"an action is a string that is not empty, as in a - 'retry' >> b; "
                            f"got {action!r}")  # fmt: skip
        return Branch(self._heads, self._tails, action)


class Chain(_Wired):
    """What ``a >> b`` returns: it remembers where the line begins and where it ends."""

    def __init__(
        self, heads: "Sequence[BaseNode[Any, Any]]", tails: "Sequence[BaseNode[Any, Any]]"
    ) -> None:
        self._heads, self._tails = tuple(heads), tuple(tails)

    def __or__(self, other: Any) -> "BaseNode[Any, Any]":
        raise TypeError("'|' binds weaker than '>>': write (a | b) >> c, with the parentheses")

    __ror__ = __or__

    def __repr__(self) -> str:
        def named(nodes: "Sequence[BaseNode[Any, Any]]") -> str:
            names = ", ".join(node.name for node in nodes)
            return names if len(nodes) == 1 else f"[{names}]"

        return f"<{type(self).__name__} {named(self._heads)} … {named(self._tails)}>"


class Branch(Chain):
    """What ``a - "action"`` returns: the next ``>>`` listens to that action."""

    def __init__(
        self,
        heads: "Sequence[BaseNode[Any, Any]]",
        tails: "Sequence[BaseNode[Any, Any]]",
        action: str,
    ) -> None:
        super().__init__(heads, tails)
        self._action = action


def _ends(
    thing: Any,
) -> "tuple[Sequence[BaseNode[Any, Any]], Sequence[BaseNode[Any, Any]], str]":
    """Return the heads, the tails and the action of whatever stands beside a ``>>``."""
    if isinstance(thing, _Wired):
        return thing._heads, thing._tails, thing._action
    if isinstance(thing, list | tuple) and thing:
        ends = [_ends(part) for part in thing]
        if all(action == "default" for _, _, action in ends):
            return (
                [head for heads, _, _ in ends for head in heads],
                [tail for _, tails, _ in ends for tail in tails],
                "default",
            )
    raise TypeError(
        f"cannot wire {thing!r}: '>>' stands between nodes, chains and lists of these, "
        "as in a >> [b, c >> d] >> e"
    )


def _note_plainness(owner: Any) -> None:
    """Note, on a class or an instance, whether ``exec`` may simply be awaited.

    That is so when no attempts, limits, fallback or executor are asked for. Found here, when a
    class is made or a setting changes, so that no run has to look at seven settings.
    """
    plain = (
        owner._exec_kind == "async"
        and getattr(owner, "max_retries", 0) == 1
        and owner.retry is None
        and owner.timeout is None
        and owner.deadline is None
        and owner.run_in in (None, "loop")
        and not owner._has_fallback
    )
    put = type.__setattr__ if isinstance(owner, type) else object.__setattr__
    put(owner, "_plain", plain)
    put(owner, "_bare", plain and not owner._is_batch)


def _kind(function: Any) -> str:
    if inspect.iscoroutinefunction(function):
        return "async"
    if inspect.isasyncgenfunction(function):
        return "async_generator"
    return "generator" if inspect.isgeneratorfunction(function) else "sync"


def _not_async(node: "BaseNode[Any, Any]", hook: str, coroutine: Any) -> NodeDefinitionError:
    coroutine.close()
    return NodeDefinitionError(
        f"{hook} of {type(node).__name__} is written 'def' and returned a coroutine: write it "
        "'async def'"
    )


async def _nothing() -> Any:
    return None


def _ancestor(cls: type) -> str:
    base = next(b.__name__ for b in cls.__mro__[1:] if b.__module__.startswith("kaygraph"))
    return base if base.startswith("Async") else f"Async{base}"


class NodeSettings(TypedDict, total=False):
    """What every Node takes as a keyword, or as a class attribute of the same name."""

    name: str
    max_retries: int
    wait: float
    retry: Retry | None
    timeout: float | None
    deadline: float | None
    run_in: "RunIn | Executor | None"


class BaseNode(_Wired, Generic[P, E]):
    """Three steps: ``prep`` reads, ``exec`` works, ``post`` writes and names the way on.

    Any hook may be written ``def`` or ``async def``. A node is not changed by a run: the same
    object may run many times at once.
    """

    name: str
    _successors: "dict[str, list[BaseNode[Any, Any]]]"

    _accepts: ClassVar[frozenset[str]] = frozenset({"name"})
    _hooks = (False, False, False)  # has a lifespan; prep, post are async: one look-up a run
    _fallback_is_async = False
    _has_fallback = False
    _exec_kind: ClassVar[str] = "async"
    _has_exec = False
    _is_batch = False
    _plain = False
    _bare = False
    # Wiring is counted, so that a graph sees whether its plan is still that of its nodes.
    _wirings: ClassVar[int] = 0
    # What `a | b` makes: set by the module that defines it, below this one in the layers.
    _pipeline: "ClassVar[Callable[..., BaseNode[Any, Any]]]"

    def __new__(cls, *_: Any, **__: Any) -> Any:
        node = super().__new__(cls)
        object.__setattr__(node, "_successors", {})  # a subclass may forget super().__init__()
        return node

    def __init__(self, *, name: str | None = None) -> None:
        if name is not None:
            self.name = name

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in vars(cls):
            cls.name = cls.__name__
        for hook in HOOKS:
            if f"{hook}_async" in vars(cls):
                raise NodeDefinitionError(
                    f"{cls.__name__} defines {hook}_async(). Hooks have one name here: rename it "
                    f"to 'async def {hook}', or import {_ancestor(cls)} from kaygraph.compat."
                )
        for name in cls._accepts & vars(cls).keys():
            if vars(cls)[name] is not None:
                setattr(cls, name, CHECKS[name](name, vars(cls)[name]))
        cls._has_exec = cls.exec is not BaseNode.exec
        cls._exec_kind = _kind(cls.exec) if cls._has_exec else "async"
        cls._hooks = (
            cls.lifespan is not BaseNode.lifespan,
            inspect.iscoroutinefunction(cls.prep),
            inspect.iscoroutinefunction(cls.post),
        )
        fallback = getattr(cls, "exec_fallback", None)
        cls._has_fallback = getattr(fallback, "__module__", __name__) != __name__
        cls._fallback_is_async = inspect.iscoroutinefunction(fallback)
        _note_plainness(cls)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._accepts:
            object.__setattr__(self, name, CHECKS[name](name, value))
            _note_plainness(self)
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

    def exec(self, prep_res: P, /) -> E | Awaitable[E]:
        """Work, without the shared store. ``async def`` runs on the loop, ``def`` in a thread."""
        return _nothing()

    def post(self, shared: Any, prep_res: P, exec_res: E, /) -> str | None | Awaitable[str | None]:
        """Write to the shared store; return the action that leads on. Runs on the loop."""
        return None

    def lifespan(self, shared: Any, /) -> AbstractAsyncContextManager[Any]:
        """Hold something open for a run: an async context manager, entered before the first
        ``prep`` and left when the run ends, however it ends. What it yields is ``resource``."""
        raise NotImplementedError(f"{type(self).__name__} defines no lifespan")

    # --- what a hook may ask about its run ----------------------------------------------------

    @property
    def params(self) -> Mapping[str, Any]:
        """The parameters of the BatchGraph round that runs this node; empty outside of one."""
        frame = FRAME.get(None)
        return NO_PARAMS if frame is None else frame.params

    @property
    def attempt(self) -> int:
        """The number of the attempt that runs, from 1."""
        frame = FRAME.get(None)
        return 1 if frame is None else frame.attempt

    @property
    def error(self) -> BaseException | None:
        """On an ``- "error" >>`` route, what the node before failed with."""
        frame = FRAME.get(None)
        return None if frame is None else frame.error

    @property
    def outcomes(self) -> Sequence[Outcome[Any]]:
        """In a group and in the node after it: one outcome a branch, in the order written."""
        frame = FRAME.get(None)
        known = {} if frame is None or frame.scope is None else frame.scope.outcomes
        if self in known:
            return known[self]
        for group in reversed(known):
            if any(self in nodes for nodes in group._successors.values()):
                return known[group]
        return ()

    @property
    def resource(self) -> Any:
        """What this node's ``lifespan`` yielded in this run."""
        return FRAME.get().run.resource(self)

    @property
    def log(self) -> Any:
        """A structlog logger that is bound to the node's name."""
        import structlog  # loads where it is used

        frame = FRAME.get(None)
        name = self.name if frame is None else frame.name_of(self)
        return structlog.get_logger().bind(node=name)

    # --- wiring --------------------------------------------------------------------------------

    @property
    def _heads(self) -> "Sequence[BaseNode[Any, Any]]":  # type: ignore[override]
        return (self,)

    _tails = _heads  # type: ignore[assignment]

    @property
    def successors(self) -> "Mapping[str, Sequence[BaseNode[Any, Any]]]":
        """The nodes that each action leads to, in the order they were wired."""
        return self._successors

    def next(self, node: Any, action: str = "default") -> Any:
        """Wire ``node`` (or a chain, or a list) after this one and return it."""
        (self - action) >> node
        return node

    def _connect(self, node: "BaseNode[Any, Any]", action: str) -> None:
        nodes = self._successors.setdefault(action, [])
        if node not in nodes:
            nodes.append(node)
            BaseNode._wirings += 1

    def __or__(self, other: Any) -> "BaseNode[Any, Any]":
        return BaseNode._pipeline(self, other)

    def __repr__(self) -> str:
        kind = type(self).__name__
        return f"<{kind}>" if self.name == kind else f"<{kind} {self.name!r}>"

    def _inner(self) -> "Sequence[BaseNode[Any, Any]]":
        """The graphs or stages that this node is made of."""
        return ()

    # --- running --------------------------------------------------------------------------------

    def run(self, shared: Any = None, /, *, observers: Sequence[Observer] = ()) -> str | None:
        """Run from synchronous code and return the last action.

        Where an event loop runs already (a notebook), a thread with a loop of its own is used.

        Args:
            shared: The shared store; a new dict when left out.
            observers: Called with every event of the run.
        """
        if not in_running_loop():
            return asyncio.run(self._launch(shared, observers, alone=True))
        from concurrent.futures import ThreadPoolExecutor

        async def launch() -> str | None:
            started.append((asyncio.get_running_loop(), asyncio.current_task()))
            return await self._launch(shared, observers, alone=True)

        started: list[Any] = []
        with ThreadPoolExecutor(1, thread_name_prefix="kaygraph-run") as thread:
            future = thread.submit(copy_context().run, lambda: asyncio.run(launch()))
            try:
                return future.result()
            except BaseException:
                for loop, task in started if not future.done() else ():
                    loop.call_soon_threadsafe(task.cancel)
                raise

    async def run_async(
        self, shared: Any = None, /, *, observers: Sequence[Observer] = ()
    ) -> str | None:
        """Run on the current event loop and return the last action; see ``run``.

        When it returns, raises or is cancelled, nothing that it started is left behind.
        """
        return await self._launch(shared, observers, alone=False)

    def _launch(
        self, shared: Any, observers: Sequence[Observer], alone: bool
    ) -> Coroutine[Any, Any, str | None]:
        if self._successors:
            warnings.warn(
                f"{self!r} runs alone; to run what follows it too, put it in a Graph",
                stacklevel=2,
            )
        run = Run()
        if observers:
            run.observe(observers)
        frame = Frame(run, alone=alone)
        return self._launched(frame, self._run({} if shared is None else shared, frame))

    async def _launched(self, frame: Frame, work: Awaitable[Any]) -> Any:
        """Await the work of a run of its own, and close what the run has opened."""
        run, error, action = frame.run, None, None
        token = FRAME.set(frame)
        started = 0.0
        if run.emit is not None:
            started = asyncio.get_running_loop().time()
            run.emit(RunStarted(self.name, started))
        try:
            action = await work
            return action
        except BaseException as failure:
            error = failure
            if isinstance(failure, Exception):
                add_note(failure, repr(self.name))
            raise
        finally:
            try:
                if run.opened:
                    await run.close(error)
            finally:
                FRAME.reset(token)
                if run.emit is not None:
                    now = asyncio.get_running_loop().time()
                    run.emit(RunFinished(self.name, now, now - started, action, error))
                del error

    async def _run(self, shared: Any, frame: Frame) -> str | None:
        """The lifecycle, once."""
        has_lifespan, prep_is_async, post_is_async = self._hooks
        if has_lifespan:
            await frame.run.open(self, shared)
        prep_res: Any = self.prep(shared)
        if prep_is_async:
            prep_res = await prep_res
        elif type(prep_res) is CoroutineType:
            raise _not_async(self, "prep", prep_res)
        exec_res: Any
        if self._bare and frame.bare:
            exec_res = await self.exec(prep_res)  # type: ignore[misc]
        else:
            exec_res = await self._exec(prep_res, shared, frame)
        action: Any = self.post(shared, prep_res, exec_res)
        if post_is_async:
            action = await action
        elif type(action) is CoroutineType:
            raise _not_async(self, "post", action)
        return action  # type: ignore[no-any-return]

    def _exec(self, prep_res: Any, shared: Any, frame: Frame) -> Coroutine[Any, Any, Any]:
        """What stands between ``prep`` and ``post``; the kinds of node differ here."""
        raise NotImplementedError


class Node(BaseNode[P, E]):
    """A node whose ``exec`` runs once, with retries, time limits and a fallback.

    Args:
        max_retries: How often ``exec`` is tried in total (1: no retry). The name is the
            ancestors'; ``retry=Retry(attempts=…)`` is the full form.
        wait: Seconds between two attempts.
        retry: Attempts, backoff, jitter and what to retry; instead of ``max_retries``.
        timeout: Seconds that one attempt may take. A ``def`` in a thread cannot be stopped: it is
            waited for, and the overrun is reported.
        deadline: Seconds that all attempts and the waits between them may take together.
        run_in: Where ``exec`` runs: "loop", "thread", "process", or an executor with ``submit``.
            Unless told, ``async def`` runs on the loop and ``def`` in a thread, or in the calling
            thread where ``run()`` has nothing else to do.
        name: What it is called in events, reports and drawings; the class name unless told.

    Raises:
        AttemptTimeoutError: from a run, when a limit ran out.
    """

    max_retries: int = 1
    wait: float = 0.0
    retry: Retry | None = None
    timeout: float | None = None
    deadline: float | None = None
    run_in: "RunIn | Executor | None" = None
    on_error: str | float = "raise"  # what a batch does; a single item can only raise

    _accepts: ClassVar[frozenset[str]] = frozenset(NodeSettings.__annotations__)

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
            if value is not None or name not in ("max_retries", "wait"):
                setattr(self, name, value)
        if settings.get("retry") is not None and (max_retries is not None or wait is not None):
            raise TypeError(
                "give retry=Retry(attempts=..., wait=...) or max_retries= and wait=, not both"
            )

    def exec_fallback(self, prep_res: P, exc: Exception, /) -> E | Awaitable[E]:
        """Return a result in place of the one that could not be had; by default, raise."""
        raise exc

    async def _exec(self, prep_res: Any, shared: Any, frame: Frame) -> Any:
        if not self._has_exec:  # prep and post are all it is: there is no work to account for
            frame.record(None)
            return None
        slot = Slot(frame.caps)
        try:
            value = await call(self, prep_res, None, frame, slot)
        finally:
            slot.give()
        frame.record(value, slot.attempts)
        return value


class AsyncNode(Node[P, E]):
    """A Node whose hooks are written ``async def``: a name for readers, the same engine."""


async def watched(node: BaseNode[Any, Any], shared: Any, frame: Frame) -> str | None:
    """Run a node's lifecycle and tell the observers of its start and its end."""
    emit = frame.run.emit
    if emit is None:
        return await node._run(shared, frame)
    now = asyncio.get_running_loop().time
    name, started = frame.name_of(node), now()
    emit(NodeStarted(name, started))
    try:
        action = await node._run(shared, frame)
    except BaseException as error:
        emit(NodeFinished(name, at := now(), at - started, None, error))
        raise
    emit(NodeFinished(name, at := now(), at - started, action, None))
    return action
