"""Lines and server-sent events, whatever the pieces are that they come in."""

import asyncio
from collections.abc import AsyncIterator, Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kaygraph.nodes.http._events import Lines, events


def lines_of(pieces: Iterable[bytes], most: int | None = None, returns: bool = True) -> list[bytes]:
    lines = Lines(most, returns)
    return [*(line for piece in pieces for line in lines.feed(piece)), lines.rest()]


def events_of(*pieces: bytes) -> list[bytes]:
    async def lines() -> AsyncIterator[bytes]:
        *lines, rest = lines_of(pieces)
        for line in [*lines, rest] if rest else lines:
            yield line

    async def collect() -> list[bytes]:
        return [event.data async for event in events(lines())]

    return asyncio.run(collect())


@given(st.lists(st.sampled_from([b"", b"\r", b"\n", b"\r\n", b"a", b"\n\n", b"b\r", b"\nc"])))
@example([b"\r", b"", b"\n"])
def test_lines_end_the_same_however_they_are_cut(pieces: list[bytes]) -> None:
    """With CR, LF or CRLF, also where one is cut in two."""
    whole = b"".join(pieces).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    assert lines_of(pieces) == whole.split(b"\n")
    assert lines_of([bytes([byte]) for byte in b"".join(pieces)]) == whole.split(b"\n")


def test_a_line_comes_with_its_end() -> None:
    """A lone CR is one, whether or not a line feed follows."""
    lines = Lines(None, carriage_returns=True)
    assert lines.feed(b"a\r") == [b"a"]
    assert lines.feed(b"\nb\n") == [b"b"]
    assert lines.feed(b"\n") == [b""]


def test_a_carriage_return_within_a_line_of_json_stays() -> None:
    """There it is but white space; at the end it goes."""
    assert lines_of([b"1,\r2\r", b"\n3\r"], returns=False) == [b"1,\r2", b"3"]


@given(
    st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]))),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.integers(1, 7),
)
def test_events_are_read_whatever_is_in_them(texts: list[str], end: bytes, size: int) -> None:
    """The server-sent events that were sent are read one for one, without comments."""
    sent = b"".join(
        b"event: x" + end + b"data: " + text.encode() + end + b": note" + end + end
        for text in texts
    )
    sent += b"data: cut off"
    pieces = [sent[place : place + size] for place in range(0, len(sent), size)]
    assert events_of(*pieces) == [text.encode() for text in texts]


# The first four stand in the standard (WHATWG HTML, 9.2.6).
@pytest.mark.parametrize(
    ("stream", "data"),
    [
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [b"YHOO\n+2\n10"]),
        (b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third\n\n",
         [b"first event", b"second event", b" third"]),
        (b"data\n\ndata\ndata\n\ndata:", [b"", b"\n"]),
        (b"data:test\n\ndata: test\n\n", [b"test", b"test"]),
        (b"\xef\xbb\xbfdata: 1\n\n\xef\xbb\xbfdata: 2\n\n", [b"1"]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: 1\n\ndata: 2\n\n", [b"2"]),
        (b"\xef", []),
        (b"event: ping\n\nid: 1\0\nretry: soon\nDATA: no\n data: no\ndata : no\n\n", []),
        (b"data: a: b\n\n", [b"a: b"]),
        (b"data: 1\n", []),
        (b"data: 1", []),
        (b"\n\n\ndata: 1\r\r", [b"1"]),
    ],
)  # fmt: skip
def test_streams_mean_what_the_standard_says(stream: bytes, data: list[bytes]) -> None:
    """Whether they come whole or byte by byte."""
    assert events_of(stream) == data
    assert events_of(*(bytes([byte]) for byte in stream)) == data


def test_events_have_a_type() -> None:
    """It is that of its own event, the last one given; most have none."""
    stream = b"event: a\nevent:b\ndata: 1\n\ndata: 2\n\nevent: c\n\ndata: 3\nevent\n\n"

    async def lines() -> AsyncIterator[bytes]:
        for line in lines_of([stream]):
            yield line

    async def collect() -> list[str]:
        return [event.type async for event in events(lines())]

    assert asyncio.run(collect()) == ["b", "message", "message"]
