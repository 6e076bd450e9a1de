"""Bodies of answers, decoded piece by piece, so that a small one cannot grow into a huge one."""

import zlib
from collections.abc import Iterable, Iterator

from ...errors import KayGraphError

PIECE = 64 * 1024
SUPPORTED = frozenset({"gzip", "x-gzip", "deflate"})
# Those registered with IANA. Servers send other words, which say nothing about the bytes: "utf-8",
# "aws-chunked".
COMPRESSED = SUPPORTED | {
    "aes128gcm", "br", "compress", "dcb", "dcz", "exi", "pack200-gzip", "x-compress", "zstd",
}  # fmt: skip


class HTTPBodyError(KayGraphError, ValueError):
    """The body of an answer is larger than allowed, or is not what it claims to be."""


class HTTPSizeError(HTTPBodyError):
    """The body of an answer, or a line of it, is larger than allowed."""


class Decoder:
    """Decodes a body chunk by chunk, in pieces of at most 64 KiB.

    Args:
        encoding: The Content-Encoding header: gzip, deflate, or nothing.
        most: The most decoded bytes; None: no limit.

    Raises:
        HTTPBodyError: It has an encoding that was not requested.
    """

    def __init__(self, encoding: str, most: int | None) -> None:
        self._most, self._size = most, 0
        self._coding: str | None = None  # None: nothing to decode
        self._stream: zlib._Decompress | None = None
        if encoding:
            codings = [one.strip().lower() for one in encoding.split(",")]
            packed = [one for one in codings if one in COMPRESSED]
            if len(packed) > 1 or not SUPPORTED.issuperset(packed):
                raise HTTPBodyError(
                    f"the body is encoded with {encoding!r}, which was not requested"
                )
            self._coding = packed[0] if packed else None

    def feed(self, chunk: bytes, most: int = PIECE) -> Iterator[bytes]:
        """Yield what a chunk decodes to; exhaust this before the next chunk is fed.

        Args:
            chunk: The received bytes.
            most: The largest piece of an uncompressed body.

        Raises:
            HTTPBodyError: The body is larger than allowed, or it cannot be decompressed.
        """
        for piece in _pieces(chunk, most) if self._coding is None else self._inflated(chunk):
            self._size += len(piece)
            if self._most is not None and self._size > self._most:
                raise HTTPSizeError(
                    f"the body is larger than max_bytes={self._most}: raise max_bytes to read it"
                )
            yield piece

    def end(self) -> None:
        """Raise an HTTPBodyError if the body is incomplete."""
        if self._stream is not None:
            raise HTTPBodyError(f"the body ends in the middle of its {self._coding}")

    def _inflated(self, chunk: bytes) -> Iterator[bytes]:
        encoding = self._coding
        try:
            while chunk:
                if self._stream is None:
                    if encoding != "deflate":  # a gzip file may have several, with zeros between
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
                    # All input was consumed, but some output may not have fit: it
                    # must not wait for the next chunk, which an idle stream never sends.
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
    # "deflate" means zlib's format (RFC 9110), but some servers send the bare deflate data.
    raw = encoding == "deflate" and chunk[0] & 0x0F != 8
    return -zlib.MAX_WBITS if raw else zlib.MAX_WBITS | 32
