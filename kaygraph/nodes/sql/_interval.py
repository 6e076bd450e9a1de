"""Intervals of PostgreSQL, which psycopg's own loaders take for others in two cases.

That of ``psycopg[binary]`` overflows: 10,000,000 years come out as -644,967,296 days. And both go
by the IntervalStyle that they were told last, which behind a pooler may be that of another
connection to the server: a day, ``P1D``, comes out as a minute. So each transaction sets the style,
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
    """Return the interval that a text in the style ``postgres`` is, a month taken for 30 days.

    Raises:
        ValueError: It is in another style.
        OverflowError: It is of more days than Python counts.
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
