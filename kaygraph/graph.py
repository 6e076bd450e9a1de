"""The walk: tokens that move along edges, and joins that run once."""

from collections.abc import Coroutine, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, TypedDict, Unpack

from . import draw
from ._fan_out import FanOut
from ._frame import FRAME, Frame, Scope, add_note
from ._settings import refuse_unknown
from ._tasks import gather
from ._wiring import EDGES, ends
from .errors import GraphDefinitionError, UnknownActionError
from .limits import Permits, Slot
from .node import BaseNode, watched
from .plan import Plan, Step, validate

AnyNode = BaseNode[Any, Any]


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
        parts: list[str] = []
        node, seen = self._starts[0], set[AnyNode]()
        while node not in seen and len(parts) < 8:
            seen.add(node)
            following = node.successors.get("default", ())
            parts.append(self.plan.names[node])
            if not following:
                break
            if len(following) > 1:
                parts.append(f"[{', '.join(self.plan.names[n] for n in following)}]")
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
        walk = _Walk(self, shared, frame)
        first = self.plan.first
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

    action: str | None = None
    tokens: "_Tokens | None" = None
    errors: Mapping[Step, tuple[Exception, ...]] = MappingProxyType({})

    def __init__(self, graph: Graph, shared: Any, frame: Frame) -> None:
        self.graph, self.shared, self.frame = graph, shared, frame

    async def along(self, step: Step | None, fork: "_Fork | None" = None) -> Step | None:
        """Move a token until it ends.

        The last token of a fork is handed back to the one that forked, as the step it stands on:
        so a loop around a fan-out does not nest deeper round by round.
        """
        shared = self.shared
        frame = self.frame if fork is None else fork.frame
        bare = frame.run.emit is None
        following: Step | tuple[Step, ...] | None
        while step is not None:
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
            if self.tokens is None and not isinstance(following, tuple):
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
                if fork.live == 1:
                    return step
        return None

    async def begin(self, steps: tuple[Step, ...]) -> Step | None:
        """Begin with several tokens."""
        self.tokens = _Tokens()
        return await self._fork(self.tokens.move(None, steps), None)

    async def _fork(self, steps: Sequence[Step], around: "_Fork | None") -> Step | None:
        """Move several tokens at once; return the step on which the last of them stands."""
        fork = _Fork(len(steps), self.frame, around)
        left = await gather(self.along(step, fork) for step in steps)
        return next((step for step in left if step is not None), None)

    def _move(self, step: Step, following: Step | tuple[Step, ...] | None) -> Sequence[Step]:
        """Move a token among others; return the steps that begin by it."""
        if self.tokens is None:
            self.tokens = _Tokens()
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


class _Fork:
    """Tokens that began together, and how many of them are still under way.

    A token that forks again is under way as long as one of those within is: what is counted are
    tokens, not the tasks that may still have to hear that theirs have ended.
    """

    def __init__(self, live: int, frame: Frame, around: "_Fork | None") -> None:
        self.live, self.around = live, around
        self.frame = frame.derive(alone=False) if frame.alone else frame

    def ended(self) -> None:
        self.live -= 1
        if not self.live and self.around is not None:
            self.around.ended()


class _Tokens:
    """Where the tokens of a walk stand, and which joins wait for them.

    Tokens are counted by the mask of the joins that they hold up: a join may run when no mask that
    is left has its bit. The first waiting join in topological order always can, once nothing runs,
    so no graph deadlocks.
    """

    def __init__(self) -> None:
        self.masks: dict[int, int] = {}
        self.waiting: list[Step] = []

    @property
    def single(self) -> bool:
        """Whether one token or none is left, and no join waits."""
        if self.waiting or len(self.masks) > 1:
            return False
        return sum(self.masks.values()) <= 1

    def enter(self, step: Step) -> None:
        self.masks[step.mask] = self.masks.get(step.mask, 0) + 1

    def move(self, step: Step | None, following: Step | tuple[Step, ...] | None) -> Sequence[Step]:
        """Move a token along the edges followed; return the steps that begin now."""
        changed = False
        if step is not None:
            left = self.masks[step.mask] - 1
            if left:
                self.masks[step.mask] = left
            else:
                del self.masks[step.mask]
                changed = True
        begun: list[Step] = []
        if following is not None:
            for target in (following,) if isinstance(following, Step) else following:
                if not target.bit:
                    self.enter(target)
                    begun.append(target)
                elif target not in self.waiting:
                    self.waiting.append(target)
                    changed = True
        if changed and self.waiting:
            begun += self._ready()
        return begun

    def _ready(self) -> list[Step]:
        begun: list[Step] = []
        while (join := self._first_ready()) is not None:
            self.waiting.remove(join)
            self.enter(join)
            begun.append(join)
        return begun

    def _first_ready(self) -> Step | None:
        """Return the first join, in topological order, that nothing holds up."""
        running = 0
        for mask in self.masks:
            running |= mask
        free = sorted((j for j in self.waiting if not running & j.bit), key=lambda j: j.index)
        for join in free:
            if not any(other.mask & join.bit for other in self.waiting if other is not join):
                return join
        for join in free:  # joins of two loops may hold each other up: forward edges decide
            if not any(other.forward & join.bit for other in self.waiting):
                return join
        return None


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
