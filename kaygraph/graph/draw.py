"""A graph as Mermaid text, which needs no network to be written and no tool to be read."""

from typing import TYPE_CHECKING, Any

from ..node.node import BaseNode

if TYPE_CHECKING:
    from .plan import Plan


def mermaid(plan: "Plan") -> str:
    """Return a Mermaid flowchart: nodes in topological order, actions on the edges.

    A join is drawn as a hexagon, a nested graph, group or pipeline as a subgraph, a back edge
    dotted. The same graph gives the same text in every process.
    """
    return "\n".join(["flowchart LR", *_lines(plan, "n", "    ")])


def _lines(plan: "Plan", prefix: str, indent: str) -> list[str]:
    lines = []
    ids = {node: f"{prefix}{number}" for number, node in enumerate(plan.steps)}
    for node, step in plan.steps.items():
        lines += _node(node, step.name, ids[node], bool(step.bit), indent)
    for source, action, target in plan.edges():
        arrow = "-.->" if (source, target) in plan.back_edges else "-->"
        label = "" if action == "default" else f"|{_escape(action)}|"
        lines.append(f"{indent}{ids[source]} {arrow}{label} {ids[target]}")
    return lines


def _node(node: BaseNode[Any, Any], name: str, key: str, join: bool, indent: str) -> list[str]:
    plan: Plan | None = node._inner_plan()
    inner = node._inner()
    if len(inner) == 1 and inner[0].name == node.name:  # a branch that is a single node
        return _node(inner[0], name, key, join, indent)
    if plan is None and not inner:
        opened, closed = ("{{", "}}") if join else ("[", "]")
        return [f'{indent}{key}{opened}"{_escape(name)}"{closed}']
    lines = [f'{indent}subgraph {key}["{_escape(name)}"]']
    if plan is not None:
        lines += _lines(plan, f"{key}_", indent + "    ")
    else:
        ids = [f"{key}_{number}" for number in range(len(inner))]
        for part, part_id in zip(inner, ids, strict=True):
            lines += _node(part, part.name, part_id, False, indent + "    ")
        if node._streams:
            lines.append(f"{indent}    {' ==> '.join(ids)}")
    return [*lines, f"{indent}end"]


def _escape(text: str) -> str:
    return "".join(c if c.isalnum() or c in " _-./" else f"#{ord(c)};" for c in text)
