"""What can be known of a graph before it runs: edges, joins, reachability. No asyncio here.

A *back edge* leads to a node that stands on the depth-first path from the start; the others are
*forward* edges and have no cycle (Tarjan, "Depth-first search and linear graph algorithms",
1972). A *join* has more than one predecessor over forward edges.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints

from .errors import GraphDefinitionError
from .node import BaseNode

AnyNode = BaseNode[Any, Any]


class Step:
    """A node's place in a plan.

    Attributes:
        after: Per action, where it leads: a step, or a tuple of steps that begin at once. None
            leads where "default" does.
        index: Its place in a topological order of the forward edges.
        bit: For a join, its own bit; 0 for any other step.
        mask: The bits of the joins that can be reached from here over forward edges.
    """

    __slots__ = ("after", "bit", "index", "mask", "name", "node")

    def __init__(self, node: AnyNode) -> None:
        self.node = node
        self.name = node.name
        self.after: dict[str | None, Step | tuple[Step, ...]] = {}
        self.index = 0
        self.bit = 0
        self.mask = 0


class Plan:
    """The steps of a graph, in a topological order of its forward edges.

    Raises:
        GraphDefinitionError: The graph has no start, two nodes carry the same given name, a graph
            contains itself, or an edge listens to an action that ``post`` cannot return.
    """

    def __init__(self, starts: Sequence[AnyNode], owner: str = "Graph") -> None:
        if not starts:
            raise GraphDefinitionError(
                f"{owner} has no start: pass its first node, as in Graph(first >> second)"
            )
        self.starts = tuple(dict.fromkeys(starts))
        order, self.back_edges = _depth_first(self.starts)
        self.steps = {node: Step(node) for node in order}
        for step in self.steps.values():
            for action, nodes in step.node.successors.items():
                steps = tuple(self.steps[node] for node in nodes)
                step.after[action] = steps[0] if len(steps) == 1 else steps
            if "default" in step.after:
                step.after[None] = step.after["default"]
        self._find_joins()
        self._name_steps(owner)
        first = tuple(self.steps[node] for node in self.starts)
        self.first = first[0] if len(first) == 1 else first
        self.names = {node: step.name for node, step in self.steps.items()}

    def edges(self) -> Iterator[tuple[AnyNode, str, AnyNode]]:
        """Yield every edge once: from, action, to; in the order of the steps and the wiring."""
        for node in self.steps:
            for action, nodes in node.successors.items():
                for target in nodes:
                    yield node, action, target

    def joins(self) -> list[AnyNode]:
        """Return the joins in topological order."""
        return [node for node, step in self.steps.items() if step.bit]

    def _find_joins(self) -> None:
        before: dict[AnyNode, set[AnyNode | None]] = {node: set() for node in self.steps}
        if len(self.starts) > 1:  # they come from one fork, as if a node stood before them
            for start in self.starts:
                before[start].add(None)
        for source, _, target in self.edges():
            if (source, target) not in self.back_edges:
                before[target].add(source)
        bit = 1
        for index, (node, step) in enumerate(self.steps.items()):
            step.index = index
            if len(before[node]) > 1:
                step.bit, bit = bit, bit << 1
        for node, step in reversed(self.steps.items()):
            for previous in before[node]:
                if previous is not None:
                    self.steps[previous].mask |= step.mask | step.bit

    def _name_steps(self, owner: str) -> None:
        given: dict[str, AnyNode] = {}
        for node in self.steps:
            if node._named:
                if node.name in given:
                    raise GraphDefinitionError(
                        f"{owner} has two nodes named {node.name!r}: give each a name of its own "
                        "with name="
                    )
                given[node.name] = node
        taken = set(given)
        for step in self.steps.values():
            if step.node not in given.values():
                name, number = step.node.name, 2
                while name in taken:
                    name, number = f"{step.node.name}-{number}", number + 1
                step.name = name
                taken.add(name)


def _depth_first(
    starts: Sequence[AnyNode],
) -> tuple[list[AnyNode], set[tuple[AnyNode, AnyNode]]]:
    """Return the nodes in a topological order of the forward edges, and the back edges.

    Edges are followed in the order in which they were wired. Then once more, last wired first and
    without the back edges: in the reverse of that postorder the first branch comes first.
    """
    back_edges: set[tuple[AnyNode, AnyNode]] = set()

    def wired(node: AnyNode) -> Iterator[AnyNode]:
        return (target for targets in node.successors.values() for target in targets)

    def forward(node: AnyNode) -> Iterator[AnyNode]:
        return (t for t in reversed([*wired(node)]) if (node, t) not in back_edges)

    _finished(starts, wired, back_edges)
    return _finished(starts[::-1], forward, set())[::-1], back_edges


def _finished(
    starts: Sequence[AnyNode],
    following: Callable[[AnyNode], Iterator[AnyNode]],
    back_edges: set[tuple[AnyNode, AnyNode]],
) -> list[AnyNode]:
    """Walk depth-first without recursion; return the nodes in postorder, add the back edges."""
    finished: list[AnyNode] = []
    on_path: dict[AnyNode, bool] = {}  # False once finished
    for start in starts:
        if start in on_path:
            continue
        on_path[start] = True
        path = [(start, following(start))]
        while path:
            node, targets = path[-1]
            target = next(targets, None)
            if target is None:
                path.pop()
                on_path[node] = False
                finished.append(node)
            elif target not in on_path:
                on_path[target] = True
                path.append((target, following(target)))
            elif on_path[target]:
                back_edges.add((node, target))
    return finished


def validate(plan: Plan, owner: str) -> None:
    """Check what only a look at the nodes can tell; see Plan for what is raised."""
    for node in plan.steps:
        possible = _declared_actions(node)
        for action in node.successors:
            if possible and action not in possible and action not in ("default", "error"):
                listed = ", ".join(repr(name) for name in sorted(possible))
                raise GraphDefinitionError(
                    f"{owner}: nothing leads along {node.name} - {action!r}: its post() is "
                    f"declared to return {listed}"
                )
    _check_nesting([*plan.steps], ())


def _check_nesting(nodes: Sequence[AnyNode], around: tuple[AnyNode, ...]) -> None:
    for node in nodes:
        if node in around:
            raise GraphDefinitionError(f"{node!r} contains itself")
        _check_nesting(node._inner(), (*around, node))


def _declared_actions(node: AnyNode) -> set[str]:
    """Return the actions in ``-> Literal[...]`` of ``post``; nothing when it says less."""
    post = type(node).post
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
