"""What is drawn: boxes, nested boxes, and arrows between the parts of a box."""

from dataclasses import dataclass, field
from typing import Literal

Direction = Literal["LR", "TB"]

Point = tuple[int, int]


@dataclass(slots=True, eq=False)
class Arrow:
    """An edge between two parts of the same box.

    Attributes:
        source: The index of a part in the list of parts.
        target: The same; equal to ``source`` for a loop.
        action: Its action; "default" is not written.
        back: Whether it leads back, against the direction of the drawing.
        streams: Whether items flow along it one by one.
        runs: Its line: the points of connected pieces, in pixels.
        label_at: The centre of its label; None without one.
        ends: Whether the line leads to its target; otherwise it meets that of another arrow to the
            same target.
    """

    source: int
    target: int
    action: str = "default"
    back: bool = False
    streams: bool = False
    runs: list[list[Point]] = field(default_factory=list)
    label: str = ""
    label_at: Point | None = None
    ends: bool = True


@dataclass(slots=True, eq=False)
class Box:
    """A node, or a graph, group, pipeline or compound with its parts.

    Attributes:
        name: Its name within the enclosing box.
        full_name: The name that events and reports use: ``Inner/Fetch``.
        kind: "node", "join", "graph", "group", "pipeline" or "compound".
        many: Whether it works on many items, or runs in many rounds.
        parts: In an order in which the arrows that do not lead back point forward.
        lines: The name, broken into lines.
        x, y: The upper left corner, in pixels.
    """

    name: str
    full_name: str
    kind: str = "node"
    many: bool = False
    parts: list["Box"] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    x: int = 0
    y: int = 0
    width: int = 0
    height: int = 0
