"""Finds the node of a graph whose results are read."""

from collections.abc import Collection

from ..errors import closest
from ..node.node import BaseNode
from ..node.wiring import unique
from .loops import AnyNode
from .picture import named

SHOWN = 20  # names in an error


def names_of(graph: AnyNode, wanted: AnyNode | str) -> Collection[str]:
    """Return the names, as in events, of a node of a graph or of one inside it.

    Raises:
        ValueError: There is no such node.
        TypeError: It is neither a node nor a name.
    """
    if not isinstance(wanted, str | BaseNode):
        raise TypeError(f"results() takes a node or the name of a node; got {wanted!r}")
    known = [*named(graph)]
    found = {name: node for name, node in known if wanted in (name, node)}
    if not found:
        names = [*dict.fromkeys(name for name, _ in known)]
        hint = closest(wanted, names) if isinstance(wanted, str) else ""
        shown = ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
        raise ValueError(f"{graph!r} has no node {wanted!r}; it has: {shown}.{hint}")
    return frozenset(_with_results(name, node) for name, node in found.items())


def _with_results(name: str, node: AnyNode) -> str:
    """Return the name of the node with a node's results: for a pipeline, its last stage."""
    parts = node.composition
    if parts.kind != "pipeline":
        return name
    return f"{name}/{unique([part.name for part in parts.nodes])[-1]}"
