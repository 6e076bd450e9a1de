"""Nodes whose ``exec`` is made of several calls, each with limits, attempts and a name of its own.

Every part is a node, and runs through the same function as any node's ``exec``: so retries, time
limits, threads, breakers, events and the caps of the graphs around hold for each. The whole holds
no permit of a graph while it waits for its parts, as a graph holds none for its nodes.
"""

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Generator,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from functools import partial
from inspect import iscoroutine
from types import MappingProxyType
from typing import Any, ClassVar, TypedDict, TypeVar

from .._validation import check_count
from ..aio.tasks import gather
from ..errors import NodeDefinitionError
from ..executors.kinds import kind_of
from ..limits.retry import Retry
from ..limits.slots import Slot
from ..node.call import call
from ..node.hooks import is_own
from ..node.keywords import Attempts, E, P, ParallelSettings
from ..node.node import BaseNode, Node
from ..node.observed import begun
from ..node.settings import Checks, checks_of
from ..nodes._store import Keys, Stored
from ..outcome import Outcome, status_of
from ..run.frame import FRAME, Frame, Scope
from ..run.launch import launched
from ..run.run import Run
from ._marks import mark_of, marked, settings_of, unmarked

T = TypeVar("T")

Called = Callable[..., Any] | Node[Any, Any]

OWN = frozenset({"name", "reads", "writes", "deadline", "max_workers", "ordered", "on_error"})
# What the node says for each of its parts that is not told otherwise.
ATTEMPTS = frozenset({"timeout", "retry", "max_retries", "wait"})

# What a part may be told; its name is that under which it is known.
PART = Node._accepts - {"name"}


def check_named(name: str, value: Any) -> Mapping[str, Any]:
    """Return ``value`` when it is a mapping from names to whatever the parts are."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) and key for key in value):
        raise TypeError(
            f"{name} must be a mapping, as in {name}={{'name': function}}; got {value!r}"
        )
    return value


COMPOUND_CHECKS: Checks = {
    **checks_of(Attempts, ParallelSettings),
    "max_workers": check_count,
    "checks": check_named,
    "sources": check_named,
}


class CompoundSettings(TypedDict, total=False):
    """What a node of several parts takes beside its own arguments."""

    name: str
    reads: Keys
    writes: Keys
    timeout: float | None
    retry: Retry | None
    max_retries: int
    wait: float
    deadline: float | None
    max_workers: int
    ordered: bool
    on_error: str | float


def is_async(function: Any) -> bool:
    """Whether it is written ``async def``, also where it yields."""
    return "async" in kind_of(function)


class Part(Node[Any, Any]):
    """A callable as a node. What a generator yields, its own or one it returns, is a list."""

    def __init__(
        self, function: Callable[..., Any], name: str, settings: Mapping[str, Any]
    ) -> None:
        rest = {**settings, "name": name}
        self._configure(rest.pop("max_retries", None), rest.pop("wait", None), rest)
        self.function = function
        self.__dict__["_exec_kind"] = "async" if is_async(function) else "sync"

    def exec(self, item: Any, /) -> Any:
        return self.later(item) if self._exec_kind == "async" else self.now(item)

    def now(self, item: Any) -> Any:
        """Call what is written ``def``."""
        result = self.function(item)
        if iscoroutine(result):
            result.close()
            raise NodeDefinitionError(
                f"{self.name!r} is written 'def' and returned a coroutine: write it 'async def'"
            )
        return list(result) if isinstance(result, Generator) else result

    async def later(self, item: Any) -> Any:
        """Call what is written ``async def``."""
        result = self.function(item)
        if isinstance(result, AsyncGenerator):
            return [value async for value in result]
        result = await result
        return list(result) if isinstance(result, Generator) else result


class _Whole(Node[Any, Any]):
    """All of a compound node's work on one item, as a node without any limit but a deadline."""

    _is_whole = True

    def __init__(self, owner: "CompoundNode[Any, Any]", deadline: float | None) -> None:
        super().__init__(name=owner.name, deadline=deadline)
        self.owner = owner
        for fact in ("on_error", "_exec_kind", "_has_fallback", "_fallback_is_async"):
            self.__dict__[fact] = getattr(owner, fact)

    def exec(self, item: Any, /) -> Any:
        return self.owner.exec(item)

    def exec_fallback(self, item: Any, exc: Exception, /) -> Any:
        return self.owner.exec_fallback(item, exc)


# The place of a compound node's work, which holds no permit.
_WORK: ContextVar[Frame | None] = ContextVar("kaygraph_compound", default=None)


class CompoundNode(Stored, Node[P, E]):
    """A node whose ``exec`` asks several parts, in whatever way its class does it.

    ``exec`` takes one record: what ``reads`` names in a graph, an item in a pipeline, and
    whatever it is called with by hand. Settings:

    * ``deadline``: seconds that the whole may take.
    * ``timeout``, ``retry``, ``max_retries``, ``wait``: of each part without its own.
    * ``max_workers``, ``ordered``, ``on_error``: as a stage of a pipeline, where this many records
      are worked on at once; 1 by default.

    A part is a method, a callable, or a Node. ``async def`` runs on the loop, ``def`` in a thread.
    Of a Node the ``exec`` gets the record, with the settings that the Node was made with, and with
    its ``lifespan`` open; its ``prep`` and ``post`` are not called. (A subclass that has a
    ``lifespan`` of its own enters ``super().lifespan(shared)`` in it.)
    """

    max_workers: int = 1
    ordered: bool = True
    on_error: str | float = "raise"

    _accepts: ClassVar[frozenset[str]] = OWN | ATTEMPTS
    _checks: ClassVar[Checks] = COMPOUND_CHECKS
    _inherited: ClassVar[frozenset[str]] = ATTEMPTS
    _made: "tuple[CompoundNode[Any, Any], _Whole, Mapping[str, Node[Any, Any]]] | None" = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        ours = [base for base in cls.__mro__[1:] if is_own(base)]
        for theirs in cls.__mro__:  # also a class that stands beside
            for name, value in vars(theirs).items():
                if mark_of(value) is not None and any(name in vars(base) for base in ours):
                    raise NodeDefinitionError(
                        f"{theirs.__name__}.{name} is marked as a part, and {name!r} means "
                        "something else on every node: call the method otherwise, and mark it with "
                        f"name={name!r}"
                    )
        super().__init_subclass__(**kwargs)

    def _changed(self, names: Collection[str]) -> None:
        super()._changed(names)
        self.__dict__["_made"] = None

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_made": None}

    def lifespan(self, shared: Any, /) -> AbstractAsyncContextManager[Any]:
        """Open the lifespans of the nodes that are its parts."""
        return self._opened(shared)

    @asynccontextmanager
    async def _opened(self, shared: Any) -> AsyncIterator[None]:
        for part in self._parts.values():
            if part._hooks[0]:
                await FRAME.get().run.open(part, shared)
        yield

    def _inner(self) -> Sequence[BaseNode[Any, Any]]:
        return list(self._parts.values())

    # What differs from one class to the next.

    def _make(self) -> Mapping[str, Node[Any, Any]]:
        """Make the parts, by name."""
        raise NotImplementedError

    @property
    def _limit(self) -> float | None:
        """The deadline of the whole."""
        return self.deadline

    # What its classes build upon.

    @property
    def _parts(self) -> Mapping[str, Node[Any, Any]]:
        """The parts. Made once a node: their caps hold over all that it does in a run."""
        return self._all()[2]

    def _all(self) -> "tuple[CompoundNode[Any, Any], _Whole, Mapping[str, Node[Any, Any]]]":
        made = self._made
        if made is None or made[0] is not self:  # a copy of a node has parts of its own
            made = (self, _Whole(self, self._limit), self._make())
            self.__dict__["_made"] = made
        return made

    def _part(
        self,
        thing: Any,
        name: str,
        settings: Mapping[str, Any] = MappingProxyType({}),
        make: type[Part] = Part,
    ) -> Node[Any, Any]:
        """Return a callable as a node, with its settings laid over those of this node."""
        thing = unmarked(thing)
        if isinstance(thing, Node):
            return thing
        if not callable(thing) or isinstance(thing, type | BaseNode):
            hint = ""
            if isinstance(thing, type):
                hint = f": did you mean {thing.__name__}()?"
            elif isinstance(thing, BaseNode):
                hint = ": a graph works on the shared store, and not on one record"
            raise TypeError(
                f"{name!r} of {self!r} must be a callable or a Node, got {thing!r}{hint}"
            )
        ours = self._inherited
        if settings.keys() & ATTEMPTS - {"timeout"}:
            ours -= ATTEMPTS - {"timeout"}
        elif self.retry is not None:
            ours -= {"max_retries", "wait"}
        else:
            ours -= {"retry"}
        return make(thing, name, {**{key: getattr(self, key) for key in ours}, **settings})

    def _named_parts(
        self, kind: str, given: Mapping[str, Called], make: type[Part] = Part
    ) -> Mapping[str, Node[Any, Any]]:
        """Return the methods that are marked, and after them what was given, as parts."""
        found = marked(self, kind)
        if twice := found.keys() & given.keys():
            raise TypeError(
                f"{type(self).__name__} has two that are called {min(twice)!r}: a method, and one "
                "that was given"
            )
        found |= {name: (thing, settings_of(kind, thing)) for name, thing in given.items()}
        return {
            name: self._part(thing, name, {k: settings[k] for k in settings.keys() & PART}, make)
            for name, (thing, settings) in found.items()
        }

    async def _call(self, item: Any, index: int | None, frame: Frame, slot: Slot) -> Any:
        """Run ``exec`` for one item, and hold nothing that its parts have to take."""
        whole = self._all()[1]
        scope, rules = frame.scope, frame.rules
        if scope is not None:
            scope = Scope(scope.path, {whole: scope.names.get(self, self.name)})
        if rules.timeout is not None:
            rules = rules.changed(timeout=None)  # it is for each of the parts
        own = Slot(slot.caps[: len(slot.caps) - len(frame.caps)], slot.worker, slot.timed)
        context, work = FRAME.set(frame), _WORK.set(frame)
        try:
            return await call(whole, item, index, frame.derive(scope=scope, rules=rules), own)
        finally:
            own.give()
            FRAME.reset(context)
            _WORK.reset(work)
            slot.attempts, slot.seconds = own.attempts, own.seconds

    async def _in_place(self, work: Callable[[Frame], Awaitable[T]]) -> T:
        """Do what ``exec`` does in the place where its parts run."""
        around = FRAME.get(None)
        if around is not None:
            if around is not _WORK.get():  # called by hand, in an exec that has its permits
                around = around.derive(caps=())
            return await self._beside(work, around)

        def by_hand(_: Any, frame: Frame) -> Awaitable[T]:
            return self._beside(work, frame)

        return await launched(self.name, Frame(Run()), by_hand, None)

    async def _beside(self, work: Callable[[Frame], Awaitable[T]], frame: Frame) -> T:
        with frame.run.beside:
            return await work(self._within(frame))

    def _within(self, frame: Frame) -> Frame:
        names = {part: name for name, part in self._parts.items()}
        scope = Scope(f"{frame.name_of(self)}/", names)
        return frame.derive(scope=scope)

    async def _ask(self, name: str, item: Any, frame: Frame) -> Outcome[Any]:
        """Let one part work on the item; a failure is an outcome, a cancellation is none."""
        part, index = self._parts[name], list(self._parts).index(name)
        task = asyncio.current_task()
        assert task is not None
        cancelling = task.cancelling()
        slot = Slot(frame.caps, index, timed=True)
        context = FRAME.set(frame)
        try:
            value = await part._call(item, None, frame, slot)
        except Exception as error:
            if task.cancelling() > cancelling:  # what it has made of its cancellation
                raise
            return Outcome(name, index, status_of(error), None, error, slot.attempts, slot.seconds)
        finally:
            slot.give()
            FRAME.reset(context)
        return Outcome(name, index, "ok", value, None, slot.attempts, slot.seconds)

    def _begin(self, name: str, item: Any, frame: Frame) -> Any:
        """Return the coroutine of one part, for a task of its own."""
        path = f"{frame.scope.path if frame.scope else ''}{name}"
        return begun(partial(self._ask, name, item, frame), path, frame)

    async def _settle(self, item: Any) -> list[Outcome[Any]]:
        """Let all parts work on the item at once; return an outcome each, in the order written."""

        def work(frame: Frame) -> Awaitable[list[Outcome[Any]]]:
            return gather(self._begin(name, item, frame) for name in self._parts)

        return await self._in_place(work)
