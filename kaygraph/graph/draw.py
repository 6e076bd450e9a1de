"""A graph as Mermaid text, readable without a tool."""

from collections.abc import Iterator
from typing import Union

from .loops import AnyNode
from .plan import Plan

# A line of text, or the lines of a nested part: no recursion at any depth.
Lines = Iterator[Union[str, "Lines"]]


def mermaid(plan: Plan) -> str:
    """Return a Mermaid flowchart: nodes in topological order, actions on the edges.

    A join is drawn as a hexagon, a nested graph, group or pipeline as a subgraph, a back edge
    dotted. The same graph gives the same text in every process.
    """
    text = ["flowchart LR"]
    path = [_lines(plan, "n", "    ")]
    while path:
        line = next(path[-1], None)
        if line is None:
            path.pop()
        elif isinstance(line, str):
            text.append(line)
        else:
            path.append(line)
    return "\n".join(text)


def _lines(plan: Plan, prefix: str, indent: str) -> Lines:
    ids = {node: f"{prefix}{number}" for number, node in enumerate(plan.steps)}
    for node, step in plan.steps.items():
        yield _node(node, step.name, ids[node], bool(step.bit), indent)
    for source, action, target in plan.edges():
        arrow = "-.->" if (source, target) in plan.back_edges else "-->"
        label = "" if action == "default" else f"|{_escape(action)}|"
        yield f"{indent}{ids[source]} {arrow}{label} {ids[target]}"


def _node(node: AnyNode, name: str, key: str, join: bool, indent: str) -> Lines:
    parts = node.composition
    while len(parts.nodes) == 1 and parts.nodes[0].name == node.name:
        node = parts.nodes[0]  # a branch of a single node
        parts = node.composition
    if not parts.nodes:
        opened, closed = ("{{", "}}") if join else ("[", "]")
        yield f'{indent}{key}{opened}"{_escape(name)}"{closed}'
        return
    yield f'{indent}subgraph {key}["{_escape(name)}"]'
    within = indent + "    "
    if isinstance(parts.plan, Plan):
        yield _lines(parts.plan, f"{key}_", within)
    else:
        ids = [f"{key}_{number}" for number in range(len(parts.nodes))]
        for part, part_id in zip(parts.nodes, ids, strict=True):
            yield _node(part, part.name, part_id, False, within)
        if parts.kind == "pipeline":
            yield f"{within}{' ==> '.join(ids)}"
    yield f"{indent}end"


def _escape(text: str) -> str:
    return "".join(c if c.isalnum() or c in " _-./" else f"#{ord(c)};" for c in text)
