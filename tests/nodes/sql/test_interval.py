"""Intervals as PostgreSQL writes them."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaygraph.nodes import SQLExecute
from kaygraph.nodes.sql._interval import read
from tests.databases import needs_postgres, postgres


@pytest.mark.parametrize(
    ("text", "interval"),
    [
        ("00:00:00", timedelta()),
        ("1 day", timedelta(1)),
        ("-1 days +02:03:04.5", timedelta(-1, hours=2, minutes=3, seconds=4.5)),
        ("1 year 2 mons -3 days -04:05:06.000007", timedelta(422, -14706, -7)),
        ("-10 mons", timedelta(-300)),
        ("106751991 days 04:00:54.775807", timedelta(106751991, 14454, 775807)),
        ("2562047788:00:54.775807", timedelta(hours=2562047788, seconds=54, microseconds=775807)),
    ],
)
def test_an_interval_is_read(text: str, interval: timedelta) -> None:
    """Each part has its own sign; a month is 30 days, a year 365."""
    assert read(text.encode()) == interval


@pytest.mark.parametrize("text", ["P1D", "PT0S", "1-2", "+1-2 +3 +4:05:06", "@ 1 day ago", "", "x"])
def test_another_style_is_refused(text: str) -> None:
    """It is not taken for another interval."""
    with pytest.raises(ValueError, match="IntervalStyle"):
        read(text.encode())


@pytest.mark.parametrize("text", ["10000000 years", "-178000000 years", "1000000000 days"])
def test_an_interval_that_is_too_long_is_refused(text: str) -> None:
    """It does not come out as a shorter one."""
    with pytest.raises(OverflowError):
        read(text.encode())


@needs_postgres
@pytest.mark.anyio
@given(st.lists(st.timedeltas(), min_size=1, max_size=50))
@settings(max_examples=20)
async def test_what_is_written_is_read(intervals: list[timedelta]) -> None:
    """Of a server itself, whatever its sign and size."""
    node = SQLExecute(postgres(), "SELECT %s::interval[] AS i", reads="bound", writes="rows")
    await node.run_async(shared := {"bound": [intervals]})
    assert shared["rows"] == [{"i": intervals}]
