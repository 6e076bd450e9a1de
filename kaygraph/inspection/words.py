"""The words of what is said about a wait."""

from collections.abc import Mapping, Sequence

from .._formatting import value_text

SHOWN = 4  # names, before the rest is counted


def listed(parts: Sequence[str], most: int = SHOWN) -> str:
    """Return ``"a, b and c"``; the rest of many are counted."""
    shown = list(parts[:most])
    if len(parts) > most:
        shown.append(f"{len(parts) - most} more")
    if len(shown) < 2:
        return "".join(shown)
    return f"{', '.join(shown[:-1])} and {shown[-1]}"


def holders_text(holders: Mapping[str, int]) -> str:
    """Return ``"'Parse' (38) and 'Store' (2)"``, those with the most first."""
    ranked = sorted(holders.items(), key=lambda one: -one[1])
    return listed([f"{name!r} ({number})" for name, number in ranked])


def seconds_text(seconds: float) -> str:
    """Return a duration as people write it."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def number_of(count: int, what: str) -> str:
    """Return ``"1 item"`` or ``"3 items"``."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def key_text(key: object, shows: bool) -> str:
    """Return a key as text, unless items must not be shown."""
    return value_text(key) if shows else f"a {type(key).__name__}"
