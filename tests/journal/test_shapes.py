"""Runs of every shape are killed at every write of their journal, and resumed."""

import pytest

from kaygraph.testing import kill_everywhere
from tests.journal.shapes import SHAPES, Shape


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_run_survives_wherever_it_is_killed(shape: Shape) -> None:
    """Nothing acknowledged is lost, nothing committed runs again, and shared comes out the same."""
    assert kill_everywhere(shape.make(), **shape.settings) >= 8


@pytest.mark.proofs
@pytest.mark.parametrize("again", [None, 2, 3, 5])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_in_other_orders_and_killed_twice(shape: Shape, again: int | None) -> None:
    """Tasks that are ready at the same time go on in any order."""
    assert kill_everywhere(shape.make(), **shape.settings, seeds=range(1, 6), again=again) >= 40
