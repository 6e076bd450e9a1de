"""The Link header (RFC 8288)."""

import re
from collections.abc import Iterator

_TARGET = re.compile(r"<([^>]*)>")
# A parameter's name, and its value if it has one: quoted, with escapes, or up to the next
# parameter or link.
_PARAM = re.compile(
    r'\s*+;\s*+(?P<name>[^\s=;,"]*+)\s*+'
    r'(?:=\s*+(?:"(?P<quoted>(?:[^"\\]|\\.)*+)(?:"|\\?\Z)|(?P<bare>[^;,]*+)))?+',
    re.DOTALL,
)
_REST = re.compile(r'(?:[^",<]|"(?:[^"\\]|\\.)*+"?)*+', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def links(header: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the target and the parameters of each link.

    Names of parameters are in lower case; if several have the same name, the first counts. Anything
    that is not a link is skipped.
    """
    place = 0
    while place < len(header):
        target = _TARGET.match(header, place)
        if target is None and header[place] == "<":
            return  # its end is missing, and there is none after it
        if target is None:
            place = max(_REST.match(header, place).end(), place + 1)  # type: ignore[union-attr]
            continue
        place = target.end()
        params: dict[str, str] = {}
        while param := _PARAM.match(header, place):
            place = param.end()
            params.setdefault(param["name"].lower(), _value(param))
        yield target[1], params


def _value(param: re.Match[str]) -> str:
    if param["quoted"] is not None:
        return _ESCAPED.sub(r"\1", param["quoted"])
    # Some servers write rel='next', although the standard has only double quotes.
    return (param["bare"] or "").strip().strip("'")
