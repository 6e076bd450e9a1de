"""Nodes like others, whose work meets faults."""

from collections.abc import Callable
from typing import Any

from ..batch.batch import BatchNode
from ..executors.kinds import kind_of
from ..graph.graph import Graph
from ..groups.branches import BranchGroup
from ..groups.map_reduce import MapReduceNode
from ..node.node import BaseNode
from ..run.frame import FRAME, NO_PARAMS
from ..streams.pipeline import Pipeline
from ._fates import FateSource

AnyNode = BaseNode[Any, Any]


class Wrapping:
    """Wraps a node, and all that it is made of, each once."""

    def __init__(self, faults: FateSource) -> None:
        self.faults = faults
        self.names: dict[str, int] = {}
        self.done: dict[AnyNode, AnyNode] = {}

    def __call__(self, node: Any) -> Any:
        if not isinstance(node, BaseNode):
            raise TypeError(f"faults are for nodes and graphs of them, got {node!r}")
        wrapped = self._wrapped(node)
        for action, targets in node._successors.items():
            for target in targets:
                wrapped._successors.add(action, self.done.get(target, target))
        return wrapped

    def _wrapped(self, node: AnyNode) -> AnyNode:
        if node in self.done:
            return self.done[node]
        hooks = _work_of(node)
        wrapped = _like(node, wrapper_of(type(node), hooks) if hooks else type(node))
        self.done[node] = wrapped
        if hooks:
            # Two nodes of one name are two: what happens to one says nothing of the other.
            number = self.names[node.name] = self.names.get(node.name, 0) + 1
            name = node.name if number == 1 else f"{node.name}#{number}"
            object.__setattr__(wrapped, "_faults", (self.faults, name))
        if isinstance(node, Graph) and node._starts:
            self._rewire(node, wrapped)
        elif isinstance(node, BranchGroup):
            vars(wrapped)["branches"] = tuple(map(self._wrapped, node.branches))
        elif isinstance(node, Pipeline):
            vars(wrapped)["stages"] = tuple(map(self._wrapped, node.stages))
        return wrapped

    def _rewire(self, graph: Graph, wrapped: Any) -> None:
        steps = list(graph._planned().steps)
        for step in steps:
            self._wrapped(step)
        for step in steps:
            for action, targets in step._successors.items():
                for target in targets:
                    self.done[step]._successors.add(action, self.done[target])
        vars(wrapped).update(_starts=[self.done[start] for start in graph._starts], _plan=None)


def _work_of(node: AnyNode) -> tuple[str, ...]:
    """Return the names of the methods that are a node's work."""
    if isinstance(node, MapReduceNode):
        return ("map", "reduce")
    return ("exec",) if node._has_exec else ()


def _like(node: AnyNode, cls: type[AnyNode]) -> AnyNode:
    """Return a node of that class in the same state, without neighbours."""
    state = {name: value for name, value in vars(node).items() if name != "_successors"}
    if isinstance(node, MapReduceNode):
        state["_phases"] = None  # they belong to their owner
    copied: AnyNode = cls.__new__(cls)
    copied.__dict__.update(state)
    return copied


_WRAPPERS: dict[type[AnyNode], type[AnyNode]] = {}


def wrapper_of(cls: type[AnyNode], hooks: tuple[str, ...]) -> type[AnyNode]:
    """Return a subclass whose work meets its fate first; one for each class."""
    if cls not in _WRAPPERS:
        body: dict[str, Any] = {hook: _meeting(hook, getattr(cls, hook)) for hook in hooks}
        body |= {
            "__module__": cls.__module__,
            "__qualname__": cls.__qualname__,
            "__doc__": cls.__doc__,
            "__reduce__": _reduce,
            "_wrapped_class": cls,
            "name": cls.name,
        }
        metaclass: Any = type(cls)
        _WRAPPERS[cls] = metaclass(cls.__name__, (cls,), body)
    return _WRAPPERS[cls]


def _reduce(self: Any) -> tuple[Any, ...]:
    """A wrapper class stands in no module: a process makes it anew."""
    return _restored, (self._wrapped_class, _work_of(self)), self.__getstate__()


def _restored(cls: type[AnyNode], hooks: tuple[str, ...]) -> AnyNode:
    wrapper = wrapper_of(cls, hooks)
    return wrapper.__new__(wrapper)


def _meeting(hook: str, work: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method written in the same way, which meets its fate and then does the work."""

    def fate(self: Any, item: Any) -> Any:
        faults, name = self._faults
        if hook != "exec":
            name = f"{name}/{hook}"
        frame = FRAME.get(None)
        if frame is None:  # exec was called by hand
            return faults, faults.fate(name, item, 1, NO_PARAMS)
        number = frame.attempt
        if not isinstance(self, BatchNode | MapReduceNode):
            number = faults.count(frame.run, name, item, number, frame.params)
        return faults, faults.fate(name, item, number, frame.params)

    async def coroutine(self: Any, item: Any, *rest: Any) -> Any:
        faults, own = fate(self, item)
        await faults.meet(own)
        return await work(self, item, *rest)

    async def async_generator(self: Any, item: Any, *rest: Any) -> Any:
        faults, own = fate(self, item)
        await faults.meet(own)
        async for value in work(self, item, *rest):
            yield value

    def generator(self: Any, item: Any, *rest: Any) -> Any:
        faults, own = fate(self, item)
        faults.meet_blocking(own)
        yield from work(self, item, *rest)

    def function(self: Any, item: Any, *rest: Any) -> Any:
        faults, own = fate(self, item)
        faults.meet_blocking(own)
        return work(self, item, *rest)

    kinds = {"async": coroutine, "async_generator": async_generator, "generator": generator}
    method = kinds.get(kind_of(work), function)
    method.__name__, method.__doc__ = hook, work.__doc__
    return method
