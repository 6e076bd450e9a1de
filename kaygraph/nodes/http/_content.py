"""What the Content-Type header says of a body."""

import codecs


def is_json(kind: str) -> bool:
    """Return whether a media type is JSON, as application/problem+json and text/json are."""
    subtype = kind.rpartition("/")[2]
    return subtype in ("json", "x-json") or subtype.endswith("+json")


def text_of(body: bytes, charset: str | None) -> str:
    """Return a body as text, in UTF-8 where no other charset is named that is known."""
    try:
        # A byte order mark at the start is none of the text.
        return body.decode("utf-8-sig" if _is_utf8(charset) else str(charset), "replace")
    except (LookupError, ValueError):  # nobody knows it, or it is none of text
        return body.decode("utf-8-sig", "replace")


def recoded(body: bytes, charset: str | None) -> bytes | None:
    """Return a body in UTF-8 that is in another charset by its own word, or None."""
    try:
        return None if _is_utf8(charset) else body.decode(str(charset)).encode()
    except (LookupError, ValueError):
        return None


def _is_utf8(charset: str | None) -> bool:
    return charset is None or codecs.lookup(charset).name == "utf-8"
