"""How many cases each promise is tried with, and where the counts go.

``KAYGRAPH_SEEDS`` multiplies all of them: ``KAYGRAPH_SEEDS=0.1`` for a quick look, ``=10`` for a
night. ``pytest -m soak`` runs those that the suite leaves out, in parts like those of the suite.
"""

import math
import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

FACTOR = float(os.environ.get("KAYGRAPH_SEEDS", "1"))

TALLY: Counter[str] = Counter()  # what was tried, over the whole session; shown at its end


def part_size(total: int, parts: int) -> int:
    """Return how many of ``total`` cases each of so many parts has."""
    return max(1, math.ceil(total * min(1.0, FACTOR) / parts))


def parts(suite: int, soak: int = 0) -> list[Any]:
    """Return the numbers of the parts of a test, of which the last are for the soak.

    More cases are more parts: none takes longer than a test may.
    """
    times = max(1, math.ceil(FACTOR))
    return [
        pytest.param(number, marks=pytest.mark.soak if number >= suite * times else ())
        for number in range((suite + soak) * times)
    ]


def seeds_of(part: int, size: int) -> range:
    """Return the seeds of a part: no two parts share one."""
    return range(part * size, (part + 1) * size)


def tell(tally: Callable[[str, int], None], promise: str, counts: Counter[str], cases: int) -> None:
    """Hand the counts of a part on; of many cases, some are of every kind."""
    for what, count in counts.items():
        assert count or cases < 500, what
        tally(f"{promise} {what}", count)
