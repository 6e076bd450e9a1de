"""Where the ``exec`` of a node is to run: what it says itself, or else the graph around it."""

from typing import Any

from ..run.frame import Rules

# Their work is ours, and done where they hold what it needs, unless they call a function of yours.
READY_MADE = ("kaygraph.nodes.", "kaygraph.patterns.")


def place_for(node: Any, rules: Rules) -> Any:
    """Return the ``run_in`` of a node in a graph with these rules; None: none was set.

    What a graph says does not hold for all: "thread" is for a ``def``, and a node that holds
    something which its ``exec`` may need goes to no other process.
    """
    place = node.run_in
    if place is not None or rules.run_in is None:
        return place
    if rules.run_in == "thread" and node.exec_kind not in ("sync", "generator"):
        return None
    return rules.run_in if rules.run_in in ("loop", "thread") or _may_leave(node) else None


def _may_leave(node: Any) -> bool:
    has_lifespan = node.hook_kinds[0]
    exec_ = getattr(node.exec, "__func__", node.exec)
    is_ready_made = str(exec_.__module__).startswith(READY_MADE)
    return not has_lifespan and (getattr(node, "calls_function", False) or not is_ready_made)
