"""The drawing of what runs, made on a page's first request."""

from typing import Any

from ..drawing.svg import svg
from ..graph.picture import box_of

MOST = 2000  # nodes: a larger drawing is a file of megabytes


class Picture:
    """Draws a node with all its parts, once for each direction."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self._drawn: dict[bool, str] = {}

    def __call__(self, down: bool = False) -> str:
        """Return it left to right, or from the top; an empty text if it is too large."""
        if down not in self._drawn:
            self._drawn[down] = self._draw(down)
        return self._drawn[down]

    def _draw(self, down: bool) -> str:
        box = box_of(self._node)
        boxes = [box]
        for one in boxes:
            boxes += one.parts
            if len(boxes) > MOST:
                return ""
        return svg(box, "TB" if down else "LR", False)
