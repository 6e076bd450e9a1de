"""The width of a text without a browser, its line breaks, and its form in XML."""

import re
from math import ceil
from unicodedata import combining, east_asian_width
from xml.sax.saxutils import escape

# In thousandths of the font's size: the widths of Helvetica, which Arial and Liberation Sans share.
_GROUPS = {
    191: "'",
    222: "ijl",
    260: "|",
    278: " !,./:;I[\\]ft",
    333: "()-`r",
    334: "{}",
    355: '"',
    389: "*",
    469: "^",
    500: "Jckszvxy",
    556: "#$0123456789?L_abdeghnopqu",
    584: "+<=>~",
    611: "FTZ",
    667: "&ABEKPSVXY",
    722: "CDHNRUw",
    778: "GOQ",
    833: "Mm",
    889: "%",
    944: "W",
    1015: "@",
}


class _Widths(dict[str, int]):
    def __missing__(self, character: str) -> int:
        if combining(character):
            width = 0
        elif east_asian_width(character) in "WF":
            width = 1000
        else:
            width = 700
        if len(self) < 10_000:
            self[character] = width
        return width


_WIDTHS = _Widths({character: width for width, group in _GROUPS.items() for character in group})

# What XML 1.0 cannot hold, not even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PIECES = re.compile(r"[^\s_\-./:]*[\s_\-./:]+|[^\s_\-./:]+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def width_of(text: str, size: int) -> int:
    """Return the width of a line of text in pixels, rounded up."""
    return ceil(sum(map(_WIDTHS.__getitem__, text)) * size / 1000)


def shortened(text: str, size: int, most: int) -> str:
    """Return a text of at most this many pixels, with an ellipsis where it is cut."""
    text = " ".join(text.split())
    if width_of(text, size) <= most:
        return text
    room = most * 1000 // size - 1000
    kept = 0
    for character in text:
        room -= _WIDTHS[character]
        if room < 0:
            break
        kept += 1
    return f"{text[:kept].rstrip()}…"


def broken(text: str, size: int, most: int, lines: int) -> list[str]:
    """Return a text in lines of at most this many pixels.

    It breaks after spaces and signs such as ``_``, and within ``fetchPage``; what does not fit
    into the last line is cut.
    """
    text = " ".join(text.split())
    if width_of(text, size) <= most:
        return [text]
    pieces = [hump for piece in _PIECES.findall(text) for hump in _HUMP.split(piece)]
    found, line = list[str](), ""
    for number, piece in enumerate(pieces):
        if line and width_of((line + piece).rstrip(), size) > most:
            if len(found) == lines - 1:
                return [*found, shortened(line + "".join(pieces[number:]), size, most)]
            found.append(line.rstrip())
            line = ""
        line += piece
        while width_of(line.rstrip(), size) > most and len(found) < lines - 1:
            fits = max(1, len(shortened(line, size, most)) - 1)
            found.append(line[:fits])
            line = line[fits:]
    return [*found, shortened(line, size, most)]


# A parser turns the last three into spaces, in attributes.
_ESCAPED = {'"': "&quot;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}


def written(text: str) -> str:
    """Return a text escaped for XML, between tags and in quotes."""
    if text.isalnum():
        return text
    return escape(_FORBIDDEN.sub("\ufffd", text), _ESCAPED)
