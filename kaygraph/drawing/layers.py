"""Layers: every node comes after those that lead to it, and no line skips a layer.

A layer holds nodes and *bends*: points that a line to a later layer passes, so that it has its own
place there and is not drawn across a node. A label is a bend that needs room. (Sugiyama, Tagawa and
Toda, "Methods for visual understanding of hierarchical system structures", 1981.)
"""

from collections.abc import Sequence
from dataclasses import dataclass

from .shapes import Arrow

Size = tuple[int, int]  # along the direction of the drawing, and across
Joins = list[tuple[int, float]]

BENDS = 5  # per node, at most; more than a drawing can show
# How strongly a line should be straight: within itself, between neighbours, elsewhere.
STRAIGHT, DEFAULT, OTHER = 24.0, 24.0, 1.0


@dataclass(slots=True, eq=False)
class Route:
    """The items that an arrow passes, in the order of the layers.

    Attributes:
        items: The first and the last are nodes, or bends of another arrow to the same target.
        label: The item that is the label, or -1.
    """

    arrow: Arrow
    items: list[int]
    label: int = -1


class Layers:
    """Items in layers. The first items are the nodes, in the order given.

    Attributes:
        sizes: Of each item; a bend has none.
        layer: Of each item.
        rows: The items of each layer.
        before, after: For each item, those of the layer before and after that it is connected to,
            and how strongly each should be aligned with it.
        nodes: How many of the items are nodes.
        routes: One for each arrow that is not a loop.
    """

    def __init__(
        self, sizes: Sequence[Size], arrows: Sequence[Arrow], labels: Sequence[Size]
    ) -> None:
        self.nodes = len(sizes)
        self.sizes = list(sizes)
        self.layer = _longest_paths(len(sizes), arrows)
        self.before: list[Joins] = [[] for _ in sizes]
        self.after: list[Joins] = [[] for _ in sizes]
        self.routes: list[Route] = []
        self._rank = [float(node) for node in range(len(sizes))]
        self._trunks: dict[tuple[int, bool, int], int] = {}
        longest = self._longest(arrows)
        for arrow, label in zip(arrows, labels, strict=True):
            span = abs(self.layer[arrow.source] - self.layer[arrow.target])
            if span:
                self.routes.append(self._route(arrow, label, span > longest))
        self.rows: list[list[int]] = [[] for _ in range(max(self.layer, default=-1) + 1)]
        for item in sorted(range(len(self.sizes)), key=self._rank.__getitem__):
            self.rows[self.layer[item]].append(item)

    def _longest(self, arrows: Sequence[Arrow]) -> int:
        """Return how many layers a line may pass: longer ones go straight across everything.

        In a drawing with that many of them, none could be followed.
        """
        spans = [abs(self.layer[arrow.source] - self.layer[arrow.target]) for arrow in arrows]
        bends = 0
        for span in sorted(spans):
            bends += span
            if bends > BENDS * self.nodes + 1000:
                return max(1, span - 1)
        return max(spans, default=0)

    def _route(self, arrow: Arrow, label: Size, straight: bool) -> Route:
        """Connect an arrow's ends from layer to layer, in the direction of the arrow.

        Arrows to the same target share a line as soon as they meet in a layer, as "error" edges
        of all nodes to one handler do.
        """
        step = -1 if arrow.back else 1
        last, end = arrow.source, self.layer[arrow.target]
        route = Route(arrow, [last])
        layer = self.layer[last] + step
        if layer == end:
            self._join(last, arrow.target, step, DEFAULT)
        pull = OTHER / 2 if arrow.back else OTHER
        if arrow.label and layer != end:
            route.label = self._bend(layer, label, last)
            self._join(last, route.label, step, pull)
            route.items.append(route.label)
            last = route.label
            layer += step
        if straight:
            layer = end
        while layer != end:
            trunk = arrow.target, arrow.back, layer
            known = self._trunks.get(trunk)
            if known is not None:
                self._join(last, known, step, pull)
                route.items.append(known)
                arrow.ends = False
                break
            self._trunks[trunk] = bend = self._bend(layer, (0, 0), last)
            self._join(last, bend, step, pull if last == arrow.source else STRAIGHT)
            route.items.append(bend)
            last = bend
            layer += step
        else:
            if last != arrow.source and not straight:
                self._join(last, arrow.target, step, pull)
            route.items.append(arrow.target)
        if arrow.back:
            route.items.reverse()
        return route

    def _bend(self, layer: int, size: Size, neighbour: int) -> int:
        self.sizes.append(size)
        self.layer.append(layer)
        self.before.append([])
        self.after.append([])
        self._rank.append(self._rank[neighbour] + 0.5)
        return len(self.sizes) - 1

    def _join(self, one: int, other: int, step: int, pull: float) -> None:
        if step < 0:
            one, other = other, one
        self.after[one].append((other, pull))
        self.before[other].append((one, pull))


def _longest_paths(nodes: int, arrows: Sequence[Arrow]) -> list[int]:
    """Return the layer of each node: as many steps as the longest path that leads there.

    A label takes its own layer.
    """
    arriving: list[list[tuple[int, int]]] = [[] for _ in range(nodes)]
    for arrow in arrows:
        length = 2 if arrow.label else 1
        source, target = arrow.source, arrow.target
        if arrow.back:
            source, target = target, source
        if source != target:
            arriving[target].append((source, length))
    layer = [0] * nodes
    for node, edges in enumerate(arriving):
        if edges:
            layer[node] = max([layer[source] + length for source, length in edges])
    return layer
