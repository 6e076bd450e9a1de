"""How nodes are wired, which settings they take, and what is refused."""

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaygraph import (
    AsyncNode,
    BatchGraph,
    BatchNode,
    Graph,
    GraphDefinitionError,
    Node,
    ParallelBatchNode,
    UnknownActionError,
    all_of,
)
from kaygraph.types import Branch, Chain

Edges = set[tuple[str, str, str]]


def nodes(names: str) -> list[Node]:
    """Return a node for each letter."""
    return [Node(name=letter) for letter in names]


def edges(start: Any) -> Edges:
    """Return the edges of a graph by name: from, action, to."""
    return {(a.name, action, b.name) for a, action, b in Graph(start).plan.edges()}


def starts(start: Any) -> list[str]:
    return [node.name for node in Graph(start).plan.starts]


class Says(Node):
    """A node that returns the action it was given."""

    def __init__(self, action: Any, **settings: Any) -> None:
        super().__init__(**settings)
        self.action = action

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        shared.setdefault("ran", []).append(self.name)
        return self.action


# --- what can be typed -------------------------------------------------------------------------


def test_rshift_leads_on_the_default_action() -> None:
    """`a >> b` means: after a, b."""
    a, b = nodes("ab")
    assert edges(a >> b) == {("a", "default", "b")}


def test_action_leads_where_it_is_named() -> None:
    """`a - "retry" >> b` means: after a, b, when a.post returns "retry"."""
    a, b = nodes("ab")
    assert edges(a - "retry" >> b) == {("a", "retry", "b")}


def test_action_after_a_chain_belongs_to_its_tail() -> None:
    """`(a >> b) - "x" >> c` listens to b."""
    a, b, c = nodes("abc")
    assert edges((a >> b) - "x" >> c) == {("a", "default", "b"), ("b", "x", "c")}


def test_action_within_a_line_belongs_to_the_node_before_it() -> None:
    """`a >> b - "x" >> c` is the same graph as with the parentheses."""
    a, b, c = nodes("abc")
    chain = a >> b - "x" >> c
    assert edges(chain) == {("a", "default", "b"), ("b", "x", "c")}
    assert starts(chain) == ["a"]


def test_list_on_the_right_begins_all_and_on_the_left_follows_all() -> None:
    """`a >> [b, c] >> d` means: b and c at once, then d."""
    a, b, c, d = nodes("abcd")
    assert edges(a >> [b, c] >> d) == {
        ("a", "default", "b"),
        ("a", "default", "c"),
        ("b", "default", "d"),
        ("c", "default", "d"),
    }


def test_list_may_begin_a_line() -> None:
    """`[a, b] >> c` starts at a and b; a tuple does the same."""
    a, b, c = nodes("abc")
    assert starts([a, b] >> c) == ["a", "b"]
    assert starts((a, b) >> c) == ["a", "b"]
    assert edges([a, b] >> c) == {("a", "default", "c"), ("b", "default", "c")}


def test_branch_in_a_list_may_be_a_chain() -> None:
    """`a >> [b >> b2, c] >> d` enters a branch at its head and leaves it at its tail."""
    a, b, b2, c, d = (Node(name=name) for name in ("a", "b", "b2", "c", "d"))
    assert edges(a >> [b >> b2, c] >> d) == {
        ("a", "default", "b"),
        ("b", "default", "b2"),
        ("a", "default", "c"),
        ("b2", "default", "d"),
        ("c", "default", "d"),
    }


def test_lists_nest_in_chains_in_lists() -> None:
    """A chain in a list may itself hold a list."""
    a, b, c, d, e, f = nodes("abcdef")
    assert edges(a >> [b >> [c, d], e] >> f) == {
        ("a", "default", "b"),
        ("a", "default", "e"),
        ("b", "default", "c"),
        ("b", "default", "d"),
        ("c", "default", "f"),
        ("d", "default", "f"),
        ("e", "default", "f"),
    }


def test_list_may_follow_an_action() -> None:
    """`a - "x" >> [b, c]` begins both on that action."""
    a, b, c = nodes("abc")
    assert edges(a - "x" >> [b, c]) == {("a", "x", "b"), ("a", "x", "c")}


def test_next_is_the_plain_call_and_returns_what_it_was_given() -> None:
    """`a.next(b, "x")` wires as `a - "x" >> b` does and returns b."""
    a, b, c, d = nodes("abcd")
    assert a.next(b, "x") is b
    assert b.next(c) is c
    chain = d >> Node(name="e")
    assert c.next(chain) is chain
    assert edges(a) == {
        ("a", "x", "b"),
        ("b", "default", "c"),
        ("c", "default", "d"),
        ("d", "default", "e"),
    }


def test_edge_added_twice_counts_once() -> None:
    """The same edge written twice is one edge, and its target runs once."""
    a, b = Says(None, name="a"), Says(None, name="b")
    a >> b
    a >> b
    a >> [b, b]
    assert [target.name for target in a.successors["default"]] == ["b"]
    shared: dict[str, Any] = {}
    Graph(a).run(shared)
    assert shared["ran"] == ["a", "b"]


def test_chain_and_branch_are_what_the_operators_return() -> None:
    """A chain remembers where it begins and ends, and its repr says so."""
    a, b, c = nodes("abc")
    assert type(a >> b) is Chain
    assert type(a - "x") is Branch
    assert repr(a >> [b, c]) == "<Chain a … [b, c]>"


Tree = int | tuple["Tree", "Tree"]


def _bracketings(low: int, high: int) -> st.SearchStrategy[Tree]:
    if low == high:
        return st.just(low)
    return st.integers(low, high - 1).flatmap(
        lambda cut: st.tuples(_bracketings(low, cut), _bracketings(cut + 1, high))
    )


@st.composite
def _lines(draw: st.DrawFn) -> tuple[list[int], list[str], Tree]:
    widths = draw(st.lists(st.integers(1, 3), min_size=2, max_size=7))
    for place in range(1, len(widths)):  # Python itself has no `list >> list`
        if widths[place - 1] > 1:
            widths[place] = 1
    actions = [
        "default" if width > 1 else draw(st.sampled_from(["default", "x", "y"]))
        for width in widths[:-1]
    ]
    return widths, actions, draw(_bracketings(0, len(widths) - 1))


def _wired(tree: Tree, parts: list[Any], actions: list[str]) -> tuple[Any, int]:
    """Wire the parts in the order of the brackets; return the line and its last part's place."""
    if isinstance(tree, int):
        return parts[tree], tree
    left, cut = _wired(tree[0], parts, actions)
    right, last = _wired(tree[1], parts, actions)
    return (left if actions[cut] == "default" else left - actions[cut]) >> right, last


@settings(deadline=None, derandomize=True)
@given(_lines())
def test_brackets_do_not_matter(line: tuple[list[int], list[str], Tree]) -> None:
    """`a >> (b >> c)` is the same graph as `(a >> b) >> c`, for every way to set brackets."""
    widths, actions, tree = line
    names = [[f"{place}.{number}" for number in range(w)] for place, w in enumerate(widths)]
    parts: list[Any] = []
    for row in names:
        made = [Node(name=name) for name in row]
        parts.append(made if len(made) > 1 else made[0])
    chain, _ = _wired(tree, parts, actions)
    assert starts(chain) == names[0]
    assert edges(chain) == {
        (source, action, target)
        for row, action, following in zip(names, actions, names[1:], strict=False)
        for source in row
        for target in following
    }


# --- what cannot be wired ----------------------------------------------------------------------


@pytest.mark.parametrize("thing", [None, "b", 3, [], (), {}, [None], print])
def test_what_is_not_a_node_cannot_be_wired(thing: Any) -> None:
    """The error names the thing and says what can be an operand of `>>`."""
    with pytest.raises(TypeError, match=r"cannot wire .*'>>' connects nodes"):
        Node(name="a") >> thing
    with pytest.raises(TypeError):
        thing >> Node(name="a")
    with pytest.raises(TypeError, match="cannot wire"):
        Graph(thing) if thing is not None else Node().next(thing)


def test_a_list_cannot_hold_a_line_that_ends_in_an_action() -> None:
    """Where the others of the list lead on would not be said."""
    b, c = Node(name="b"), Node(name="c")
    with pytest.raises(TypeError, match=r"cannot wire \[.*Branch b.*'>>' connects nodes"):
        [b - "again", c] >> Node(name="d")
    assert edges(b) == set()


def test_class_in_the_place_of_a_node_gets_an_error_that_says_so() -> None:
    """The brackets are easily forgotten."""
    with pytest.raises(TypeError, match=r"did you mean Node\(\)\?"):
        Node(name="a") >> Node


@pytest.mark.parametrize("action", ["", None, 3, ["x"]])
def test_action_that_is_not_a_string_is_refused(action: Any) -> None:
    """An action is a non-empty string."""
    with pytest.raises(TypeError, match="an action is a non-empty string"):
        Node(name="a") - action


def test_line_that_ends_in_an_action_cannot_start_a_graph() -> None:
    """`Graph(a - "x")` says which action leads nowhere."""
    with pytest.raises(TypeError, match="ends in - 'x'"):
        Graph(Node(name="a") - "x")


def test_bar_inside_a_chain_is_refused_with_the_parentheses_to_type() -> None:
    """`a >> b | c` would bind as `(a >> b) | c`: the error shows what to type."""
    a, b, c = nodes("abc")
    with pytest.raises(TypeError, match=re.escape("(a | b) >> c, with parentheses")):
        a >> b | c
    with pytest.raises(TypeError):
        a | b >> c


# --- actions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("action", [None, "default"])
def test_default_action_without_a_successor_ends_the_path_quietly(action: str | None) -> None:
    """None and "default" with no successor end a path, also where other actions are known."""
    a = Says(action, name="a")
    a - "x" >> Says(None, name="b")
    shared: dict[str, Any] = {}
    assert Graph(a).run(shared) == action
    assert shared["ran"] == ["a"]


def test_none_and_default_lead_the_same_way() -> None:
    """The edge of `a >> b` is followed on None and on "default"."""
    for action in (None, "default"):
        shared: dict[str, Any] = {}
        Graph(Says(action, name="a") >> Says("end", name="b")).run(shared)
        assert shared["ran"] == ["a", "b"]


def test_unknown_action_names_the_known_ones_and_the_closest() -> None:
    """The message is the one that the style guide shows, and the facts are attributes."""
    review = Says("aprove", name="Review")
    review - "approve" >> Node(name="a")
    review - "reject" >> Node(name="b")
    with pytest.raises(UnknownActionError) as caught:
        Graph(review).run()
    assert str(caught.value) == (
        "Node 'Review' returned action 'aprove', which leads nowhere. "
        "Known actions: 'approve', 'reject'. Did you mean 'approve'?"
    )
    assert caught.value.node == "Review"
    assert caught.value.action == "aprove"
    assert caught.value.known == ("approve", "reject")
    assert isinstance(caught.value, LookupError)


def test_unknown_action_is_raised_though_a_default_edge_exists() -> None:
    """An unknown action does not fall back to the default edge."""
    with pytest.raises(UnknownActionError, match="Known actions: 'default'"):
        Graph(Says("nowhere", name="a") >> Node(name="b")).run()


def test_unknown_action_is_not_a_failure_of_the_node() -> None:
    """An `- "error"` edge listens to failures, not to a misspelt action."""
    a = Says("typo", name="a")
    a - "type" >> Node(name="b")
    a - "error" >> Node(name="c")
    with pytest.raises(UnknownActionError, match="Did you mean 'type'"):
        Graph(a).run()


def test_leaf_may_return_any_action() -> None:
    """A node that leads nowhere ends the graph with its action, whatever it is called."""
    assert Graph(Node(name="a") >> Says("anything", name="b")).run() == "anything"
    only_errors = Says("anything", name="a")
    only_errors - "error" >> Node(name="b")
    assert Graph(only_errors).run() == "anything"


@pytest.mark.parametrize("value", [["a"], {"a": 1}, {"a"}, 3])
def test_result_returned_from_post_is_an_unknown_action(value: Any) -> None:
    """The error for a post that returns data says that an action is a string or None."""
    with pytest.raises(UnknownActionError, match="the name of an action"):
        Graph(Says(value, name="a") >> Node(name="b")).run()


def test_action_of_an_inner_graph_routes_the_outer_one() -> None:
    """An inner graph ends with an action that only the outer graph knows, and is led on by it."""
    first = Says("done", name="first")
    first - "again" >> first
    inner = Graph(first, name="inner")
    yes, no = Says("yes", name="yes"), Says("no", name="no")
    inner - "done" >> yes
    inner >> no
    shared: dict[str, Any] = {}
    assert Graph(inner).run(shared) == "yes"
    assert shared["ran"] == ["first", "yes"]


def test_post_of_a_graph_may_choose_the_action() -> None:
    """A Graph's post gets the last action as exec_res and may return another."""

    class Inner(Graph):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
            return f"{exec_res}!"

    inner = Inner(Says("done"))
    inner - "done!" >> Says("end", name="end")
    assert Graph(inner).run() == "end"


# --- names -------------------------------------------------------------------------------------


class Fetch(AsyncNode):
    pass


class Named(AsyncNode):
    name = "named"


def test_name_is_the_class_name_by_default() -> None:
    """A node is called after its class, by `name=`, or by a class attribute."""
    assert Fetch().name == "Fetch"
    assert Fetch(name="first").name == "first"
    assert Named().name == "named"
    assert Graph(Fetch(), name="outer").name == "outer"
    assert all_of(Fetch(), name="group").name == "group"


def test_second_node_of_a_class_is_counted() -> None:
    """In a graph the nodes of one class are `Fetch`, `Fetch-2`, `Fetch-3` in the order of it."""
    a, b, c = Fetch(), Fetch(), Fetch()
    assert list(Graph(a >> b >> c).plan.names.values()) == ["Fetch", "Fetch-2", "Fetch-3"]


def test_given_name_is_kept_and_counted_names_go_around_it() -> None:
    """A name that was given is never taken by a counted one."""
    names = Graph(Fetch() >> Fetch(name="Fetch") >> Fetch(name="Fetch-3") >> Fetch()).plan.names
    assert list(names.values()) == ["Fetch-2", "Fetch", "Fetch-3", "Fetch-4"]


def test_name_given_twice_is_refused() -> None:
    """Two nodes with the same given name cannot be distinguished."""
    with pytest.raises(GraphDefinitionError, match="two nodes named 'a'"):
        Graph(Fetch(name="a") >> Fetch(name="a")).run()


@pytest.mark.parametrize("kind", [Node, BatchNode, ParallelBatchNode, Graph, BatchGraph])
@pytest.mark.parametrize("name", ["", 3, b"a"])
def test_name_that_is_not_a_string_is_refused(kind: Any, name: Any) -> None:
    """A name is a non-empty string."""
    with pytest.raises(ValueError, match="name must be a non-empty string"):
        kind(name=name)
