"""Lines of a body that arrives in pieces, and server-sent events."""

import re
from collections.abc import AsyncGenerator, AsyncIterable
from typing import NamedTuple

from ._decoding import HTTPSizeError

_ANY_END = re.compile(b"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class Lines:
    """Splits a body into lines, without their ends, whatever pieces it arrives in.

    Args:
        most: The most bytes of a line; None: no limit.
        carriage_returns: Whether a CR alone ends a line, too. If not, lines end with LF or CRLF.
    """

    def __init__(self, most: int | None, carriage_returns: bool = False) -> None:
        self._most, self._carriage_returns = most, carriage_returns
        self._held: list[bytes] = []  # the pieces of an incomplete line
        self._size = 0  # of the held pieces
        self._after_return = False  # a line feed that follows belongs to the previous line end

    def feed(self, piece: bytes) -> list[bytes]:
        """Add a piece and return the lines that are complete.

        Raises:
            HTTPBodyError: A line is too long.
        """
        if self._after_return and piece:
            piece = piece.removeprefix(b"\n")
            self._after_return = False
        if not piece:
            return []
        plain = not self._carriage_returns or b"\r" not in piece
        *lines, rest = piece.split(b"\n") if plain else _ANY_END.split(piece)
        if lines:
            lines[0] = b"".join((*self._held, lines[0]))
            self._held, self._size = [], 0
        if rest:
            self._held.append(rest)
            self._size += len(rest)
        self._after_return = self._carriage_returns and piece.endswith(b"\r")
        if self._most is not None and max(self._size, *map(len, lines), 0) > self._most:
            raise HTTPSizeError(f"a line is longer than max_line={self._most} bytes: raise it")
        return [line.removesuffix(b"\r") for line in lines]

    def rest(self) -> bytes:
        """Return the last line, if it has no end."""
        return b"".join(self._held).removesuffix(b"\r")


class Event(NamedTuple):
    """A server-sent event.

    Attributes:
        data: Its data; may be empty.
        type: Its type; by default, "message".
    """

    data: bytes
    type: str = "message"


async def events(lines: AsyncIterable[bytes]) -> AsyncGenerator[Event, None]:
    """Yield the server-sent events in lines (WHATWG HTML, 9.2.6).

    An event without data, or an incomplete one, is dropped, as the standard says.
    """
    data: list[bytes] = []
    kind = b""
    first = True
    async for line in lines:
        if first:
            line, first = line.removeprefix(_BOM), False
        if not line:
            if data:
                yield Event(b"\n".join(data), kind.decode("utf-8", "replace") or "message")
            data, kind = [], b""
            continue
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            data.append(value)
        elif name == b"event":
            kind = value
