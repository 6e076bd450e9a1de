"""Lengths of time as users write them."""

import re
from typing import Any

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_WRITTEN = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?) ?([smhdw])")


def seconds_of(name: str, value: Any) -> float:
    """Return a length of time in seconds: a number of them, or a string such as "10m" or "7d".

    Raises:
        ValueError: It is neither, or not more than 0.
    """
    seconds = value
    if isinstance(value, str) and (found := _WRITTEN.fullmatch(value.strip())):
        seconds = float(found[1]) * _UNITS[found[2]]
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
        raise ValueError(
            f"{name} must be more than 0 seconds: a number, or '30s', '10m', '1h', '7d', '4w'; got "
            f"{value!r}"
        )
    return float(seconds)
