"""Conflicts on random graphs of forks and joins, against an order that is read off their shape.

Set ``KAYGRAPH_EXAMPLES`` to try more graphs than the usual ones, and to have one that fails made
smaller, which takes minutes.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kaygraph import BaseNode, BatchGraph, Graph, all_of, settle
from tests.observability.writing import Writer, once, reports_of

EXAMPLES = int(os.environ.get("KAYGRAPH_EXAMPLES", "100"))
KEYS = "klm"
SEEDS = 4  # orders that are tried of each graph; every other one is watched

AnyNode = BaseNode[Any, Any]


@dataclass(frozen=True)
class Leaf:
    """A node: when it writes which keys, and how many turns its hooks give away."""

    writes: tuple[tuple[str, str], ...]  # moment, key
    pauses: int
    handled: "Leaf | None" = None  # this one fails, and that one is on its error route


@dataclass(frozen=True)
class Line:
    """Parts, one after the other; twice where it loops.

    A branch of a fork that is ``loose`` leads nowhere: what comes after the fork does not wait.
    """

    parts: "tuple[Part, ...]"
    loops: bool = False
    loose: bool = False


@dataclass(frozen=True)
class Fork:
    """Lines at once; what comes after it joins those that are not loose: the first, at least."""

    branches: tuple[Line, ...]


@dataclass(frozen=True)
class Within:
    """A graph, a group or rounds, as one node.

    ``kind`` is "graph", "all_of", "settle", or a number of workers for three rounds.
    """

    kind: str | int
    branches: tuple[Line, ...]


Part = Leaf | Line | Fork | Within


# --- the order, from the shape --------------------------------------------------------------------

Named = tuple[str, frozenset[str]]  # a node and what it writes
Conflict = tuple[str, str, str]  # two nodes, sorted, and a key that both write


def writers(part: Part, name: str) -> list[Named]:
    """Return every node within; a node is named after its place in the shape."""
    if isinstance(part, Leaf):
        own = (name, frozenset(key for _, key in part.writes))
        return [own] if part.handled is None else [own, *writers(part.handled, f"{name}h")]
    return [named for inner, place in inner_parts(part, name) for named in writers(inner, place)]


def inner_parts(part: Part, name: str) -> Iterator[tuple[Part, str]]:
    parts: Sequence[Part] = ()
    if isinstance(part, Line):
        parts = part.parts
    elif isinstance(part, Fork | Within):
        parts = part.branches
    for number, inner in enumerate(parts):
        yield inner, f"{name}{'abcdefgh'[number]}"


def parallel(part: Part, name: str) -> tuple[set[Conflict], list[Named]]:
    """Return who is in conflict, and the nodes that what comes after this does not wait for."""
    found: set[Conflict] = set()
    loose: list[Named] = []
    before: list[Named] = []  # in other branches
    for inner, place in inner_parts(part, name):
        own, (within, left) = writers(inner, place), parallel(inner, place)
        found |= within
        if isinstance(part, Line):
            found |= shared_keys(loose, own)
            loose += left
        else:
            found |= shared_keys(before, own)
            before += own
            if isinstance(part, Fork):  # a graph, a group and a round end when all in it has
                loose += own if isinstance(inner, Line) and inner.loose else left
    if isinstance(part, Within) and part.kind == 2:  # rounds at once: all are parallel to all
        found |= shared_keys(before, before)
    return found, loose


def shared_keys(some: Sequence[Named], others: Sequence[Named]) -> set[Conflict]:
    return {
        (min(one, other), max(one, other), key)
        for (one, keys), (other, other_keys) in product(some, others)
        for key in keys & other_keys
    }


# --- the shapes -----------------------------------------------------------------------------------

moments = st.sampled_from(["prep", "prep_late", "post", "post_late"])
writes = st.lists(st.tuples(moments, st.sampled_from(KEYS)), max_size=2).map(tuple)
leaves = st.builds(Leaf, writes, st.integers(0, 3))
failing = st.builds(Leaf, writes, st.integers(0, 3), leaves)


def lines(depth: int, nested: bool, looping: bool = False) -> st.SearchStrategy[Line]:
    """Return lines that begin and end with a node, so that a fork has one before and after it."""
    parts: st.SearchStrategy[Part] = leaves
    if nested:
        parts |= failing
    if depth:
        branch = lines(depth - 1, nested, looping)
        branches = st.lists(branch, min_size=1, max_size=2)
        loose = st.booleans() if not looping else st.just(False)  # nobody waits: rounds may mix
        last = st.builds(lambda line, loose: Line(line.parts, loose=loose), branch, loose)
        forks = st.builds(lambda some, last: Fork((*some, last)), branches, last)
        loop = lines(depth - 1, nested, True).map(lambda line: Line(line.parts, loops=True))
        parts = parts | forks | forks | loop
        if nested:
            kinds = st.sampled_from(["graph", "all_of", "settle", 1, 2])
            within = st.lists(lines(depth - 1, nested), min_size=2, max_size=3).map(tuple)
            parts |= st.builds(Within, kinds, within)
    whole = st.lists(parts, max_size=3)
    return st.builds(lambda a, between, b: Line((a, *between, b)), leaves, whole, leaves)


# --- the graph ------------------------------------------------------------------------------------

Ends = tuple[list[AnyNode], list[AnyNode]]  # where a part begins and where it ends


class Scripted(Writer):
    """A node that writes as its leaf says; it has one waiting hook for each moment."""

    def __init__(self, name: str, leaf: Leaf, **settings: Any) -> None:
        fails = leaf.handled is not None
        super().__init__(name, pauses=leaf.pauses, fails=fails, **settings)
        self.leaf = leaf

    def write(self, shared: Any, moment: str) -> None:
        for when, key in self.leaf.writes:
            if when == moment:
                shared[key] = object()


class Rounds(BatchGraph):
    def prep(self, _: Any) -> list[dict[str, Any]]:
        return [{}, {}, {}]


def built(part: Part, name: str, **settings: Any) -> Ends:
    """Return where a part begins and ends, wired within."""
    if isinstance(part, Leaf):
        node = Scripted(name, part, **settings)
        if part.handled is None:
            return [node], [node]
        handler = Scripted(f"{name}h", part.handled)
        node - "error" >> handler
        return [node], [handler]
    if isinstance(part, Within):
        return [whole := within(part, name)], [whole]
    if isinstance(part, Fork):
        ends = [built(line, place) for line, place in inner_parts(part, name)]
        joined = zip(part.branches, ends, strict=True)
        heads = [head for heads, _ in ends for head in heads]
        return heads, [tail for line, (_, tails) in joined if not line.loose for tail in tails]
    again = {"action": once("again", f"rounds of {name}")} if part.loops else {}
    places = list(inner_parts(part, name))
    ends = [
        built(inner, place, **(again if inner is part.parts[-1] else {})) for inner, place in places
    ]
    for (_, tails), (heads, _) in pairwise(ends):
        for tail, head in product(tails, heads):
            tail >> head
    (first, *_), (last, *_) = ends[0][0], ends[-1][1]
    if part.loops:
        last - "again" >> first
    return [first], [last]


def within(part: Within, name: str) -> AnyNode:
    ends = [built(line, place) for line, place in inner_parts(part, name)]
    starts = [head for heads, _ in ends for head in heads]
    if part.kind == "graph":
        return Graph(starts, name=f"{name}-graph")
    if isinstance(part.kind, int):  # three rounds, of which the branches are in no order either
        return Rounds(starts, name=f"{name}-rounds", max_workers=part.kind)
    group = all_of if part.kind == "all_of" else settle
    return group(*starts, name=f"{name}-group")


def check(line: Line) -> None:
    """Run a graph in several orders and compare what is reported with what its shape says."""
    expected, _ = parallel(line, "n")
    keys = {key for *_, key in expected}
    for seed in range(SEEDS):
        starts, _ = built(line, "n")
        rounds: dict[str, Any] = {f"rounds of {place}": [] for place in looping(line, "n")}
        found = reports_of(Graph(starts), rounds, seed=seed, watched=seed % 2 == 1)
        pairs = {(*(name.rsplit("/")[-1] for name in names), key) for *names, key in found}
        pairs = {pair if len(pair) == 3 else (pair[0], *pair) for pair in pairs}
        assert {key for *_, key in pairs} == keys, (seed, found, expected)
        assert pairs <= expected, (seed, found, expected)


def looping(part: Part, name: str) -> Iterator[str]:
    """Yield the names of the lines that loop."""
    if isinstance(part, Line) and part.loops:
        yield name
    for inner, place in inner_parts(part, name):
        yield from looping(inner, place)


SEARCHING = "KAYGRAPH_EXAMPLES" in os.environ

tried = settings(
    max_examples=EXAMPLES,
    derandomize=not SEARCHING,
    phases=[*Phase] if SEARCHING else [Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@settings(tried, max_examples=EXAMPLES // 2)
@given(lines(2, nested=False))
def test_conflict_is_reported_where_nothing_puts_two_writers_in_order(line: Line) -> None:
    """Forks, joins and loops in each other: a key is reported if and only if the shape says so."""
    check(line)


@pytest.mark.proofs
@tried
@given(lines(2, nested=True))
def test_graphs_groups_rounds_and_error_routes_are_in_the_order_of_their_shape(
    line: Line,
) -> None:
    """The same with graphs, groups and rounds as nodes, and nodes that fail."""
    check(line)
