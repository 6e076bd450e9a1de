"""What a server says, as it may stand in an error: short, and without what is secret."""

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any

from .._formatting import HIDDEN, redacted

READ = 10_000  # characters that are looked at: to search all of a long page would hold the loop


def quoted(text: str, secrets: Iterable[str] = ()) -> str:
    """Return the beginning of a text without ``secrets``, and what else looks like one."""
    text = text[:READ]
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return redacted(text)


def secrets_of(auth: Any) -> list[str]:
    """Return what is secret of an Auth: what its ``repr`` does not show. Some servers repeat it."""
    known = fields(auth) if is_dataclass(auth) else ()
    values = [getattr(auth, one.name) for one in known if not one.repr]
    return [value for value in values if isinstance(value, str)]
