"""Text from a server for use in an error: short, and without secrets."""

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any

from .._formatting import HIDDEN, redacted
from ..run.place import shows_items

READ = 10_000  # characters to search: a search of a whole long page would block the loop


def quoted(text: str, secrets: Iterable[str] = ()) -> str:
    """Return the beginning of a text without ``secrets`` and anything else that looks like one.

    Where a graph does not show items, neither is what a server has answered to them.
    """
    if not shows_items():
        return "(text hidden)"
    text = text[:READ]
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return redacted(text)


def value_text(value: Any, length: int = 80) -> str:
    """Return a value that does not fit, for an error; its class where items are not shown."""
    return f"{value!r:.{length}}" if shows_items() else f"a {type(value).__name__}"


def secrets_of(auth: Any) -> list[str]:
    """Return the secrets of an Auth, which a server may repeat: the fields outside its ``repr``."""
    known = fields(auth) if is_dataclass(auth) else ()
    values = [getattr(auth, one.name) for one in known if not one.repr]
    return [value for value in values if isinstance(value, str)]
