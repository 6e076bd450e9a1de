"""The positions of boxes, of the boxes inside them, and of the lines between them."""

from collections.abc import Sequence

from .layers import Joins, Layers, Route, Size
from .order import sort_layers
from .shapes import Arrow, Box, Direction, Point
from .spacing import place_across
from .text import broken, shortened, width_of

FONT, SMALL = 14, 12  # of names and of labels, in pixels
_WIDEST, _LINES = 190, 3  # of a name
_WIDEST_LABEL = 150
_LINE = 18  # the height of a line of text
_PADDING = 14
_TITLE = 30  # the height of the name of a box with parts, above them
_LOOP = 16  # how far a loop sticks out
HEAD = 8  # the length of an arrow's head
_BACK = 10  # between the middle of a box and the ends of arrows that lead back


def lay_out(outer: Box, direction: Direction) -> None:
    """Give every box inside this one its position and size, and every arrow its line.

    The outer box itself is not drawn: its parts start at (0, 0), and its size is that of the
    drawing.
    """
    boxes = [outer]
    for box in boxes:
        boxes += box.parts
    for box in reversed(boxes):  # from the innermost out
        if box.parts:
            _arrange(box, direction)
            if box is not outer:
                _enclose(box)
        else:
            box.lines = broken(box.name, FONT, _WIDEST, _LINES)
            box.width = max(width_of(line, FONT) for line in box.lines) + 2 * _PADDING
            box.width = max(48, box.width + box.width % 2)  # even, so that it has a middle
            box.height = len(box.lines) * _LINE + 16
    for box in boxes:  # from the outermost in: the parts of a box move with it
        left, top = (box.x + _PADDING, box.y + _TITLE) if box is not outer else (0, 0)
        for part in box.parts:
            part.x += left
            part.y += top
        for arrow in box.arrows:
            arrow.runs = [[(x + left, y + top) for x, y in run] for run in arrow.runs]
            if arrow.label_at is not None:
                x, y = arrow.label_at
                arrow.label_at = x + left, y + top


def _enclose(box: Box) -> None:
    """Add room for the frame and the name of a box with parts."""
    title = shortened(box.name, SMALL, max(_WIDEST, box.width))
    box.lines = [title]
    wanted = max(box.width, width_of(title, SMALL))
    wanted += wanted % 2
    aside = (wanted - box.width) // 2
    for part in box.parts:
        part.x += aside
    for arrow in box.arrows:
        arrow.runs = [[(x + aside, y) for x, y in run] for run in arrow.runs]
        if arrow.label_at is not None:
            arrow.label_at = arrow.label_at[0] + aside, arrow.label_at[1]
    box.width = wanted + 2 * _PADDING
    box.height += _TITLE + _PADDING + box.height % 2


def _arrange(box: Box, direction: Direction) -> None:
    """Place the parts of a box from (0, 0), and find its size without a frame."""
    flat = direction == "LR"
    loops = _loops(box)
    for arrow in box.arrows:
        if arrow.action != "default":
            arrow.label = shortened(arrow.action, SMALL, _WIDEST_LABEL)
    for arrows in loops.values():
        texts = dict.fromkeys(arrow.label for arrow in arrows if arrow.label)
        for arrow in arrows:
            arrow.label = ""
        arrows[0].label = shortened(", ".join(texts), SMALL, _WIDEST_LABEL)
    sizes = [_room(part, loops.get(node), flat) for node, part in enumerate(box.parts)]
    labels = [_turned(_label_size(arrow.label), flat) for arrow in box.arrows]
    layers = Layers(sizes, box.arrows, labels)
    sort_layers(layers)
    across = place_across(layers)
    starts, ends = _along(layers, across)
    lines = _Lines(box, layers, across, starts, ends, flat)
    for node, part in enumerate(box.parts):
        along = (starts[layers.layer[node]] + ends[layers.layer[node]]) // 2
        part.x, part.y = _turned((along, across[node]), flat)
        part.x -= part.width // 2
        part.y -= part.height // 2
    for route in layers.routes:
        lines.draw(route)
    for node, arrows in loops.items():
        _draw_loops(box.parts[node], arrows, flat)
    bottom = max(
        (across[item] + (layers.sizes[item][1] + 1) // 2 for row in layers.rows for item in row),
        default=0,
    )
    box.width, box.height = _turned((ends[-1] if ends else 0, bottom), flat)


def _label_size(text: str) -> Size:
    width = width_of(text, SMALL) + 8
    return width + width % 2, _LINE


def _turned(point: Point, flat: bool) -> Point:
    """Return (along, across) as (x, y), or the other way round."""
    return point if flat else (point[1], point[0])


def _loops(box: Box) -> dict[int, list[Arrow]]:
    loops: dict[int, list[Arrow]] = {}
    for arrow in box.arrows:
        if arrow.source == arrow.target:
            loops.setdefault(arrow.source, []).append(arrow)
    return loops


def _room(part: Box, loops: Sequence[Arrow] | None, flat: bool) -> Size:
    """Return the size that a part needs: the same on both sides, so that its middle stays."""
    along, across = _turned((part.width, part.height), flat)
    if loops:
        label = _label_size(loops[0].label)[0] if loops[0].label else 0
        if flat:
            along = max(along, label)
        across += 2 * (_LOOP + ((_LINE if flat else label) if label else 0))
    return along, across


def _along(layers: Layers, across: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return the start and end of each layer. Lines that go far across need a wider gap."""
    starts, ends, at = list[int](), list[int](), 0
    for row in layers.rows:
        starts.append(at)
        at += max(layers.sizes[item][0] for item in row)
        ends.append(at)
        steepest = max(
            [abs(across[item] - across[other]) for item in row for other, _ in layers.after[item]],
            default=0,
        )
        at += min(140, 34 + HEAD + steepest // 6)
    return starts, ends


class _Lines:
    """Draws the lines between the parts of a box."""

    def __init__(
        self,
        box: Box,
        layers: Layers,
        across: Sequence[int],
        starts: Sequence[int],
        ends: Sequence[int],
        flat: bool,
    ) -> None:
        self._box, self._layers, self._across, self._flat = box, layers, across, flat
        self._starts, self._ends = starts, ends
        self._back_in: dict[int, int] = {}  # per node: how far from its middle lines lead back
        self._back_out: dict[int, int] = {}
        for route in layers.routes:
            if route.arrow.back:
                first, second, *_ = route.items
                *_, before, last = route.items
                self._note(self._back_in, first, second, layers.after)
                self._note(self._back_out, last, before, layers.before)

    def _note(
        self, found: dict[int, int], node: int, neighbour: int, joined: Sequence[Joins]
    ) -> None:
        """Record the side of the middle on which the line goes on."""
        if node < self._layers.nodes and node not in found:
            forward = [self._across[other] for other, _ in joined[node] if other != neighbour]
            if not forward:
                found[node] = 0
                return
            middle = sum(forward) / len(forward)
            found[node] = -_BACK if self._across[neighbour] < middle else _BACK

    def draw(self, route: Route) -> None:
        """Draw a line through the items of a route."""
        arrow, layers, flat = route.arrow, self._layers, self._flat
        runs: list[list[Point]] = [[]]
        last = len(route.items) - 1
        for number, item in enumerate(route.items):
            middle, layer = self._across[item], layers.layer[item]
            start, end = self._starts[layer], self._ends[layer]
            if item < layers.nodes:
                along, _ = _turned(
                    (self._box.parts[item].width, self._box.parts[item].height), flat
                )
                left = (start + end) // 2 - along // 2
                right = left + along
                if arrow.back:
                    middle += (self._back_in if number == 0 else self._back_out).get(item, 0)
                if number == 0:
                    runs[-1] += [(right, middle), (end + (HEAD if arrow.back else 0), middle)]
                else:
                    runs[-1] += [(start - (0 if arrow.back else HEAD), middle), (left, middle)]
            elif item == route.label:
                half = layers.sizes[item][0] // 2
                # Near its start.
                centre = end - half if arrow.back else start + half
                runs[-1] += [(start, middle), (centre - half, middle)]
                runs.append([(centre + half, middle), (end, middle)])
                arrow.label_at = _turned((centre, middle), flat)
            elif number == 0:  # where it meets another line
                runs[-1].append((end, middle))
            elif number == last:
                runs[-1].append((start, middle))
            else:
                runs[-1] += [(start, middle), (end, middle)]
        if arrow.back:
            runs = [run[::-1] for run in reversed(runs)]
        arrow.runs = [[_turned(point, flat) for point in run] for run in runs]


def _draw_loops(part: Box, arrows: Sequence[Arrow], flat: bool) -> None:
    """Draw the loops of a node at its side, all on one line."""
    far, near = (part.y + part.height, part.x) if flat else (part.x + part.width, part.y)
    length = part.width if flat else part.height
    begin, end = near + length * 5 // 8, near + length * 3 // 8
    corners = [(begin, far), (begin, far + _LOOP), (end, far + _LOOP), (end, far)]
    for arrow in arrows:
        arrow.runs = [[_turned(point, flat) for point in corners]]
    if arrows[0].label:
        at = far + _LOOP + (_LINE // 2 if flat else width_of(arrows[0].label, SMALL) // 2 + 4)
        arrows[0].label_at = _turned(((begin + end) // 2, at), flat)
