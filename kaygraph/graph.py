"""The walk: tokens that move along edges, and joins that run once."""

from asyncio import sleep
from collections.abc import Coroutine, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, TypedDict, Unpack

from . import draw
from ._fan_out import TURN, FanOut
from ._frame import FRAME, Frame, Scope, add_note
from ._settings import refuse_unknown
from ._tasks import gather, raise_if_cancelled
from ._tokens import Fork, Tokens
from ._wiring import EDGES, ends
from .errors import GraphDefinitionError, NodeDefinitionError, UnknownActionError
from .limits import Permits, Slot
from .node import BaseNode, watched
from .plan import Plan, Step, validate

AnyNode = BaseNode[Any, Any]


NONE: Mapping[Any, Any] = MappingProxyType({})


class Graph(BaseNode[Any, str | None]):
    """A node that walks nodes, from its start along the actions that they return.

    ``prep`` runs before the walk; ``post`` gets the last action as ``exec_res`` and returns it
    unless overridden, so that an inner graph routes the outer one.

    Args:
        start: A node, a chain (``a >> b``) or a list of them that begin at once.
        name: What it is called in events, reports and drawings.
        max_workers: The most calls of ``exec`` at once in this graph and all graphs within it.

    Raises:
        GraphDefinitionError: at the first run, or from ``validate()``.
    """

    max_workers: int | None = None
    _accepts: ClassVar[frozenset[str]] = frozenset({"name", "max_workers"})
    _starts: Sequence[AnyNode] = ()
    _plan: tuple[int, Plan] | None = None

    def __init__(
        self, start: Any = None, *, name: str | None = None, max_workers: int | None = None
    ) -> None:
        super().__init__(name=name)
        if start is not None:
            self._starts = self._first(start)
        if max_workers is not None:
            self.max_workers = max_workers

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls._has_exec:
            raise NodeDefinitionError(
                f"{cls.__name__} defines exec(), which a graph does not call: its nodes are its "
                "work. Use prep() before the walk, post() after it, or a node of its own"
            )

    def _first(self, start: Any) -> Sequence[AnyNode]:
        heads, _, action = ends(start)
        if action != "default":
            raise TypeError(f"the line ends in - {action!r}: write >> and the node it leads to")
        return heads

    def post(self, shared: Any, prep_res: Any, exec_res: str | None, /) -> Any:
        """Return the last action."""
        return exec_res

    @property
    def plan(self) -> Plan:
        """The steps, edges and joins; found again after a node has been wired anew."""
        if self._plan is None or self._plan[0] != EDGES.made:
            self._plan = (EDGES.made, Plan(self._starts, repr(self.name)))
            try:
                validate(self._plan[1], repr(self.name))
            except GraphDefinitionError:
                self._plan = None
                raise
        return self._plan[1]

    def validate(self) -> None:
        """Raise a GraphDefinitionError when the graph cannot work; see ``Plan``."""
        for node in self.plan.steps:
            for inner in (node, *node._inner()):
                if isinstance(inner, Graph):
                    inner.validate()

    def to_mermaid(self) -> str:
        """Return the graph as a Mermaid flowchart."""
        return draw.mermaid(self.plan)

    def _inner_plan(self) -> Plan | None:
        return self.plan if self._starts else None

    def _inner(self) -> Sequence[AnyNode]:
        return tuple(self.plan.steps) if self._starts else ()

    def __getstate__(self) -> dict[str, Any]:
        """A graph goes elsewhere with its nodes and their wiring, not with its own neighbours."""
        state = super().__getstate__()
        state["_plan"] = None
        state["_wiring"] = {node: node._successors for node in self.plan.steps}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        for node, successors in state.pop("_wiring").items():
            node._successors.update(successors)
        super().__setstate__(state)

    def __repr__(self) -> str:
        if not self._starts:
            return f"<{type(self).__name__} without a start>"
        try:
            names = self.plan.names
        except GraphDefinitionError:  # a graph that cannot work can still be shown
            names = {}
        parts: list[str] = []
        node, seen = self._starts[0], set[AnyNode]()
        while node not in seen and len(parts) < 8:
            seen.add(node)
            following = node.successors.get("default", ())
            parts.append(names.get(node, node.name))
            if not following:
                break
            if len(following) > 1:
                parts.append(f"[{', '.join(names.get(n, n.name) for n in following)}]")
                following = following[0].successors.get("default", ())
                if not following:
                    break
            node = following[0]
        else:
            parts.append("…")
        named = "" if self.name == type(self).__name__ else f" {self.name!r}"
        return f"<{type(self).__name__}{named} {' → '.join(parts)}>"

    def _exec(self, prep_res: Any, shared: Any, frame: Frame) -> Coroutine[Any, Any, Any]:
        if frame.scope is None and self.max_workers is None:
            frame.scope = self._scope(frame)  # the outermost graph: the run's own frame will do
            return self._walk(shared, frame)
        return self._walk_within(shared, frame, frame.params)

    async def _walk_within(
        self, shared: Any, frame: Frame, params: Mapping[str, Any]
    ) -> str | None:
        """Walk the graph once in a frame of its own; return the last action."""
        scope, caps = self._scope(frame), self._caps(frame)
        frame = Frame(frame.run, scope, params, 1, frame.error, caps, frame.alone, frame.cell)
        token = FRAME.set(frame)
        try:
            return await self._walk(shared, frame)
        finally:
            FRAME.reset(token)

    async def _walk(self, shared: Any, frame: Frame) -> str | None:
        plan = self.plan
        walk = _Walk(self, shared, frame, plan.loops)
        first = plan.first
        await walk.along(first if isinstance(first, Step) else await walk.begin(first))
        return walk.action

    def _scope(self, frame: Frame) -> Scope:
        """What its nodes are called in this place."""
        return Scope("" if frame.scope is None else f"{frame.name_of(self)}/", self.plan.names)

    def _caps(self, frame: Frame) -> tuple[Permits, ...]:
        """The permits that every ``exec`` in this graph takes, innermost graph first."""
        if self.max_workers is None:
            return frame.caps
        return (frame.run.permits(self, self.max_workers), *frame.caps)


class _Walk:
    """One walk through a graph.

    While one token is all there is, ``along`` is a plain loop. ``tokens`` exists from a fork
    until a single token is left again. ``errors`` are on their way along an "error" edge.
    """

    def __init__(self, graph: Graph, shared: Any, frame: Frame, loops: bool) -> None:
        self.graph, self.shared, self.frame, self.loops = graph, shared, frame, loops
        self.action: str | None = None
        self.tokens: Tokens | None = None
        self.errors: Mapping[Step, tuple[Exception, ...]] = NONE

    async def along(self, step: Step | None, fork: Fork | None = None) -> Step | None:
        """Move a token until it ends.

        The last token of a fork is handed back to the one that forked, as the step it stands on:
        so a loop around a fan-out does not nest deeper round by round.
        """
        shared = self.shared
        frame = self.frame if fork is None else fork.frame
        bare = frame.run.emit is None
        following: Step | tuple[Step, ...] | None
        left = TURN
        while step is not None:
            if self.loops:  # nodes that never suspend must not starve the event loop
                left -= 1
                if not left:
                    left = TURN
                    await sleep(0)
            node = step.node
            try:
                if bare and not self.errors:
                    action = await node._run(shared, frame)
                else:
                    action = await self._special(step, frame)
            except Exception as error:
                add_note(error, repr(frame.name_of(node)))
                following = step.after.get("error")
                if following is None:
                    raise
                self._send(error, following)
                action = "error"
            else:
                try:
                    following = step.after.get(action)
                except TypeError:  # it cannot be hashed: no action is like that
                    following = None
            if following is None:
                self._ended(step, action)
            if self.tokens is None and (following is None or type(following) is Step):
                step = following
            else:
                begun = self._move(step, following)
                if len(begun) > 1:
                    step = await self._fork(begun, fork)
                    if step is None:  # the tokens have ended, and were counted where they did
                        return None
                else:
                    step = begun[0] if begun else None
            if fork is not None:
                if step is None:
                    fork.ended()
                    return None
                if fork.live == 1:
                    return step
                raise_if_cancelled()  # a hook may have swallowed it; siblings must end together
        return None

    async def begin(self, steps: tuple[Step, ...]) -> Step | None:
        """Begin with several tokens."""
        self.tokens = Tokens()
        return await self._fork(self.tokens.move(None, steps), None)

    async def _fork(self, steps: Sequence[Step], around: Fork | None) -> Step | None:
        """Move several tokens at once; return the step on which the last of them stands."""
        if around is not None:
            raise_if_cancelled()
        fork = Fork(len(steps), self.frame, around)
        left = await gather(self.along(step, fork) for step in steps)
        return next((step for step in left if step is not None), None)

    def _move(self, step: Step, following: Step | tuple[Step, ...] | None) -> Sequence[Step]:
        """Move a token among others; return the steps that begin by it."""
        if self.tokens is None:
            self.tokens = Tokens()
            self.tokens.enter(step)
        begun = self.tokens.move(step, following)
        if self.tokens.single:
            self.tokens = None
        return begun

    def _send(self, error: Exception, following: Step | tuple[Step, ...]) -> None:
        """Put an error on its way to the steps that an "error" edge leads to."""
        targets = (following,) if isinstance(following, Step) else following
        self.errors = {**self.errors, **{t: (*self.errors.get(t, ()), error) for t in targets}}

    async def _special(self, step: Step, frame: Frame) -> str | None:
        """Run a node that is watched, or that stands on an error route."""
        errors = self.errors.get(step, ())
        if not errors:
            return await watched(step.node, self.shared, frame)
        error, left = errors[0], errors[1:]
        if step.bit and left:  # a join runs once for all that has failed before it
            error, left = ExceptionGroup(f"{len(errors)} nodes failed", errors), ()
        others = {other: e for other, e in self.errors.items() if other is not step}
        self.errors = {**others, step: left} if left else others
        frame = frame.derive(error=error)
        token = FRAME.set(frame)
        try:
            return await watched(step.node, self.shared, frame)
        finally:
            FRAME.reset(token)

    def _ended(self, step: Step, action: str | None) -> None:
        """A path ends quietly where nothing was to follow; any other action is a mistake."""
        self.action = action
        if action is None or action == "default":
            return
        if isinstance(action, str) and action in self.graph.successors:
            return
        known = step.node.successors
        if any(name != "error" for name in known):
            raise UnknownActionError(self.frame.name_of(step.node), action, list(known))


class BatchGraphSettings(TypedDict, total=False):
    """What a BatchGraph takes beside its start."""

    name: str
    max_workers: int
    on_error: str | float


class BatchGraph(Graph):
    """A graph that is walked once for each mapping of params that ``prep`` returns.

    ``post`` gets the last actions, in the order of the params. Nodes read theirs at
    ``self.params``, laid over those of the graphs around.

    Args:
        start: As for Graph.
        max_workers: How many rounds run at once; 1 unless told.
        on_error: As for BatchNode, an item being a round.
        name: What it is called in events, reports and drawings.
    """

    max_workers: int = 1
    _accepts: ClassVar[frozenset[str]] = frozenset(BatchGraphSettings.__annotations__)

    def __init__(self, start: Any = None, **settings: Unpack[BatchGraphSettings]) -> None:
        refuse_unknown(type(self).__name__, settings, self._accepts)
        super().__init__(start)
        for name, value in settings.items():
            setattr(self, name, value)

    def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> Any:
        """Return None: there is no one last action."""
        return None

    async def _exec(self, prep_res: Any, shared: Any, frame: Frame) -> Any:
        async def walk(params: Mapping[str, Any], index: int, slot: Slot) -> str | None:
            await slot.take()
            if not isinstance(params, Mapping):
                raise TypeError(
                    f"prep of {frame.name_of(self)!r} must return mappings of params, as in "
                    f"[{{'key': ...}}, ...]; got {params!r}"
                )
            return await self._walk_within(shared, inner, {**frame.params, **params})

        inner = frame
        if frame.alone and self.max_workers > 1:
            inner = frame.derive(alone=False)
        rounds = FanOut(
            frame.name_of(self),
            prep_res,
            walk,
            caps=(frame.run.permits(self, self.max_workers),),
            max_workers=self.max_workers,
            on_error=self.on_error,
        )
        return await rounds.run()

    def _caps(self, frame: Frame) -> tuple[Permits, ...]:
        return frame.caps  # max_workers counts rounds here, not calls of exec
