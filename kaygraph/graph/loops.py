"""Forward edges and back edges: which edges close a loop, and an order without them.

Nodes are numbers here, in the order in which they are found: default edges are followed
breadth-first, then named ones. Edges are taken in the same order, and one that closes a cycle
with those taken before is a back edge.

The first edge that leads to a node closes none. So these edges form a tree, and an edge from a node
to one above it in the tree is a back edge for certain. If every loop has one entry, there are
no others, and all this takes time in proportion to the edges. Otherwise each other edge that
goes against the order costs a search between its ends (Pearce and Kelly, "A dynamic
topological sort algorithm for directed acyclic graphs", 2006).
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

from ..node.node import BaseNode
from ..node.wiring import Planned, successors_of

AnyNode = BaseNode[Any, Any]
Edge = tuple[int, int]


class Layout:
    """The nodes of a graph in a topological order of its forward edges.

    The branch wired first comes first: it is the reverse of a depth-first postorder in
    which the last edge wired is followed first.

    Attributes:
        nodes: In that order. The numbers in the other attributes are positions in it.
        starts: Where it begins.
        ahead: For each node, where its forward edges lead; each target once, as wired.
        back: The back edges, each once.
    """

    def __init__(self, starts: Sequence[AnyNode], plan: Planned) -> None:
        found = _Found(starts, plan)
        back = found.upward()
        forward = found.without(back)
        place = _places(forward, len(starts))
        if any(place[s] > place[t] for s, targets in enumerate(forward) for t in targets):
            back |= _Taking(found, place, back).closing
            forward = found.without(back)
            place = _places(forward, len(starts))
        order = sorted(range(len(place)), key=place.__getitem__)
        self.nodes = [found.nodes[number] for number in order]
        self.starts = set(place[: len(starts)])
        self.ahead = [[place[t] for t in dict.fromkeys(forward[s])] for s in order]
        self.back = [(place[s], place[t]) for s, t in dict.fromkeys(found.edges) if (s, t) in back]


class _Found:
    """The nodes that can be reached from the starts, and the edges in the order they are taken."""

    def __init__(self, starts: Sequence[AnyNode], plan: Planned) -> None:
        self.nodes: list[AnyNode] = []
        self.above: list[int] = []  # the node from which each is found; -1: a start
        self.edges: list[Edge] = []
        numbers: dict[AnyNode, int] = {}
        default: deque[tuple[int, AnyNode]] = deque((-1, start) for start in starts)
        named: deque[tuple[int, AnyNode]] = deque()
        while default or named:
            source, node = (default or named).popleft()
            number = numbers.get(node)
            if number is None:
                number = numbers[node] = len(self.nodes)
                self.nodes.append(node)
                self.above.append(source)
                successors_of(node).watch(plan)  # before its edges are read
                for action, targets in successors_of(node).items():
                    edges = default if action == "default" else named
                    edges.extend([(number, target) for target in targets])
            if source >= 0:
                self.edges.append((source, number))
        self.targets = [
            [numbers[target] for targets in successors_of(node).values() for target in targets]
            for node in self.nodes
        ]

    def upward(self) -> set[Edge]:
        """Return the edges that lead to a node above their own in the tree, or to itself."""
        earlier = [(source, target) for source, target in self.edges if target <= source]
        if not earlier:
            return set()
        first, last = _spans(self.above)
        return {(s, t) for s, t in earlier if first[t] <= first[s] < last[t]}

    def without(self, back: set[Edge]) -> list[list[int]]:
        """Return the targets of each node without those that these edges lead to."""
        if not back:
            return self.targets
        return [[t for t in to if (s, t) not in back] for s, to in enumerate(self.targets)]


class _Taking:
    """Takes edges one by one, and keeps an order of those that close no cycle.

    Args:
        found: The edges, in the order they are taken.
        place: The position of each node in the initial order.
        back: Edges that close a cycle for certain.
    """

    def __init__(self, found: _Found, place: list[int], back: set[Edge]) -> None:
        self.place = place
        self.closing: set[Edge] = set()
        self.before: list[list[int]] = [[] for _ in place]
        self.after: list[list[int]] = [[] for _ in place]
        self.below: dict[int, set[int]] = {}  # of a target: nodes that are known to come after it
        for source, target in found.edges:
            if (source, target) in back:
                continue
            if place[source] > place[target] and not self._moved(source, target):
                self.closing.add((source, target))
            else:
                self.before[target].append(source)
                self.after[source].append(target)

    def _moved(self, source: int, target: int) -> bool:
        """Move the source before the target; return whether that is possible without a cycle."""
        below = self.below.setdefault(target, {target})
        earlier = [source]
        seen = {source}
        for node in earlier:
            if node in below:
                below.add(source)
                return False
            for other in self.before[node]:
                if other not in seen and self.place[other] >= self.place[target]:
                    seen.add(other)
                    earlier.append(other)
        later = [target]
        seen = {target}
        for node in later:
            for other in self.after[node]:
                if other not in seen and self.place[other] < self.place[source]:
                    seen.add(other)
                    later.append(other)
        earlier.sort(key=self.place.__getitem__)
        later.sort(key=self.place.__getitem__)
        moved = earlier + later
        for node, place in zip(moved, sorted(self.place[node] for node in moved), strict=True):
            self.place[node] = place
        return True


def _spans(above: Sequence[int]) -> tuple[list[int], list[int]]:
    """Number a tree from the top, so that the nodes below a node have consecutive numbers.

    Args:
        above: For each node the one above it, which comes earlier; -1 at the top.

    Returns:
        The first number of each node's span, which is its own, and that after the last.
    """
    size = [1] * len(above)
    for node in range(len(above) - 1, -1, -1):
        if above[node] >= 0:
            size[above[node]] += size[node]
    first, free = [0] * len(above), [0] * (len(above) + 1)  # the last is that of the top: -1
    for node, parent in enumerate(above):
        first[node] = free[parent]
        free[parent] += size[node]
        free[node] = first[node] + 1
    return first, [number + size[node] for node, number in enumerate(first)]


def _places(targets: Sequence[Sequence[int]], starts: int) -> list[int]:
    """Return the place of each node in an order in which it comes before its targets.

    The first nodes are the starts. Where edges form a cycle, one of them leads back.
    """
    places = [-1] * len(targets)
    free = len(targets)  # the last place comes first
    seen = [False] * len(targets)
    for start in reversed(range(starts)):
        path = [] if seen[start] else [(start, reversed(targets[start]))]
        seen[start] = True
        while path:
            node, rest = path[-1]
            for target in rest:
                if not seen[target]:
                    seen[target] = True
                    path.append((target, reversed(targets[target])))
                    break
            else:
                path.pop()
                free -= 1
                places[node] = free
    return places
