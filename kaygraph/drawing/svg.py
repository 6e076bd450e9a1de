"""A laid out box as SVG, without scripts, addresses or ``style=``."""

from collections.abc import Iterator, Sequence
from urllib.parse import quote

from .layout import HEAD, lay_out
from .shapes import Arrow, Box, Direction, Point
from .style import STYLE
from .text import written

_MARGIN = 16
_LINE = 18
_HALF = 4  # of the width of an arrow's head
_CUT = 6  # off the corners of a join
_LISTED = 100  # edges in the description


def svg(box: Box, direction: Direction, standalone: bool) -> str:
    """Return the drawing of a box: of its parts, or of itself if it has none.

    The same box gives the same text in every process.
    """
    outer = box if box.parts else Box(box.name, "", parts=[box])
    lay_out(outer, direction)
    width, height = outer.width + 2 * _MARGIN, outer.height + 2 * _MARGIN
    nodes = sum(1 for part in _within(outer) if not part.parts)
    text = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="kaygraph" role="img" width="{width}" '
        f'height="{height}" viewBox="{-_MARGIN} {-_MARGIN} {width} {height}">',
        f"<title>{written(box.name)}</title>",
        f"<desc>{written(_described(outer, nodes))}</desc>",
    ]
    if standalone:
        text.append(f"<style>{STYLE}</style>")
    text.append(
        f'<rect class="kaygraph-paper" x="{-_MARGIN}" y="{-_MARGIN}" width="{width}" '
        f'height="{height}"/>'
    )
    text += [_box(part) for part in _within(outer) if part.parts]
    turned = direction == "TB"
    for one in (outer, *_within(outer)):
        text += [_arrow(arrow, one.parts, turned) for arrow in one.arrows]
    text += [_box(part) for part in _within(outer) if not part.parts]
    text.append("</svg>")
    return "\n".join(text)


def _within(outer: Box) -> Iterator[Box]:
    """Yield the boxes inside one, each before its parts."""
    path = [iter(outer.parts)]
    while path:
        box = next(path[-1], None)
        if box is None:
            path.pop()
        else:
            yield box
            path.append(iter(box.parts))


def _described(outer: Box, nodes: int) -> str:
    """Return the drawing in words."""
    parts, more = list[str](), 0
    for box in (outer, *_within(outer)):
        for arrow in box.arrows:
            if len(parts) == _LISTED:
                more += 1
                continue
            action = "" if arrow.action == "default" else f" ({arrow.action})"
            source, target = box.parts[arrow.source].full_name, box.parts[arrow.target].full_name
            parts.append(f"{source} → {target}{action}")
    if more:
        parts.append(f"and {more} more")
    return "; ".join([f"{nodes} nodes" if nodes != 1 else "1 node", *parts])


def _names(*names: str) -> str:
    return quote(">".join(names), safe="/>:.-_~", errors="replace").replace(">", "&gt;")


def _box(box: Box) -> str:
    name = written(box.full_name)
    kind = f"kaygraph-{'part' if box.parts else 'node'} kaygraph-{box.kind}"
    text = [
        f'<g class="{kind}" id="node:{_names(box.full_name)}" data-node="{name}">'
        f"<title>{name}</title>"
    ]
    text.append(_outline(box))
    if box.many:  # the edge of another one behind it
        right, bottom = box.x + box.width, box.y + box.height
        line = f"M{right} {box.y + 4}h4V{bottom + 4}H{box.x + 4}v-4"
        text.append(f'<path class="kaygraph-behind" d="{line}"/>')
    if box.parts:
        text.append(f'<text x="{box.x + 14}" y="{box.y + 20}">{written(box.lines[0])}</text>')
    else:
        middle = box.x + box.width // 2
        top = box.y + (box.height - len(box.lines) * _LINE) // 2 + 14
        for number, line in enumerate(box.lines):
            text.append(f'<text x="{middle}" y="{top + number * _LINE}">{written(line)}</text>')
    text.append("</g>")
    return "".join(text)


def _outline(box: Box) -> str:
    if box.kind == "join":  # its corners are cut
        right, bottom = box.x + box.width, box.y + box.height
        return (
            f'<path class="kaygraph-shape" d="M{box.x} {box.y + _CUT}l{_CUT} -{_CUT}H{right - _CUT}'
            f'l{_CUT} {_CUT}V{bottom - _CUT}l-{_CUT} {_CUT}H{box.x + _CUT}l-{_CUT} -{_CUT}Z"/>'
        )
    return (
        f'<rect class="kaygraph-shape" x="{box.x}" y="{box.y}" width="{box.width}" '
        f'height="{box.height}" rx="6"/>'
    )


def _arrow(arrow: Arrow, parts: Sequence[Box], turned: bool) -> str:
    source, target = parts[arrow.source].full_name, parts[arrow.target].full_name
    kind = "kaygraph-edge"
    if arrow.back:
        kind += " kaygraph-back"
    if arrow.streams:
        kind += " kaygraph-stream"
    action = written(arrow.action)
    loop = arrow.source == arrow.target
    line = "".join(_line(run, turned, loop) for run in arrow.runs)
    head = _head(arrow, turned != loop) if arrow.ends else ""
    text = (
        f'<g class="{kind}" id="edge:{_names(source, target)}:{_names(arrow.action)}" '
        f'data-source="{written(source)}" data-target="{written(target)}" data-action="{action}">'
        f"<title>{written(source)} → {written(target)}: {action}</title>"
        f'<path class="kaygraph-line" d="{line}"/>{head}'
    )
    if arrow.label_at is not None and arrow.label:
        x, y = arrow.label_at
        text += f'<text x="{x}" y="{y + 4}">{written(arrow.label)}</text>'
    return f"{text}</g>"


def _line(run: Sequence[Point], turned: bool, loop: bool) -> str:
    """Return a path that leaves each layer and enters the next in the drawing's direction."""
    (x, y), *others = run
    path = [f"M{x} {y}"]
    if loop:
        return path[0] + "C" + " ".join(f"{a} {b}" for a, b in others)
    for a, b in others:
        if (a, b) == (x, y):
            continue
        if a == x:
            path.append(f"V{b}")
        elif b == y:
            path.append(f"H{a}")
        elif turned:
            path.append(f"C{x} {(y + b) // 2} {a} {(y + b) // 2} {a} {b}")
        else:
            path.append(f"C{(x + a) // 2} {y} {(x + a) // 2} {b} {a} {b}")
        x, y = a, b
    return "".join(path)


def _head(arrow: Arrow, upright: bool) -> str:
    """Return the head of an arrow, which points in the direction of the drawing, or against it."""
    x, y = arrow.runs[-1][-1]
    off = HEAD if arrow.back else -HEAD
    if upright:
        corners = f"L{x - _HALF} {y + off}H{x + _HALF}"
    else:
        corners = f"L{x + off} {y - _HALF}V{y + _HALF}"
    return f'<path class="kaygraph-head" d="M{x} {y}{corners}Z"/>'
