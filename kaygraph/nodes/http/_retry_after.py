"""The Retry-After header (RFC 9110, 10.2.3)."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_NUMBERS = re.compile(r"[0-9]+(?:\.[0-9]*)?(?:[ \t]*,[ \t]*[0-9]+(?:\.[0-9]*)?)*+")
_RFC_850 = re.compile(r"[A-Za-z]+, ([0-9]{2})-([A-Za-z]{3})-([0-9]{2}) ([0-9:]{8}) GMT")
DAY_S = 86_400.0


def seconds_asked(headers: Mapping[str, str], now: float) -> float | None:
    """Return how many seconds an answer asks to wait, or None if it does not say.

    It does so with a number, perhaps a fraction, or with a date in one of the three formats of
    RFC 9110 (5.6.7). A date is relative to the answer's own Date: the server's clock may differ
    from ours. A past one means no wait. Some APIs also send ``retry-after-ms``.
    """
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after", "").strip()
    number = _number(text)
    if number is not None:
        return number
    until, there = _seconds_of(text, now), _seconds_of(headers.get("date", "").strip(), now)
    if until is None:
        return None
    # A difference of a day means a wrong clock.
    return max(0.0, until - (now if there is None or abs(there - now) > DAY_S else there))


def _number(text: str) -> float | None:
    """Return a number, or the largest of several: a header that was sent twice is one list."""
    text = text.strip()
    return max(map(float, text.split(","))) if _NUMBERS.fullmatch(text) else None


def _seconds_of(text: str, now: float) -> float | None:
    """Return a date in seconds since 1970; all three formats are in UTC."""
    if old := _RFC_850.fullmatch(text):
        day, month, year, clock = old.groups()
        this_year = datetime.fromtimestamp(now, UTC).year
        century = this_year - this_year % 100
        # For two digits the nearest year, and of two equally near ones the later one.
        years = (century + int(year) + add for add in (-100, 0, 100))
        year = min(years, key=lambda one: (abs(one - this_year), -one))
        text = f"{day} {month} {year} {clock} GMT"
    try:
        date = parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
