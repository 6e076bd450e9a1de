"""How the checks look for seeds that break something."""

from collections.abc import Callable
from typing import Any

from kaygraph.testing import explore
from kaygraph.testing.simulation import Simulated

AT_ONCE = 10  # seeds between two looks at what was found
MOST: Any = {"max_steps": 20_000, "max_seconds": 1e6}

# What is fair, and what happens in one moment, is counted in turns of the loop.
TURNS: Any = {"order": "turns", "jitter": 0}


def assert_holds(work: Simulated, shared: Callable[[], Any] | None = None, *, seeds: int) -> None:
    """Explore a run, and fail as soon as a seed breaks it."""
    for first in range(0, seeds, AT_ONCE):
        some = range(first, min(first + AT_ONCE, seeds))
        found = explore(work, shared, seeds=some, **TURNS, **MOST)
        assert not found, str(found)
