"""The places within layers."""

import random
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from kaygraph.drawing.layers import Layers
from kaygraph.drawing.order import sort_layers
from kaygraph.drawing.shapes import Arrow
from kaygraph.drawing.spacing import LINE_GAP, NODE_GAP, place_across


@settings(deadline=None)
@given(seed=st.integers(0, 2**32))
def test_neighbours_keep_their_order_and_their_gap(seed: int) -> None:
    """Whatever their sizes, and however strongly they are pulled; the first begins at 0."""
    chance = random.Random(seed)
    edges = {(chance.randrange(n), n) for n in range(1, 40) for _ in range(2)}
    arrows = [Arrow(*edge) for edge in sorted(edges)]
    sizes = [(60, 2 * chance.randint(10, 60)) for _ in range(40)]
    layers = Layers(sizes, arrows, [(0, 0)] * len(arrows))
    sort_layers(layers)
    middle = place_across(layers)
    for row in layers.rows:
        for one, other in pairwise(row):
            gap = NODE_GAP if max(one, other) < 40 else LINE_GAP
            between = middle[other] - middle[one]
            assert between >= (layers.sizes[one][1] + layers.sizes[other][1]) // 2 + gap
    assert min(middle[row[0]] - layers.sizes[row[0]][1] // 2 for row in layers.rows) == 0


def test_a_default_edge_is_straight_next_to_others() -> None:
    """Lines that are named give way."""
    arrows = [Arrow(n, n + 1) for n in range(4)] + [Arrow(0, 4, "skip", label="skip")]
    layers = Layers([(60, 34)] * 5, arrows, [(30, 18)] * len(arrows))
    sort_layers(layers)
    assert len(set(place_across(layers)[:5])) == 1
