"""Workers are killed a hundred times in one run."""

from pathlib import Path

import pytest

pytest.importorskip("distributed")
from tests.executors.test_dask_kills import killed_at_any_moment

pytestmark = [pytest.mark.anyio, pytest.mark.soak]


@pytest.mark.timeout(900)
async def test_a_hundred_workers_are_killed_at_any_moment(tmp_path: Path) -> None:
    """Nothing is lost with them, and nothing is there twice."""
    await killed_at_any_moment(tmp_path, 100, 2)
