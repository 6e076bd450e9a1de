"""Wiring as in PocketFlow and KayGraph: one successor per action; the last one wired counts."""

import warnings
from collections.abc import Iterator, MutableMapping
from typing import Any

from ..node.wiring import Branch, Wired, ends, successors_of


class Replacing(Wired):
    """``>>`` leads to one place for each action: a new edge replaces the old one."""

    def __rshift__(self, other: Any) -> "Line":
        if isinstance(other, tuple) and len(other) == 2 and isinstance(other[0], str):
            action, node = other  # KayGraph's a >> ("action", b)
            line: Line = (self - action) >> node
            return line
        ends(other)  # refuses what cannot be wired, before anything is forgotten
        for tail in self._tails:
            if isinstance(tail, Replacing):
                _forget(tail, self._action)
        return Line(*ends(super().__rshift__(other)))

    def __sub__(self, action: str) -> "Line":
        return Line(*ends(super().__sub__(action)))


class Line(Replacing, Branch):
    """What ``a >> b`` and ``a - "action"`` return: in PocketFlow, ``a >> b`` is ``b``."""

    def __getattr__(self, name: str) -> Any:
        """Look at the last node."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._tails[-1], name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute of the last node."""
        if name.startswith("_"):
            object.__setattr__(self, name, value)
        else:
            setattr(self._tails[-1], name, value)


class OneEach(MutableMapping[str, Any]):
    """The node that each action of a node leads to; assigning wires.

    If an action leads to several nodes, which PocketFlow does not allow, it is the first.
    """

    def __init__(self, node: Any) -> None:
        self._node = node

    def __getitem__(self, action: str) -> Any:
        return successors_of(self._node)[action][0]

    def __setitem__(self, action: str, node: Any) -> None:
        if action in self:
            del self[action]
        (self._node - action) >> node

    def __delitem__(self, action: str) -> None:
        successors_of(self._node).remove(action)

    def __iter__(self) -> Iterator[str]:
        return iter(successors_of(self._node))

    def __len__(self) -> int:
        return len(successors_of(self._node))

    def __repr__(self) -> str:
        return repr(dict(self))


def _forget(node: Any, action: str) -> None:
    if action in successors_of(node):
        warnings.warn(f"{node!r} already had a successor for {action!r}: replaced", stacklevel=3)
        successors_of(node).remove(action)
