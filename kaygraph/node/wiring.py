"""The wiring: what ``>>``, ``-`` and lists mean between nodes."""

import sys
import warnings
from collections.abc import Collection, Sequence
from importlib import import_module
from typing import Any, Protocol
from weakref import ref

Nodes = Sequence[Any]  # of BaseNode, which stands below


class Planned(Protocol):
    """The plan of a graph, valid until one of its nodes is rewired."""

    stale: bool


class Successors(dict[str, list[Any]]):
    """The successors of a node: a list of nodes per action, in the order of the wiring.

    It knows the plans that its node is part of and marks them as stale when it changes: a run
    checks one attribute of its plan, and wiring elsewhere costs it nothing.
    """

    __slots__ = ("_cells", "_plans", "_room")

    def __init__(self) -> None:
        # In a notebook: the cell execution that wired each edge, by action and node.
        self._cells: dict[tuple[str, int], int] | None = None
        self._plans: set[ref[Planned]] = set()
        self._room = 8  # how many plans there may be before dead ones are removed

    def add(self, action: str, node: Any) -> None:
        """Add an edge to a node for an action, unless it exists."""
        nodes = self.setdefault(action, [])
        if not any(known is node for known in nodes):  # two nodes may be equal
            if "IPython" in sys.modules and (cell := current_cell()) is not None:
                self._replace(action, node, cell)
            nodes.append(node)
            self._changed()

    def _replace(self, action: str, node: Any, cell: int) -> None:
        """Remove the nodes that this one replaces: the cell that wired them runs again."""
        cells = self._cells = self._cells or {}
        for known in tuple(self[action]):
            earlier = cells.get((action, id(known)), cell) < cell
            if earlier and _stands_for(node, known):
                self[action][:] = [one for one in self[action] if one is not known]
                del cells[action, id(known)]
                warnings.warn(
                    f"{node!r} replaces the one that an earlier cell wired. To keep "
                    "both, give it its own name: name=",
                    stacklevel=4,
                )
        cells[action, id(node)] = cell

    def remove(self, action: str) -> None:
        """Remove the edges of an action."""
        del self[action]
        self._changed()

    def watch(self, plan: Planned) -> None:
        """Mark this plan as stale when the node is rewired."""
        if len(self._plans) >= self._room:
            # One by one: another thread may be adding one.
            for known in tuple(self._plans):
                if (kept := known()) is None or kept.stale:
                    self._plans.discard(known)
            self._room = 2 * len(self._plans) + 8
        self._plans.add(ref(plan))

    def _changed(self) -> None:
        for known in tuple(self._plans):
            self._plans.discard(known)
            if (plan := known()) is not None:
                plan.stale = True

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)  # the plans stay here


def current_cell() -> int | None:
    """Return the number of the cell that runs in IPython, if any."""
    shell = sys.modules["IPython"].get_ipython()
    return getattr(shell, "execution_count", None)


def _stands_for(node: Any, known: Any) -> bool:
    """Whether two nodes were created by the same code, as far as can be known."""
    one, other = type(node), type(known)
    same = (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)
    return same and node.name == known.name


def successors_of(node: Any) -> Successors:
    """Return the edges of a node, even if its own attribute overrides ``successors``."""
    successors: Successors = node._successors
    return successors


class Wired:
    """What can be part of a chain of ``>>``: it has heads to lead to and tails to lead on from."""

    _heads: Nodes
    _tails: Nodes
    _action = "default"

    def __rshift__(self, other: Any) -> "Chain":
        heads, tails, action = ends(other)
        for tail in self._tails:
            for head in heads:
                tail._successors.add(self._action, head)
        if action != "default":
            return Branch(self._heads, tails, action)
        return Chain(self._heads, tails)

    def __rrshift__(self, other: Any) -> "Chain":
        heads, tails, _ = ends(other)
        return Chain(heads, tails) >> self

    def __sub__(self, action: str) -> "Branch":
        if not isinstance(action, str) or not action:
            raise TypeError(
                f"an action is a non-empty string, as in a - 'retry' >> b; got {action!r}"
            )
        return Branch(self._heads, self._tails, action)

    def _repr_mimebundle_(self, include: Collection[str] | None = None, **_: Any) -> dict[str, str]:
        """Show it in a notebook: drawn, and as text."""
        # By its name, since it builds on graphs, which build on the wiring.
        notebook = import_module("kaygraph.graph.notebook")
        bundle: dict[str, str] = notebook.shown(self, self._heads, include or ())
        return bundle


class Chain(Wired):
    """What ``a >> b`` returns: it remembers where the chain begins and where it ends."""

    def __init__(self, heads: Nodes, tails: Nodes) -> None:
        self._heads, self._tails = tuple(heads), tuple(tails)

    def __or__(self, other: Any) -> Any:
        raise TypeError("'|' binds weaker than '>>': write (a | b) >> c, with parentheses")

    __ror__ = __or__

    def __repr__(self) -> str:
        def named(nodes: Nodes) -> str:
            names = ", ".join(node.name for node in nodes)
            return names if len(nodes) == 1 else f"[{names}]"

        return f"<{type(self).__name__} {named(self._heads)} … {named(self._tails)}>"


class Branch(Chain):
    """What ``a - "action"`` returns: the next ``>>`` is for that action."""

    def __init__(
        self,
        heads: Nodes,
        tails: Nodes,
        action: str,
    ) -> None:
        super().__init__(heads, tails)
        self._action = action


def ends(
    thing: Any,
) -> tuple[Nodes, Nodes, str]:
    """Return the heads, the tails and the action of an operand of ``>>``."""
    if isinstance(thing, Wired):
        return thing._heads, thing._tails, thing._action
    if isinstance(thing, list | tuple) and thing:
        parts = [ends(part) for part in thing]
        if all(action == "default" for _, _, action in parts):
            return (
                [head for heads, _, _ in parts for head in heads],
                [tail for _, tails, _ in parts for tail in tails],
                "default",
            )
    if isinstance(thing, type):
        raise TypeError(f"cannot wire the class {thing.__name__}: did you mean {thing.__name__}()?")
    raise TypeError(
        f"cannot wire {thing!r}: '>>' connects nodes, chains and lists of these, "
        "as in a >> [b, c >> d] >> e"
    )


def unique(names: Sequence[str], taken: Collection[str] = ()) -> list[str]:
    """Number repeated and taken names: ``Fetch``, ``Fetch-2``."""
    used = set(taken)
    last: dict[str, int] = {}  # the last number given
    numbered = []
    for name in names:
        number, candidate = last.get(name, 1), name
        while candidate in used:
            number += 1
            candidate = f"{name}-{number}"
        last[name] = number
        used.add(candidate)
        numbered.append(candidate)
    return numbered
