"""Wiring as in PocketFlow and KayGraph: one successor per action; the last one wired counts."""

import warnings
from typing import Any

from ..node.wiring import Branch, Wired, ends, successors_of


class Replacing(Wired):
    """``>>`` leads to one place for each action: what is wired anew stands for what was there."""

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
    """What ``a >> b`` and ``a - "action"`` return."""

    def __getattr__(self, name: str) -> Any:
        """Look at the last node: in PocketFlow, ``a >> b`` is ``b``."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._tails[-1], name)


def _forget(node: Any, action: str) -> None:
    if action in successors_of(node):
        warnings.warn(f"{node!r} already had a successor for {action!r}: replaced", stacklevel=3)
        successors_of(node).remove(action)
