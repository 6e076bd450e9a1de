"""Nodes whose ``exec`` consists of several calls, each with its own limits, attempts and name.

Every part is a node and runs through the same function as the ``exec`` of any node. Retries, time
limits, threads, breakers, events and the caps of enclosing graphs therefore apply to each part. The
compound node holds no permit of a graph while it waits for its parts, as a graph holds none while
it waits for its nodes.
"""

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Generator,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from functools import partial
from inspect import iscoroutine
from types import MappingProxyType
from typing import Any, ClassVar, Self, TypedDict, TypeVar

from .._validation import check_count
from ..aio.tasks import gather
from ..aio.tracebacks import trim
from ..errors import NodeDefinitionError
from ..executors.kinds import kind_of
from ..limits.retry import Retry
from ..limits.slots import Slot
from ..node.call import call
from ..node.composition import Composition
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
# The settings of the node that apply to each part without its own.
ATTEMPTS = frozenset({"timeout", "retry", "max_retries", "wait"})

# The settings of a part; its name comes from its key or its method.
PART = Node._accepts - {"name"}


def check_named(name: str, value: Any) -> Mapping[str, Any]:
    """Return ``value`` if it is a mapping with names as keys."""
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
    """The settings of a compound node, besides its own arguments."""

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
    """Return whether a function is an ``async def``, also if it yields."""
    return "async" in kind_of(function)


class Part(Node[Any, Any]):
    """A callable as a node. The values of a generator are collected into a list."""

    def __init__(
        self, function: Callable[..., Any], name: str, settings: Mapping[str, Any]
    ) -> None:
        rest = {**settings, "name": name}
        self._configure(rest.pop("max_retries", None), rest.pop("wait", None), rest)
        self.function = function
        self.__dict__["exec_kind"] = "async" if is_async(function) else "sync"

    def exec(self, item: Any, /) -> Any:
        return self.later(item) if self.exec_kind == "async" else self.at_once(item)

    def at_once(self, item: Any) -> Any:
        """Call a ``def``."""
        result = self.function(item)
        if iscoroutine(result):
            result.close()
            raise NodeDefinitionError(
                f"{self.name!r} is written 'def' and returned a coroutine: write it 'async def'"
            )
        return list(result) if isinstance(result, Generator) else result

    async def later(self, item: Any) -> Any:
        """Call an ``async def``."""
        result = self.function(item)
        if isinstance(result, AsyncGenerator):
            return [value async for value in result]
        result = await result
        return list(result) if isinstance(result, Generator) else result


class _Whole(Node[Any, Any]):
    """The whole work of a compound node on one item, as a node whose only limit is a deadline."""

    def __init__(self, owner: "CompoundNode[Any, Any]", deadline: float | None) -> None:
        super().__init__(name=owner.name, deadline=deadline)
        self.owner = owner
        for fact in ("on_error", "exec_kind", "_has_fallback", "_fallback_is_async"):
            self.__dict__[fact] = getattr(owner, fact)

    @property
    def composition(self) -> Composition[BaseNode[Any, Any]]:
        return self.owner.composition

    def exec(self, item: Any, /) -> Any:
        return self.owner.exec(item)

    def exec_fallback(self, item: Any, exc: Exception, /) -> Any:
        return self.owner.exec_fallback(item, exc)


# The frame of a compound node's work, which holds no permit.
_WORK: ContextVar[Frame | None] = ContextVar("kaygraph_compound", default=None)


class CompoundNode(Stored, Node[P, E]):
    """A node whose ``exec`` calls several parts; each subclass defines how.

    ``exec`` takes one record: the value under ``reads`` in a graph, an item in a pipeline, or the
    argument of a direct call. Settings:

    * ``deadline``: the time limit of the whole, in seconds.
    * ``timeout``, ``retry``, ``max_retries``, ``wait``: the settings of each part without its own.
    * ``max_workers``, ``ordered``, ``on_error``: the settings as a stage of a pipeline.
      ``max_workers`` records are processed at once; 1 by default.

    A part is a method, a callable or a Node. An ``async def`` runs on the event loop, a ``def`` in
    a thread. For a Node, ``exec`` is called with the record, with the Node's own settings and with
    its ``lifespan`` open; its ``prep`` and ``post`` are not called. (A subclass with its own
    ``lifespan`` must enter ``super().lifespan(shared)`` in it.)
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
        for theirs in cls.__mro__:  # also a sibling class
            for name, value in vars(theirs).items():
                if mark_of(value) is not None and any(name in vars(base) for base in ours):
                    raise NodeDefinitionError(
                        f"{theirs.__name__}.{name} is marked as a part, and {name!r} means "
                        "something else on every node: rename the method, and mark it with "
                        f"name={name!r}"
                    )
        super().__init_subclass__(**kwargs)

    def _changed(self, names: Collection[str]) -> None:
        super()._changed(names)
        self.__dict__["_made"] = None

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_made": None}

    def lifespan(self, shared: Any, /) -> AbstractAsyncContextManager[Any]:
        """Open the lifespans of the parts that are nodes."""
        return self._opened(shared)

    @asynccontextmanager
    async def _opened(self, shared: Any) -> AsyncIterator[None]:
        for part in self._parts.values():
            if part.hook_kinds[0]:
                await FRAME.get().run.open(part, shared)
        yield

    @property
    def composition(self) -> Composition[BaseNode[Any, Any]]:
        return Composition("compound", tuple(self._parts.values()))

    def with_parts(self, parts: Sequence[Any] | None = None) -> Self:
        copied = super().with_parts(parts)
        if parts is not None:
            made = dict(zip(self._parts, parts, strict=True))
            object.__setattr__(copied, "_made", (copied, _Whole(copied, copied._limit), made))
        return copied

    # Subclasses override these.

    def _make(self) -> Mapping[str, Node[Any, Any]]:
        """Make the parts, by name."""
        raise NotImplementedError

    @property
    def _limit(self) -> float | None:
        """The deadline of the whole."""
        return self.deadline

    # Subclasses use these.

    @property
    def _parts(self) -> Mapping[str, Node[Any, Any]]:
        """The parts by name. They are made once per node, so their caps hold for a whole run."""
        return self._all()[2]

    def _all(self) -> "tuple[CompoundNode[Any, Any], _Whole, Mapping[str, Node[Any, Any]]]":
        made = self._made
        if made is None or made[0] is not self:  # a copy of a node has its own parts
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
        """Return a callable as a node; its settings override those of this node."""
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
        """Return the marked methods, then the given callables, as parts by name."""
        found = marked(self, kind)
        if twice := found.keys() & given.keys():
            raise TypeError(
                f"{type(self).__name__} has two parts named {min(twice)!r}: a method, and one "
                "that was given"
            )
        found |= {name: (thing, settings_of(kind, thing)) for name, thing in given.items()}
        return {
            name: self._part(thing, name, {k: settings[k] for k in settings.keys() & PART}, make)
            for name, (thing, settings) in found.items()
        }

    async def run_item(self, item: Any, index: int | None, frame: Frame, slot: Slot) -> Any:
        """Run ``exec`` for one item without holding the caps that the parts must acquire."""
        whole = self._all()[1]
        scope, rules = frame.scope, frame.rules
        if scope is not None:
            scope = Scope(scope.path, {whole: scope.names.get(self, self.name)})
        if rules.timeout is not None:
            rules = rules.changed(timeout=None)  # it applies to each part instead
        own = Slot(slot.caps[: len(slot.caps) - len(frame.caps)], slot.worker, slot.timed)
        if slot.outlet is not None:
            own.outlet, slot.outlet.slot = slot.outlet, own
        context, work = FRAME.set(frame), _WORK.set(frame)
        try:
            return await call(whole, item, index, frame.derive(scope=scope, rules=rules), own)
        finally:
            own.give()
            FRAME.reset(context)
            _WORK.reset(work)
            slot.attempts, slot.seconds = own.attempts, own.seconds

    async def _in_place(self, work: Callable[[Frame], Awaitable[T]]) -> T:
        """Do the work of ``exec`` in the frame of the parts."""
        around = FRAME.get(None)
        if around is not None:
            if around is not _WORK.get():  # a direct call from another exec, which holds permits
                around = around.derive(caps=())
            return await self._beside(work, around)

        def by_hand(_: Any, frame: Frame) -> Coroutine[Any, Any, T]:
            return self._beside(work, frame)

        return await launched(self.name, Frame(Run()), by_hand, None)

    async def _beside(self, work: Callable[[Frame], Awaitable[T]], frame: Frame) -> T:
        with frame.run.concurrently:
            return await work(self._within(frame))

    def _within(self, frame: Frame) -> Frame:
        names = {part: name for name, part in self._parts.items()}
        scope = Scope(f"{frame.name_of(self)}/", names)
        return frame.derive(scope=scope)

    async def _ask(self, name: str, item: Any, frame: Frame) -> Outcome[Any]:
        """Run one part for the item. A failure becomes an outcome; a cancellation is raised."""
        part, index = self._parts[name], list(self._parts).index(name)
        task = asyncio.current_task()
        assert task is not None
        cancelling = task.cancelling()
        slot = Slot(frame.caps, index, timed=True)
        context = FRAME.set(frame)
        try:
            value = await part.run_item(item, None, frame, slot)
        except Exception as error:
            if task.cancelling() > cancelling:  # the part has converted its cancellation
                raise
            trim(error)
            return Outcome(name, index, status_of(error), None, error, slot.attempts, slot.seconds)
        finally:
            slot.give()
            FRAME.reset(context)
            del task  # it holds an error that holds this frame: no cycle may stay
        return Outcome(name, index, "ok", value, None, slot.attempts, slot.seconds)

    def _begin(self, name: str, item: Any, frame: Frame) -> Any:
        """Return the coroutine of one part, to run in its own task."""
        path = f"{frame.scope.path if frame.scope else ''}{name}"
        return begun(partial(self._ask, name, item, frame), path, frame)

    async def _settle(self, item: Any) -> list[Outcome[Any]]:
        """Run all parts for the item at once; return their outcomes in the order of the parts."""

        def work(frame: Frame) -> Awaitable[list[Outcome[Any]]]:
            return gather(self._begin(name, item, frame) for name in self._parts)

        return await self._in_place(work)
