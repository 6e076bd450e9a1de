"""A graph as boxes and arrows, for its drawing as SVG."""

import re
from collections.abc import Iterator

from .._formatting import redacted
from .._validation import check_choice
from ..batch.batch import BatchNode
from ..drawing.shapes import Arrow, Box, Direction
from ..drawing.svg import svg
from ..errors import GraphDefinitionError
from ..node.wiring import unique
from .loops import AnyNode
from .plan import CONTAINS_ITSELF, Plan

_DIRECTION = check_choice("LR", "TB")

# Without these, redacted() would hide nothing; many names are checked.
_SUSPECT = re.compile("[:=,]|-----|bearer|basic", re.IGNORECASE)


def drawn(node: AnyNode, direction: Direction = "LR", standalone: bool = True) -> str:
    """Return a graph, or any other node that has parts, as SVG."""
    return svg(box_of(node), _DIRECTION("direction", direction), standalone)


def box_of(node: AnyNode) -> Box:
    """Return a node and everything inside it.

    The parts of the outermost graph have their own names; those of anything else also have the
    enclosing names, as in events.
    """
    outer = Box(_public(node.name), _public(node.name))
    prefix = "" if node.composition.kind == "graph" else f"{node.name}/"
    around = [node]
    path = [_filled(outer, node, prefix)]
    while path:  # no recursion at any depth
        within = next(path[-1], None)
        if within is None:
            path.pop()
            around.pop()
        elif within[1].composition.nodes and any(within[1] is one for one in around):
            raise GraphDefinitionError(f"{within[1]!r} {CONTAINS_ITSELF}")
        else:
            path.append(_filled(*within))
            around.append(within[1])
    return outer


def named(graph: AnyNode) -> Iterator[tuple[str, AnyNode]]:
    """Yield the nodes of a graph and of everything inside it, by the names that events use."""
    path = [_filled(Box("", ""), graph, "")]
    while path:
        within = next(path[-1], None)
        if within is None:
            path.pop()
            continue
        _, node, prefix = within
        name = prefix[:-1]
        yield name, node
        while len(parts := node.composition.nodes) == 1 and parts[0].name == node.name:
            node = parts[0]  # a branch of a single node
            yield name, node
        path.append(_filled(*within))


def _public(text: str) -> str:
    """Return a name or an action without what looks like a secret."""
    return redacted(text) if _SUSPECT.search(text) else text


def _filled(box: Box, node: AnyNode, prefix: str) -> Iterator[tuple[Box, AnyNode, str]]:
    """Fill in a box, and yield its parts, which are filled in next."""
    parts = node.composition
    while len(parts.nodes) == 1 and parts.nodes[0].name == box.name and box.kind == "branch":
        node = parts.nodes[0]  # a branch of a single node
        parts = node.composition
    joins = box.kind == "join"
    box.kind = "join" if joins and not parts.nodes else parts.kind
    in_rounds = parts.kind == "graph" and getattr(node, "in_rounds", False) is True
    box.many = in_rounds or isinstance(node, BatchNode)
    plan = parts.plan
    if isinstance(plan, Plan):
        names = [step.name for step in plan.steps.values()]
        places = {one: number for number, one in enumerate(plan.steps)}
        back = plan.back_edges
        box.arrows = [
            Arrow(places[source], places[target], _public(action), (source, target) in back)
            for source, action, target in plan.edges()
        ]
    else:
        names = unique([part.name for part in parts.nodes])
        if parts.kind == "pipeline":
            box.arrows = [Arrow(n, n + 1, streams=True) for n in range(len(names) - 1)]
    box.parts = [Box(_public(name), _public(f"{prefix}{name}")) for name in names]
    for part, name, one in zip(box.parts, names, parts.nodes, strict=True):
        if isinstance(plan, Plan) and plan.steps[one].bit:
            part.kind = "join"
        elif parts.kind == "group":
            part.kind = "branch"
        yield part, one, f"{prefix}{name}/"
