"""Intervals of PostgreSQL, of which psycopg's own loaders misread some in two cases.

That of ``psycopg[binary]`` overflows: 10,000,000 years become -644,967,296 days. And both use
the IntervalStyle that was last reported, which behind a pooler may be that of another
connection to the server: a day, ``P1D``, becomes a minute. So each transaction sets the style,
and this loader reads no other.
"""

import re
from datetime import timedelta
from functools import cache
from typing import Any

from ..._extras import extra

STYLE = "postgres"
_FORM = re.compile(
    rb"(?:([+-]?\d+) years? ?)?(?:([+-]?\d+) mons? ?)?(?:([+-]?\d+) days? ?)?"
    rb"(?:([+-])?(\d+):(\d\d):(\d\d)(?:\.(\d{1,6}))?)?"
)


def read(text: bytes) -> timedelta:
    """Return the interval of a text in the style ``postgres``, with months of 30 days.

    Raises:
        ValueError: It is in another style.
        OverflowError: It has more days than Python supports.
    """
    found = _FORM.fullmatch(text)
    if found is None or not text:
        raise ValueError("an interval is not in the IntervalStyle 'postgres'")
    years, months, days, sign, hours, minutes, seconds, fraction = found.groups()
    time = timedelta(
        hours=int(hours or 0),
        minutes=int(minutes or 0),
        seconds=int(seconds or 0),
        microseconds=int((fraction or b"").ljust(6, b"0")),
    )
    whole = timedelta(365 * int(years or 0) + 30 * int(months or 0) + int(days or 0))
    return whole - time if sign == b"-" else whole + time


@cache
def interval_loader() -> Any:
    """Return the loader for a connection of psycopg."""
    loader: Any = extra("psycopg.adapt", "postgres").Loader

    class IntervalLoader(loader):  # type: ignore[misc]
        def load(self, data: Any) -> timedelta:
            return read(bytes(data))

    return IntervalLoader
