"""What the Content-Type header says about a body."""

import codecs
from contextlib import suppress
from functools import lru_cache
from typing import Any

from .._json import decode
from ._urls import from_header


def header_text(name: str, value: str) -> str:
    """Return the value of a header as text that can be written anywhere.

    Bytes that are not UTF-8 arrive as surrogates. In a header they are Latin-1 (RFC 9110, 5.5), and
    in a URL they stay the same bytes.
    """
    if value.isascii():
        return value
    if name in ("link", "content-location", "location"):
        return from_header(value)
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogateescape").decode("latin-1")
    return value


@lru_cache(maxsize=64)
def is_json(kind: str) -> bool:
    """Return whether a media type is JSON, such as application/problem+json or text/json."""
    subtype = kind.rpartition("/")[2]
    return subtype in ("json", "x-json") or subtype.endswith("+json")


def as_json(data: Any, max_depth: int) -> Any:
    """Return the object or array in a text that is not declared as JSON.

    Many servers send JSON as text/html or text/plain. Anything else is returned unchanged.
    """
    raw = data.encode("utf-8", "replace") if isinstance(data, str) else data
    if isinstance(raw, bytes) and raw.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"["):
        with suppress(ValueError):
            return decode(raw, max_depth)
    return data


def text_of(body: bytes, charset: str | None) -> str:
    """Return a body as text, in UTF-8 unless another known charset is named."""
    try:
        # a byte order mark at the start is not part of the text
        return body.decode("utf-8-sig" if _is_utf8(charset) else str(charset), "replace")
    except (LookupError, ValueError):  # the charset is unknown, or not one of text
        return body.decode("utf-8-sig", "replace")


def recoded(body: bytes, charset: str | None) -> bytes | None:
    """Return a body in UTF-8 if it declares another charset, or None."""
    try:
        return None if _is_utf8(charset) else body.decode(str(charset)).encode()
    except (LookupError, ValueError):
        return None


def _is_utf8(charset: str | None) -> bool:
    return charset is None or codecs.lookup(charset).name == "utf-8"
