"""Layers: where nodes stand, and what lines pass."""

from hypothesis import given, settings

from kaygraph import Graph, Node
from kaygraph.drawing.layers import BENDS, Layers
from kaygraph.drawing.shapes import Arrow
from kaygraph.graph.picture import box_of
from tests.random_graphs import Case, built, cases

SIZE = (60, 34)


def layers_of(nodes: int, arrows: list[Arrow]) -> Layers:
    return Layers([SIZE] * nodes, arrows, [(20, 18)] * len(arrows))


@settings(max_examples=100, deadline=None)
@given(case=cases())
def test_lines_go_from_layer_to_layer(case: Case) -> None:
    """Forward edges lead to later layers, back edges to earlier ones, and no line skips any."""
    box = box_of(built(case, lambda name, _: Node(name=name), Graph))
    layers = layers_of(len(box.parts), box.arrows)
    layer = layers.layer
    for arrow in box.arrows:
        if arrow.source != arrow.target:
            assert (layer[arrow.source] < layer[arrow.target]) != arrow.back
    for item, joined in enumerate(layers.after):
        assert all(layer[other] == layer[item] + 1 for other, _ in joined)
        assert all((item, pull) in layers.before[other] for other, pull in joined)
    assert sorted(item for row in layers.rows for item in row) == [*range(len(layers.sizes))]


def test_a_node_stands_after_the_longest_way_to_it() -> None:
    """A label takes a layer of its own, which the line of another edge has to pass."""
    labelled = Arrow(1, 2, "named", label="named")
    layers = layers_of(4, [Arrow(0, 1), labelled, Arrow(0, 2), Arrow(2, 3)])
    assert layers.layer[:4] == [0, 1, 3, 4]
    assert [len(route.items) for route in layers.routes] == [2, 3, 4, 2]
    assert layers.sizes[layers.routes[1].label] == (20, 18)


def test_lines_to_one_node_share_what_lies_before_it() -> None:
    """The second meets the first, and only the first leads to the node."""
    arrows = [Arrow(0, 1), Arrow(1, 2), Arrow(2, 3), Arrow(0, 3), Arrow(1, 3)]
    layers = layers_of(4, arrows)
    first, second = layers.routes[3:]
    assert second.items[-1] in first.items
    assert (first.arrow.ends, second.arrow.ends) == (True, False)


def test_there_are_no_more_bends_than_can_be_looked_at() -> None:
    """The longest lines go straight, also those with labels."""
    nodes = 300
    arrows = [Arrow(n, n + 1) for n in range(nodes - 1)]
    arrows += [Arrow(n, m, "x", label="x") for n in range(0, nodes, 3) for m in range(n + 2, nodes)]
    layers = layers_of(nodes, arrows)
    assert len(layers.sizes) < nodes + len(arrows) + BENDS * nodes + 1000
    assert len(layers.routes) == len(arrows)
