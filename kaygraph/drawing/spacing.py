"""Positions of items within their layers: as near to their neighbours as possible.

One layer at a time: the positions minimise the weighted squares of the distances while keeping the
order and the gaps. That is an isotonic regression, found by pooling adjacent violators (Barlow,
Bartholomew, Bremner and Brunk, "Statistical inference under order restrictions", 1972). Lines that
pass many layers weigh most, so that they are straight (Gansner, Koutsofios, North and Vo, "A
technique for drawing directed graphs", 1993).
"""

from collections.abc import Sequence
from itertools import pairwise
from math import floor

from .layers import Joins, Layers

NODE_GAP, LINE_GAP = 16, 12
_SWEEPS, _MOVES = 20, 4000  # there and back: at most, and at most this many items in all of them
_NEAR = 10  # pixels: a line that is nearly straight is made straight


def place_across(layers: Layers) -> list[int]:
    """Return the middle of each item across the direction of the drawing, in pixels.

    The first item of the row that extends furthest starts at 0.
    """
    middle = [0.0] * len(layers.sizes)
    offsets = [_offsets(layers, row) for row in layers.rows]
    rows = [*zip(layers.rows, offsets, strict=True)]
    for row, offset in rows:
        for item, least in zip(row, offset, strict=True):
            middle[item] = least - offset[-1] / 2
    above, below = layers.before, layers.after
    both = [one + other for one, other in zip(above, below, strict=True)]
    down, up = rows[1:], rows[-2::-1]
    sweeps = max(1, min(_SWEEPS, _MOVES // len(middle)) if middle else 0)
    for towards, order in ((above, down), (below, up), *((both, rows), (both, up)) * sweeps):
        for row, offset in order:
            _settle(row, offset, towards, middle)
    placed = [floor(place + 0.5) for place in middle]
    for towards, order in ((above, down), (below, up)):
        for row, offset in order:
            _straighten(row, offset, towards, placed)
    top = min((placed[row[0]] - layers.sizes[row[0]][1] // 2 for row in layers.rows), default=0)
    return [place - top for place in placed]


def _offsets(layers: Layers, row: Sequence[int]) -> list[int]:
    """Return the least distance of the middle of each item from that of the first."""
    offsets, sizes, nodes = [0], layers.sizes, layers.nodes
    for one, other in pairwise(row):
        gap = NODE_GAP if one < nodes and other < nodes else LINE_GAP
        offsets.append(offsets[-1] + (sizes[one][1] + sizes[other][1] + 1) // 2 + gap)
    return offsets


def _settle(
    row: Sequence[int], offsets: Sequence[int], towards: Sequence[Joins], middle: list[float]
) -> None:
    """Move the items of a row towards their neighbours, keeping order and gaps."""
    pools: list[tuple[float, float, int]] = []  # position minus offset, weight, items
    for item, offset in zip(row, offsets, strict=True):
        place = total = 0.0
        for other, pull in towards[item]:
            place += middle[other] * pull
            total += pull
        if total:
            place = place / total - offset
        else:
            place, total = middle[item] - offset, 0.01
        count = 1
        while pools and pools[-1][0] > place:
            before, weight, items = pools.pop()
            place = (before * weight + place * total) / (weight + total)
            total += weight
            count += items
        pools.append((place, total, count))
    number = 0
    for place, _, count in pools:
        for _ in range(count):
            middle[row[number]] = place + offsets[number]
            number += 1


def _straighten(
    row: Sequence[int], offsets: Sequence[int], towards: Sequence[Joins], placed: list[int]
) -> None:
    """Align items that are nearly in line with their strongest neighbour, if there is room."""
    last = len(row) - 1
    for number, item in enumerate(row):
        if not (joined := towards[item]):
            continue
        wanted = placed[joined[0][0] if len(joined) == 1 else max(joined, key=_strength)[0]]
        at = placed[item]
        if at == wanted or abs(at - wanted) > _NEAR:
            continue
        offset = offsets[number]
        if wanted < at:
            free = number == 0 or wanted >= placed[row[number - 1]] + offset - offsets[number - 1]
        else:
            free = number == last or (
                wanted <= placed[row[number + 1]] - offsets[number + 1] + offset
            )
        if free:
            placed[item] = wanted


def _strength(pull: tuple[int, float]) -> float:
    return pull[1]
