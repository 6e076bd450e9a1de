"""What a notebook shows of nodes and of lines of nodes: a drawing, where there is one."""

from collections.abc import Sequence
from typing import Any

from ..node.node import BaseNode
from .graph import Graph

MOST = 2000  # nodes of a drawing: a larger one is a file of megabytes, see Graph.to_svg


def shown(thing: Any, heads: Sequence[Any]) -> dict[str, str]:
    """Return a node, or a line that begins with these nodes, by the types of a notebook.

    A node without parts, and a graph that cannot work yet, are shown as text.
    """
    found = {"text/plain": repr(thing)}
    try:
        node = thing if isinstance(thing, BaseNode) else Graph(list(heads), name="Chain")
        if 0 < len(node.composition.nodes) <= MOST:
            if isinstance(node, Graph):
                found["text/vnd.mermaid"] = node.to_mermaid()
            from .picture import drawn  # loads where it is used

            found["image/svg+xml"] = drawn(node)
    except Exception:  # what is wrong is said where it is run
        return found
    return found
