"""Nodes like others, whose work meets faults."""

from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any

from ..batch.batch import BatchNode
from ..executors.kinds import kind_of
from ..graph.graph import Graph
from ..groups.map_reduce import MapReduceNode
from ..node.node import BaseNode
from ..run.frame import FRAME, NO_PARAMS
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
        for graph in (node, *_parts_of(node)):
            if isinstance(graph, Graph):
                graph.validate()  # one that contains itself has no end
        waiting: list[AnyNode] = [node]
        while waiting:  # what is within comes first, however deep
            parts = _parts_of(waiting[-1])
            if missing := [part for part in parts if part not in self.done]:
                waiting += reversed(missing)
            else:
                self._wrap(waiting.pop(), parts)
        wrapped: Any = self.done[node]
        for action, targets in BaseNode.successors.read(node).items():
            wrapped.next([self.done.get(target, target) for target in targets], action)
        return wrapped

    def _wrap(self, node: AnyNode, parts: Sequence[AnyNode]) -> None:
        if node in self.done:
            return
        hooks = _work_of(node)
        wrapped: Any = node.with_parts([self.done[part] for part in parts] if parts else None)
        self.done[node] = wrapped
        if hooks:
            # Two nodes of one name are two: what happens to one says nothing of the other.
            number = self.names[node.name] = self.names.get(node.name, 0) + 1
            name = node.name if number == 1 else f"{node.name}#{number}"
            object.__setattr__(wrapped, "__class__", wrapper_of(type(node), hooks))
            object.__setattr__(wrapped, "_faults", (self.faults, name))


def _parts_of(node: AnyNode) -> Sequence[AnyNode]:
    """Return the nodes that meet faults in the place of a node without work of its own."""
    return () if _work_of(node) else node.composition.nodes


def _work_of(node: AnyNode) -> tuple[str, ...]:
    """Return the names of the methods that are a node's work."""
    if isinstance(node, MapReduceNode):
        return ("map", "reduce")
    return ("exec",) if type(node).exec is not BaseNode.exec else ()


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
        async with aclosing(work(self, item, *rest)) as values:
            async for value in values:
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
