"""Durations as users write them."""

from typing import Any

import pytest

from kaygraph.journal.durations import seconds_of


@pytest.mark.parametrize(
    ("written", "seconds"),
    [(90, 90.0), (0.5, 0.5), ("30s", 30.0), ("1.5m", 90.0), ("1h", 3600.0), ("7d", 604_800.0)],
)
def test_a_length_is_a_number_or_has_a_unit(written: Any, seconds: float) -> None:
    """Both are seconds in the end."""
    assert seconds_of("ttl", written) == seconds


@pytest.mark.parametrize(
    "written",
    [-1, True, "", "10", "10 min", "-1h", None, [], "nan", "nand", float("nan"), float("inf")],
)
def test_what_is_no_length_is_refused(written: Any) -> None:
    """The error shows how to write one."""
    with pytest.raises(ValueError, match=r"ttl must be a duration such as '30d'"):
        seconds_of("ttl", written)
