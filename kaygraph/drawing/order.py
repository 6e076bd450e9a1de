"""The order within layers: four sweeps by barycentre, keeping the one with the fewest crossings.

Source: Sugiyama, Tagawa and Toda, as for the layers.
"""

from bisect import bisect_right, insort
from collections.abc import Sequence

from .layers import Joins, Layers

SWEEPS = 4


def sort_layers(layers: Layers) -> None:
    """Sort the items of each layer so that few lines cross."""
    place = [0] * len(layers.sizes)
    for row in layers.rows:
        _number(row, place)
    best, least = [row.copy() for row in layers.rows], _crossings(layers, place)
    for sweep in range(SWEEPS):
        if not least:
            break
        if sweep % 2:
            rows, joins = layers.rows[-2::-1], layers.after
        else:
            rows, joins = layers.rows[1:], layers.before
        for row in rows:
            _sort(row, joins, place)
        found = _crossings(layers, place)
        if found < least:
            best, least = [row.copy() for row in layers.rows], found
    layers.rows = best


def _number(row: Sequence[int], place: list[int]) -> None:
    for number, item in enumerate(row):
        place[item] = number


def _sort(row: list[int], joins: Sequence[Joins], place: list[int]) -> None:
    """Sort a row by the centre of each item's neighbours; items without any stay."""
    if len(row) < 2:
        return
    middle: dict[int, float] = {}
    for item in row:
        joined = joins[item]
        if len(joined) == 1:
            middle[item] = place[joined[0][0]]
        elif joined:
            middle[item] = sum([place[other] for other, _ in joined]) / len(joined)
        else:
            middle[item] = place[item]
    row.sort(key=middle.__getitem__)
    _number(row, place)


def _crossings(layers: Layers, place: Sequence[int]) -> int:
    """Return how many lines cross between neighbouring layers."""
    crossings = 0
    for row in layers.rows:
        ends: list[int] = []
        for item in row:
            joined = layers.after[item]
            if len(joined) == 1:
                ends.append(place[joined[0][0]])
            elif joined:
                ends += sorted([place[other] for other, _ in joined])
        if ends != sorted(ends):
            seen: list[int] = []
            for end in ends:
                crossings += len(seen) - bisect_right(seen, end)
                insort(seen, end)
    return crossings
