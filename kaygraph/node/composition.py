"""The parts of a node, as other packages see them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

N = TypeVar("N")

Kind = Literal["node", "graph", "group", "pipeline", "compound"]


@dataclass(frozen=True, slots=True, eq=False)
class Composition(Generic[N]):
    """The kind of a node and its parts, which are nodes too.

    Attributes:
        kind: "node" has no parts; a "graph" is walked from part to part; the parts of a "group"
            run concurrently; those of a "pipeline" too, each on the items of the previous one;
            those of a "compound" do the work of its ``exec``.
        nodes: The parts: of a graph in topological order, of any other kind as they were given.
        plan: The plan of a graph.
    """

    kind: Kind = "node"
    nodes: Sequence[N] = ()
    plan: object = None
