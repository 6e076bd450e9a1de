"""URLs that are sent as given: what is already encoded is left unchanged, byte for byte.

A signature covers the bytes of a URL. ``yarl.URL(text)`` turns ``%2F`` in a query into ``/`` and
``%7E`` into ``~``, which means the same but has a different signature.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from urllib.parse import unquote_plus

from yarl import URL

from ...run.place import shows_items

# RFC 3986, 3.3 and 3.4: what a path or a query may contain without encoding.
_PATH = re.compile(r"(?:[^A-Za-z0-9._~!$&'()*+,;=:@/%-]|%(?![0-9A-Fa-f]{2}))+")
_QUERY = re.compile(r"(?:[^A-Za-z0-9._~!$&'()*+,;=:@/?%-]|%(?![0-9A-Fa-f]{2}))+")

# A URL, or a path with its query, in which nothing has to be encoded or resolved: the common case.
_PLAIN = re.compile(
    r"(https?://[A-Za-z0-9.:-]++)?+"
    r"((?:/(?![./])(?:[A-Za-z0-9._~!$&'()*+,;=:@-]++|%[0-9A-Fa-f]{2})*+)++)"
    r"(?:\?((?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]++|%[0-9A-Fa-f]{2})*+))?+"
)

_AROUND = "".join(map(chr, range(0x21)))  # what browsers strip from both ends of a URL
_BYTES = re.compile("[\udc80-\udcff]")  # of a header, not UTF-8

Pairs = Sequence[tuple[str, str]]


def plain(text: str) -> tuple[str | None, str, str] | None:
    """Return the origin, the path and the query of a URL that can be sent unchanged.

    The origin is None if the text is a path. None: it needs a closer look.
    """
    found = _PLAIN.fullmatch(text)
    return None if found is None else (found[1], found[2], found[3] or "")


def as_given(text: str) -> URL:
    """Return a URL in which only what could not be sent otherwise is encoded.

    Scheme and host are normalised, ``.`` and ``..`` are resolved, the fragment is dropped.

    Raises:
        ValueError: It is not a URL.
    """
    text = text.strip(_AROUND)
    named, given = URL(text), URL(text, encoded=True)
    path, query = _encoded(given)
    if not named.raw_authority:  # a reference, or not a URL: its host is missing
        return URL(f"{path}{query}", encoded=True)
    return URL(f"{named.scheme}://{named.raw_authority}{_without_dots(path)}{query}", encoded=True)


def resolved(base: URL, reference: str) -> URL:
    """Return the target of a reference from a base (RFC 3986, 5.2), as ``as_given`` does."""
    reference = reference.strip(_AROUND)
    given = URL(reference, encoded=True)
    if given.scheme and given.scheme != base.scheme:
        return as_given(reference)
    if given.raw_authority:
        return as_given(reference if given.scheme else f"{base.scheme}:{reference}")
    path, query = _encoded(given)
    if not path:
        path, query = base.raw_path, query or _marked(base.raw_query_string)
    elif not path.startswith("/"):
        path = base.raw_path.rpartition("/")[0] + "/" + path
    return URL(f"{base.scheme}://{base.raw_authority}{_without_dots(path)}{query}", encoded=True)


def as_safe(base: URL, url: URL) -> URL:
    """Return a URL from an answer over https, changed to https if the host is the same.

    Behind a proxy, many servers do not know how they were reached, and use http in their URLs.
    """
    same = url.raw_host == base.raw_host and url.is_default_port() and base.is_default_port()
    if (base.scheme, url.scheme, same) != ("https", "http", True):
        return url
    return URL(f"https{str(url).removeprefix('http')}", encoded=True)


def with_query(url: URL, pairs: Pairs, instead_of: Collection[str] = ()) -> URL:
    """Return a URL with additions to its query.

    Args:
        url: Its query is left unchanged.
        pairs: The encoded additions.
        instead_of: Names to remove from the query first.
    """
    if not pairs and not instead_of:
        return url
    parts = _kept(url.raw_query_string, instead_of)
    added = URL.build(query=pairs).raw_query_string
    query = "&".join([*parts, added] if added else parts)
    return URL(f"{url.with_query(None)}{_marked(query)}", encoded=True)


def without(url: str, names: Collection[str]) -> str:
    """Return the text of a URL, or of a reference, without some names of its query."""
    address, mark, fragment = url.partition("#")
    path, _, query = address.partition("?")
    return f"{path}{_marked('&'.join(_kept(query, names)))}{mark}{fragment}"


def from_header(text: str) -> str:
    """Return the text of a URL in a header, which may contain bytes that are not UTF-8."""
    return _BYTES.sub(lambda byte: f"%{ord(byte[0]) - 0xDC00:02X}", text)


def _origin_alone(url: str) -> str:
    try:
        return f"{URL(url).origin()}/…"
    except ValueError:
        return "(text hidden)"


def shown(url: object) -> str:
    """Return a URL for display: a name such as ``token`` is recognised, however it is encoded.

    If a graph does not show items, it ends after the host.
    """
    if not shows_items():
        return _origin_alone(str(url))
    if "%" not in str(url):
        return str(url)
    try:
        return str(URL(str(url)))
    except ValueError:
        return str(url)


def _kept(query: str, dropped: Collection[str]) -> list[str]:
    parts: Iterable[str] = query.split("&") if query else ()
    return [part for part in parts if unquote_plus(part.partition("=")[0]) not in dropped]


def _encoded(url: URL) -> tuple[str, str]:
    """Return the path, and the query with its "?", of a URL as it was given."""
    query = _QUERY.sub(_percent, url.raw_query_string)
    return _PATH.sub(_percent, url.raw_path), _marked(query)


def _percent(some: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in some[0].encode())


def _marked(query: str) -> str:
    return f"?{query}" if query else ""


def _without_dots(path: str) -> str:
    """Resolve ``.`` and ``..`` (RFC 3986, 5.2.4)."""
    if "/." not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)
