"""How many cases each promise is tried with, and where the counts go.

``python -m pytest`` tries a twentieth of them, ``-m proofs`` all of them, and ``-m soak`` many
others. ``KAYGRAPH_SEEDS`` multiplies the last two figures: ``KAYGRAPH_SEEDS=10`` for a night.
"""

import math
import os
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

FACTOR = float(os.environ.get("KAYGRAPH_SEEDS", "1"))
FAST = 1 / 20  # of the figures of the proofs

TALLY: Counter[str] = Counter()  # what was tried, over the whole session; shown at its end


def cases(
    proof: int, size: int, soak: int = 0, fast: float = FAST, *, programs: bool = False
) -> list[Any]:
    """Return the ranges of seeds that a test is parametrized with.

    Args:
        proof: How many seeds are a proof.
        fast: The share of them that is tried in every run.
        size: How many a test tries at most: none takes longer than a test may.
        soak: How many more the soak tries.
        programs: Each starts programs, so that all are proofs.
    """
    end = max(1, math.ceil(proof * FACTOR))
    return [
        pytest.param(
            range(math.ceil(proof * fast)), id="fast", marks=[pytest.mark.proofs] * programs
        ),
        *_parts("proof", range(end), size, pytest.mark.proofs),
        *_parts("soak", range(end, end + math.ceil(soak * FACTOR)), size, pytest.mark.soak),
    ]


def _parts(name: str, seeds: range, size: int, mark: Any) -> Iterator[Any]:
    for number, first in enumerate(range(0, len(seeds), size)):
        yield pytest.param(seeds[first : first + size], id=f"{name}{number}", marks=mark)


def tell(tally: Callable[[str, int], None], promise: str, counts: Counter[str], cases: int) -> None:
    """Hand the counts of a part on; of many cases, some are of every kind."""
    for what, count in counts.items():
        assert count or cases < 500, what
        tally(f"{promise} {what}", count)
