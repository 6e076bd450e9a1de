"""Bodies of answers, decoded piece by piece, so that a small one cannot grow into a huge one."""

import zlib
from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing

from ...errors import KayGraphError

PIECE = 64 * 1024
SUPPORTED = frozenset({"gzip", "x-gzip", "deflate"})
# What IANA lists. Other words say nothing of the bytes, though servers send them: "utf-8",
# "aws-chunked".
COMPRESSED = SUPPORTED | {
    "aes128gcm", "br", "compress", "dcb", "dcz", "exi", "pack200-gzip", "x-compress", "zstd",
}  # fmt: skip


class HTTPBodyError(KayGraphError, ValueError):
    """The body of an answer is larger than allowed, or is not what it says it is."""


class HTTPSizeError(HTTPBodyError):
    """The body of an answer, or a line of it, is larger than allowed."""


async def decoded(
    chunks: AsyncIterable[bytes], encoding: str, most: int | None
) -> AsyncGenerator[bytes, None]:
    """Yield a body in pieces of at most 64 KiB, decompressed.

    Args:
        chunks: The body as it came.
        encoding: The Content-Encoding header: gzip, deflate, or nothing.
        most: How many decoded bytes there may be; None: no limit.

    Raises:
        HTTPBodyError: There are more, or they cannot be decompressed.
    """
    codings = [one.strip().lower() for one in encoding.split(",")]
    packed = [one for one in codings if one in COMPRESSED]
    if len(packed) > 1 or not SUPPORTED.issuperset(packed):
        raise HTTPBodyError(f"the body is encoded with {encoding!r}, which was not asked for")
    each = _inflated(chunks, packed[0]) if packed else _pieces(chunks)
    size = 0
    async with aclosing(each) as pieces:
        async for piece in pieces:
            size += len(piece)
            if most is not None and size > most:
                raise HTTPSizeError(f"the body is larger than max_bytes={most}")
            yield piece


async def _pieces(chunks: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
    async for chunk in chunks:
        for start in range(0, len(chunk), PIECE):
            yield chunk[start : start + PIECE]


async def _inflated(chunks: AsyncIterable[bytes], encoding: str) -> AsyncGenerator[bytes, None]:
    stream: zlib._Decompress | None = None
    try:
        async for chunk in chunks:
            while chunk:
                if stream is None:
                    if encoding != "deflate":  # a gzip file may be several, with zeros between
                        chunk = chunk.lstrip(b"\0")
                        if not chunk:
                            break
                    stream = zlib.decompressobj(_window(encoding, chunk))
                piece = stream.decompress(chunk, PIECE)
                while piece:
                    yield piece
                    if stream.unconsumed_tail or len(piece) < PIECE:
                        break
                    # All has been taken in, and some may not have come out for want of room: it
                    # must not wait for the next chunk, which a quiet stream never sends.
                    piece = stream.decompress(b"", PIECE)
                chunk = stream.unconsumed_tail
                if stream.eof:
                    chunk, stream = stream.unused_data, None
    except zlib.error as error:
        raise HTTPBodyError(f"the body is not {encoding}: {error}") from error
    if stream is not None:
        raise HTTPBodyError(f"the body ends in the middle of its {encoding}")


def _window(encoding: str, chunk: bytes) -> int:
    # "deflate" means zlib's format (RFC 9110), but some servers send what is inside of it.
    raw = encoding == "deflate" and chunk[0] & 0x0F != 8
    return -zlib.MAX_WBITS if raw else zlib.MAX_WBITS | 32
