"""Runs of every shape are killed at every write of their journal, and resumed."""

import pytest

from kaygraph.testing import kill_everywhere
from tests.journal.shapes import SHAPES, Shape


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_run_survives_wherever_it_is_killed(shape: Shape) -> None:
    """Nothing acknowledged is lost, nothing committed runs again, and shared comes out the same."""
    assert kill_everywhere(shape.make(), **shape.settings) >= 8


@pytest.mark.parametrize(
    ("again", "seeds"),
    [
        pytest.param(None, range(1, 4), marks=pytest.mark.proofs),
        pytest.param(3, range(1, 3), marks=pytest.mark.proofs),
        *(pytest.param(again, range(1, 6), marks=pytest.mark.soak) for again in (2, 5)),
    ],
)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_in_other_orders_and_killed_twice(shape: Shape, again: int | None, seeds: range) -> None:
    """Tasks that are ready at the same time go on in any order."""
    killed = kill_everywhere(shape.make(), **shape.settings, seeds=seeds, again=again)
    assert killed >= 8 * len(seeds)
