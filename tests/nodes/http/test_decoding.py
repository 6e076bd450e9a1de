"""Bodies are decompressed piece by piece."""

import gzip
import tracemalloc
import zlib
from collections.abc import Iterable
from itertools import pairwise
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kaygraph.nodes.http._decoding import PIECE, Decoder, HTTPBodyError

RAW = -zlib.MAX_WBITS


def compressed(data: bytes, window: int, level: int = 6) -> bytes:
    stream = zlib.compressobj(level, wbits=window)
    return stream.compress(data) + stream.flush()


def pieces_of(chunks: Iterable[bytes], encoding: str, most: int | None = None) -> list[bytes]:
    decoder = Decoder(encoding, most)
    pieces = [piece for chunk in chunks for piece in decoder.feed(chunk)]
    decoder.end()
    return pieces


def split(data: bytes, places: Iterable[int]) -> list[bytes]:
    cuts = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(cuts)]


@pytest.mark.parametrize("encoding", ["", "identity", "gzip", " GZIP ", "x-gzip", "deflate", "raw"])
@given(
    st.binary(max_size=300),
    st.sampled_from([1, 7, 400, PIECE]),
    st.lists(st.integers(0), max_size=8),
    st.sampled_from([0, 1, 6, 9]),
)
@example(b"x", PIECE, [1], 6)
@example(b"x", 2 * PIECE, [3], 0)
def test_what_was_compressed_comes_out_however_it_is_cut(
    encoding: str, seed: bytes, times: int, cuts: list[int], level: int
) -> None:
    """For any data and any split into chunks, in pieces that are not too large."""
    data = seed * times
    sent = {
        "": data,
        "identity": data,
        "deflate": compressed(data, zlib.MAX_WBITS, level),
        "raw": compressed(data, RAW, level),
    }.get(encoding, compressed(data, zlib.MAX_WBITS | 16, level))
    pieces = pieces_of(split(sent, cuts), "deflate" if encoding == "raw" else encoding)
    assert b"".join(pieces) == data
    assert all(0 < len(piece) <= PIECE for piece in pieces)


@pytest.mark.parametrize("size", [PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 1])
@pytest.mark.parametrize("window", [zlib.MAX_WBITS | 16, zlib.MAX_WBITS, RAW])
def test_what_is_still_within_at_the_end_comes_out(size: int, window: int) -> None:
    """The last byte that came may hold more than one piece has room for."""
    encoding = "gzip" if window > zlib.MAX_WBITS else "deflate"
    pieces = pieces_of([compressed(b"\0" * size, window)], encoding)
    assert b"".join(pieces) == b"\0" * size


@given(
    st.lists(st.tuples(st.binary(max_size=100), st.integers(0, 5)), min_size=1, max_size=5),
    st.lists(st.integers(0), max_size=8),
)
def test_a_gzip_body_may_be_several_one_after_another(
    members: list[tuple[bytes, int]], cuts: list[int]
) -> None:
    """With zeros after each, as archives have them, wherever the chunks end (RFC 1952, 2.2)."""
    sent = b"".join(gzip.compress(data) + b"\0" * zeros for data, zeros in members)
    assert b"".join(pieces_of(split(sent, cuts), "gzip")) == b"".join(data for data, _ in members)


@pytest.mark.parametrize("window", [zlib.MAX_WBITS | 16, zlib.MAX_WBITS, RAW])
def test_a_body_that_is_cut_off_is_an_error(window: int) -> None:
    """Wherever it ends but at its end: half a body is never taken for a whole one."""
    sent = compressed(b"hello " * 100, window)
    encoding = "gzip" if window > zlib.MAX_WBITS else "deflate"
    for size in range(1, len(sent)):
        with pytest.raises(HTTPBodyError, match=f"in the middle of its {encoding}"):
            pieces_of([sent[:size]], encoding)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_body_that_is_not_compressed_as_it_says_is_an_error(encoding: str) -> None:
    """The error says what it is, not an error of zlib."""
    with pytest.raises(HTTPBodyError, match=f"the body is not {encoding}"):
        pieces_of([b"<html>no</html>"], encoding)


def test_a_body_with_a_wrong_checksum_is_an_error() -> None:
    """Data that were changed on the way are not handed over as if nothing had been."""
    sent = bytearray(gzip.compress(b"hello"))
    sent[-8] ^= 1
    with pytest.raises(HTTPBodyError, match="not gzip"):
        pieces_of([bytes(sent)], "gzip")


@pytest.mark.parametrize("size", [1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 3 * PIECE + 200])
@pytest.mark.parametrize("random", [False, True])
def test_what_was_flushed_comes_out_before_the_next_chunk(size: int, random: bool) -> None:
    """What zlib holds for want of room does not wait for more to come."""
    stream = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    data = Random(size).randbytes(size) if random else bytes(size)
    flushed = [stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH) for _ in range(3)]
    decoder = Decoder("gzip", None)
    for chunk in flushed:
        assert sum(map(len, decoder.feed(chunk))) == size
    assert list(decoder.feed(stream.flush())) == []
    decoder.end()


@pytest.mark.parametrize("encoding", ["utf-8", "aws-chunked", "none", "UTF-8, identity", ","])
def test_an_encoding_that_says_nothing_of_the_bytes_is_passed_over(encoding: str) -> None:
    """Objects are often stored with such a header."""
    assert pieces_of([b"x"], encoding) == [b"x"]
    assert pieces_of([gzip.compress(b"x")], f"{encoding}, gzip") == [b"x"]


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress"])
def test_an_encoding_that_was_not_asked_for_is_an_error(encoding: str) -> None:
    """It names what came."""
    with pytest.raises(HTTPBodyError, match=f"encoded with '{encoding}'"):
        pieces_of([b"x"], encoding)


@pytest.mark.parametrize("encoding", ["", "gzip", "deflate"])
def test_a_body_without_a_byte_is_empty(encoding: str) -> None:
    """An answer to HEAD names an encoding and has no body."""
    assert pieces_of([], encoding) == []


@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_a_body_may_be_as_large_as_allowed_and_no_larger(encoding: str) -> None:
    """The limit counts what comes out."""
    sent = gzip.compress(b"x" * 1000) if encoding else b"x" * 1000
    assert len(b"".join(pieces_of([sent], encoding, 1000))) == 1000
    with pytest.raises(HTTPBodyError, match="larger than max_bytes=999"):
        pieces_of([sent], encoding, 999)


def test_a_bomb_is_given_up_before_it_has_gone_off() -> None:
    """A megabyte that would become a gigabyte takes no more memory than is allowed."""
    bomb = gzip.compress(b"\0" * (64 * 1024 * 1024), 9)
    bomb *= 16  # several members
    tracemalloc.start()
    try:
        with pytest.raises(HTTPBodyError, match="max_bytes"):
            pieces_of([bomb], "gzip", 4 * 1024 * 1024)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 * 1024 * 1024
