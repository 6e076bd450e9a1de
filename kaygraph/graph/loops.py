"""Forward edges and back edges: which edges close a loop, and an order without them."""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from ..node.node import BaseNode
from ..node.wiring import Planned

AnyNode = BaseNode[Any, Any]


def targets(node: AnyNode) -> list[AnyNode]:
    return [target for targets in node._successors.values() for target in targets]


def back_edges(starts: Sequence[AnyNode], plan: Planned) -> set[tuple[AnyNode, AnyNode]]:
    """Take default edges first, then named ones; return those that would close a cycle.

    A reviewer who sends one of two branches back comes after both, however long they are.
    """
    forward: dict[AnyNode, list[AnyNode]] = {}
    back_edges: set[tuple[AnyNode, AnyNode]] = set()
    edges: deque[tuple[AnyNode | None, AnyNode]] = deque((None, start) for start in starts)
    named: deque[tuple[AnyNode | None, AnyNode]] = deque()
    while edges or named:
        node, target = (edges or named).popleft()
        if (
            target in forward
            and node is not None
            and (target is node or _leads(forward, target, node))
        ):
            back_edges.add((node, target))
            continue
        if node is not None:
            forward[node].append(target)
        if target not in forward:
            forward[target] = []
            target._successors.watch(plan)  # before its edges are read
            for action, targets in target._successors.items():
                (edges if action == "default" else named).extend((target, t) for t in targets)
    return back_edges


def _leads(forward: dict[AnyNode, list[AnyNode]], source: AnyNode, target: AnyNode) -> bool:
    seen, leading = {source}, [source]
    while leading:
        for following in forward[leading.pop()]:
            if following is target:
                return True
            if following not in seen:
                seen.add(following)
                leading.append(following)
    return False


def in_order(starts: Sequence[AnyNode], back_edges: set[tuple[AnyNode, AnyNode]]) -> list[AnyNode]:
    """Return the nodes in a topological order of the forward edges, the first branch first.

    The reverse of a depth-first postorder in which the last edge wired is followed first.
    """
    finished: list[AnyNode] = []
    seen: set[AnyNode] = set()

    def forward(node: AnyNode) -> Iterator[AnyNode]:
        return (t for t in reversed(targets(node)) if (node, t) not in back_edges)

    for start in reversed(starts):
        path = [] if start in seen else [(start, forward(start))]
        seen.add(start)
        while path:
            target = next(path[-1][1], None)
            if target is None:
                finished.append(path.pop()[0])
            elif target not in seen:
                seen.add(target)
                path.append((target, forward(target)))
    return finished[::-1]
