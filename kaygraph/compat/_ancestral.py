"""What nodes and flows of PocketFlow and KayGraph have besides their three steps."""

import inspect
import logging
from asyncio import CancelledError, sleep
from collections.abc import Awaitable, Collection, Coroutine, Mapping
from contextvars import copy_context
from time import time
from types import CoroutineType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ..aio.tasks import awaited_cancelled
from ..errors import NodeDefinitionError
from ..executors.calling_thread import call_here, is_due, turn
from ..executors.kinds import late
from ..node.facts import Fact, Facts
from ..node.hooks import is_own
from ..node.node import BaseNode as CoreNode
from ..node.settings import Check, Checks, Limits
from ..run.frame import FRAME, NO_PARAMS, Cell, Frame, Scope
from ..run.run import Run
from ._calls import awaited, hooked, nothing_around, plainness_of
from ._wiring import OneEach, Replacing
from .config import EMPTY, Config

# Methods that the engines of PocketFlow and KayGraph call, but this one does not.
GONE = {
    "get_next_node": "wire the next node with - 'action' >> and return the action from post()",
    "_orch": "put the work into prep(), post() or a node",
    "_orch_async": "put the work into prep(), post() or a node",
    "_run": "override prep(), exec() or post()",
    "_run_async": "override prep_async(), exec_async() or post_async()",
    "_exec": "override exec()",
}


NESTED = 8  # nested flows in a run without a loop: deeper ones get their own stacks

CHANGES = [0]  # how often hooks or settings of nodes have changed

LEFT_OUT: Any = object()
_NONE: Any = object()  # the None that a program has passed


class FlowScope(Scope):
    """The enclosing flow of a node."""

    __slots__ = ("config",)

    def __init__(self, path: str, names: Mapping[Any, str], config: Config) -> None:
        super().__init__(path, names)
        self.config = config

    def again(self) -> "FlowScope":
        scope = FlowScope(self.path, self.names, self.config)
        scope.depth = self.depth
        return scope


class BaseNode(Replacing, CoreNode[Any, Any]):
    """Three steps, without attempts; and the params, hooks, context and config of every class here.

    A node in a flow is copied, and the copy runs: what a hook sets on ``self`` is there
    for the hooks after it and gone after the run, however many run at once. The copy equals its
    node, since everything that a run keeps by node (names, caps, resources) belongs to the node.
    """

    _interrupts_at_once: ClassVar[bool] = True  # as with Ctrl-C in any synchronous program
    config: Config = EMPTY
    params: Any = NO_PARAMS  # a plain attribute, as in PocketFlow
    _checks: ClassVar[Checks] = {"name": lambda _, value: value}
    _origin: "BaseNode | None" = None  # for a copy: its original node
    _execution_context: dict[str, Any]
    _stays = False  # a ``def exec`` in the thread of its flow
    run_in: Any
    _is_plain = True  # nothing of ours wraps its exec
    _simply: str | None = None  # how to call exec when nothing special is needed
    _never_waits = False  # while KayGraph's hooks do not wait

    @Fact
    def logger(self) -> logging.Logger:
        """The logger with the name of the class."""
        return logging.getLogger(type(self).__name__)

    @Fact
    def cur_retry(self) -> int:
        """The number of the attempt from 0, in ``exec`` and in the hooks after it."""
        return Facts.attempt.read(self) - 1

    def __new__(cls, *_: Any, **__: Any) -> Self:
        node = super().__new__(cls)
        node.__dict__.update(params={}, _execution_context={})
        return node

    def __init__(self, node_id: "str | Config | None" = None, config: Config | None = None) -> None:
        super().__init__()
        self._identify(node_id, config)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if not is_own(cls):
            for name in GONE.keys() & vars(cls).keys():
                raise NodeDefinitionError(
                    f"{cls.__name__} defines {name}(), which is not called here: {GONE[name]}"
                )
        method = vars(cls).get("on_error")
        if callable(method):
            delattr(cls, "on_error")  # here the name is a setting of batches, which is checked
        super().__init_subclass__(**kwargs)
        if callable(method):
            type.__setattr__(cls, "on_error", method)
        cls._is_plain = cls._work is BaseNode._work and cls._exec is CoreNode._exec
        cls.note_more()
        cls._guards = {**cls._guards, "on_error": _or_called(cls._guards.get("on_error"))}

    @classmethod
    def note_more(cls) -> None:
        CHANGES.append(CHANGES.pop() + 1)
        cls._simply, cls._never_waits = plainness_of(cls)

    def _changed(self, names: Collection[str]) -> None:
        CHANGES.append(CHANGES.pop() + 1)
        # A name often belongs to the program: two nodes may share it.
        super()._changed([name for name in names if name != "name"])
        self.__dict__.update(zip(("_simply", "_never_waits"), plainness_of(self), strict=True))

    def _identify(self, node_id: "str | Config | None", config: Config | None) -> None:
        if isinstance(node_id, Config):
            node_id, config = None, node_id
        if node_id is not None:
            self.node_id = node_id
        if config is not None:
            self.config = config

    # --- what a program reads and sets ------------------------------------------------------------

    @property
    def successors(self) -> OneEach:
        """The node that each action leads to; assignable."""
        return OneEach(_node_of(self))

    if not TYPE_CHECKING:

        @successors.setter
        def successors(self, nodes):
            for action in tuple(self.successors):
                del self.successors[action]
            self.successors.update(nodes)

    @property
    def node_id(self) -> str:
        """The node's id; also its ``name``, unless the program sets that itself."""
        node_id: str = self.__dict__.get("_node_id", type(self).__name__)
        return node_id

    @node_id.setter
    def node_id(self, node_id: str) -> None:
        if self.name == self.node_id:
            self.name = node_id
        self.__dict__["_node_id"] = node_id

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Set ``self.params``; a flow that runs the node calls it with its own."""
        if type(params) is not dict and not isinstance(params, Mapping):
            raise TypeError(f"params must be a mapping, as in {{'key': ...}}; got {params!r}")
        object.__setattr__(self, "params", params)  # the program's own, if it has one

    def get_context(self, key: str, default: Any = None) -> Any:
        """Return what ``set_context`` stored in this run of the node."""
        return self._execution_context.get(key, default)

    def set_context(self, key: str, value: Any) -> None:
        """Store something until this run of the node ends."""
        self._execution_context[key] = value

    def __enter__(self) -> Any:
        self.setup_resources()
        return self

    def __exit__(self, *_: object) -> None:
        self.cleanup_resources()

    # --- KayGraph's hooks, each ``def`` or ``async def`` ------------------------------------------

    def before_prep(self, shared: Any, /) -> Any:
        """Called before ``prep``."""

    def after_exec(self, shared: Any, prep_res: Any, exec_res: Any, /) -> Any:
        """Called between ``exec`` and ``post``."""

    def setup_resources(self) -> None:
        """Called by ``with node:`` at the start."""

    def cleanup_resources(self) -> None:
        """Called by ``with node:`` at the end."""

    # --- running ----------------------------------------------------------------------------------

    def run(self, shared: Any = LEFT_OUT, **options: Any) -> Any:
        """Run and return the last action; see ``kaygraph.Node.run``. Hooks get the None of
        ``run(None)``, as in PocketFlow."""
        __tracebackhide__ = True  # read by IPython and pytest
        shared = _NONE if shared is None else shared
        if not options and self._needs_no_loop(NESTED) and nothing_around():
            return self._run_by_hand(shared)
        return super().run(shared, **options)

    def run_async(self, shared: Any = LEFT_OUT, **options: Any) -> Coroutine[Any, Any, Any]:
        """Run on the current event loop; see ``run``."""
        return super().run_async(_NONE if shared is None else shared, **options)

    def _needs_no_loop(self, depth: int) -> bool:
        """Whether a run of it only calls ``def`` functions; ``nested`` flows are inside it."""
        return self._never_waits

    def _store_of(self, shared: Any) -> Any:
        if shared is _NONE:
            return None
        return super()._store_of(None if shared is LEFT_OUT else shared)

    async def run_within(self, shared: Any, frame: Frame) -> str | None:
        """The lifecycle, once, with KayGraph's hooks; each of the three steps as in the core."""
        run = frame.run
        if frame.scope is None or run.entry is frame:  # run() was called on this very node
            frame.params = dict(self.params)
            node = self
        else:
            node = self._copied(frame)
        began = time()
        context = node.__dict__["_execution_context"] = {"start_time": began}
        simply = node._simply if frame.bare and not frame.watched else None
        around = FRAME.get()
        if around is not frame:
            FRAME.set(frame)
        try:
            if (hook := node.before_prep(shared)) is not None:
                await awaited(hook, run)
            has_lifespan, prep_is_async, post_is_async = node.hook_kinds
            if has_lifespan:
                await run.open(node, shared)
            prep_res: Any = node.prep(shared)
            if prep_is_async or type(prep_res) is CoroutineType:
                prep_res = await node._given("prep", prep_res, prep_is_async, run)
            exec_res: Any
            if simply == "called" and run.by_hand:
                exec_res = copy_context().run(node.exec, prep_res)
                if type(exec_res) is CoroutineType:
                    exec_res = await node._late("exec", exec_res, run)
            elif simply == "called" and run.alone:
                exec_res = await node._called(prep_res, run)
            elif simply == "awaited" and not run.by_hand:
                exec_res = await node.exec(prep_res)  # type: ignore[misc]
            elif simply == "left out":
                exec_res = None
            else:
                exec_res = await node._work(prep_res, shared, frame)
            context["duration"] = context["last_execution_time"] = time() - began
            if (hook := node.after_exec(shared, prep_res, exec_res)) is not None:
                await awaited(hook, run)
            action: Any = node.post(shared, prep_res, exec_res)
            if post_is_async or type(action) is CoroutineType:
                action = await node._given("post", action, post_is_async, run)
            # With a successor, any false value is "default"; without, it is the result.
            return action if action or not self._successors else None
        except BaseException as error:
            await node._failed(error, shared, run)
            return None
        finally:
            if around is not frame or simply is None:  # attempts have their own frames
                FRAME.set(around)

    async def _called(self, prep_res: Any, run: Run) -> Any:
        """Call a ``def exec`` in the thread of ``run()``; give the loop a turn if one is due."""
        exec_res = call_here(self.exec, prep_res)
        if type(exec_res) is CoroutineType:
            return await self._late("exec", exec_res, run)
        if is_due(run):
            await turn(run)
        return exec_res

    def _given(self, hook: str, coroutine: Any, is_async: bool, run: Run) -> Awaitable[Any]:
        """Return what to await of a hook's result."""
        if not is_async:
            return self._late(hook, coroutine, run)
        return awaited(coroutine, run) if run.by_hand else coroutine

    async def _late(self, hook: str, coroutine: Any, run: Run) -> Any:
        return await awaited(late(self, hook, coroutine), run)

    async def _failed(self, raised: BaseException, shared: Any, run: Run) -> None:
        """Raise a failure, unless KayGraph's hook says that it may be ignored."""
        if run.by_hand and isinstance(raised, CancelledError):
            await sleep(0)  # only a task can have been cancelled
        error = awaited_cancelled(raised) or raised
        if isinstance(error, StopIteration):  # no coroutine can carry it
            error = RuntimeError("a hook raised StopIteration")
            error.__cause__ = raised
        try:
            failed: Any = getattr(self, "on_error", None)
            takes = isinstance(error, Exception) and _is_hook(failed)
            if not (takes and await hooked(run, failed, shared, error)):
                raise error
        finally:
            del error, raised  # they reference this frame: no cycle may keep them alive

    def _copied(self, frame: Frame) -> "BaseNode":
        """Return the copy that runs in place of this node."""
        node: BaseNode = object.__new__(type(self))
        own = node.__dict__
        own.update(self.__dict__)
        own["_origin"] = self
        # NO_PARAMS is not a dict: a program may write to its own, and a process could not take it.
        node.set_params({} if frame.params is NO_PARAMS else frame.params)
        scope = frame.scope
        if type(scope) is FlowScope and scope.config is not EMPTY and "config" not in own:
            own["config"] = scope.config
        return node

    async def _work(self, prep_res: Any, shared: Any, frame: Frame) -> Any:
        """Do what the engine does between ``prep`` and ``post``, and keep ``cur_retry`` for it."""
        if frame.run.by_hand:
            await sleep(0)  # it continues on a loop
        in_flow = isinstance(frame.scope, FlowScope) and not frame.run.alone
        is_told = self.run_in is not None or frame.rules.run_in is not None
        if self._stays and in_flow and self.exec_kind == "sync" and not is_told:
            self.__dict__["run_in"] = "loop"  # of a copy
        if not isinstance(self, Limits) or (self.max_retries == 1 and self.retry is None):
            return await self._exec(prep_res, shared, frame)
        cell = Cell()
        try:
            return await self._exec(prep_res, shared, frame.derive(cell=cell))
        finally:
            frame.record(cell.value, cell.attempts)
            FRAME.set(frame.derive(attempt=max(cell.attempts, 1)))

    def __eq__(self, other: object) -> bool:
        return _node_of(self) is _node_of(other)

    def __hash__(self) -> int:
        return object.__hash__(_node_of(self))


def _node_of(thing: Any) -> Any:
    origin = getattr(thing, "_origin", None)
    return thing if origin is None else origin


def _or_called(check: Check | None) -> Check:
    """Return a check of ``on_error`` that accepts callables: KayGraph's hook, or a program's
    method of this name."""

    def checked(name: str, value: Any) -> Any:
        return value if callable(value) or check is None else check(name, value)

    return checked


def _is_hook(failed: Any) -> bool:
    """Whether an ``on_error`` takes the arguments of KayGraph's hook: shared and the error."""
    if not callable(failed):
        return False
    try:
        inspect.signature(failed).bind(None, None)
    except TypeError:
        return False
    except ValueError:  # it has no signature
        pass
    return True
