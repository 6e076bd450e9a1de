"""Text that is measured without a browser."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaygraph.drawing.text import broken, shortened, width_of, written


def test_widths_are_those_of_helvetica() -> None:
    """In pixels, rounded up; what is wide or stacks in other scripts counts as such."""
    assert width_of("iiii", 1000) == 4 * 222
    assert width_of("WM", 1000) == 944 + 833
    assert width_of("漢字", 14) == 28
    assert width_of("e\u0301", 1000) == 556


@given(text=st.text(max_size=80), most=st.integers(40, 200))
def test_lines_fit(text: str, most: int) -> None:
    """Into the width, whatever is written, and there are no more than asked for."""
    lines = broken(text, 14, most, 3)
    assert 1 <= len(lines) <= 3
    assert all(width_of(line, 14) <= most for line in lines)
    assert width_of(shortened(text, 14, most), 14) <= most


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("short", ["short"]),
        ("FetchThePageFromServer", ["FetchThePage", "FromServer"]),
        ("fetch_the_page_from", ["fetch_the_", "page_from"]),
        ("one two three four five", ["one two three", "four five"]),
        ("m" * 26, ["m" * 7, "m" * 7, "m" * 7 + "…"]),
    ],
)
def test_lines_break_between_words(text: str, lines: list[str]) -> None:
    """After spaces and signs, within names in CamelCase, else where there is no more room."""
    assert broken(text, 14, 100, 3) == lines


def test_what_xml_cannot_hold_is_replaced() -> None:
    """Control characters and halves of pairs; the rest is escaped."""
    assert written('a\x00\ud800<&>"\n\t') == "a\ufffd\ufffd&lt;&amp;&gt;&quot;&#10;&#9;"
