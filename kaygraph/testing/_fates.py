"""Chances that follow from a text, in every process alike, and texts that stand for items."""

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from hashlib import blake2b
from typing import Any, Protocol


class FateSource(Protocol):
    """What a wrapped node asks before its work."""

    def fate(self, name: str, item: Any, attempt: int, params: Mapping[str, Any]) -> Any: ...

    def count(
        self, run: Any, name: str, item: Any, attempt: int, params: Mapping[str, Any]
    ) -> int: ...

    async def meet(self, fate: Any) -> None: ...

    def meet_blocking(self, fate: Any) -> None: ...


_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def chances(place: str) -> tuple[float, float, float]:
    """Return three numbers from 0 up to 1 that follow from a text alone."""
    digest = blake2b(place.encode(errors="surrogatepass"), digest_size=24).digest()
    first, second, third = (int.from_bytes(digest[at : at + 8], "big") for at in (0, 8, 16))
    return first / 2**64, second / 2**64, third / 2**64


def text_of(value: Any) -> str:
    """Return a text that is the same for equal values: without addresses, sets in an order."""
    if value is None or isinstance(value, str | bytes | int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(text_of, value))}]"
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(text_of, value)))}}}"
    if isinstance(value, dict):
        pairs = sorted((text_of(key), text_of(item)) for key, item in value.items())
        return f"{{{', '.join(f'{key}: {item}' for key, item in pairs)}}}"
    if is_dataclass(value) and not isinstance(value, type):
        shown = ((field.name, getattr(value, field.name)) for field in fields(value) if field.repr)
        return f"{type(value).__name__}{text_of(dict(shown))}"
    return _ADDRESS.sub("", repr(value))
