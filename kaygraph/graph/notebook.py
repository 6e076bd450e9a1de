"""What a notebook shows of nodes and of chains of nodes: a drawing, if there is one."""

from collections.abc import Collection, Sequence
from typing import Any

from ..node.node import BaseNode
from .graph import Graph

MOST = 2000  # nodes of a drawing: a larger one is a file of megabytes, see Graph.to_svg


MERMAID = "text/vnd.mermaid"


def shown(thing: Any, heads: Sequence[Any], include: Collection[str]) -> dict[str, str]:
    """Return a node, or a chain that starts with these nodes, as MIME types of a notebook.

    A node without parts, and a graph that cannot work yet, are shown as text.

    Args:
        thing: What is shown.
        heads: The nodes that it starts with.
        include: The types requested by name, such as Mermaid: with both, JupyterLab shows its own
            drawing of that.
    """
    found = {"text/plain": repr(thing)}
    try:
        node = thing if isinstance(thing, BaseNode) else Graph(list(heads), name="Chain")
        if 0 < len(node.composition.nodes) <= MOST:
            from .picture import drawn  # imported only when needed

            if MERMAID in include:
                graph = node if isinstance(node, Graph) else Graph(node, name=node.name)
                found[MERMAID] = graph.to_mermaid()
            found["image/svg+xml"] = node.to_svg() if isinstance(node, Graph) else drawn(node)
    except Exception:  # the error is raised when it is run
        return found
    return found
