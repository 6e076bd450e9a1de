"""Which nodes are joins, and which joins a token holds up from its position.

Sets of joins are whole numbers, a bit for each, so that an edge is looked at once for all of them.
"""

from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush

from .loops import Layout

Neighbours = Sequence[Sequence[int]]


class Joins:
    """The joins of a graph; its nodes are given by their positions in the layout.

    A join is held up from every node from which it can be reached, also by going back into loops
    that do not contain the join. The loop of a back edge is everything on a path of forward edges
    from its target to its source that does not pass the target again.

    Attributes:
        bits: For each node its own bit; 0 if it is not a join.
        forward: For each node, the bits of the joins that can be reached over forward edges.
        masks: For each node, the bits of the joins that a token on it holds up.
    """

    def __init__(self, layout: Layout) -> None:
        before: list[list[int]] = [[] for _ in layout.nodes]
        for source, targets in enumerate(layout.ahead):
            for target in targets:
                before[target].append(source)
        # Several starts come from one fork, as if there were a node before them.
        forked = layout.starts if len(layout.starts) > 1 else ()
        self.bits, bit = [0] * len(before), 1
        for node in reversed(range(len(before))):
            if len(before[node]) + (node in forked) > 1:
                self.bits[node], bit = bit, bit << 1
        self.forward = _gathered(layout.ahead, self.bits, reversed(range(len(before))))
        self.masks = self.forward
        if layout.back and bit > 1:
            self.masks = _Holding(layout, before, self.bits, self.forward).masks


def _gathered(along: Neighbours, bits: Sequence[int], order: Iterable[int]) -> list[int]:
    """Return for each node the bits of everything that edges lead to, from the ends backwards."""
    gathered = [0] * len(bits)
    if not any(bits):
        return gathered
    onward = [0] * len(bits)  # with the node's own
    for node in order:
        found = {onward[other] for other in along[node]}
        joins = found.pop() if found else 0  # one long number for all that have the same
        for others in found:
            joins |= others
        gathered[node] = joins
        onward[node] = joins | bits[node] if bits[node] else joins
    return gathered


class _Holding:
    """Adds the joins reached by going back into loops to those reached over forward edges."""

    def __init__(
        self,
        layout: Layout,
        before: list[list[int]],
        bits: list[int],
        forward: list[int],
    ) -> None:
        self.bits, self.forward, self.before = bits, forward, before
        self.passed = _gathered(before, bits, range(len(bits)))  # joins that lead forward to it
        self.sources: dict[int, list[int]] = {}  # of the back edges, by where they lead
        for source, target in layout.back:
            before[target].append(source)
            self.sources.setdefault(target, []).append(source)
        self.back = set(layout.back)
        self.within: dict[int, dict[int, int]] = {}
        self.held = [joins | bits[node] for node, joins in enumerate(forward)]
        self._spread()
        self.masks = [joins ^ bits[node] for node, joins in enumerate(self.held)]

    def _spread(self) -> None:
        """Pass joins on to earlier nodes until none gains any: each node gains each once.

        Most gain all of theirs in one step, as the last nodes pass on first.
        """
        gained = {target: self.held[target] for target in self.sources}
        queue = [-node for node in gained]
        heapify(queue)
        while queue:
            node = -heappop(queue)
            joins = gained.pop(node)
            for source in self.before[node]:
                new = joins & ~self.held[source]
                if new and (source, node) in self.back:
                    new = self._outside(source, node, new)
                if new:
                    self.held[source] |= new
                    if source not in gained:
                        gained[source] = 0
                        heappush(queue, -source)
                    gained[source] |= new

    def _outside(self, source: int, target: int, joins: int) -> int:
        """Return those of the joins that are not part of the loop that a back edge closes."""
        joins &= ~(self.passed[source] & self.forward[target] | self.bits[target])
        if joins & self.forward[target]:  # a path from one of them to the source may go back
            if target not in self.within:
                self.within[target] = _leading(self.sources[target], self.before, target, self.bits)
            joins &= ~(self.within[target].get(source, 0) & self.forward[target])
        return joins


def _leading(
    ends: Sequence[int], before: Neighbours, without: int, bits: Sequence[int]
) -> dict[int, int]:
    """Return, for all nodes that lead to these ends, the bits of those that lead to the node.

    A node leads to itself. Paths over the node ``without`` do not count. Nodes that lead to each
    other have the same bits, and are found together, after those that lead to them (Tarjan,
    "Depth-first search and linear graph algorithms", 1972).
    """
    leading: dict[int, int] = {}
    number: dict[int, int] = {without: -1}
    least: dict[int, int] = {}  # the least number on a path back from the node
    open_nodes: list[int] = []
    for end in ends:
        path = [(end, iter(before[end]))] if end not in number else []
        while path:
            node, rest = path[-1]
            if node not in number:
                number[node] = least[node] = len(number)
                open_nodes.append(node)
            for other in rest:
                if other not in number:
                    path.append((other, iter(before[other])))
                    break
                if other not in leading and other != without:
                    least[node] = min(least[node], number[other])
            else:
                path.pop()
                if path:
                    around = path[-1][0]
                    least[around] = min(least[around], least[node])
                if least[node] == number[node]:
                    together = [open_nodes.pop()]
                    while together[-1] != node:
                        together.append(open_nodes.pop())
                    joins = 0
                    for member in together:
                        joins |= bits[member]
                        for other in before[member]:
                            joins |= leading.get(other, 0)
                    leading.update(dict.fromkeys(together, joins))
    return leading
