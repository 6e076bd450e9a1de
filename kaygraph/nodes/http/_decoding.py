"""Bodies of answers, decoded piece by piece, so that a small one cannot grow into a huge one."""

import zlib
from collections.abc import Iterable, Iterator

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


class Decoder:
    """Decodes a body chunk by chunk, in pieces of at most 64 KiB.

    Args:
        encoding: The Content-Encoding header: gzip, deflate, or nothing.
        most: How many decoded bytes there may be; None: no limit.

    Raises:
        HTTPBodyError: It is encoded with what was not asked for.
    """

    def __init__(self, encoding: str, most: int | None) -> None:
        self._most, self._size = most, 0
        self._coding: str | None = None  # None: nothing is to be done
        self._stream: zlib._Decompress | None = None
        if encoding:
            codings = [one.strip().lower() for one in encoding.split(",")]
            packed = [one for one in codings if one in COMPRESSED]
            if len(packed) > 1 or not SUPPORTED.issuperset(packed):
                raise HTTPBodyError(
                    f"the body is encoded with {encoding!r}, which was not asked for"
                )
            self._coding = packed[0] if packed else None

    def feed(self, chunk: bytes, most: int = PIECE) -> Iterator[bytes]:
        """Yield what a chunk decodes to; all of it, before the next one is fed.

        Args:
            chunk: What has come.
            most: The largest piece of what is not compressed.

        Raises:
            HTTPBodyError: The body is larger than allowed, or it cannot be decompressed.
        """
        for piece in _pieces(chunk, most) if self._coding is None else self._inflated(chunk):
            self._size += len(piece)
            if self._most is not None and self._size > self._most:
                raise HTTPSizeError(f"the body is larger than max_bytes={self._most}")
            yield piece

    def end(self) -> None:
        """Raise an HTTPBodyError when the body has not come to its end."""
        if self._stream is not None:
            raise HTTPBodyError(f"the body ends in the middle of its {self._coding}")

    def _inflated(self, chunk: bytes) -> Iterator[bytes]:
        encoding = self._coding
        try:
            while chunk:
                if self._stream is None:
                    if encoding != "deflate":  # a gzip file may be several, with zeros between
                        chunk = chunk.lstrip(b"\0")
                        if not chunk:
                            break
                    self._stream = zlib.decompressobj(_window(encoding, chunk))
                stream = self._stream
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
                    chunk, self._stream = stream.unused_data, None
        except zlib.error as error:
            raise HTTPBodyError(f"the body is not {encoding}: {error}") from error


def _pieces(chunk: bytes, most: int) -> Iterable[bytes]:
    if 0 < len(chunk) <= most:
        return (chunk,)
    return (chunk[start : start + most] for start in range(0, len(chunk), most))


def _window(encoding: str | None, chunk: bytes) -> int:
    # "deflate" means zlib's format (RFC 9110), but some servers send what is inside of it.
    raw = encoding == "deflate" and chunk[0] & 0x0F != 8
    return -zlib.MAX_WBITS if raw else zlib.MAX_WBITS | 32
