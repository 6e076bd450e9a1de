"""Durations as users write them."""

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def seconds_of(setting: str, given: str | float) -> float:
    """Return a duration in seconds, given as a number of them or a text such as ``"30d"``."""
    number = given
    if isinstance(given, str):
        unit = UNITS.get(given[-1:])
        try:
            number = float(given[:-1]) * unit if unit else -1.0
        except ValueError:
            number = -1.0
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number < 1e12:
        raise ValueError(
            f"{setting} must be a duration such as '30d', '12h', '10m' or '45s', got {given!r}"
        )
    return float(number)
