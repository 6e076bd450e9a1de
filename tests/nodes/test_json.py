"""JSON from outside: its depth is known before it is decoded."""

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaygraph.nodes._json import MAX_DEPTH, JSONDepthError, check_depth, decode

texts = st.text() | st.sampled_from(['[{"', "\\", '\\"[', "]}", '"', '\\\\"[['])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=30,
)


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


@given(values, st.booleans(), st.sampled_from([None, 1]))
def test_the_depth_is_that_of_a_recursive_count(
    value: Any, ascii_only: bool, indent: int | None
) -> None:
    """It is refused when one less is allowed, and no sooner, whatever the strings hold."""
    data = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "replace")
    depth = depth_of(value)
    check_depth(data, depth)
    if depth > 0:
        with pytest.raises(JSONDepthError, match=f"deeper than {depth - 1} levels"):
            check_depth(data, depth - 1)


@given(values)
def test_what_is_decoded_is_what_was_written(value: Any) -> None:
    """Decoding gives the value back."""
    assert decode(json.dumps(value).encode(), max_depth=1000) == value


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
def test_a_deep_text_is_refused_before_it_is_decoded(opening: bytes) -> None:
    """What would exhaust a decoder is refused, and in little time."""
    with pytest.raises(JSONDepthError, match=f"deeper than {MAX_DEPTH} levels"):
        decode(opening * 100_000)


def test_another_encoding_cannot_hide_the_depth() -> None:
    """JSON is UTF-8: a UTF-16 text, whose brackets and quotes are elsewhere, is not read as one."""
    # A byte of U+2200 is that of a quote, so that the brackets after it seem to stand in a string.
    text = '["∀",' + "[" * 500 + "]" * 500 + "]"
    assert json.loads(text.encode("utf-16-le"))  # so it could be read
    check_depth(text.encode("utf-16-le"))  # and this would let it through
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"):
        with pytest.raises(ValueError, match=r"deeper|utf-8|Expecting"):
            decode(text.encode(encoding))


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    """Some servers send one."""
    assert decode(b"\xef\xbb\xbf[1]") == [1]


def test_a_depth_that_python_cannot_read_is_an_error_of_depth() -> None:
    """A limit beyond the decoder's gives the same error, and no RecursionError."""
    deep = sys.getrecursionlimit() * 200
    with pytest.raises(JSONDepthError, match="deeper"):
        decode(b"[" * deep + b"]" * deep, max_depth=deep)


@pytest.mark.parametrize("text", [b"", b"{", b"[1]]", b'"a', b"\xff", b"nul", b'"\\'])
def test_what_is_no_json_is_a_value_error(text: bytes) -> None:
    """Every mistake is one kind of error."""
    with pytest.raises(ValueError, match=r"\S"):
        decode(text)
