"""Graphs: nodes that walk nodes."""

from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, Unpack

from .._validation import check_count, check_flag
from ..aio.tasks import in_own_task
from ..aio.timeouts import within
from ..errors import GraphDefinitionError, NodeDefinitionError
from ..events import Observer
from ..limits.permits import Permits
from ..node.composition import Composition
from ..node.facts import Fact
from ..node.keywords import GraphSettings, RunIn
from ..node.node import BaseNode
from ..node.settings import Checks, checks_of
from ..node.wiring import ends, successors_of
from ..observability.conflicts import look
from ..run.frame import Frame, Rules, Scope
from ..run.launch import STACKED, RunSettings
from ..run.observers import check_observers
from ..run.tap import Tap
from ..run.task import RunTask
from . import draw
from .loops import AnyNode
from .plan import Plan, validate
from .walk import Walk

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from ..executors.cluster import Cluster
    from ..run.reading import Events, Results


class Graph(BaseNode[Any, str | None]):
    """A node that walks nodes, from its start along the actions that they return.

    ``prep`` runs before the walk; ``post`` gets the last action as ``exec_res`` and returns it
    unless overridden, so that an inner graph routes the outer one.

    Args:
        start: A node, a chain (``a >> b``) or a list of them that start together.
        name: Its name in events, reports and drawings.
        max_workers: The most calls of ``exec`` at once in this graph and all graphs inside it.
        max_parallel_tasks: The same, and also the default ``max_workers`` of every
            ParallelBatchNode inside it.
        task_timeout: The default ``timeout`` of every node inside it.
        run_in: The default ``run_in`` of every node inside it; "thread" applies to an ``exec``
            written ``def``. A node with a ``lifespan`` does not run in processes, executors or
            clusters, nor do ready-made nodes, except those that call your function for each item:
            they ignore the setting.
        memory_limit: The default ``memory_limit`` of every node inside it that runs in processes:
            bytes, or a string such as "512 MB".
        deadline: Seconds that a whole walk through it may take.
        on_conflict: When branches that run at once write the same top-level key of ``shared``:
            "warn", "raise" a WriteConflictError, or "ignore". By default it warns, but checks only
            the first time a fork is walked, in a store of at most 1,000 keys: races come from the
            wiring. If set, it checks every time, at a cost of all keys per step.
        slow_hook_s: Warn, once per node, when a hook blocks the event loop for longer. Not checked
            by default.
        show_items: Whether errors and their notes may quote items; True by default. False applies
            to everything inside it, even to a graph that says True: where items hold personal
            data, their texts stay out of logs and reports.

    Raises:
        GraphDefinitionError: At the first run, or from ``validate()``.
    """

    max_workers: int | None = None
    max_parallel_tasks: int | None = None
    task_timeout: float | None = None
    run_in: "RunIn | Executor | Cluster | None" = None
    memory_limit: int | str | None = None
    deadline: float | None = None
    on_conflict: Literal["warn", "raise", "ignore"] | None = None
    slow_hook_s: float | None = None
    show_items: bool | None = None
    _checks: ClassVar[Checks] = checks_of(GraphSettings)
    _accepts: ClassVar[frozenset[str]] = frozenset(_checks)
    _hook_names = BaseNode._hook_names - {"exec"}
    _own_hooks = False  # on the object, in addition to its class's
    _ruled = False  # it sets something for what runs inside it
    in_rounds: ClassVar[bool] = False  # it is walked once for each of many params
    _walks_by: ClassVar[type[Walk]] = Walk
    _ends_with_any: ClassVar[bool] = False
    _starts: Sequence[AnyNode] = ()
    _plan: Plan | None = None

    def __init__(self, start: Any = None, **settings: Unpack[GraphSettings]) -> None:
        if start is not None:
            self.__dict__["_starts"] = self._first(start)
        if settings:
            self._set_all({name: value for name, value in settings.items() if value is not None})

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.has_exec:
            raise NodeDefinitionError(
                f"{cls.__name__} defines exec(), which a graph does not call: its nodes are its "
                "work. Use prep() before the walk, post() after it, or a separate node"
            )
        cls._ruled = _rules_anything(cls)

    def _changed(self, names: Collection[str]) -> None:
        super()._changed(names)
        if not self._hook_names.isdisjoint(names):
            self.__dict__["_own_hooks"] = True
        self.__dict__["_ruled"] = _rules_anything(self)

    def _first(self, start: Any) -> Sequence[AnyNode]:
        heads, _, action = ends(start)
        if action != "default":
            raise TypeError(f"the chain ends in - {action!r}: write >> and the node it leads to")
        return heads

    def post(self, shared: Any, prep_res: Any, exec_res: str | None, /) -> Any:
        """Return the last action."""
        return exec_res

    @Fact
    def plan(self) -> Plan:
        """The steps, edges and joins; computed again after one of its nodes was rewired."""
        return self._planned()

    def _planned(self) -> Plan:
        plan = self._plan
        if plan is None or plan.stale or not plan.valid:
            self.validate()
            plan = self._laid_out()
        return plan

    def _laid_out(self) -> Plan:
        """Return the plan, which may not be validated yet."""
        plan = self._plan
        if plan is None or plan.stale:
            plan = self.__dict__["_plan"] = Plan(self._starts, repr(self.name), self._ends_with_any)
        return plan

    def validate(self) -> None:
        """Raise a GraphDefinitionError if the graph, or one inside it, cannot work."""
        validate(self._laid_out(), repr(self.name), self)

    def events(
        self,
        shared: Any = None,
        /,
        *,
        items: bool = False,
        size: int = 1000,
        observers: Sequence[Observer] = (),
        **settings: Unpack[RunSettings],
    ) -> "Events":
        """Run on the current event loop, and read the events as they happen.

        ``async with graph.events(shared) as events: async for event in events: …``

        The run starts with the block and ends with it: leaving it early cancels the run and waits
        until everything is cleaned up. At its end the iterator ends, or raises what the run raised.
        It never waits for the reader: unread events are dropped, the oldest first.

        Args:
            shared: The shared store; a new dict when left out.
            items: Whether to include the events of items that start and that succeed. Without
                them, these items cost nothing.
            size: At most how many events wait for the reader. ``events.dropped`` counts those that
                were dropped.
            observers: Further observers, called with every event.
            deadline, detached, journal, watch: As for ``run``.

        Raises:
            DeadlineExceededError: From the iterator, when ``deadline`` expired.
        """

        from ..run.reading import events_of  # imported only when needed

        check_observers(observers)

        def launch(observer: Observer) -> RunTask:
            return self.launch(shared, observers=[*observers, observer], **settings)

        return events_of(launch, check_count("size", size), check_flag("items", items))

    def results(
        self,
        shared: Any,
        node: AnyNode | str,
        /,
        *,
        size: int = 1000,
        observers: Sequence[Observer] = (),
        **settings: Unpack[RunSettings],
    ) -> "Results":
        """Run on the current event loop, and read the results of one node, as they come.

        ``async with graph.results(shared, fetch) as results: async for outcome in results: …``

        The block, the end, errors and slow readers work as for ``events``. An Outcome comes for
        each item when it ends, unless it was cancelled: for a batch and a stage, also if it failed
        or was dropped; for a stage whose ``exec`` yields, for each value. A pipeline has the
        outcomes of its last stage. For any other node one comes each time it has run: its value is
        what ``exec`` returned, or, for a graph, its last node's ``exec``. The rest of the graph
        runs as usual.

        Args:
            shared: The shared store; None: a new dict.
            node: A node of the graph or of one inside it, or its name as in events, such as
                "Pipeline/Rank". Not one of a graph that a hook runs.
            size: At most how many outcomes wait for the reader. ``results.dropped`` counts those
                that were dropped. To lose none, read ``stream()`` of the node: that waits.
            observers: As for ``run``, as are deadline, detached, journal and watch.

        Raises:
            ValueError: There is no such node.
        """
        from ..run.reading import results_of  # imported only when needed
        from .results import names_of

        names = names_of(self, node)

        def launch(tap: Tap) -> RunTask:
            return self.launched_with(tap, shared, observers, **settings)

        return results_of(launch, check_count("size", size), names)

    def to_mermaid(self) -> str:
        """Return the graph as a Mermaid flowchart."""
        return draw.mermaid(self._planned())

    def to_svg(self, *, direction: Literal["LR", "TB"] = "LR", standalone: bool = True) -> str:
        """Return the graph as an SVG picture, which needs no script and no network.

        Nodes have their full name, as events and reports use it, in ``data-node``; edges have
        ``data-source``, ``data-target`` and ``data-action``. Only names and actions are
        written: no settings, no values.

        Args:
            direction: From left to right, or from top to bottom ("TB").
            standalone: Whether it contains the stylesheet, light or dark as the reader's
                system is. Without it, the page must provide one.
        """
        from .picture import drawn  # imported only when needed

        self._planned()
        return drawn(self, direction, standalone)

    @property
    def composition(self) -> Composition[AnyNode]:
        plan = self._laid_out()
        return Composition("graph", tuple(plan.steps), plan)

    def with_parts(self, parts: Sequence[AnyNode] | None = None) -> Self:
        copied = super().with_parts(parts)
        if parts is not None:
            plan = self._laid_out()
            new = dict(zip(plan.steps, parts, strict=True))
            for source, action, target in plan.edges():
                successors_of(new[source]).add(action, new[target])
            copied.__dict__.update(_starts=[new[start] for start in plan.starts], _plan=None)
        return copied

    def __getstate__(self) -> dict[str, Any]:
        """A graph is sent with its nodes and their wiring, without its own neighbours."""
        state = super().__getstate__()
        state["_plan"] = None
        state["_wiring"] = {node: dict(successors_of(node)) for node in self._planned().steps}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        for node, successors in state.pop("_wiring").items():
            successors_of(node).update(successors)
        super().__setstate__(state)

    def __repr__(self) -> str:
        if not self._starts:
            return f"<{type(self).__name__} without a start>"
        try:
            names = self._laid_out().names
        except GraphDefinitionError:  # a graph that cannot work can still be shown
            names = {}
        parts: list[str] = []
        node, seen = self._starts[0], set[AnyNode]()
        while node not in seen and len(parts) < 8:
            seen.add(node)
            following = successors_of(node).get("default", ())
            parts.append(names.get(node, node.name))
            if not following:
                break
            if len(following) > 1:
                parts.append(f"[{', '.join(names.get(n, n.name) for n in following)}]")
                following = successors_of(following[0]).get("default", ())
                if not following:
                    break
            node = following[0]
        else:
            parts.append("…")
        named = "" if self.name == type(self).__name__ else f" {self.name!r}"
        return f"<{type(self).__name__}{named} {' → '.join(parts)}>"

    def run_within(self, shared: Any, frame: Frame) -> Coroutine[Any, Any, str | None]:
        """The lifecycle, once: for a graph without hooks that runs alone, only its walk."""
        cls = type(self)
        if (
            frame.scope is None
            and not self._own_hooks
            and cls.prep is BaseNode.prep
            and cls.post is Graph.post
            and cls.lifespan is BaseNode.lifespan
        ):
            return self._exec(None, shared, frame)
        return super().run_within(shared, frame)

    def _exec(self, prep_res: Any, shared: Any, frame: Frame) -> Coroutine[Any, Any, Any]:
        if frame.scope is None and not self._ruled:
            plan = self._plan
            if plan is None or plan.stale or not plan.valid:
                plan = self._planned()
            frame.scope = self._scope(frame, plan)  # the outermost graph: the run's frame is enough
            return self._walks_by(self, shared, frame, plan).run()
        return self._walk_within(shared, frame, frame.params)

    def _walk_within(
        self, shared: Any, frame: Frame, params: Mapping[str, Any]
    ) -> Coroutine[Any, Any, str | None]:
        """Walk the graph once in its own frame; return the last action."""
        plan = self._planned()
        return self._walk(shared, frame, self._inside(frame, plan), params, plan)

    def _inside(self, frame: Frame, plan: Plan) -> Frame:
        """Return what all walks in this place have in common."""
        scope = self._scope(frame, plan)
        scope.depth = 1 if frame.scope is None else frame.scope.depth + 1
        rules = self._rules(frame.rules) if self._ruled else frame.rules
        return frame.derive(scope=scope, attempt=1, caps=self._caps(frame), rules=rules)

    def _walk(
        self,
        shared: Any,
        around: Frame,
        inside: Frame,
        params: Mapping[str, Any],
        plan: Plan,
        cancelled: Callable[[], int] | None = None,
    ) -> Coroutine[Any, Any, str | None]:
        """Walk the graph once, within one frame and in a copy of another.

        ``cancelled`` returns whether the current task was, if that is already known.
        """
        frame = inside.again(params)
        if frame.run.checking:
            look(self, around)  # the writes of prep are not the first node's
        walk = self._walks_by(self, shared, frame, plan)
        assert frame.scope is not None
        if frame.scope.depth % STACKED:
            walk.cancelled = cancelled
            walked = walk.run()
        else:
            walked = in_own_task(walk.run())
        if self.deadline is None:
            return walked
        return within(self.deadline, "deadline", repr(self.name), walked)

    def _scope(self, frame: Frame, plan: Plan) -> Scope:
        """The names of its nodes in this place."""
        return Scope("" if frame.scope is None else f"{frame.name_of(self)}/", plan.names)

    def _rules(self, around: Rules) -> Rules:
        """The rules for everything that runs in this graph."""
        own: dict[str, Any] = {
            "workers": self.max_parallel_tasks,
            "timeout": self.task_timeout,
            "run_in": self.run_in,
            "memory_limit": self.memory_limit,
            "slow_hook_s": self.slow_hook_s,
            "on_conflict": self.on_conflict,
            "show_items": around.show_items and self.show_items,  # what is hidden stays so
        }
        return around.changed(**{rule: said for rule, said in own.items() if said is not None})

    def _caps(self, frame: Frame) -> tuple[Permits, ...]:
        """The permits that every ``exec`` in this graph takes, innermost graph first."""
        most = [n for n in (self.max_workers, self.max_parallel_tasks) if n is not None]
        if not most:
            return frame.caps
        permits = frame.run.permits(self, min(most))
        if permits in frame.caps:  # it is walked inside one of its own nodes
            return frame.caps
        return (permits, *frame.caps)


# What a graph can set for everything inside it.
GRAPH_SETTINGS = tuple(GraphSettings.__annotations__.keys() - {"name"})
_settings_of = attrgetter(*GRAPH_SETTINGS)


def _rules_anything(graph: Any) -> bool:
    """Whether a graph, or its class, sets anything for what runs inside it."""
    return any(value is not None for value in _settings_of(graph))
