"""A graph as Mermaid text."""

from typing import Any

from kaygraph import BatchGraph, Graph, Node, settle


def nodes(names: str) -> list[Node]:
    return [Node(name=letter) for letter in names]


def test_diamond_is_drawn_with_its_join_as_a_hexagon() -> None:
    """Nodes come in topological order, then edges in the order of the wiring."""
    a, b, c, d = nodes("abcd")
    assert Graph(a >> [b, c] >> d).to_mermaid() == "\n".join(
        [
            "flowchart LR",
            '    n0["a"]',
            '    n1["b"]',
            '    n2["c"]',
            '    n3{{"d"}}',
            "    n0 --> n1",
            "    n0 --> n2",
            "    n1 --> n3",
            "    n2 --> n3",
        ]
    )


def test_actions_are_labels_and_back_edges_are_dotted() -> None:
    """The default action is not written; a loop leads back over a dotted line."""
    a, b, c = nodes("abc")
    a >> b
    b - "again" >> a
    b - "error" >> c
    assert Graph(a).to_mermaid().splitlines()[4:] == [
        "    n0 --> n1",
        "    n1 -.->|again| n0",
        "    n1 -->|error| n2",
    ]


def test_nested_graph_is_a_subgraph_that_edges_lead_to() -> None:
    """The inner nodes are drawn inside, under ids of their own."""
    a, b, c = nodes("abc")
    text = Graph(a >> Graph(b >> c, name="inner")).to_mermaid()
    assert text == "\n".join(
        [
            "flowchart LR",
            '    n0["a"]',
            '    subgraph n1["inner"]',
            '        n1_0["b"]',
            '        n1_1["c"]',
            "        n1_0 --> n1_1",
            "    end",
            "    n0 --> n1",
        ]
    )


def test_group_draws_its_branches_side_by_side() -> None:
    """A branch of one node is a box of the group, a longer one a subgraph of it."""
    a, b, c, d = nodes("abcd")
    assert Graph(a >> settle(b, c >> d, name="both")).to_mermaid().splitlines()[2:] == [
        '    subgraph n1["both"]',
        '        n1_0["b"]',
        '        subgraph n1_1["c"]',
        '            n1_1_0["c"]',
        '            n1_1_1["d"]',
        "            n1_1_0 --> n1_1_1",
        "        end",
        "    end",
        "    n0 --> n1",
    ]


def test_pipeline_draws_its_stages_in_a_row() -> None:
    """Streaming edges are thick."""
    a, b, c = nodes("abc")
    text = Graph(a >> (b | c)).to_mermaid()
    assert "        n1_0 ==> n1_1" in text.splitlines()


def test_batch_graph_is_drawn_like_a_graph() -> None:
    """Its rounds walk one and the same drawing."""
    a, b = nodes("ab")
    assert Graph(a >> b).to_mermaid() == BatchGraph(a).to_mermaid()


def test_names_and_actions_cannot_break_the_drawing() -> None:
    """Quotes, brackets, pipes and line ends are written as character codes."""
    a, b = Node(name='say "hi"]\n;--> x'), Node(name="größe")
    a - 'x|"y' >> b
    lines = Graph(a).to_mermaid().splitlines()
    assert len(lines) == 4
    assert lines[1] == '    n0["say #34;hi#34;#93;#10;#59;--#62; x"]'
    assert lines[2] == '    n1["größe"]'
    assert lines[3] == "    n0 -->|x#124;#34;y| n1"


def test_attributes_of_a_node_do_not_change_its_drawing() -> None:
    """A node may keep a `plan` or a `stages` of its own: it is still drawn as a box."""

    class Planner(Node):
        streams = True

        def __init__(self) -> None:
            super().__init__()
            self.plan: Any = ["think", "act"]
            self.stages = 3

    assert Graph(Planner()).to_mermaid().splitlines()[1:] == ['    n0["Planner"]']


def test_second_node_of_a_class_is_drawn_under_its_counted_name() -> None:
    """The drawing uses the names of the graph."""
    a, b = Node(), Node()
    assert '["Node-2"]' in Graph(a >> b).to_mermaid()
