"""Tables as HTML."""

from kaygraph.drawing.tables import html_table


def test_text_cannot_break_the_page() -> None:
    """Of heads, cells, and the lines around them."""
    table = html_table(["<a>"], [("<b>",), (3,)], above=["<c>"], below="<d>")
    assert table == (
        '<div class="kaygraph-table"><p>&lt;c&gt;</p><table><thead><tr>'
        '<th scope="col">&lt;a&gt;</th></tr></thead><tbody><tr><td>&lt;b&gt;</td></tr>'
        "<tr><td>3</td></tr></tbody></table><p>&lt;d&gt;</p></div>"
    )
