"""What is known of a graph before it runs: edges, joins, reachability. No asyncio here.

Edges are taken breadth-first from the start, default edges before named ones. One that would close
a cycle with those taken is a *back edge*; the others are *forward* edges. (If every loop has one
entry, these are the back edges of any depth-first search; Hecht and Ullman, "Characterizations of
reducible flow graphs", 1974. Otherwise the edge taken first is the forward one.) A *join* has more
than one predecessor over forward edges.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import ClassVar, Literal, get_args, get_origin, get_type_hints

from ..errors import GraphDefinitionError, closest
from ..limits.slots import Slot
from ..node.wiring import successors_of, unique
from ..run.frame import Frame
from .joins import Joins
from .loops import AnyNode, Layout

CONTAINS_ITSELF = (
    "contains itself; for a loop, wire a node back to an earlier one, as in b - 'again' >> a"
)


class Step:
    """A node's place in a plan.

    Attributes:
        after: Per action, where it leads: a step, or a tuple of steps that start together. None
            leads where "default" does.
        index: Its place in a topological order of the forward edges.
        bit: For a join, its own bit; 0 for any other step.
        forward: The bits of the joins that can be reached from here over forward edges.
        mask: The bits of the joins that a token here holds up: those in ``forward``, and those
            that it can reach by going back into loops that do not contain the join. (Within its
            loop, a join is not held up by a token that is past it: going back starts a new round.)
        before: For a merge of nodes, those that lead to it, in their order; see ``Arrivals``.
        feeds: Whether it leads to such a merge.
    """

    __slots__ = ("after", "before", "bit", "feeds", "forward", "index", "mask", "name", "node")

    # Used as the Place of a node in a fork.
    frame: ClassVar[Frame | None] = None
    slot: ClassVar[Slot | None] = None
    several: ClassVar[bool] = False

    def __init__(self, node: AnyNode) -> None:
        self.node = node
        self.name = node.name
        self.after: dict[str | None, Step | tuple[Step, ...]] = {}
        self.index = 0
        self.bit = 0
        self.forward = 0
        self.mask = 0
        self.before: Sequence[Step] = ()
        self.feeds = False


class Fan(tuple[Step, ...]):
    """Steps that start together."""

    @cached_property
    def masks(self) -> Mapping[int, int] | None:
        """How many of them have each mask; None if one is a join, which may have to wait."""
        if any(step.bit for step in self):
            return None
        return Counter(step.mask for step in self)


class Plan:
    """The steps of a graph, in a topological order of its forward edges.

    Raises:
        GraphDefinitionError: The graph has no start, two nodes carry the same given name, a graph
            contains itself, an edge has an action that ``post`` cannot return, or ``post``
            is declared to return one that leads nowhere.
    """

    def named(self, name: str) -> Step | None:
        """Return the step of a node by its name in this graph, or None."""
        return next((step for step in self.steps.values() if step.name == name), None)

    def __init__(
        self, starts: Sequence[AnyNode], owner: str = "Graph", ends_with_any: bool = False
    ) -> None:
        if not starts:
            raise GraphDefinitionError(
                f"{owner} has no start: pass its first node, as in Graph(first >> second)"
            )
        self.starts = tuple(dict.fromkeys(starts))
        self.ends_with_any = ends_with_any  # an action without an edge is not a mistake
        self.stale = False
        self.valid = False  # set by validate()
        layout = Layout(self.starts, self)
        nodes = layout.nodes
        self.loops = bool(layout.back)
        self.back_edges = {(nodes[source], nodes[target]) for source, target in layout.back}
        joins = Joins(layout)
        self.steps = {node: Step(node) for node in nodes}
        for index, (step, name) in enumerate(
            zip(self.steps.values(), _names(nodes, owner), strict=True)
        ):
            step.index, step.name, step.bit = index, name, joins.bits[index]
            step.forward, step.mask = joins.forward[index], joins.masks[index]
            for action, targets in successors_of(step.node).items():
                steps = Fan([self.steps[target] for target in targets])
                step.after[action] = steps[0] if len(steps) == 1 else steps
            if "default" in step.after:
                step.after[None] = step.after["default"]
        self.merges = any(node.merges_branches for node in nodes)
        if self.merges:
            _note_merges(self.steps.values())
        first = tuple(self.steps[node] for node in self.starts)
        self.first = first[0] if len(first) == 1 else first
        # Whether there is never more than one token, so that none need be tracked.
        self.is_line = len(first) == 1 and not self.merges
        self.is_line &= all(
            type(to) is Step for s in self.steps.values() for to in s.after.values()
        )
        self.names = {node: step.name for node, step in self.steps.items()}
        # The forks of completed walks, and completed batches of rounds.
        self.walked: set[Hashable] = set()

    def edges(self) -> Iterator[tuple[AnyNode, str, AnyNode]]:
        """Yield every edge once: from, action, to; in the order of the steps and the wiring."""
        for node in self.steps:
            for action, nodes in successors_of(node).items():
                for target in nodes:
                    yield node, action, target

    def joins(self) -> list[AnyNode]:
        """Return the joins in topological order."""
        return [node for node, step in self.steps.items() if step.bit]


def _note_merges(steps: Iterable[Step]) -> None:
    """Record what leads to each merge; a group alone before one has its own outcomes."""
    before: dict[Step, list[Step]] = {}
    for step in steps:
        targets = [t for after in step.after.values() for t in _listed(after)]
        for target in dict.fromkeys(targets):
            if target.node.merges_branches:
                before.setdefault(target, []).append(step)
    for merge, found in before.items():
        if len(found) > 1 or found[0].node.composition.kind != "group":
            merge.before = found
            for step in found:
                step.feeds = True


def _listed(steps: "Step | tuple[Step, ...]") -> "tuple[Step, ...]":
    return (steps,) if isinstance(steps, Step) else steps


def _names(nodes: Sequence[AnyNode], owner: str) -> list[str]:
    """Return the name of each node: as given, or numbered."""
    given: set[str] = set()
    for node in nodes:
        if node.has_given_name:
            if node.name in given:
                raise GraphDefinitionError(
                    f"{owner} has two nodes named {node.name!r}: give each its own name with name="
                )
            given.add(node.name)
    others = iter(unique([node.name for node in nodes if not node.has_given_name], given))
    return [node.name if node.has_given_name else next(others) for node in nodes]


def validate(plan: Plan, owner: str, graph: AnyNode) -> None:
    """Check what only an inspection of the nodes can find, in a graph and everything inside it.

    Each graph is checked once, however often and however deep it occurs in others.

    Raises:
        GraphDefinitionError: As for Plan.
    """
    declared: dict[type[AnyNode], set[str]] = {}
    _check_actions(plan, owner, graph, declared)
    plans, around, done = [plan], set[AnyNode](), set[AnyNode]()
    path: list[tuple[AnyNode | None, Iterator[AnyNode]]] = [(None, iter(plan.steps))]
    while path:
        outer, rest = path[-1]
        for node in rest:
            parts = node.composition
            if node in around:
                raise GraphDefinitionError(f"{node!r} {CONTAINS_ITSELF}")
            if parts.nodes and node not in done:
                if isinstance(parts.plan, Plan):
                    _check_actions(parts.plan, repr(node.name), node, declared)
                    plans.append(parts.plan)
                around.add(node)
                path.append((node, iter(parts.nodes)))
                break
        else:
            path.pop()
            if outer is not None:
                around.remove(outer)
                done.add(outer)
    for one in plans:
        one.valid = True


def _check_actions(
    plan: Plan, owner: str, graph: AnyNode, declared: dict[type[AnyNode], set[str]]
) -> None:
    for node in plan.steps:
        kind = type(node)
        if kind not in declared:
            declared[kind] = _declared_actions(kind)
        if possible := declared[kind]:
            _check_edges(node, owner, possible)
            if not plan.ends_with_any:
                _check_ends(node, owner, graph, possible)


def _check_edges(node: AnyNode, owner: str, possible: set[str]) -> None:
    for action in successors_of(node):
        if action not in possible and action not in ("default", "error"):
            listed = ", ".join(repr(name) for name in sorted(possible))
            raise GraphDefinitionError(
                f"{owner}: the edge {node.name} - {action!r} is never taken: its post() "
                f"is declared to return {listed}"
            )


def _check_ends(node: AnyNode, owner: str, graph: AnyNode, possible: set[str]) -> None:
    """Refuse an action that would end a run with an UnknownActionError."""
    known = list(successors_of(node))
    if not any(action != "error" for action in known):
        return
    for action in sorted(possible - {"default", *known, *successors_of(graph)}):
        listed = ", ".join(map(repr, known))
        raise GraphDefinitionError(
            f"{owner}: {node.name} - {action!r} leads nowhere, and its post() is declared to "
            f"return {action!r}: wire it, since its edges are {listed}, or leave it out "
            f"of the Literal.{closest(action, known)}"
        )


def _declared_actions(kind: type[AnyNode]) -> set[str]:
    """Return the actions in ``-> Literal[...]`` of ``post``; nothing if it says less."""
    post = kind.post
    if "Literal" not in str(getattr(post, "__annotations__", {}).get("return", "")):
        return set()
    try:
        hint = get_type_hints(post).get("return")
    except Exception:  # a name that only a type checker can resolve
        return set()
    parts = [hint] if get_origin(hint) is Literal else get_args(hint)
    if not all(part is type(None) or get_origin(part) is Literal for part in parts):
        return set()
    return {value for part in parts for value in get_args(part) if isinstance(value, str)}
