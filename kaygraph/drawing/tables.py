"""Tables as HTML, for notebooks, which bring the style."""

from collections.abc import Iterable, Sequence

from .text import written


def html_table(
    heads: Sequence[str],
    rows: Iterable[Sequence[object]],
    above: Sequence[str] = (),
    below: str = "",
) -> str:
    """Return a table, with lines of text above it and one below."""
    text = ['<div class="kaygraph-table">']
    text += [f"<p>{written(line)}</p>" for line in above]
    cells = "".join(f'<th scope="col">{written(head)}</th>' for head in heads)
    text.append(f"<table><thead><tr>{cells}</tr></thead><tbody>")
    for row in rows:
        cells = "".join(f"<td>{written(str(cell))}</td>" for cell in row)
        text.append(f"<tr>{cells}</tr>")
    text.append("</tbody></table>")
    if below:
        text.append(f"<p>{written(below)}</p>")
    return "".join([*text, "</div>"])
