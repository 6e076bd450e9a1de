"""The answer to a request: its head, and its body, as a stream or as a whole."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from sys import maxsize
from typing import Any

import aiohttp
from yarl import URL

from ...run.frame import FRAME
from .._json import decode
from ._content import header_text, is_json, recoded, text_of
from ._decoding import Decoder, HTTPBodyError
from ._events import Event, Lines, events
from ._timing import TotalTimeout
from .messages import HTTPResult, Request

IN_A_THREAD = 256 * 1024  # bytes of JSON whose decoding would block the loop for long


class Answer:
    """An answer whose body is still arriving."""

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        request: Request,
        url: URL,
        most: int | None,
        limit: TotalTimeout,
    ) -> None:
        self._response, self._request, self._asked = response, request, url
        self._most, self._limit = most, limit
        self.status_code = response.status
        self.success = response.status < 400
        self.headers = _headers_of(response)
        self.content_type = response.content_type
        self.url = response.url

    def __repr__(self) -> str:
        return f"{self._request.asking(self._asked)} answered {self.status_code}"

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the body, decompressed, in pieces of at most 64 KiB.

        Raises:
            HTTPBodyError: It is larger than ``max_bytes``, or not what it claims to be.
        """
        decoder = self._decoder()
        while chunk := await self._chunk():
            for piece in decoder.feed(chunk):
                yield piece
        decoder.end()

    async def read(self) -> bytes:
        """Return the whole body."""
        decoder, pieces, content = self._decoder(), list[bytes](), self._response.content
        if content.is_eof():  # it arrived with its head, as small ones do
            pieces.extend(decoder.feed(content.read_nowait(), maxsize))
        else:
            with self._limit:
                while chunk := await content.readany():
                    pieces.extend(decoder.feed(chunk, maxsize))
        decoder.end()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _decoder(self) -> Decoder:
        return Decoder(self.headers.get("content-encoding", ""), self._most)

    async def _chunk(self) -> bytes:
        """Return the received part of the body, as it was sent; b"" at its end."""
        with self._limit:  # around no yield: it would end its reader's own work
            return await self._response.content.readany()

    async def lines(
        self, max_line: int | None = 1024 * 1024, *, carriage_returns: bool = False
    ) -> AsyncGenerator[bytes, None]:
        """Yield the body line by line, without the line ends.

        Args:
            max_line: The most bytes of a line; None: no limit other than ``max_bytes``.
            carriage_returns: Whether a CR alone ends a line, too, in addition to LF and CRLF.

        Raises:
            HTTPBodyError: A line is longer.
        """
        lines = Lines(max_line, carriage_returns)
        async with aclosing(self.chunks()) as chunks:
            async for chunk in chunks:
                for line in lines.feed(chunk):
                    yield line
        if last := lines.rest():
            yield last

    async def events(self, max_line: int | None = None) -> AsyncGenerator[Event, None]:
        """Yield the events of a ``text/event-stream``, each with ``data`` and ``type``.

        Raises:
            HTTPBodyError: A line is longer than ``max_line``.
        """
        async with (
            aclosing(self.lines(max_line, carriage_returns=True)) as lines,
            aclosing(events(lines)) as each,
        ):
            async for event in each:
                yield event

    async def result(self, max_depth: int, seconds: float) -> HTTPResult:
        """Read the whole body and return the result; ``seconds`` is when the request began."""
        body = await self.read()
        return {
            "data": await self._data(body, max_depth),
            "status_code": self.status_code,
            "success": self.success,
            "headers": self.headers,
            "seconds": asyncio.get_running_loop().time() - seconds,
        }

    async def _data(self, body: bytes, max_depth: int) -> Any:
        if not body:
            return None
        if is_json(self.content_type):
            if body.isspace():
                return None  # some frameworks send a space for an empty answer
            try:
                return await _json(body, max_depth)
            except ValueError as error:
                other = recoded(body, self._response.charset)
                with suppress(ValueError):
                    if other is not None:
                        return await _json(other, max_depth)
                if self.success:
                    text = f"{self!r} with JSON that cannot be read: {error}"
                    raise HTTPBodyError(text) from error
        charset = self._response.charset
        if self.success and charset is None and not self.content_type.startswith("text/"):
            return body
        return text_of(body, charset)


async def _json(body: bytes, max_depth: int) -> Any:
    if len(body) < IN_A_THREAD:
        return decode(body, max_depth)
    threads = FRAME.get().run.threads
    return await asyncio.wrap_future(threads.submit(decode, body, max_depth))


def _headers_of(response: aiohttp.ClientResponse) -> dict[str, str]:
    """Return headers by their names in lower case; equal names are joined (RFC 9110, 5.3)."""
    headers = response.headers
    found = {name.lower(): value for name, value in headers.items()}
    if len(found) < len(headers):
        found = {name: ", ".join(headers.getall(name)) for name in found}
    for name, value in found.items():
        if not value.isascii():
            found[name] = header_text(name, value)
    return found
