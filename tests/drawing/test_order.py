"""The order within layers."""

import random
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from kaygraph.drawing.layers import Layers
from kaygraph.drawing.order import sort_layers
from kaygraph.drawing.shapes import Arrow


def crossings(layers: Layers) -> int:
    """Count them pair by pair."""
    place = {item: number for row in layers.rows for number, item in enumerate(row)}
    found = 0
    for row in layers.rows:
        lines = [(place[item], place[other]) for item in row for other, _ in layers.after[item]]
        found += sum((a - c) * (b - d) < 0 for (a, b), (c, d) in combinations(lines, 2))
    return found


@settings(deadline=None)
@given(seed=st.integers(0, 2**32))
def test_there_are_never_more_crossings_than_before(seed: int) -> None:
    """Every item stays in its layer."""
    chance = random.Random(seed)
    edges = {(chance.randrange(n), n) for n in range(1, 30) for _ in range(2)}
    arrows = [Arrow(*edge) for edge in sorted(edges)]
    layers = Layers([(60, 34)] * 30, arrows, [(0, 0)] * len(arrows))
    before, rows = crossings(layers), [set(row) for row in layers.rows]
    sort_layers(layers)
    assert crossings(layers) <= before
    assert [set(row) for row in layers.rows] == rows


def test_a_tree_has_none() -> None:
    """Whatever the order in which its nodes are given."""
    parents = [0, 0, 0, 3, 1, 2, 3, 2, 1, 4, 6, 5, 4]
    arrows = [Arrow(parent, node + 1) for node, parent in enumerate(parents)]
    layers = Layers([(60, 34)] * 14, arrows, [(0, 0)] * len(arrows))
    assert crossings(layers) > 0
    sort_layers(layers)
    assert crossings(layers) == 0


def test_an_order_that_sweeps_make_worse_stays() -> None:
    """Here the last of them ends with twice as many crossings."""
    ahead = [(1, 4), (2, 5), (3, 5, 6), (4, 7), (7, 9), (8, 9), (11,), (), (10, 11, 12), (), (13,),
             (13,)]  # fmt: skip
    arrows = [Arrow(node, to) for node, targets in enumerate(ahead) for to in targets]
    layers = Layers([(60, 34)] * 14, arrows, [(0, 0)] * len(arrows))
    assert crossings(layers) == 4
    sort_layers(layers)
    assert crossings(layers) == 4
