"""Flows: graphs that begin at one node and end at an action without an edge."""

import warnings
from asyncio import sleep
from collections.abc import Iterable
from typing import Any

from ..batch.source import PLAIN
from ..errors import GraphDefinitionError, closest
from ..graph import graph, rounds
from ..graph.graph import GRAPH_SETTINGS
from ..graph.plan import Plan, Step
from ..graph.walk import DRAINED, Walk
from ..node.wiring import successors_of
from ..run.frame import Frame
from ._ancestral import CHANGES, NESTED, BaseNode, FlowScope
from .config import Config
from .nodes import UNLIMITED, AsyncNode, first_error, listed

OTHERS = tuple(name for name in GRAPH_SETTINGS if name != "max_workers")


class FlowWalk(Walk):
    """A walk in which an unknown action ends the flow and "error" is an ordinary action."""

    def _ended(self, step: Step, action: Any) -> None:
        if action is DRAINED:
            return
        self.action = action
        if successors_of(step.node):
            known = list(successors_of(step.node))
            warnings.warn(
                f"Flow ends: {str(action)!r} not found in {known}. It was returned by "
                f"{self.frame.name_of(step.node)!r} of {self.graph!r}." + closest(action, known),
                stacklevel=2,
            )

    def _send(self, error: Exception, following: Step | tuple[Step, ...]) -> None:
        raise error


class Flow(BaseNode, graph.Graph):
    """A graph that behaves like a flow of PocketFlow or a graph of KayGraph.

    Args:
        start: The first node.
        node_id: The name of the flow.
        config: The Config of all nodes in it without their own.
        settings: The settings of ``kaygraph.Graph``.
    """

    _walks_by = FlowWalk
    _ends_with_any = True

    def __init__(
        self,
        start: Any = None,
        node_id: str | Config | None = None,
        config: Config | None = None,
        **settings: Any,
    ) -> None:
        super(BaseNode, self).__init__(start, **settings)
        self._identify(node_id, config)

    def start(self, start: Any) -> Any:
        """Set the first node, and return it."""
        self.__dict__.update(_starts=self._first(start), _plan=None)
        return start

    @property
    def start_node(self) -> Any:
        """The node that the flow begins at, or None."""
        return self._starts[0] if self._starts else None

    @start_node.setter
    def start_node(self, start: Any) -> None:
        self.start(start)

    _known: tuple[Any, ...] = ()  # what this was computed for
    _is_by_hand = False

    def _needs_no_loop(self, depth: int) -> bool:
        try:
            plan = self._planned()
        except GraphDefinitionError:  # a run reports it
            return False
        known = plan, CHANGES[0], depth
        if self._known != known:
            self.__dict__.update(_known=known, _is_by_hand=self._is_line_of_calls(plan, depth))
        return self._is_by_hand

    def _is_line_of_calls(self, plan: Plan, depth: int) -> bool:
        if not (plan.is_line and depth):
            return False
        if self._asks_for_something() or any(self.hook_kinds):
            return False
        for node in plan.steps:
            if not isinstance(node, BaseNode):
                return False
            if not (node._never_waits or node._needs_no_loop(depth - 1)):
                return False
        return True

    def _asks_for_something(self) -> bool:
        return self._ruled or type(self)._work is not Flow._work

    async def _work(self, prep_res: Any, shared: Any, frame: Frame) -> Any:
        if frame.run.by_hand and self._is_other(frame):
            await sleep(0)  # it continues on a loop
        return await self._exec(prep_res, shared, frame)

    def _is_other(self, frame: Frame) -> bool:
        """Whether a hook may have changed the wiring since the run began without a loop."""
        if frame.scope is None and self._plan is not None:
            return self._plan.stale
        return not self._needs_no_loop(NESTED)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_known": ()}

    def _copied(self, frame: Frame) -> BaseNode:
        if self._starts:
            _ = self._planned()  # plan once, for all copies
        return super()._copied(frame)

    def _scope(self, frame: Frame, plan: Plan) -> FlowScope:
        scope = super()._scope(frame, plan)
        return FlowScope(scope.path, scope.names, self.config)


class BatchFlow(Flow, rounds.BatchGraph):
    """A flow that runs once for each mapping of params that ``prep`` returns; None means none."""

    def _asks_for_something(self) -> bool:
        if type(self)._work is not BatchFlow._work or self.max_workers != 1:
            return True
        tolerates = not (self.on_error == "raise" or callable(self.on_error))
        return tolerates or any(getattr(self, setting) is not None for setting in OTHERS)

    async def _work(self, prep_res: Any, shared: Any, frame: Frame) -> Any:
        items = () if prep_res is None else prep_res
        by_hand = frame.run.by_hand and not self._is_other(frame)
        if by_hand and isinstance(items, Iterable) and type(iter(items)) in PLAIN:
            await self._one_after_another(items, shared, frame)
        else:
            if frame.run.by_hand:
                await sleep(0)  # it continues on a loop
            await super()._work(items, shared, frame)
        return None  # as in PocketFlow and KayGraph, post gets no result of a batch


class AsyncFlow(Flow, AsyncNode):
    """A Flow with the hooks ``prep_async`` and ``post_async``; an AsyncNode, as in PocketFlow."""


class AsyncBatchFlow(AsyncFlow, BatchFlow):
    """A BatchFlow with the hooks ``prep_async`` and ``post_async``: one round after another."""


class AsyncParallelBatchFlow(AsyncBatchFlow):
    """An AsyncBatchFlow that runs all rounds at once by default; ``max_workers`` limits them.

    By default, rounds may write the same key of ``shared``; ``on_conflict`` checks for conflicts.
    Of several simultaneous errors, the first is raised, from a group of the others.
    """

    max_workers = UNLIMITED
    on_conflict = "ignore"

    async def _work(self, prep_res: Any, shared: Any, frame: Frame) -> Any:
        return await first_error(super()._work(listed(prep_res, self), shared, frame))
