"""Graphs as SVG: what is drawn, and that it can be read."""

import random
from itertools import combinations, pairwise
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaygraph import BatchGraph, BatchNode, Graph, Node, settle
from tests.children import python
from tests.drawing.reading import Drawing, Rectangle, read
from tests.random_graphs import Case, built, cases

Direction = Literal["LR", "TB"]
DIRECTIONS: list[Direction] = ["LR", "TB"]


def nodes(names: str) -> list[Node]:
    return [Node(name=letter) for letter in names]


def drawn(graph: Graph, direction: Direction = "LR") -> Drawing:
    return read(graph.to_svg(direction=direction))


def edges_of(graph: Graph) -> set[tuple[str, str, str]]:
    plan = graph.plan
    return {(plan.names[s], plan.names[t], action) for s, action, t in plan.edges()}


def touches(box: Rectangle, point: tuple[float, float]) -> bool:
    x, y = point
    return box.left <= x <= box.right and box.top <= y <= box.bottom


def assert_readable(graph: Graph, drawing: Drawing) -> None:
    """Every node and edge is there once, no boxes overlap, every line begins and ends at boxes."""
    assert drawing.nodes.keys() == set(graph.plan.names.values())
    assert drawing.edges.keys() == edges_of(graph)
    assert len(set(drawing.ids)) == len(drawing.ids)
    for one, other in combinations(drawing.nodes.values(), 2):
        assert not one.overlaps(other)
    labels = [box for _, box in drawing.labels]
    for one, other in combinations(labels, 2):
        assert not one.overlaps(other)
    assert not any(label.overlaps(box) for label in labels for box in drawing.nodes.values())
    assert all(drawing.paper.holds(box) for box in [*labels, *drawing.nodes.values()])
    for (source, target, action), (tip, *base) in drawing.heads.items():
        assert tip == drawing.edges[source, target, action][-1][-1]
        assert touches(drawing.nodes[target], tip)
        assert not any(touches(drawing.nodes[target], corner) for corner in base)
    to_same: dict[str, list[tuple[float, float]]] = {}
    for (_, target, _), runs in drawing.edges.items():
        to_same.setdefault(target, []).extend(point for run in runs for point in run)
    for (source, target, action), runs in drawing.edges.items():
        place = source, target, action
        assert touches(drawing.nodes[source], runs[0][0]), place
        end = runs[-1][-1]
        # Or it meets a line that leads to the same node.
        has_head = place in drawing.heads
        assert has_head == touches(drawing.nodes[target], end), place
        assert has_head or to_same[target].count(end) > 1, place
        for run in runs:
            for here, there in pairwise(run):
                for name, box in drawing.nodes.items():
                    assert name in (source, target) or not passes(here, there, box), (place, name)


def passes(one: tuple[float, float], other: tuple[float, float], box: Rectangle) -> bool:
    """Whether a straight piece of a line leads through a box; curves stay between layers."""
    if one[0] != other[0] and one[1] != other[1]:
        return False
    line = Rectangle(
        min(one[0], other[0]) - 0.1,
        min(one[1], other[1]) - 0.1,
        max(one[0], other[0]) + 0.1,
        max(one[1], other[1]) + 0.1,
    )
    return line.overlaps(box)


@pytest.mark.parametrize("direction", DIRECTIONS)
@settings(max_examples=60, deadline=None)
@given(case=cases())
def test_whatever_the_shape_all_is_drawn_and_nothing_overlaps(
    case: Case, direction: Direction
) -> None:
    """Of random graphs with loops, several starts and labelled edges."""
    graph = built(case, lambda name, _: Node(name=name), Graph)
    assert_readable(graph, drawn(graph, direction))


@pytest.mark.parametrize("direction", DIRECTIONS)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_larger_graphs_are_as_readable(seed: int, direction: Direction) -> None:
    """Of eighty nodes, with edges that pass many others."""
    chance = random.Random(seed)
    steps = [Node(name=f"{'x' * chance.randint(0, 60)}{number}") for number in range(80)]
    for number in range(1, 80):
        steps[chance.randint(max(0, number - 7), number - 1)] >> steps[number]
    for _ in range(50):
        one, other = chance.sample(steps, 2)
        one - chance.choice(["default", "again", "error"]) >> other
    graph = Graph(steps[0])
    assert_readable(graph, drawn(graph, direction))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_chain_is_a_straight_line(direction: Direction) -> None:
    """Whatever the length of the names."""
    a, b, c = Node(name="a"), Node(name="a longer name"), Node(name="of several " * 8)
    drawing = drawn(Graph(a >> b >> c), direction)
    across = 1 if direction == "LR" else 0
    assert len({point[across] for [run] in drawing.edges.values() for point in run}) == 1


def test_branches_lie_around_the_middle_of_what_they_come_from() -> None:
    """In the order in which they were wired."""
    a, b, c, d = nodes("abcd")
    boxes = drawn(Graph(a >> [b, c] >> d)).nodes
    assert boxes["a"].top == boxes["d"].top == (boxes["b"].top + boxes["c"].top) / 2
    assert boxes["b"].bottom < boxes["c"].top


def test_branches_that_need_not_cross_do_not() -> None:
    """The second layer follows the first, though it was wired in another order."""
    a, b, c, d, e = nodes("abcde")
    b >> e
    c >> d
    a >> [b, c]
    boxes = drawn(Graph(a)).nodes
    assert (boxes["b"].top < boxes["c"].top) == (boxes["e"].top < boxes["d"].top)


def test_a_loop_leads_back() -> None:
    """It is marked as such, and ends where it leads to."""
    a, b = nodes("ab")
    a >> b
    b - "again" >> a
    drawing = drawn(Graph(a))
    assert "kaygraph-back" in drawing.classes["edge:b>a:again"]
    assert "kaygraph-back" not in drawing.classes["edge:a>b:default"]
    runs = drawing.edges["b", "a", "again"]
    assert runs[0][0][0] == drawing.nodes["b"].left
    assert runs[-1][-1][0] == drawing.nodes["a"].right


def test_labels_lie_apart() -> None:
    """Each action has a place of its own, also those between the same nodes."""
    a, b = nodes("ab")
    for number in range(6):
        a - f"action {number}" >> b
    labels = drawn(Graph(a)).labels
    assert {text for text, _ in labels} == {f"action {number}" for number in range(6)}
    heights = sorted(box.top for _, box in labels)
    assert all(lower - upper >= 18 for upper, lower in pairwise(heights))


def test_edges_to_one_handler_share_a_line() -> None:
    """Only one of them is drawn all the way."""
    steps, handler = nodes("abcdefgh"), Node(name="handler")
    for one, other in pairwise(steps):
        one >> other
    for step in steps:
        step - "error" >> handler
    drawing = drawn(Graph(steps[0]))
    left = drawing.nodes["handler"].left
    ends = [runs[-1][-1][0] for (_, to, _), runs in drawing.edges.items() if to == "handler"]
    assert sum(end == left for end in ends) == 2  # that of the last step comes by itself


class Rounds(BatchGraph):
    def prep(self, _: Any) -> Any:
        return []


class Many(BatchNode[Any, Any]):
    pass


def test_a_node_that_works_on_many_items_has_another_behind_it() -> None:
    """As a BatchGraph has."""
    drawing = drawn(Graph(Many(name="many") >> Node(name="one")))
    assert drawing.stacked == {"many"}


def test_a_label_stands_near_where_its_edge_begins() -> None:
    """Also next to a wide box, and where the edge leads back."""
    a, b, c = Node(name="a"), Node(name="very wide " * 3), Node(name="c")
    a >> b >> c
    a - "skip" >> c
    c - "back" >> a
    drawing = drawn(Graph(a))
    (skip,) = (box for text, box in drawing.labels if text == "skip")
    (back,) = (box for text, box in drawing.labels if text == "back")
    wide = drawing.nodes[b.name]
    assert skip.right < (wide.left + wide.right) / 2 < back.left


def test_what_has_parts_is_a_box_around_them() -> None:
    """Nested graphs, groups, pipelines and rounds; names are those of events."""
    a, b, c, d, e, f = nodes("abcdef")
    inner = Graph(a >> Graph(b, name="innermost"), name="inner")
    group = settle(c, d >> e, name="both")
    drawing = drawn(Graph(inner >> group >> Rounds(f, name="rounds")))
    assert drawing.nodes.keys() == {
        "inner/a", "inner/innermost/b", "both/c", "both/d/d", "both/d/e", "rounds/f"
    }  # fmt: skip
    assert drawing.parts.keys() == {"inner", "inner/innermost", "both", "both/d", "rounds"}
    for name, box in (drawing.nodes | drawing.parts).items():
        for other, around in drawing.parts.items():
            within = name.startswith(f"{other}/")
            assert around.holds(box) == (within or name == other)
            if within:
                assert box.left - around.left >= 10 <= around.right - box.right
                assert box.top - around.top >= 24  # its name is above them
    assert drawing.stacked == {"rounds"}
    assert ("both/d/d", "both/d/e", "default") in drawing.edges
    assert ("inner", "both", "default") in drawing.edges


def test_stages_are_joined_by_streams() -> None:
    """A pipeline that runs by itself has its name before those of its stages."""
    a, b, c = nodes("abc")
    drawing = drawn(Graph(a >> (b | c)))
    assert "kaygraph-stream" in drawing.classes["edge:Pipeline/b>Pipeline/c:default"]


def test_two_drawings_of_one_graph_are_equal() -> None:
    """In every process, whatever the seed of its hashes."""
    program = (
        "from kaygraph import Graph, Node\n"
        "a, b, c, d = (Node(name=n) for n in 'abcd')\n"
        "a >> [b, c] >> d\nd - 'again' >> a\nprint(Graph(a).to_svg())"
    )
    first, second = (
        python("-c", program, check=True, env={"PYTHONHASHSEED": seed}).stdout
        for seed in ("1", "2")
    )
    assert first == second
    assert first.startswith("<svg ")


def test_names_cannot_break_the_drawing() -> None:
    """Whatever they hold, also what XML cannot."""
    names = ["<b>&\"'</b>", "a\x00\x1b\ud800b", "]]>", "line\nend", " "]
    steps = [Node(name=name) for name in names]
    for one, other in pairwise(steps):
        one - '"><script>' >> other
    drawing = drawn(Graph(steps[0]))
    assert len(drawing.nodes) == 5
    assert "<b>&\"'</b>" in drawing.nodes
    assert "a\ufffd\ufffd\ufffdb" in drawing.nodes
    assert "line\nend" in drawing.nodes


def test_secrets_in_names_are_hidden() -> None:
    """A node that is named after its address shows no password."""
    a, b = Node(name="https://anna:hunter2@example.org/"), Node(name="token=abcdef123")
    text = Graph(a >> b, name="password: swordfish").to_svg()
    assert not any(secret in text for secret in ("hunter2", "abcdef123", "swordfish"))


def test_the_style_is_left_out_for_a_page_that_has_its_own() -> None:
    """A page with a strict policy would drop it."""
    graph = Graph(Node())
    assert "<style>" in graph.to_svg()
    assert "prefers-color-scheme:dark" in graph.to_svg()
    assert "<style>" not in graph.to_svg(standalone=False)


def test_the_drawing_says_what_it_shows() -> None:
    """For those who do not see it: a title, and the edges in words."""
    a, b = nodes("ab")
    a >> b
    b - "again" >> a
    drawing = drawn(Graph(a, name="work"))
    assert drawing.title == "work"
    assert drawing.description == "2 nodes; a → b; b → a (again)"


def test_depth_and_length_have_no_limit() -> None:
    """A line of ten thousand nodes, and graphs within graphs, five hundred deep."""
    steps = [Node() for _ in range(10_000)]
    for one, other in pairwise(steps):
        one >> other
    assert len(drawn(Graph(steps[0])).nodes) == 10_000
    graph = Graph(Node(name="x"))
    for _ in range(500):
        graph = Graph(graph, name="g")
    assert len(drawn(graph).parts) == 499 + 1


def test_many_long_edges_stay_within_bounds() -> None:
    """Where every node leads to all that follow, the longest lines go straight."""
    steps = [Node() for _ in range(150)]
    for number, step in enumerate(steps):
        step >> steps[number + 1 :: 3] if steps[number + 1 :: 3] else None
    graph = Graph(steps[0])
    svg = graph.to_svg()
    assert read(svg).edges.keys() == edges_of(graph)
    assert len(svg) < 3_000_000


def test_another_direction_is_refused() -> None:
    """Not drawn in one of the two."""
    with pytest.raises(ValueError, match="direction must be one of 'LR', 'TB'; got 'RL'"):
        Graph(Node()).to_svg(direction="RL")  # type: ignore[arg-type]
