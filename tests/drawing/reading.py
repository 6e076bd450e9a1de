"""What is on a drawing, read from its SVG."""

import re
from dataclasses import dataclass, field
from typing import NamedTuple
from xml.etree import ElementTree

from kaygraph.drawing.text import width_of

SVG = "{http://www.w3.org/2000/svg}"
_NUMBERS = re.compile(r"([A-Za-z])([^A-Za-z]*)")


class Rectangle(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: "Rectangle") -> bool:
        apart = self.right <= other.left or other.right <= self.left
        return not (apart or self.bottom <= other.top or other.bottom <= self.top)

    def holds(self, other: "Rectangle") -> bool:
        wide = self.left <= other.left and other.right <= self.right
        return wide and self.top <= other.top and other.bottom <= self.bottom


@dataclass
class Drawing:
    """The nodes, the boxes around nodes, the edges and the texts of a drawing."""

    paper: Rectangle
    title: str
    description: str
    nodes: dict[str, Rectangle] = field(default_factory=dict)
    parts: dict[str, Rectangle] = field(default_factory=dict)
    edges: dict[tuple[str, str, str], list[list[tuple[float, float]]]] = field(default_factory=dict)
    classes: dict[str, set[str]] = field(default_factory=dict)  # by id
    labels: list[tuple[str, Rectangle]] = field(default_factory=list)  # of edges
    heads: dict[tuple[str, str, str], list[tuple[float, float]]] = field(default_factory=dict)
    stacked: set[str] = field(default_factory=set)  # nodes and boxes with another behind them
    ids: list[str] = field(default_factory=list)


def read(svg: str) -> Drawing:
    """Read a drawing; a text that is no XML raises."""
    root = ElementTree.fromstring(svg)
    left, top, width, height = map(float, root.attrib["viewBox"].split())
    drawing = Drawing(
        Rectangle(left, top, left + width, top + height),
        root.findtext(f"{SVG}title") or "",
        root.findtext(f"{SVG}desc") or "",
    )
    for element in root.iter():
        assert "style" not in element.attrib
        assert not any(name.startswith("on") or "href" in name for name in element.attrib)
    for group in root.iter(f"{SVG}g"):
        classes = set(group.attrib["class"].split())
        drawing.ids.append(group.attrib["id"])
        drawing.classes[group.attrib["id"]] = classes
        if "kaygraph-edge" in classes:
            ends = (group.attrib["data-source"], group.attrib["data-target"])
            line = next(path for path in group if path.get("class") == "kaygraph-line")
            assert (*ends, group.attrib["data-action"]) not in drawing.edges
            edge = (*ends, group.attrib["data-action"])
            drawing.edges[edge] = runs_of(line.attrib["d"])
            for path in group:
                if path.get("class") == "kaygraph-head":
                    drawing.heads[edge] = runs_of(path.attrib["d"])[0]
            for text in group.iter(f"{SVG}text"):
                x, y = float(text.attrib["x"]), float(text.attrib["y"])
                half = width_of(text.text or "", 12) / 2
                drawing.labels.append((text.text or "", Rectangle(x - half, y - 10, x + half, y)))
        else:
            found = drawing.parts if "kaygraph-part" in classes else drawing.nodes
            assert group.attrib["data-node"] not in found
            shape = next(shape for shape in group if shape.get("class") == "kaygraph-shape")
            found[group.attrib["data-node"]] = outline_of(shape)
            if any(path.get("class") == "kaygraph-behind" for path in group):
                drawing.stacked.add(group.attrib["data-node"])
    return drawing


def outline_of(shape: ElementTree.Element) -> Rectangle:
    if shape.tag == f"{SVG}rect":
        x, y, width, height = (float(shape.attrib[name]) for name in ("x", "y", "width", "height"))
        return Rectangle(x, y, x + width, y + height)
    (points,) = runs_of(shape.attrib["d"])
    across, down = zip(*points, strict=True)
    return Rectangle(min(across), min(down), max(across), max(down))


def runs_of(path: str) -> list[list[tuple[float, float]]]:
    """Return the points of a path, piece by piece; of a curve where it begins and ends."""
    runs: list[list[tuple[float, float]]] = []
    x = y = 0.0
    for command, text in _NUMBERS.findall(path):
        numbers = [float(number) for number in text.split()]
        if command == "M":
            runs.append([])
        if command in "MLC":
            x, y = numbers[-2:]
        elif command == "l":
            x, y = x + numbers[0], y + numbers[1]
        elif command == "H":
            (x,) = numbers
        elif command == "V":
            (y,) = numbers
        if command != "Z":
            runs[-1].append((x, y))
    return runs
