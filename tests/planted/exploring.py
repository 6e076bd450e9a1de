"""How the checks look for seeds that break something."""

from collections.abc import Callable
from typing import Any

from kaygraph.testing import explore
from kaygraph.testing.simulation import Simulated

AT_ONCE = 10  # seeds between two looks at what was found
MAX_STEPS = 20_000
MAX_SECONDS = 1e6


def assert_holds(work: Simulated, shared: Callable[[], Any] | None = None, *, seeds: int) -> None:
    """Explore a run, and fail as soon as a seed breaks it."""
    for first in range(0, seeds, AT_ONCE):
        some = range(first, min(first + AT_ONCE, seeds))
        found = explore(work, shared, seeds=some, max_steps=MAX_STEPS, max_seconds=MAX_SECONDS)
        assert not found, str(found)
