"""Finds what a plan says of edges and joins by searching anew for each of them.

It is what the planner did before it was made fast: quadratic, and plain.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

Pair = tuple[Any, Any]


class PlainPlan:
    """What can be known of a graph before it runs, in terms of its nodes.

    Attributes:
        back: The edges that close a cycle with those taken before: default edges first,
            breadth-first, then named ones.
        order: The nodes in a topological order of the other edges: the reverse of a depth-first
            postorder in which the last edge wired is followed first.
        joins: Those with several predecessors over forward edges, and several starts have one.
        forward: For each node, the joins that it reaches over forward edges.
        held: For each node, the joins that a token on it holds up.
    """

    def __init__(self, starts: Sequence[Any]) -> None:
        self.starts = list(dict.fromkeys(starts))
        self.back = self._back()
        self.order: list[Any] = []
        self._visit(self.starts)
        self.before: dict[Any, list[Any]] = {node: [] for node in self.order}
        for node in self.order:
            for target in self._targets(node):
                self.before[target].append(node)
        self.joins = [node for node in self.order if self._is_join(node)]
        self.forward = self._reaching({join: self.back for join in self.joins})
        loops = {edge: self._loop(*edge) for edge in self.back}
        self.held = self._reaching(
            {j: {edge for edge, loop in loops.items() if j in loop} for j in self.joins}
        )

    def _targets(self, node: Any) -> list[Any]:
        return [target for targets in node.successors.values() for target in targets]

    def _back(self) -> set[Pair]:
        forward: dict[Any, list[Any]] = {}
        back: set[Pair] = set()
        edges: deque[Pair] = deque((None, start) for start in self.starts)
        named: deque[Pair] = deque()
        while edges or named:
            node, target = (edges or named).popleft()
            if target in forward and node is not None and self._leads(forward, target, node):
                back.add((node, target))
                continue
            if node is not None:
                forward[node].append(target)
            if target not in forward:
                forward[target] = []
                for action, targets in target.successors.items():
                    (edges if action == "default" else named).extend((target, t) for t in targets)
        return back

    def _leads(self, forward: dict[Any, list[Any]], source: Any, target: Any) -> bool:
        seen, leading = {source}, [source]
        while leading:
            node = leading.pop()
            if node is target:
                return True
            for following in forward[node]:
                if following not in seen:
                    seen.add(following)
                    leading.append(following)
        return False

    def _visit(self, starts: Sequence[Any]) -> None:
        seen: set[Any] = set()

        def visit(node: Any) -> None:
            if node not in seen:
                seen.add(node)
                for target in reversed(self._targets(node)):
                    if (node, target) not in self.back:
                        visit(target)
                self.order.insert(0, node)

        for start in reversed(starts):
            visit(start)

    def _is_join(self, node: Any) -> bool:
        before = {source for source in self.before[node] if (source, node) not in self.back}
        return len(before) + (len(self.starts) > 1 and node in self.starts) > 1

    def _reaching(self, barred: dict[Any, set[Pair]]) -> dict[Any, set[Any]]:
        """Return, for each node, the joins that it reaches without the edges barred for each."""
        found: dict[Any, set[Any]] = {node: set() for node in self.order}
        for join, edges in barred.items():
            reaching, seen = [join], {join}
            while reaching:
                node = reaching.pop()
                for source in self.before[node]:
                    if (source, node) not in edges and source not in seen:
                        seen.add(source)
                        reaching.append(source)
                        found[source].add(join)
        return found

    def _loop(self, last: Any, first: Any) -> set[Any]:
        """Return the nodes of the loop that the back edge ``last`` to ``first`` closes."""
        loop, reaching = {first, last}, [last] if last is not first else []
        while reaching:
            for source in self.before[reaching.pop()]:
                if source not in loop:
                    loop.add(source)
                    reaching.append(source)
        inside, leading = {first}, [first]
        while leading:
            node = leading.pop()
            for target in self._targets(node):
                if (node, target) not in self.back and target not in inside:
                    inside.add(target)
                    leading.append(target)
        return loop & inside
